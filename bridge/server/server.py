"""uvicorn's server, as one of Bridge's processes runs it."""

import asyncio
import logging
import math
import multiprocessing
import os
import random
import signal
import socket
import time
from contextlib import suppress
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakSet

import uvicorn

from bridge.asgi.environ import MULTIPROCESS
from bridge.http.server import HTTPServer
from bridge.server.ending import LEAST, Ending, forget_after_fork
from bridge.server.own_loggers import enable_own_loggers
from bridge.server.systemd import Notifier

if TYPE_CHECKING:
    from bridge.asgi.adapter import WSGIToASGI
    from bridge.server.serving import ServeConfig

__all__ = ["TERMINATED", "Server", "State"]

logger = logging.getLogger("bridge")

# Times --timeout-worker-healthcheck; with its default, 30 s, as gunicorn gives its workers.
_STUCK = 6

# Seconds that the app's lifespan has in any case, after requests that have used up theirs. With what `ending`
# adds it is less than a supervisor waits.
_LIFESPAN = 5.0

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a worker after SIGTERM, as shells have it: its supervisor tells by it that it was told."""

State: TypeAlias = Literal["starting", "serving", "spent", "stopping"]


class Server(uvicorn.Server):
    """Serves one app in this process, until a signal or its supervisor ends it.

    Before it stops, it says that it is not ready for as long as `--drain-delay`. If it has no supervisor, it
    tells systemd of itself.

    Args:
        config: what is served, and how.
        has_supervisor: whether another process watches over this one, and can replace it. With its requests
            used up (`--limit-max-requests`) it goes on then until it is replaced.
    """

    config: "ServeConfig"

    def __init__(self, config: "ServeConfig", *, has_supervisor: bool = False) -> None:
        super().__init__(config)
        self._has_supervisor = has_supervisor
        self._is_replaced = False
        self._ticked_at = math.inf
        self._notifier = Notifier({} if has_supervisor else os.environ)
        self._tasks: list[asyncio.Task[None]] = []  # beside those of requests
        self._ending: Ending | None = None  # in the process that serves
        self._stop_began_at: float | None = None

    @property
    def state(self) -> State:
        """What it is at; may be asked from any thread."""
        if self.should_exit:
            return "stopping"
        if not self.started:
            return "starting"
        if self._max_requests is not None and self.server_state.total_requests >= self._max_requests:
            return "spent"
        return "serving"

    @property
    def was_terminated(self) -> bool:
        """Whether SIGTERM has ended it."""
        return self._ending is not None and self._ending.was_terminated

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, and see to it that the process ends then; see uvicorn.

        Raises:
            KeyboardInterrupt: Ctrl-C has ended it, or SIGTERM before it served.
        """
        if multiprocessing.parent_process() is not None:
            # The app is to find what it finds without a server, not the method this process was started by.
            multiprocessing.set_start_method(None, force=True)
        forget_after_fork(self.handle_exit)
        with Ending(terminated=TERMINATED if self._has_supervisor else 0) as self._ending:
            super().run(sockets)

    @property
    def is_stuck(self) -> bool:
        """Whether something has held the event loop for long, where it should go on serving."""
        longest = _STUCK * self.config.timeout_worker_healthcheck
        return self.state in ("serving", "spent") and time.monotonic() - self._ticked_at > longest

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; see uvicorn."""
        self._ticked_at = time.monotonic()
        enable_own_loggers()  # the app may configure its logging late, as with its first request
        return await super().on_tick(counter)

    def retire(self) -> None:
        """Stop at once, as another process has taken over; may be called from any thread."""
        self._is_replaced = True
        self.should_exit = True
        self._begin_to_stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, as a signal has come; see uvicorn."""
        if self._ending is not None:
            self._ending.hear(sig)
        super().handle_exit(sig, frame)
        self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        """Have the time run that is for it."""
        if self._stop_began_at is None:
            drain_delay = 0 if self._is_replaced else self.config.settings.drain_delay
            self._stop_began_at = time.monotonic() + drain_delay
        if self._ending is not None:
            self._ending.stop(LEAST if self.force_exit else self._time_left() + _LIFESPAN)

    def _time_left(self) -> float:
        """Seconds until all should have ended."""
        most = self.config.settings.graceful_timeout
        if most is None or self._stop_began_at is None:
            return math.inf
        return self._stop_began_at + most - time.monotonic()

    @cached_property
    def _max_requests(self) -> int | None:
        most = self.config.limit_max_requests
        return None if most is None else most + random.randint(0, self.config.limit_max_requests_jitter)

    @cached_property
    def limit_max_requests(self) -> int | None:
        """After how many requests uvicorn is to end it."""
        return None if self._has_supervisor else self._max_requests

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving; see uvicorn."""
        if self._ending is not None:
            self._ending.watch()
        # In every scope, as its `state`. Not made before: a server is pickled to reach its process.
        self._adapters: WeakSet[WSGIToASGI] = WeakSet()
        self.lifespan.state["bridge.adapters"] = self._adapters
        # A supervisor has two processes at work while it replaces one, even with --workers 1.
        self.lifespan.state[MULTIPROCESS] = self._has_supervisor
        await super().startup(sockets)
        if not self.started:
            return  # the app's lifespan has failed
        self.config.be_ready()
        if not self.config.use_subprocess:  # else their supervisor says so
            self.config.log_addresses()
        self._notifier.tell(READY=1)
        if self._notifier.watchdog_interval is not None:
            self._tasks.append(asyncio.create_task(self._beat(self._notifier.watchdog_interval)))
        metrics, folder = self.config.metrics, self.config.metrics_folder
        if metrics is not None:
            metrics.connections = self.server_state.connections
            if folder is not None:
                self._tasks.append(asyncio.create_task(metrics.keep_reporting(folder)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving; see uvicorn."""
        self._notifier.tell(STOPPING=1)
        self._begin_to_stop()
        try:
            self.config.be_unready()
            if not self._is_replaced:
                await self._be_unready_for(self.config.settings.drain_delay)
            # The lifespan hears of the end when all responses have ended, of which a stream may have none.
            for adapter in self._adapters:
                adapter.end_streams()
            # A turn of the loop, in which websockets are closed: uvicorn would tell their clients 1012.
            await asyncio.sleep(0)
            await super().shutdown(sockets)
        finally:
            protocol: object = self.config.http_protocol_class
            if isinstance(protocol, HTTPServer):
                protocol.abort_lingering()
            for task in self._tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            if self._ending is not None:
                self._ending.stopped(LEAST if self.force_exit else max(LEAST, self._time_left()))

    async def _be_unready_for(self, seconds: float) -> None:
        if not seconds:
            return
        logger.info("not ready from here on; going on for %g s, for load balancers to notice", seconds)
        end = time.monotonic() + seconds
        while not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110  # uvicorn sets a flag
            await asyncio.sleep(0.1)

    async def _beat(self, interval: float) -> None:
        """Have systemd know that the event loop is alive."""
        while True:
            self._notifier.tell(WATCHDOG=1)
            await asyncio.sleep(interval)

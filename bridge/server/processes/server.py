"""uvicorn's server in one of Bridge's processes."""

import asyncio
import logging
import math
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING
from weakref import WeakSet

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from bridge.core.environ import MULTIPROCESS
from bridge.errors import BridgeError
from bridge.http.server import HTTPServer
from bridge.loading import AppError, BrokenAppError, enable_own_loggers
from bridge.server.processes.ending import LEAST, Ending, forget_after_fork
from bridge.server.processes.fleet import State
from bridge.server.processes.hangups import Hangups
from bridge.server.processes.systemd import Notifier
from bridge.server.terminal import complain

if TYPE_CHECKING:
    from bridge.asgi.adapter import WSGIToASGI
    from bridge.server.serving import ServeConfig

__all__ = ["TERMINATED", "Server", "report"]

logger = logging.getLogger("bridge")

# Times --timeout-worker-healthcheck; with its default, 30 s, as gunicorn gives its workers.
_STUCK = 6

# Seconds that the app's lifespan always has, after requests that have used up theirs. With those that
# `ending` adds they are fewer than a supervisor waits.
_LIFESPAN = 5.0

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a worker after SIGTERM, as in shells: so its supervisor knows why it has ended."""


class Server(uvicorn.Server):
    """Serves one app in this process, until a signal or its supervisor ends it.

    Before it stops, its readiness path answers "no" for `--drain-delay`. Without a supervisor, it notifies
    systemd, and says that it cannot obey SIGHUP.

    Args:
        config: the app to serve, and how.
        has_supervisor: whether another process supervises this one, and can replace it. It then serves beyond
            `--limit-max-requests` until it is replaced.
        stop: ends it, as a signal does, once another thread sets it.
    """

    config: "ServeConfig"

    def __init__(
        self, config: "ServeConfig", *, has_supervisor: bool = False, stop: threading.Event | None = None
    ) -> None:
        super().__init__(config)
        self._has_supervisor = has_supervisor
        self._stop = stop
        self._is_replaced = False
        self._ticked_at = math.inf
        self._notifier = Notifier({} if has_supervisor else os.environ)
        self._tasks: list[asyncio.Task[None]] = []  # beside those of requests
        self._ending: Ending | None = None  # in the process that serves
        self._stop_began_at: float | None = None
        self._hangups = Hangups()

    @property
    def state(self) -> State:
        """Where it is in its life; any thread may ask."""
        if self.should_exit:
            return State.STOPPING
        if not self.started:
            return State.STARTING
        if self._max_requests is not None and self.server_state.total_requests >= self._max_requests:
            return State.SPENT
        return State.SERVING

    @property
    def was_terminated(self) -> bool:
        """Whether SIGTERM has ended it."""
        return self._ending is not None and self._ending.was_terminated

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, and bound the end of the process.

        Raises:
            KeyboardInterrupt: Ctrl-C has ended it, or SIGTERM before it served.
            SystemExit: it cannot serve; a line has said why.
        """
        if multiprocessing.parent_process() is not None:
            # The app finds Python's default, as without a server, not the method that started this process.
            multiprocessing.set_start_method(None, force=True)
        elif not self._has_supervisor:
            self._hangups.listen()
        with Ending(terminated=TERMINATED if self._has_supervisor else 0) as self._ending:
            try:
                self.run_in_program(sockets)
            except BridgeError as error:
                sys.exit(report(error))

    def run_in_program(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end in a process that belongs to somebody else, who goes on after it.

        Raises:
            BridgeError: the app cannot be loaded, or the server cannot be set up as the options say.
            KeyboardInterrupt: Ctrl-C has ended it, in the main thread.
        """
        forget_after_fork(self.handle_exit)
        self.config.prepare()
        # Before there is a coroutine: it imports the loop, and Ctrl-C may come meanwhile.
        loop_factory = self.config.get_loop_factory()
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self.serve(sockets))
        except AppError as error:
            self.config.stand_in_for(error)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self.serve(sockets))

    @property
    def is_stuck(self) -> bool:
        """Whether something has held the event loop for too long while it should serve."""
        longest = _STUCK * self.config.timeout_worker_healthcheck
        return self.state in (State.SERVING, State.SPENT) and time.monotonic() - self._ticked_at > longest

    async def on_tick(self, counter: int) -> bool:
        """Do what uvicorn does ten times a second; return whether to stop."""
        if self._stop is not None and self._stop.is_set():
            self.should_exit = True
            self._begin_to_stop()
        self._ticked_at = time.monotonic()
        enable_own_loggers()  # the app may configure its logging late, as with its first request
        if self._hangups.has_come():
            logger.warning(
                "SIGHUP changes nothing: this one process can load the app anew only by a restart, in which "
                "requests would be lost. With --supervise, or --workers 2, SIGHUP replaces it; there "
                "is no log file to reopen"
            )
        return await super().on_tick(counter)

    def retire(self) -> None:
        """Stop without a delay, as another process has replaced this one; any thread may call this."""
        self._is_replaced = True
        self.should_exit = True
        self._begin_to_stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop: a signal has come."""
        if self._ending is not None:
            self._ending.note(sig)
        super().handle_exit(sig, frame)
        self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        """Start the clock for the end."""
        if self._stop_began_at is None:
            drain_delay = 0 if self._is_replaced else self.config.settings.drain_delay
            self._stop_began_at = time.monotonic() + drain_delay
        if self._ending is not None:
            self._ending.stop(LEAST if self.force_exit else self._time_left() + _LIFESPAN)

    def _time_left(self) -> float:
        """Return the seconds until all requests should have ended."""
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
        """The number of requests after which uvicorn ends it; None where a supervisor replaces it."""
        return None if self._has_supervisor else self._max_requests

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app's lifespan, and listen.

        Raises:
            SystemExit: the lifespan has failed.
            AppError: the same, with `--reload`.
        """
        if self._ending is not None:
            self._ending.watch()
        # In every scope, as its `state`. Not in the constructor: a server is pickled for its process.
        self._adapters: WeakSet[WSGIToASGI] = WeakSet()
        self.lifespan.state["bridge.adapters"] = self._adapters
        # While a supervisor replaces a worker, two processes serve, even with --workers 1.
        self.lifespan.state[MULTIPROCESS] = self._has_supervisor
        with suppress(SystemExit):  # uvicorn 0.54 ends so if the lifespan has failed, 0.40 returns
            await super().startup(sockets)
        if not self.started:
            if not self.config.should_reload or self._stop_began_at is not None:
                sys.exit(STARTUP_FAILURE)
            self.should_exit = False
            raise AppError(getattr(self.lifespan, "failure", "the app's lifespan failed to start"))
        self.config.application.health.started()
        if not self._has_supervisor:  # else that logs them
            self.config.log_addresses()
        self._notifier.tell(READY=1)
        if self._notifier.watchdog_interval is not None:
            self._tasks.append(asyncio.create_task(self._beat(self._notifier.watchdog_interval)))
        metrics, folder = self.config.application.metrics, self.config.metrics_folder
        if metrics is not None:
            metrics.connections = self.server_state.connections
            if folder is not None:
                self._tasks.append(asyncio.create_task(metrics.keep_reporting(folder)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for requests, and end the app's lifespan."""
        self._notifier.tell(STOPPING=1)
        self._begin_to_stop()
        try:
            self.config.application.health.drain()
            delay = 0 if self._is_replaced else self.config.settings.drain_delay
            if delay:
                logger.info(
                    "not ready from now on; serving for another %g s, until load balancers have noticed",
                    delay,
                )
            end = time.monotonic() + delay
            while not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110  # uvicorn sets a flag
                await asyncio.sleep(0.1)
            # The lifespan ends when all responses have ended, and a stream may never end by itself.
            for adapter in self._adapters:
                adapter.end_streams()
            # Websockets are closed in this turn of the loop: uvicorn would close them with 1012.
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

    async def _beat(self, interval: float) -> None:
        """Feed systemd's watchdog as long as the event loop runs."""
        while True:
            self._notifier.tell(WATCHDOG=1)
            await asyncio.sleep(interval)


def report(error: BridgeError) -> int:
    """Print what is wrong; return the exit code, which is uvicorn's for the same case.

    A supervisor does not start a worker again that ends with STARTUP_FAILURE: a broken app stays broken.
    """
    is_worker = multiprocessing.parent_process() is not None
    if isinstance(error, BrokenAppError):
        print(error.report, end="", file=sys.stderr)
    complain(str(error))
    return 1 if isinstance(error, BrokenAppError) and not is_worker else STARTUP_FAILURE

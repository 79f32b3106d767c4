"""uvicorn's server, as one of Bridge's processes runs it."""

import asyncio
import logging
import math
import os
import random
import socket
import time
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import WeakSet

import uvicorn

from bridge.server.default_headers import DefaultHeaders
from bridge.server.own_loggers import enable_own_loggers
from bridge.server.protocol import BridgeProtocol
from bridge.server.systemd import Notifier
from bridge.wsgi_to_asgi.environ import MULTIPROCESS

if TYPE_CHECKING:
    from bridge.server.serving import ServeConfig
    from bridge.wsgi_to_asgi.adapter import WSGIToASGI

__all__ = ["Server", "State"]

logger = logging.getLogger("bridge")

# Times --timeout-worker-healthcheck; with its default, 30 s, as gunicorn gives its workers.
_STUCK = 6

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
    def is_stuck(self) -> bool:
        """Whether something has held the event loop for long, where it should go on serving."""
        longest = _STUCK * self.config.timeout_worker_healthcheck
        return self.state in ("serving", "spent") and time.monotonic() - self._ticked_at > longest

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; see uvicorn."""
        self._ticked_at = time.monotonic()
        enable_own_loggers()  # the app may configure its logging late, as with its first request
        ends = await super().on_tick(counter)
        headers = self.server_state.default_headers
        if not isinstance(headers, DefaultHeaders):  # uvicorn makes them anew every second
            self.server_state.default_headers = DefaultHeaders(headers)
        return ends

    def retire(self) -> None:
        """Stop at once, as another process has taken over; may be called from any thread."""
        self._is_replaced = True
        self.should_exit = True

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
        # In every scope, as its `state`. Not made before: a server is pickled to reach its process.
        self._adapters: WeakSet[WSGIToASGI] = WeakSet()
        self.lifespan.state["bridge.adapters"] = self._adapters
        # A supervisor has two processes at work while it replaces one, even with --workers 1.
        self.lifespan.state[MULTIPROCESS] = self._has_supervisor
        await super().startup(sockets)
        if not self.started:
            return  # the app's lifespan has failed
        if not self.config.use_subprocess:  # else their supervisor says so
            self.config.log_addresses()
        self._notifier.tell(READY=1)
        if self._notifier.watchdog_interval is not None:
            self._tasks.append(asyncio.create_task(self._beat(self._notifier.watchdog_interval)))
        if self.config.metrics is not None:
            reports = self.config.metrics.keep_reporting(partial(len, self.server_state.connections))
            self._tasks.append(asyncio.create_task(reports))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving; see uvicorn."""
        self._notifier.tell(STOPPING=1)
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
            protocol = self.config.http_protocol_class
            if issubclass(protocol, BridgeProtocol):
                protocol.abort_lingering()
            for task in self._tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

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

"""Real ASGI servers for tests: uvicorn and hypercorn, each on asyncio's loop and on uvloop's.

A host runs in a thread of its own, on port 0, and is stopped, with its loop, at the end of the block.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn
import uvloop

from bridge.http.server import HTTPServer

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass(frozen=True)
class RunningHost:
    """A server that is serving."""

    port: int
    begin_to_stop: Callable[[], None]
    """Tell it to stop, without waiting for it, as the end of the block does."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A plain connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@dataclass(frozen=True)
class Host:
    """A kind of server on a kind of loop; called with an ASGI app, it serves it for the time of a block."""

    name: str
    loop: str

    @contextlib.contextmanager
    def __call__(self, app: Any, **options: Any) -> Iterator[RunningHost]:
        # asyncio sets TCP_NODELAY, without which answers take 40 ms, only where it reads that this is TCP.
        listening = socket.socket(proto=socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        thread = _ServerThread(HOSTS[self.name](app, listening, options), LOOPS[self.loop])
        thread.start()
        try:
            thread.wait_until_ready()
            yield RunningHost(listening.getsockname()[1], thread.begin_to_stop)
        finally:
            thread.stop()
            listening.close()


_Serving = contextlib.AbstractAsyncContextManager[None]


class _ServerThread(threading.Thread):
    """A thread with an event loop, in which a server is entered and, when told, left."""

    def __init__(self, serving: _Serving, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__(name="server")
        self._serving = serving
        self._new_loop = new_loop
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # raised in the test's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with self._serving:
            self._ready.set()
            await self._stopping.wait()

    def wait_until_ready(self) -> None:
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def begin_to_stop(self) -> None:
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        self.begin_to_stop()
        self.join()
        if self._failure is not None:
            raise self._failure


@contextlib.asynccontextmanager
async def _uvicorn(app: Any, listening: socket.socket, options: dict[str, Any]) -> AsyncIterator[None]:
    # A busy machine keeps idle connections waiting for longer than the 5 seconds of either host.
    options = {"timeout_keep_alive": 60, **options}
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        protocol: object = config.http_protocol_class
        if isinstance(protocol, HTTPServer):  # as Bridge's own server does at its end
            protocol.abort_lingering()
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _hypercorn(app: Any, listening: socket.socket, options: dict[str, Any]) -> AsyncIterator[None]:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{os.dup(listening.fileno())}"]  # hypercorn closes what it is given
    config.graceful_timeout = 5
    config.keep_alive_timeout = 60
    config.errorlog = logging.getLogger("hypercorn.error")
    for name, value in options.items():
        setattr(config, name, value)
    stop = asyncio.Event()

    async def stopped() -> None:
        await stop.wait()

    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=stopped))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        stop.set()
        await serving


HOSTS: dict[str, Callable[[Any, socket.socket, dict[str, Any]], _Serving]] = {
    "uvicorn": _uvicorn,
    "hypercorn": _hypercorn,
}

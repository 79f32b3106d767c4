"""The client for plain test functions: httpx's Client, over `ASGITransport` on an event loop in a thread."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx

from bridge.asgi.background_loop import BackgroundLoop
from bridge.testing.client import as_asgi, handshake
from bridge.testing.transport import ASGITransport
from bridge.testing.websocket import ClientWebSocket

__all__ = ["SyncClient", "SyncClientWebSocket"]

_T = TypeVar("_T")


class SyncClient(httpx.Client):
    """An httpx.Client whose requests go to an app in memory; `with` runs the app's lifespan.

    It has an event loop in a thread of its own, from the beginning of the block to its end. The test may
    write a request's body while it reads the response, and the app waits until each chunk was taken.

    Args:
        app: a WSGI or an ASGI application, as for `Client`.
        interface: as for `Client`.
        base_url: what relative URLs are relative to.
        root_path: as for `Client`.
        raise_app_exceptions: as for `Client`.
        options: what `httpx.Client` takes.

    Raises:
        TypeError: the app is neither, or it cannot be told which.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        interface: Literal["wsgi", "asgi"] | None = None,
        base_url: str = "http://testserver",
        root_path: str = "",
        raise_app_exceptions: bool = True,
        **options: Any,
    ) -> None:
        self._in_memory = _Transport(
            ASGITransport(
                as_asgi(app, interface), root_path=root_path, raise_app_exceptions=raise_app_exceptions
            )
        )
        super().__init__(transport=self._in_memory, base_url=base_url, **options)

    def websocket(
        self,
        path: str,
        *,
        subprotocols: Iterable[str] = (),
        params: httpx._types.QueryParamTypes | None = None,
        headers: httpx._types.HeaderTypes | None = None,
        timeout: float = 5.0,
    ) -> "SyncClientWebSocket":
        """A websocket to the app, as `Client.websocket`; `with` opens and closes it."""
        offered = tuple(subprotocols)
        request = handshake(self, path, offered, params, headers)
        websocket = self._in_memory.inner.websocket(request, offered, self.cookies, timeout=timeout)
        return SyncClientWebSocket(websocket, self._in_memory.loop)


class SyncClientWebSocket:
    """A `ClientWebSocket` for plain functions: made by `SyncClient.websocket`, opened and closed by `with`.

    Its methods do and raise what those of `ClientWebSocket` do.

    Args:
        websocket: the websocket.
        loop: where the app runs.
    """

    def __init__(self, websocket: ClientWebSocket, loop: BackgroundLoop) -> None:
        self._websocket = websocket
        self._loop = loop

    def __enter__(self) -> Self:
        """Make the handshake."""
        self._loop.run(self._websocket.__aenter__())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it, if it is open, and wait for the app to end."""
        self._loop.run(self._websocket.__aexit__(exc_type, exc_value, traceback))

    @property
    def subprotocol(self) -> str | None:
        """The one that the app has chosen, if any."""
        return self._websocket.subprotocol

    @property
    def headers(self) -> httpx.Headers:
        """Those that the app has sent with its accept."""
        return self._websocket.headers

    @property
    def closed(self) -> bool:
        """Whether either side has closed it; messages that came before can still be received."""
        return self._websocket.closed

    @property
    def close_code(self) -> int | None:
        """With what it was closed (RFC 6455, 7.4); None while it is open, 1006 if the app ended without."""
        return self._websocket.close_code

    @property
    def close_reason(self) -> str | None:
        """What was said about it; None while it is open."""
        return self._websocket.close_reason

    def send(self, message: str | bytes) -> None:
        """Send a message to the app."""
        self._loop.run(self._websocket.send(message))

    def receive(self, timeout: float | None = None) -> str | bytes:
        """The app's next message; wait so many seconds for it."""
        return self._loop.run(self._websocket.receive(timeout))

    def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text message."""
        self._loop.run(self._websocket.send_json(value))

    def receive_json(self, timeout: float | None = None) -> Any:
        """The value of the app's next message, which is JSON; as `receive`."""
        return self._loop.run(self._websocket.receive_json(timeout))

    def __iter__(self) -> Iterator[str | bytes]:
        """The messages, until the websocket is closed, however that was."""
        yield from _items(self._websocket, self._loop)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; of what the app has sent, nothing more is received. Twice is once."""
        self._loop.run(self._websocket.close(code, reason))


class _Transport(httpx.BaseTransport):
    """An `ASGITransport` on a loop of its own, which runs in a `with` block.

    Args:
        inner: the transport.
    """

    def __init__(self, inner: ASGITransport) -> None:
        self.inner = inner
        self._loop: BackgroundLoop | None = None

    @property
    def loop(self) -> BackgroundLoop:
        """The loop.

        Raises:
            RuntimeError: it does not run.
        """
        if self._loop is None:
            raise RuntimeError("this client is not open; use `with bridge.testing.SyncClient(app) as client`")
        return self._loop

    def __enter__(self) -> Self:
        self._loop = BackgroundLoop()
        self._loop.start()
        try:
            self._loop.run(self.inner.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            self.loop.run(self.inner.__aexit__(exc_type, exc_value, traceback))
        finally:
            self._stop()

    def close(self) -> None:
        if self._loop is not None:
            self.__exit__()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        stream = request.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            assert isinstance(stream, httpx.SyncByteStream)
            request.stream = _RequestBody(stream)
        response = self.loop.run(self.inner.handle_async_request(request))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _ResponseBody(response.stream, self.loop)
        return response

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()


class _RequestBody(httpx.AsyncByteStream):
    """The parts of a plain iterable, each taken in a thread: it may wait for the test."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = iter(self._stream)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part


class _ResponseBody(httpx.SyncByteStream):
    """The body of a response, as httpx reads it."""

    def __init__(self, stream: httpx.AsyncByteStream, loop: BackgroundLoop) -> None:
        self._stream = stream
        self._loop = loop

    def __iter__(self) -> Iterator[bytes]:
        yield from _items(self._stream, self._loop)

    def close(self) -> None:
        self._loop.run(self._stream.aclose())


def _items(iterable: AsyncIterable[_T], loop: BackgroundLoop) -> Iterator[_T]:
    """Iterate here over what comes on the loop."""
    iterator = aiter(iterable)

    async def step() -> tuple[_T, ...]:
        async for item in iterator:
            return (item,)
        return ()

    while found := loop.run(step()):
        yield found[0]

"""The transport that calls an app in memory: for httpx's AsyncClient, and for websockets.

httpx's own ASGITransport runs the whole app before it returns anything; this one streams, in both directions,
and so can show that an app streams too: a request body is taken from its iterator as the app reads it, and
the app waits until the client has taken a chunk of the response. Closing a response that is not at its end is
a disconnect to the app.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx

from bridge.asgi.lifespan import running
from bridge.testing.memory import Exchange, http_scope
from bridge.testing.websocket import ClientWebSocket
from bridge.types import ASGI3Application, HTTPScope, WebSocketScope

__all__ = ["ASGITransport"]


class ASGITransport(httpx.AsyncBaseTransport):
    """A streaming in-memory transport for httpx.

    Args:
        app: an ASGI application.
        root_path: as in `Client`.
        raise_app_exceptions: as in `Client`.
    """

    def __init__(
        self, app: ASGI3Application, *, root_path: str = "", raise_app_exceptions: bool = True
    ) -> None:
        self._app = app
        self._root_path = root_path
        self._raise_app_exceptions = raise_app_exceptions
        self._state: dict[str, Any] = {}
        self._exchanges: set[Exchange] = set()
        self._lifespan = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._state = await self._lifespan.enter_async_context(running(self._app))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()
        await self._lifespan.aclose()

    async def aclose(self) -> None:
        """Disconnect from every request that is still running, and wait for the app to end it."""
        while self._exchanges:
            exchange = self._exchanges.pop()
            exchange.leave()
            await exchange.join()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Begin the exchange; return when the app has sent its headers."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        exchange = Exchange(self._app, self._scope(request), request.stream)
        self._exchanges.add(exchange)
        exchange.start().add_done_callback(lambda _: self._exchanges.discard(exchange))
        try:
            await exchange.head()
        except BaseException:
            exchange.leave()
            raise
        if exchange.status is None:
            _raise_failure(exchange, self._raise_app_exceptions)
            return httpx.Response(500, request=request)
        body = _Body(exchange, raise_app_exceptions=self._raise_app_exceptions)
        return httpx.Response(exchange.status, headers=exchange.headers, stream=body, request=request)

    def websocket(
        self, request: httpx.Request, subprotocols: tuple[str, ...], cookies: httpx.Cookies, *, timeout: float
    ) -> ClientWebSocket:
        """A websocket whose handshake is this request; it is opened by `async with`.

        Args:
            request: a GET, with the headers of a handshake.
            subprotocols: what it offers.
            cookies: where those go that the app sets when it answers.
            timeout: how long the app may take for each thing that the client waits for, in seconds.
        """
        return ClientWebSocket(
            self._app,
            _websocket_scope(self._scope(request), subprotocols),
            request,
            cookies,
            timeout=timeout,
            raise_app_exceptions=self._raise_app_exceptions,
        )

    def _scope(self, request: httpx.Request) -> HTTPScope:
        url = request.url
        return http_scope(
            request.method,
            url.raw_path,
            request.headers.raw,
            root_path=self._root_path,
            scheme=url.scheme,
            server=(url.host, url.port or (443 if url.scheme in ("https", "wss") else 80)),
            state=self._state,
        )


class _Body(httpx.AsyncByteStream):
    """The body of a response, as httpx reads it."""

    def __init__(self, exchange: Exchange, *, raise_app_exceptions: bool) -> None:
        self._exchange = exchange
        self._raises = raise_app_exceptions

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        async for chunk in exchange.chunks():
            yield chunk
        # The app may have something left to close: a test wants to see it closed, and what it raises then.
        exchange.leave()
        await exchange.join()
        _raise_failure(exchange, self._raises)
        if not exchange.is_complete:
            raise httpx.RemoteProtocolError("the app ended in the middle of its response")

    async def aclose(self) -> None:
        """Leave: the app sees a disconnect, if it was not at its end."""
        self._exchange.leave()


def _raise_failure(exchange: Exchange, raise_app_exceptions: bool) -> None:
    """Raise what broke the exchange, as far as the test wants to know."""
    if exchange.body_failure is not None:
        raise exchange.body_failure
    if exchange.failure is not None and raise_app_exceptions:
        raise exchange.failure


def _websocket_scope(http: HTTPScope, subprotocols: tuple[str, ...]) -> WebSocketScope:
    return {
        "type": "websocket",
        "asgi": http["asgi"],
        "http_version": http["http_version"],
        "scheme": "wss" if http["scheme"] in ("https", "wss") else "ws",
        "path": http["path"],
        "raw_path": http["raw_path"],
        "query_string": http["query_string"],
        "root_path": http["root_path"],
        "headers": http["headers"],
        "client": http["client"],
        "server": http["server"],
        "subprotocols": subprotocols,
        "state": http["state"],
        "extensions": {"websocket.http.response": {}},
    }

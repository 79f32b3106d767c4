"""The transport that calls an app in memory: for httpx's AsyncClient, and for websockets.

httpx's own ASGITransport runs the whole app before it returns anything; this one streams, in both directions,
and so can show that an app streams too: a request body is taken from its iterator as the app reads it, and
the app waits until the client has taken a chunk of the response. Closing a response that is not at its end is
a disconnect to the app.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import httpx

from bridge.asgi.lifespan import running
from bridge.testing.websocket import ClientWebSocket
from bridge.types import (
    ASGI3Application,
    ASGIReceiveEvent,
    ASGISendEvent,
    HTTPRequestSideEvent,
    HTTPScope,
    WebSocketScope,
)

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
        self._exchanges: set[_Exchange] = set()
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
            await exchange.aclose()
            await exchange.join()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Begin the exchange; return when the app has sent its headers."""
        exchange = _Exchange(request, raise_app_exceptions=self._raise_app_exceptions)
        self._exchanges.add(exchange)
        scope = _http_scope(request, self._root_path, self._state)
        exchange.start(self._app(scope, exchange.receive, exchange.send), self._exchanges.discard)
        try:
            status, headers = await exchange.head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(status, headers=list(headers), stream=exchange, request=request)

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
            _websocket_scope(_http_scope(request, self._root_path, self._state), subprotocols),
            request,
            cookies,
            timeout=timeout,
            raise_app_exceptions=self._raise_app_exceptions,
        )


class _Exchange(httpx.AsyncByteStream):
    """One request and its response; for httpx it is the response's body.

    Both sides wait for each other on one condition: the app until its chunk has been taken, the client until
    there is a chunk.
    """

    def __init__(self, request: httpx.Request, *, raise_app_exceptions: bool) -> None:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self._raise_app_exceptions = raise_app_exceptions
        self._request_body = aiter(request.stream)
        self._request_complete = False
        self._request_failure: Exception | None = None
        self._reading: asyncio.Task[HTTPRequestSideEvent] | None = None
        self._call: asyncio.Task[None] | None = None
        self._call_ended = False
        self._call_failure: Exception | None = None
        self._changed = asyncio.Condition()
        self._head: tuple[int, Iterable[tuple[bytes, bytes]]] | None = None
        self._chunk: bytes | None = None
        self._complete = False
        self._left = asyncio.Event()  # the client has gone, or has all it wanted

    # The transport's side

    def start(self, call: Awaitable[None], on_end: Callable[["_Exchange"], None]) -> None:
        """Run the app's call as a task; say when it has ended."""
        self._call = asyncio.create_task(self._run(call))
        self._call.add_done_callback(lambda _: on_end(self))

    async def head(self) -> tuple[int, Iterable[tuple[bytes, bytes]]]:
        """Wait for the status and the headers; a 500 if there are none to come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._head is not None or self._call_ended)
        if self._head is not None:
            return self._head
        self._raise_failure()
        self._complete = True
        return 500, [(b"content-length", b"0")]

    async def join(self) -> None:
        """Wait for the app's call to end."""
        if self._call is not None:
            await asyncio.wait([self._call])

    # The client's side: the response body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._chunk is not None or self._complete or self._call_ended
                )
                chunk, self._chunk = self._chunk, None
                self._changed.notify_all()
            if chunk is None:
                break
            yield chunk
        # The app may have something left to close: a test wants to see it closed, and what it raises then.
        self._left.set()
        await self.join()
        self._raise_failure()
        if not self._complete:
            raise httpx.RemoteProtocolError("the app ended in the middle of its response")

    async def aclose(self) -> None:
        """Leave: the app sees a disconnect, if it was not at its end."""
        self._left.set()
        async with self._changed:
            self._changed.notify_all()

    # The app's side

    async def receive(self) -> ASGIReceiveEvent:
        """Give the app the next piece of the request, or the disconnect, when there is one."""
        leaving = asyncio.create_task(self._left.wait())
        try:
            if self._request_complete:
                await leaving
                return {"type": "http.disconnect"}
            # It outlives a cancelled receive(), so that nothing of the body is lost with one.
            if self._reading is None:
                self._reading = asyncio.create_task(self._next_of_request())
            await asyncio.wait((leaving, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if not self._reading.done():
                self._reading.cancel()
                return {"type": "http.disconnect"}
            event, self._reading = self._reading.result(), None
            return event
        finally:
            leaving.cancel()

    async def send(self, event: ASGISendEvent) -> None:
        """Take an event from the app. After a disconnect it does nothing, as in every host."""
        if self._left.is_set():
            return
        if event["type"] == "http.response.start" and self._head is None:
            await self._change(head=(event["status"], event.get("headers", ())))
        elif event["type"] == "http.response.body" and self._head is not None and not self._complete:
            if event.get("body"):
                await self._send_chunk(event["body"])
            if not event.get("more_body", False):
                await self._change(complete=True)
        else:
            raise RuntimeError(f"the app sent {event['type']!r} out of turn (ASGI spec, HTTP)")

    async def _run(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001  # raised in the test, where it waits for the response
            self._call_failure = error
        finally:
            if self._reading is not None:
                self._reading.cancel()
            self._call_ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _change(
        self, *, head: tuple[int, Iterable[tuple[bytes, bytes]]] | None = None, complete: bool = False
    ) -> None:
        async with self._changed:
            self._head = head or self._head
            self._complete = complete
            self._changed.notify_all()

    async def _send_chunk(self, chunk: bytes) -> None:
        """Offer a chunk to the client, and wait until it has taken it or left."""
        async with self._changed:
            self._chunk = chunk
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._chunk is None or self._left.is_set())

    async def _next_of_request(self) -> HTTPRequestSideEvent:
        try:
            chunk = await anext(self._request_body)
        except StopAsyncIteration:
            self._request_complete = True
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:  # noqa: BLE001  # the client's own iterator; raised where it waits
            self._request_failure = error
            self._request_complete = True
            self._left.set()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": True}

    def _raise_failure(self) -> None:
        """Raise what broke the exchange, as far as the test wants to know."""
        if self._request_failure is not None:
            raise self._request_failure
        if self._call_failure is not None and self._raise_app_exceptions:
            raise self._call_failure


def _http_scope(request: httpx.Request, root_path: str, state: dict[str, Any]) -> HTTPScope:
    raw_path, _, query = request.url.raw_path.partition(b"?")
    port = request.url.port or (443 if request.url.scheme in ("https", "wss") else 80)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": root_path + unquote(raw_path.decode("ascii")),
        "raw_path": root_path.encode() + raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 50000),
        "server": (request.url.host, port),
        "state": state.copy(),
        "extensions": {},
    }


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

"""WebSockets on the event loop: `@bridge.websocket("/chat/<room>")`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import update_wrapper
from inspect import isawaitable, iscoroutinefunction, unwrap
from typing import Any, TypeAlias

from flask import Flask, Request, current_app, has_request_context, request, session
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.routing import RequestRedirect, WebsocketMismatch

from bridge.core.call import comes_from_disconnect
from bridge.core.response import encode_header
from bridge.errors import BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.flask.placement import LoopView
from bridge.runners.greenlet_link import current_greenlet_link
from bridge.runners.loop_access import CURRENT_LOOP
from bridge.websockets.link import WebSocketLink
from bridge.websockets.states import INTERNAL_ERROR, NORMAL

__all__ = ["Handler", "Headers", "WebSocket", "WebSocketView", "ask_for_upgrade"]

logger = logging.getLogger("bridge")

Handler: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# RFC 6455, 7.4: nobody sends 1004 to 1006 and 1015; the protocol has those below 3000, nobody those above
# 4999.
_CODES = frozenset([1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)])
_MAX_REASON = 123  # bytes; RFC 6455, 5.5
_UNSUPPORTED = 1003


class WebSocket:
    """A websocket as its handler uses it, on the event loop.

        @bridge.websocket("/chat/<room>")
        async def chat(ws, room):
            async for message in ws:
                await ws.send(f"{room}: {message}")

    Any task may send; one receives. When the websocket has ended, both raise `WebSocketDisconnect`, which
    ends a handler quietly. If the handler waits for something else when its client leaves, Bridge cancels
    that.

    Args:
        link: the link of the call.
        app: the Flask app, whose JSON this speaks.
    """

    __slots__ = ("_app", "_is_accepted", "_lock", "_reader", "_websocket")

    def __init__(self, link: WebSocketLink, app: Flask) -> None:
        self._app = app
        self._websocket = link.websocket
        self._reader = link.reader
        self._is_accepted = False
        self._lock = asyncio.Lock()  # for tasks that would accept it at the same time

    @property
    def subprotocols(self) -> list[str]:
        """The client's offers, those it prefers first."""
        return list(self._websocket.subprotocols)

    @property
    def closed(self) -> bool:
        """Whether it is known to have ended: closed from here, or by the client, or lost."""
        return self._websocket.state == "closed"

    async def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Accept it; the first `send` or `receive` does so, too.

        The response has a cookie for changes of the session up to here.

        Args:
            subprotocol: one that the client offers.
            headers: fields for the response.

        Raises:
            WebSocketDisconnect: the client has left already.
            BridgeError: it was accepted before, or a field is malformed, or belongs to the host.
            ValueError: the client does not offer this subprotocol.
        """
        async with self._lock:
            await self._accept(subprotocol, headers)

    async def receive(self) -> str | bytes:
        """Return the next message: a str for a text message, bytes for a binary one.

        Raises:
            WebSocketDisconnect: the websocket has ended.
            BridgeError: another task waits for a message.
        """
        if not self._is_accepted:
            await self._accept_if_nobody_has()
        return await self._reader.receive()

    async def receive_json(self) -> Any:
        """Return the next message, decoded by the app's JSON provider.

        Raises:
            WebSocketDisconnect: the websocket has ended.
            BridgeError: another task waits for a message.
            ValueError: the message is not JSON.
        """
        return self._app.json.loads(await self.receive())

    async def send(self, data: str | bytes) -> None:
        """Send a text message for a str, a binary one for bytes; wait while the client is behind.

        Raises:
            WebSocketDisconnect: the websocket has ended.
            TypeError: the message is neither.
        """
        if not isinstance(data, (str, bytes)):
            raise TypeError(
                f"send() takes str or bytes, not {type(data).__name__}; send_json() takes what JSON can say"
            )
        if not self._is_accepted:
            await self._accept_if_nobody_has()
        await self._websocket.send(data)

    async def send_json(self, value: Any) -> None:
        """Send a value as a text message, encoded by the app's JSON provider.

        Raises:
            WebSocketDisconnect: the websocket has ended.
            TypeError: JSON has no form for the value.
        """
        await self.send(self._app.json.dumps(value))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; before an accept this refuses it with a 403. A second call does nothing.

        Args:
            code: the status code of RFC 6455, 7.4; those from 3000 to 4999 are the app's own.
            reason: a text that the client may log; 123 bytes at most.

        Raises:
            ValueError: no websocket may send this code, or the reason is too long.
        """
        if code not in _CODES:
            raise ValueError(f"{code} cannot close a websocket: take 1000, 1001, or one from 3000 to 4999")
        if len(reason.encode()) > _MAX_REASON:
            raise ValueError(f"the reason for closing a websocket must fit in {_MAX_REASON} bytes of UTF-8")
        await self._websocket.close(code, reason)

    async def iter_text(self) -> AsyncIterator[str]:
        """Iterate over the messages, as `async for` does, and take text alone.

        A binary message closes the websocket with 1003 (RFC 6455, 7.4.1), and ends the iteration.
        """
        async for message in self:
            if not isinstance(message, str):
                await self.close(_UNSUPPORTED, "this websocket takes text messages")
                return
            yield message

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the messages, as `async for` does, and take binary ones alone; see `iter_text`."""
        async for message in self:
            if not isinstance(message, bytes):
                await self.close(_UNSUPPORTED, "this websocket takes binary messages")
                return
            yield message

    def __aiter__(self) -> "WebSocket":
        return self

    async def __anext__(self) -> str | bytes:
        """Return the next message; the end of the websocket ends the iteration."""
        try:
            if self._is_accepted:
                return await self._reader.receive()  # as `receive` does, with one coroutine less
            return await self.receive()
        except WebSocketDisconnect:
            raise StopAsyncIteration from None

    async def _accept_if_nobody_has(self) -> None:
        async with self._lock:
            if not (self._is_accepted or self.closed):
                await self._accept(None, None)

    async def _accept(self, subprotocol: str | None, headers: Headers | None) -> None:
        if subprotocol is not None and subprotocol not in self.subprotocols:
            offered = ", ".join(map(repr, self.subprotocols)) or "none"
            raise ValueError(f"the client offers no subprotocol {subprotocol!r}; it offers {offered}")
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        fields = [encode_header(pair) for pair in pairs]
        for name, _ in fields:
            if name.startswith(b"sec-websocket-"):
                raise BridgeError(
                    f"the field {name.decode()!r} of the handshake belongs to the host; "
                    "accept(subprotocol=...) chooses a subprotocol"
                )
        fields += _session_cookies()
        await self._websocket.accept(subprotocol, fields)
        self._is_accepted = True


class WebSocketView(LoopView):
    """The view of a rule for websockets: calls the handler, and makes a response of its outcome.

    Args:
        handler: `async def handler(ws, **arguments)`, perhaps in plain decorators.

    Raises:
        TypeError: the handler is not async.
    """

    def __init__(self, handler: Handler) -> None:
        if not iscoroutinefunction(unwrap(handler)):
            name = getattr(handler, "__qualname__", handler)
            raise TypeError(
                f"the websocket handler {name!r} must be `async def`, as it runs on the event loop; one that "
                "blocks can be made with Flask-Sock"
            )
        self._handler = handler
        update_wrapper(self, handler)

    def __call__(self, **arguments: Any) -> Any:
        """Answer the handshake; return when the websocket has ended.

        Raises:
            BridgeError: the call is not Bridge's, or not on the event loop.
        """
        link = current_greenlet_link()
        if not isinstance(link, WebSocketLink):
            if CURRENT_LOOP.get(None) is None:
                raise BridgeError(
                    f"the websocket {request.endpoint!r} needs an ASGI server: run the app with `bridge "
                    "serve`, or wrap it in WSGIToASGI; `flask run`, gunicorn and Flask's test client cannot "
                    "serve it"
                )
            raise BridgeError(
                f"the websocket {request.endpoint!r} was called in a thread, as its view function was "
                "wrapped in another; put decorators under @bridge.websocket"
            )
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it
        answer = link.await_for_app(self._run(WebSocket(link, app), link, arguments))
        if link.websocket.state != "handshake":
            return app.response_class()  # nobody gets it
        if answer is None:
            raise Forbidden("The websocket was not accepted.")
        return answer

    async def _run(self, ws: WebSocket, link: WebSocketLink, arguments: dict[str, Any]) -> Any:
        try:
            answer = self._handler(ws, **arguments)
            return await answer if isawaitable(answer) else answer
        except Exception as error:
            if _is_quiet(error):
                return None
            was_accepted = ws._is_accepted
            if was_accepted:
                with suppress(Exception):  # `HandshakeHost.finish` raises it to the host
                    await link.websocket.close(INTERNAL_ERROR)
            if was_accepted and isinstance(error, HTTPException):
                raise BridgeError(
                    f"the websocket handler of {request.endpoint!r} raised {error.code} {error.name} after "
                    "the accept: a response is too late then; use `await ws.close(code, reason)`"
                ) from error
            raise


def ask_for_upgrade(app: Flask) -> None:
    """Have the app answer plain requests for its websockets with 426, instead of a bare 400."""
    plain = app.raise_routing_exception

    def raise_routing_exception(request: Request) -> Any:
        if isinstance(request.routing_exception, WebsocketMismatch) and _has_websocket(app, request):
            raise _UpgradeRequired from None
        plain(request)

    vars(app)["raise_routing_exception"] = raise_routing_exception


class _UpgradeRequired(HTTPException):
    code = 426
    description = "This is the address of a WebSocket; connect to it by ws:// or wss://, not by http."

    def get_headers(self, *args: Any, **options: Any) -> list[tuple[str, str]]:
        """Add the field that a 426 must have (RFC 9110, 15.5.22), except on HTTP/2 (RFC 9113, 8.2.2)."""
        headers = list(super().get_headers(*args, **options))
        if has_request_context() and request.environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1"):
            headers.append(("Upgrade", "websocket"))
        return headers


def _has_websocket(app: Flask, request: Request) -> bool:
    """Whether a request's URL is that of a `bridge.websocket`."""
    adapter = app.create_url_adapter(request)
    if adapter is None:
        return False
    try:
        rule, _ = adapter.match(method="GET", return_rule=True, websocket=True)
    except (HTTPException, RequestRedirect):
        return False
    return isinstance(app.view_functions.get(rule.endpoint), WebSocketView)


def _is_quiet(error: Exception) -> bool:
    """Whether an error, or all of a group, says only that the websocket has ended."""
    if isinstance(error, ExceptionGroup):
        return all(map(_is_quiet, error.exceptions))
    return isinstance(error, ClientDisconnected) or comes_from_disconnect(error)


def _session_cookies() -> list[tuple[bytes, bytes]]:
    """Return the cookies that the session's interface would set in a response made now."""
    if not has_request_context():
        return []
    interface = current_app.session_interface
    opened = session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it
    if interface.is_null_session(opened):
        return []
    response = current_app.response_class()
    interface.save_session(current_app, opened, response)
    return [encode_header(("Set-Cookie", value)) for value in response.headers.getlist("Set-Cookie")]

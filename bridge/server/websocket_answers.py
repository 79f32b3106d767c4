"""uvicorn's websockets, with an answer to every handshake.

The app answers with a 101, or with a response of its own. uvicorn keeps such a response in memory until it
is whole; here it goes out part by part, and the app waits for a client that is behind. A client should wait
for its 101 (RFC 6455, 4.1); what it sends sooner is kept until then, up to a limit.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from bridge.http.exchange import Hooks
from bridge.http.websocket_handshake import Handshake

if TYPE_CHECKING:
    # uvicorn's classes share no base; it is one or the other.
    _Base = WebSocketsSansIOProtocol
else:
    _Base = asyncio.Protocol

__all__ = ["SansIOProtocol", "WebSocketAnswers", "answering"]

logger = logging.getLogger("bridge")

_Header = tuple[bytes, bytes]

_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = (204, 304)

# Bytes that are kept of what a client sends before its 101.
_MOST_EARLY = 65536

_PLAIN = b"content-type: text/plain; charset=utf-8\r\n"
_FAILED = STATUS_LINE[500] + _PLAIN + b"content-length: 21\r\nconnection: close\r\n\r\nInternal Server Error"
_REFUSED = STATUS_LINE[400] + _PLAIN + b"content-length: 11\r\nconnection: close\r\n\r\nBad Request"

# The server sets these itself in a response that replaces a 101.
_OF_THE_SERVER = (b"connection", b"transfer-encoding")


class WebSocketAnswers(_Base):
    """What both of uvicorn's classes for websockets lack; the first base of a class, before one of them."""

    checks_subprotocols = True
    """Whether the library must know what the client offers, as it lets the app choose nothing else."""

    hooks: Hooks | None = None
    """The hooks that learn of the answer, and of the end."""

    _told: int | None = None  # the status of the answer that the hooks know
    _facts: dict[str, Any] | None = None
    _has_handshake = False
    _has_answered = False  # something of an answer has been sent
    _is_open = False  # it was the 101
    _is_denying = False  # it was another, of which more is to come
    _early = b""

    def __init__(self, config: Any, server_state: ServerState, app_state: dict[str, Any], **options: Any):
        super().__init__(config, server_state, app_state, **options)
        self._server_state = server_state

    def take_handshake(self, handshake: Handshake, facts: dict[str, Any], early: bytes) -> None:
        """Begin with a handshake that has been read already.

        Args:
            handshake: what the library needs to know.
            facts: what the scope says of it.
            early: the bytes that the client has sent behind it.
        """
        self._facts = facts
        self.data_received(handshake.for_library(with_subprotocols=self.checks_subprotocols))
        if early:
            self.data_received(early)

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        """Take the handshake, which comes first and whole, or what follows it."""
        if self._is_open:
            super().data_received(data)
        elif not self._has_handshake:
            self._has_handshake = True
            self._begin(data)
        elif not self._has_answered:
            self._early += data
            if len(self._early) > _MOST_EARLY and not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
        # else the client has had a response, and there is no websocket

    # Called by uvicorn

    async def run_asgi(self) -> None:
        """Call the app; it counts as one request when it is over."""
        if self._facts is not None:
            cast(dict[str, Any], self.scope).update(self._facts)
        try:
            await super().run_asgi()
        finally:
            self._server_state.total_requests += 1
            if self._told is None:
                self._tell(500)  # which an app without an answer gets, if the client is still there
            elif self._told == _SWITCHING_PROTOCOLS and self.hooks is not None:
                for on_end in self.hooks.websocket_end:
                    on_end()

    def send(self, message: Any) -> Coroutine[Any, Any, None]:  # a coroutine sooner
        """See ASGI."""
        return super().send(message) if self._is_open else self._answer(message)

    def send_500_response(self) -> None:
        """Answer for an app that has failed, whatever the library's state."""
        if not self._has_answered and not self.transport.is_closing():
            self._has_answered = self.close_sent = True
            self.transport.write(_FAILED)

    def shutdown(self) -> None:
        """End as the server stops. A response goes on to its end, as that to any request does."""
        if self._is_denying:
            return
        try:
            super().shutdown()
        except Exception:  # which would keep the other connections and the app's lifespan from their end
            logger.exception("a websocket could not be closed in good order, and was cut")
            self.transport.abort()

    # The handshake

    def _begin(self, handshake: bytes) -> None:
        try:
            super().data_received(handshake)
        except Exception as error:  # noqa: BLE001  # libraries raise errors of many kinds
            self._refuse(error)

    def _refuse(self, error: Exception | None, answer: bytes = b"") -> None:
        """Answer a handshake that the library refuses; it takes all that Bridge's own HTTP hands on."""
        self._has_answered = self.close_sent = True
        logger.warning("refused a websocket's handshake: %s", error)
        self.transport.write(answer or _REFUSED)
        self.transport.close()

    async def _answer(self, message: Any) -> None:
        if self._has_answered and not self._is_denying:
            if self.disconnected:
                raise ClientDisconnected
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}', after the response.")
        kind = message["type"]
        if kind == "websocket.accept":
            message = {**message, "headers": _checked(message)}
        elif kind == "websocket.http.response.start":
            message = {**message, "headers": self._headers_of_response(message)}
        try:
            await self._send_answer(message)
        except ClientDisconnected:
            raise
        except Exception:
            if not self._has_answered:
                self.handshake_complete = False  # so there can be a 500
            raise
        self._tell(_status_of(message))
        if kind == "websocket.accept":
            if not self.handshake_complete:  # uvicorn has sent nothing, as the connection is closing
                raise ClientDisconnected
            self._has_answered = self._is_open = True
            self._take_early()
        elif kind == "websocket.close":
            self._has_answered = True
        else:
            self._is_denying = kind == "websocket.http.response.start" or message.get("more_body", False)

    async def _send_answer(self, message: Any) -> None:
        await super().send(message)

    def _tell(self, status: int) -> None:
        if self._told is None:
            self._told = status
            if self.hooks is not None:
                for on_websocket in self.hooks.websocket:
                    on_websocket(status)

    def _headers_of_response(self, message: Any) -> list[_Header]:
        """Return the headers of a response that replaces a 101, and ends the connection."""
        if not 200 <= message["status"] < 600:
            raise RuntimeError(f"Invalid HTTP status code '{message['status']}' in response.")
        headers = [(name, value) for name, value in _checked(message) if name.lower() not in _OF_THE_SERVER]
        set_by_app = {name.lower() for name, _ in headers}
        defaults = [(name, value) for name, value in self.default_headers if name not in set_by_app]
        return [*defaults, *headers, (b"connection", b"close")]

    def _take_early(self) -> None:
        """Take what came before the websocket was open."""
        early, self._early = self._early, b""
        if early:
            self.data_received(early)
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()


def answering(uvicorns: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Return the class that answers every handshake, for one of uvicorn's; any other class as it is."""
    if uvicorns is WebSocketsSansIOProtocol:
        return SansIOProtocol
    if uvicorns.__module__ != "uvicorn.protocols.websockets.wsproto_impl":
        return uvicorns

    # To mypy, WebSocketAnswers is for the other library, as it must be for one of them.
    class WSProtoProtocol(WebSocketAnswers, uvicorns):  # type: ignore[misc, valid-type]
        """uvicorn's websockets by wsproto."""

        async def _send_answer(self, message: Any) -> None:
            await super()._send_answer(message)
            if message["type"] == "websocket.http.response.start":
                self._has_answered = True  # the head is out, and no 500 may follow it

    return WSProtoProtocol


class SansIOProtocol(WebSocketAnswers, WebSocketsSansIOProtocol):
    """uvicorn's websockets by the `websockets` package."""

    checks_subprotocols = False

    _is_chunked = False

    def _begin(self, handshake: bytes) -> None:
        super()._begin(handshake)
        if not self.handshake_initiated and not self._has_answered:
            self._refuse(self.conn.handshake_exc, b"".join(self.conn.data_to_send()))

    async def _send_answer(self, message: Any) -> None:
        if message["type"] == "websocket.http.response.body" and self._is_denying:
            await self._send_part(message.get("body", b""), more=message.get("more_body", False))
        else:
            await super()._send_answer(message)

    async def _send_part(self, body: bytes, *, more: bool) -> None:
        """Send a part of a response: the first with the head before it; close after the last."""
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        head = b"" if self._has_answered else self._head(len(body), is_whole=not more)
        self._has_answered = True
        if self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self.initial_response is not None and self.initial_response[0] in _WITHOUT_BODY:
            body = b""
        self.transport.write(head + body)
        if not more:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.close_sent = self.handshake_complete = True
            self.transport.close()

    def _head(self, size: int, *, is_whole: bool) -> bytes:
        """Return the head of a response (RFC 9112, 6), which waits for the first part of its body."""
        assert self.initial_response is not None
        status, fields, _ = self.initial_response
        headers = [(name.lower(), value) for name, value in fields]
        if status not in _WITHOUT_BODY and "content-length" not in {name for name, _ in headers}:
            self._is_chunked = not is_whole
            headers.append(
                ("transfer-encoding", "chunked") if self._is_chunked else ("content-length", str(size))
            )
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        return STATUS_LINE[status] + lines.encode("latin-1") + b"\r\n"


def _status_of(message: Any) -> int:
    """Return the status of the answer that an event begins or continues."""
    if message["type"] == "websocket.accept":
        return _SWITCHING_PROTOCOLS
    if message["type"] == "websocket.close":
        return 403  # as the ASGI spec has it
    return cast(int, message.get("status", 500))


def _checked(message: Any) -> list[_Header]:
    """Return the headers of an answer; refuse those that would end its head early, in uvicorn's words."""
    headers = list(message.get("headers", ()))
    for name, value in headers:
        if HEADER_RE.search(name):
            raise RuntimeError("Invalid HTTP header name.")
        if HEADER_VALUE_RE.search(value):
            raise RuntimeError("Invalid HTTP header value.")
    return headers

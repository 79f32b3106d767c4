"""uvicorn's websockets, with an answer to every handshake.

The app answers with a 101, or with a response of its own. uvicorn keeps such a response in memory until it
is whole; here it goes out part by part, and the app waits for a client that is behind. A client should wait
for its 101 (RFC 6455, 4.1); what it sends sooner is kept until then, up to a limit.
"""

import asyncio
import logging
from collections.abc import Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected, get_client_addr, get_path_with_query_string
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from bridge.core.link import Head, plain_answer
from bridge.http.exchange import Hooks
from bridge.http.http1 import DefaultFields, ResponseEncoder, checked_head
from bridge.http.websocket_handshake import Handshake
from bridge.types import override

if TYPE_CHECKING:
    # uvicorn's classes share no base; it is one or the other.
    _Base = WebSocketsSansIOProtocol
else:
    _Base = asyncio.Protocol

__all__ = ["SansIOProtocol", "WebSocketAnswers", "answering"]

logger = logging.getLogger("bridge")

# Bytes that are kept of what a client sends before its 101.
_MOST_EARLY = 65536

_RESPONSE_START = "websocket.http.response.start"
_RESPONSE_BODY = "websocket.http.response.body"


class WebSocketAnswers(_Base):
    """Completes uvicorn's classes for websockets; the first base of a class, before one of them."""

    checks_subprotocols = True
    """Whether the library must know what the client offers, as it lets the app choose nothing else."""

    hooks: Hooks | None = None
    """The hooks that learn of the answer, and of the end."""

    _told: int | None = None  # the status of the answer that the hooks know
    _facts: dict[str, Any] | None = None
    _has_handshake = False
    _has_answered = False  # something of an answer has been sent
    _is_open = False  # it was the 101
    _denial: Head | None = None  # of a response that replaces a 101, until its last part
    _encoder: ResponseEncoder | None = None  # of that response, once its head is sent
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
            elif self._told == HTTPStatus.SWITCHING_PROTOCOLS and self.hooks is not None:
                self.hooks.websocket_ended()

    @override
    def send(self, message: Any) -> Coroutine[Any, Any, None]:  # a coroutine sooner
        return super().send(message) if self._is_open else self._answer(message)

    def send_500_response(self) -> None:
        """Answer for an app that has failed, whatever the library's state."""
        if not self._has_answered and not self.transport.is_closing():
            self._has_answered = self.close_sent = True
            self.transport.write(_encoded(500, b"Internal Server Error"))

    def shutdown(self) -> None:
        """End as the server stops. A response goes on to its end, as that to any request does."""
        if self._denial is None:
            try:
                super().shutdown()
            except Exception:  # it must not keep other connections and the app's lifespan from their end
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
        self.transport.write(answer or _encoded(400, b"Bad Request"))
        self.transport.close()

    async def _answer(self, message: Any) -> None:
        kind = message["type"]
        if self._denial is not None or (kind == _RESPONSE_START and not self._has_answered):
            await self._deny(message)
            return
        if self._has_answered:
            if self.disconnected:
                raise ClientDisconnected
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after the response.")
        if kind == "websocket.accept":
            message = {**message, "headers": checked_head(200, message.get("headers", ())).headers}
        try:
            await super().send(message)
        except ClientDisconnected:
            raise
        except Exception:
            self.handshake_complete = False  # so there can be a 500
            raise
        if kind == "websocket.accept":
            self._tell(HTTPStatus.SWITCHING_PROTOCOLS)
            if not self.handshake_complete:  # uvicorn has sent nothing, as the connection is closing
                raise ClientDisconnected
            self._has_answered = self._is_open = True
            early, self._early = self._early, b""
            if early:
                self.data_received(early)
            if self.read_paused and self.queue.empty():
                self.read_paused = False
                self.transport.resume_reading()
        else:
            self._tell(403)  # for websocket.close, as the ASGI spec has it
            self._has_answered = True

    async def _deny(self, message: Any) -> None:
        """Send a part of a response that replaces a 101: the first with the head; close after the last."""
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        if self._denial is None:
            self._denial = checked_head(message["status"], message.get("headers", ()))
            client, path = get_client_addr(self.scope), get_path_with_query_string(self.scope)
            self.logger.info('%s - "WebSocket %s" %d', client, path, self._denial.status)
            self._tell(self._denial.status)
            return
        if message["type"] != _RESPONSE_BODY:
            raise RuntimeError(f"Expected ASGI message '{_RESPONSE_BODY}', but got '{message['type']}'.")
        body, more = message.get("body", b""), message.get("more_body", False)
        head = b""
        if self._encoder is None:
            status, _, fields = self._denial
            is_sized = status in (204, 304) or any(name == b"content-length" for name, _ in fields)
            if not more and not is_sized:
                fields = [*fields, (b"content-length", b"%d" % len(body))]
            self._encoder = ResponseEncoder("GET", "1.1", keep_alive=False)
            head = self._encoder.head(Head(status, b"", fields), DefaultFields(self.default_headers))
        self.transport.write(head + self._encoder.body(body, more))
        self._has_answered = True
        if not more:
            self._denial = None
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.close_sent = self.handshake_complete = True
            self.transport.close()

    def _tell(self, status: int) -> None:
        if self._told is None:
            self._told = status
            if self.hooks is not None:
                self.hooks.websocket_answered(status)


class SansIOProtocol(WebSocketAnswers, WebSocketsSansIOProtocol):
    """uvicorn's websockets by the `websockets` package."""

    checks_subprotocols = False

    def _begin(self, handshake: bytes) -> None:
        super()._begin(handshake)
        if not self.handshake_initiated and not self._has_answered:
            self._refuse(self.conn.handshake_exc, b"".join(self.conn.data_to_send()))


def answering(uvicorns: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Return the class that answers every handshake for one of uvicorn's, and any other class unchanged."""
    if uvicorns is WebSocketsSansIOProtocol:
        return SansIOProtocol
    if uvicorns.__module__ == "uvicorn.protocols.websockets.wsproto_impl":
        return type("WSProtoProtocol", (WebSocketAnswers, uvicorns), {})
    return uvicorns


def _encoded(status: int, text: bytes) -> bytes:
    """Return a whole response, after which the connection ends."""
    head, body, _ = plain_answer(status, text, "GET")
    assert head is not None
    assert isinstance(body, bytes)
    return ResponseEncoder("GET", "1.1", keep_alive=False).head(head, DefaultFields()) + body

"""One websocket of an ASGI host, as a request that a WSGI app answers, and as messages both ways.

The handshake of a websocket is a GET request (RFC 6455, 4.1), and to a WSGI app it is one: it is routed, its
hooks run, and it may be answered like any other, with a 401 or a 404. Or the websocket is accepted meanwhile;
then the app's response has nobody left to go to, and its end is the end of the websocket.

The states of both sides are in `bridge.websockets.states`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, BinaryIO, cast

from bridge.core.link import Head
from bridge.errors import BridgeError, WebSocketDisconnect
from bridge.types import (
    HTTPScope,
    WebSocketAppEvent,
    WebSocketReceive,
    WebSocketScope,
    WebSocketSend,
    WebSocketSendEvent,
)
from bridge.websockets.states import WebSocketState, WebSocketStates
from bridge.websockets.websocket import ABNORMAL, INTERNAL_ERROR, NO_STATUS, NORMAL

__all__ = ["HandshakeHost", "HostWebSocket"]

# What a WSGI app looks for in the environ; HTTP/2 has none of these (RFC 8441, 5).
_HANDSHAKE_FIELDS = {
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"YnJpZGdlIG1hZGUgaXQgdQ==",
}


# Bytes of a response that are kept, to be sent as one: granian 2.8 fails with one in parts. Bridge's own
# server takes each part as it comes.
_MOST_KEPT = 1 << 20


class HostWebSocket:
    """A websocket from the handshake to its end; for one task that receives, and any that send.

    Args:
        scope: the ASGI `websocket` scope.
        receive: the host's `receive`.
        send: the host's `send`.
    """

    __slots__ = (
        "_changed",
        "_close_sent",
        "_failure",
        "_receive",
        "_receiver",
        "_send",
        "_states",
        "close_code",
        "close_reason",
        "on_disconnect",
        "scope",
    )

    def __init__(self, scope: WebSocketScope, receive: WebSocketReceive, send: WebSocketSend) -> None:
        self.scope = scope
        self.close_code = NO_STATUS
        self.close_reason = ""
        self.on_disconnect: Callable[[], object] | None = None
        """Called just before a `WebSocketDisconnect` is raised, in the task that gets it."""
        self._states = WebSocketStates()
        self._receive = receive
        self._send = send
        self._receiver: asyncio.Task[Any] | None = None  # waits for the host's next event
        self._close_sent: asyncio.Event | None = None  # set when a close that interrupted `receive` is sent
        self._failure: Exception | None = None  # of the host to close it
        self._changed: asyncio.Event | None = None  # it has ended or is answered; for `wait_for_end`

    @property
    def path(self) -> str:
        """See `WebSocket.path`."""
        return self.scope["path"]

    @property
    def subprotocols(self) -> Sequence[str]:
        """See `WebSocket.subprotocols`."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def state(self) -> WebSocketState:
        """See `WebSocket.state`."""
        return self._states.combined

    @property
    def is_closed_from_here(self) -> bool:
        """See `WebSocket.is_closed_from_here`."""
        return self._states.application == "closed"

    @property
    def can_be_answered(self) -> bool:
        """Whether the host can send a response in the place of an accept; else it answers 403 itself."""
        return "websocket.http.response" in (self.scope.get("extensions") or {})

    @property
    def is_of_bridge(self) -> bool:
        """Whether the host is Bridge's own server."""
        return "bridge.adapters" in (self.scope.get("state") or {})

    @property
    def request(self) -> HTTPScope:
        """The handshake as the scope of an http request, with the fields that HTTP/1.1 has for it.

        Extensions are left out: compression is between the host and its client.
        """
        scope = self.scope
        headers = [(name, value) for name, value in scope["headers"] if name != b"sec-websocket-extensions"]
        present = {name for name, _ in headers}
        headers += [field for field in _HANDSHAKE_FIELDS.items() if field[0] not in present]
        if b"sec-websocket-protocol" not in present and scope.get("subprotocols"):
            headers.append((b"sec-websocket-protocol", ", ".join(scope["subprotocols"]).encode("latin-1")))
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        request = {**scope, "type": "http", "method": "GET", "scheme": scheme, "headers": headers}
        del request["subprotocols"]
        request["extensions"] = {}  # the host's are for websockets
        return cast(HTTPScope, request)

    # Messages

    async def connect(self) -> None:
        """Receive `websocket.connect`, by which the client asks for a websocket.

        Raises:
            WebSocketDisconnect: the client has left already.
        """
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise self._end_by(ABNORMAL, "")
        self._states.received(event["type"])

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """See `WebSocket.accept`."""
        self._begin_to_send("websocket.accept")
        await self._pass_on({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})

    async def receive(self) -> str | bytes:
        """See `WebSocket.receive`."""
        state = self._states.combined
        if state == "closed":
            raise self._disconnect()
        if state != "open":
            raise BridgeError(f"a message was to be received, but the websocket is {state}; accept it")
        task = self._receiver = asyncio.current_task()
        try:
            event = await self._receive()
        except OSError as error:
            raise self._end_by(ABNORMAL, "") from error
        except asyncio.CancelledError:
            if self._close_sent is None or task is None or task.uncancel():
                raise
            await self._close_sent.wait()  # `close` goes first: the code that gets this may cancel it
            raise self._disconnect() from None
        finally:
            self._receiver = None
        if event["type"] == "websocket.receive":
            text = event.get("text")
            return text if text is not None else event.get("bytes") or b""
        if event["type"] == "websocket.disconnect":
            code = event.get("code")
            raise self._end_by(NO_STATUS if code is None else code, event.get("reason") or "")
        self._states.received(event["type"])
        raise AssertionError("the states allow no other event here")

    async def send(self, data: str | bytes) -> None:
        """See `WebSocket.send`."""
        self._begin_to_send("websocket.send")
        is_text = isinstance(data, str)
        event = {
            "type": "websocket.send",
            "bytes": None if is_text else data,
            "text": data if is_text else None,
        }
        try:
            await self._send(cast(WebSocketSendEvent, event))
        except (OSError, RuntimeError) as error:
            # uvicorn raises a RuntimeError between an unanswered ping and the connection's end. The order was
            # checked above, so it cannot be the app's fault.
            raise self._end_by(ABNORMAL, "") from error

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; before it was accepted, that is a refusal, for which hosts answer 403. Twice is once.

        A task that waits for a message gets its `WebSocketDisconnect` as soon as the close is sent.

        Raises:
            Exception: the host takes no such code. `HandshakeHost.finish` raises it again, so that the host
                ends the websocket.
        """
        if self.state not in ("handshake", "open"):
            return
        self._states.sending("websocket.close")
        self.close_code, self.close_reason = code, reason
        self._tell_changed()
        self._interrupt_receive()
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            pass  # as in `send`
        except Exception as error:
            self._failure = error  # daphne's, for 1001 to 2999
            raise
        finally:
            if self._close_sent is not None:
                self._close_sent.set()

    def _begin_to_send(self, event: str) -> None:
        if self._states.combined == "closed":
            raise self._disconnect()
        self._states.sending(event)

    # For the answer to the handshake

    async def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin a response in the place of an accept; a host that cannot send one says 403."""
        if not self.can_be_answered:
            await self.close()
            return
        self._states.sending("websocket.http.response.start")
        self._tell_changed()
        await self._pass_on({"type": "websocket.http.response.start", "status": status, "headers": headers})

    def note_body(self, more: bool) -> None:
        """Note a part of the response's body, whether it is sent now or later."""
        self._states.sending("websocket.http.response.body", more=more)
        if not more:
            self._tell_changed()

    async def send_body(self, body: bytes, more: bool) -> None:
        """Send a part of the response's body."""
        await self._pass_on({"type": "websocket.http.response.body", "body": body, "more_body": more})

    async def wait_for_end(self) -> None:
        """Wait until it is closed, by either side."""
        while self.state != "closed":
            if self.state == "answered" and self.is_of_bridge:
                # The client may leave while the app answers; other hosts may not report it.
                if (await self._receive())["type"] == "websocket.disconnect":
                    self._end_by(ABNORMAL, "")
            else:
                self._changed = asyncio.Event()
                await self._changed.wait()

    def take_failure(self) -> Exception | None:
        """The failure of the host to close it, once."""
        failure, self._failure = self._failure, None  # its traceback leads here
        return failure

    # Inside

    async def _pass_on(self, event: WebSocketAppEvent) -> None:
        try:
            await self._send(event)
        except OSError as error:
            raise self._end_by(ABNORMAL, "") from error

    def _end_by(self, code: int, reason: str) -> WebSocketDisconnect:
        """Note the end, unless it came from here; return the error to raise."""
        if self.state != "closed":
            self._end(code, reason)
        return self._disconnect()

    def _end(self, code: int, reason: str) -> None:
        self.close_code, self.close_reason = code, reason
        self._states.lost()
        self._tell_changed()

    def _disconnect(self) -> WebSocketDisconnect:
        if self.on_disconnect is not None:
            self.on_disconnect()
        return WebSocketDisconnect(self.close_code, self.close_reason)

    def _interrupt_receive(self) -> None:
        """Cancel the host's `receive`: while one waits, granian 2.8 sends no close to the client."""
        if self._receiver is not None:
            self._close_sent = asyncio.Event()
            self._receiver.cancel()

    def _tell_changed(self) -> None:
        if self._changed is not None:
            self._changed.set()


class HandshakeHost:
    """The handshake of a websocket as a request that can be answered; see `runners.host.Host`.

    It has no body. The app's answer is sent if the websocket was not accepted meanwhile.

    Args:
        websocket: the websocket, whose `websocket.connect` has been received.
    """

    __slots__ = (
        "_body",
        "_has_failed",
        "_websocket",
        "before_head",
        "body_is_over",
        "head",
        "is_complete",
        "is_open",
    )

    def __init__(self, websocket: HostWebSocket) -> None:
        self._websocket = websocket
        self._body = b""  # of the response, not yet sent
        self._has_failed = False
        self.before_head: Callable[[], Awaitable[None]] | None = None
        """Awaited before the app's answer is begun."""
        self.body_is_over = True
        self.head: Head | None = None
        self.is_open = False
        self.is_complete = False

    async def next(self) -> bytes:
        """The end of the body, which is empty."""
        return b""

    async def left(self) -> bool:
        """Wait for the end of the websocket."""
        await self._websocket.wait_for_end()
        return True

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        """False: ASGI tells those who receive."""
        return False

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the app's answer, if the websocket was not accepted; a host that cannot says 403."""
        websocket = self._websocket
        if head is not None:
            if self.before_head is not None:
                await self.before_head()
            self.head = head
            self._has_failed = head.status >= 500
            if websocket.state == "handshake":
                await websocket.answer(head.status, head.headers)
        self.is_open = more
        self.is_complete = not more
        if websocket.state == "answered":
            websocket.note_body(more)
            self._body += data
            if not more or len(self._body) > (0 if websocket.is_of_bridge else _MOST_KEPT):
                body, self._body = self._body, b""
                await websocket.send_body(body, more)

    def prepare_file(self, file: BinaryIO, size: int) -> None:
        """None: a handshake is never answered by a file."""

    async def send_file(self, head: Head, file: object) -> None:
        """Never called, as no file is prepared."""
        raise AssertionError("a websocket's handshake is not answered by a file")

    async def finish(self) -> None:
        """The app's call has ended: close what is still open, by how it went.

        Raises:
            Exception: a close has failed, so that it is for the host to end the websocket.
        """
        await self._websocket.close(INTERNAL_ERROR if self._has_failed else NORMAL)
        failure = self._websocket.take_failure()
        if failure is not None:
            raise failure

"""One websocket of an ASGI host: a request that a WSGI app answers, and messages both ways.

The handshake of a websocket is a GET request (RFC 6455, 4.1), and a WSGI app treats it as one: it routes it,
runs its hooks, and may answer it with a 401 or a 404. Or it accepts the websocket meanwhile; then its
response goes nowhere, and the end of the call ends the websocket.
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
from bridge.websockets.states import ABNORMAL, INTERNAL_ERROR, NO_STATUS, NORMAL, WebSocketState, state_after

__all__ = ["WEBSOCKET", "HandshakeHost", "HostWebSocket"]

WEBSOCKET = "bridge.websocket"
"""The key of the environ that holds the websocket, if the request is a websocket's handshake."""

# The fields that a WSGI app looks for in the environ; HTTP/2 has none of them (RFC 8441, 5).
_HANDSHAKE_FIELDS = {
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"YnJpZGdlIG1hZGUgaXQgdQ==",
}


# Bytes of a response that are kept, to send it whole: granian 2.8 fails with a response in parts. Bridge's
# own server takes each part as it comes.
_MOST_KEPT = 1 << 20


class HostWebSocket:
    """A websocket from its handshake to its end. One task receives; any may send.

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
        "close_code",
        "close_reason",
        "is_closed_from_here",
        "on_disconnect",
        "scope",
        "state",
    )

    def __init__(
        self,
        scope: WebSocketScope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.scope = scope
        self.state: WebSocketState = "connecting"
        self.is_closed_from_here = False
        """Whether the app, or the server, closed or answered it."""
        self.close_code = NO_STATUS
        self.close_reason = ""
        self.on_disconnect: Callable[[], object] | None = None
        """Called just before a `WebSocketDisconnect` is raised, in the task that gets it."""
        self._receive: WebSocketReceive = receive
        self._send: WebSocketSend = send
        self._receiver: asyncio.Task[Any] | None = None  # waits for the host's next event
        self._close_sent: asyncio.Event | None = None  # set when a close that interrupted `receive` is sent
        self._failure: Exception | None = None  # the host's, when it was asked to close
        self._changed: asyncio.Event | None = None  # set when it is closed or answered; for `wait_for_end`

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def is_of_bridge(self) -> bool:
        """Whether the host is Bridge's own server."""
        return "bridge.adapters" in (self.scope.get("state") or {})

    @property
    def request(self) -> HTTPScope:
        """The handshake as the scope of an http request, with the fields that HTTP/1.1 has for it.

        It has no extensions: compression is between the host and its client.
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
        self.state = state_after(self.state, event["type"])

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Accept it.

        Args:
            subprotocol: one that the client offers.
            headers: fields of the response, such as cookies.

        Raises:
            WebSocketDisconnect: the client has left already.
            BridgeError: the app has accepted or answered it before.
        """
        self._advance("websocket.accept")
        await self._pass_on({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            WebSocketDisconnect: the client has closed the websocket, or is gone.
            BridgeError: the app has not accepted it yet.
        """
        state = self.state
        if state == "closed":
            raise self._disconnect()
        if state != "open":
            raise BridgeError(f"receive() is out of order: the websocket is {state}; accept it first")
        task = self._receiver = asyncio.current_task()
        try:
            event = await self._receive()
        except OSError as error:
            raise self._end_by(ABNORMAL, "") from error
        except asyncio.CancelledError:
            if self._close_sent is None or task is None or task.uncancel():
                raise
            await self._close_sent.wait()  # or the code that gets the disconnect could cancel the close
            raise self._disconnect() from None
        finally:
            self._receiver = None
        if event["type"] == "websocket.receive":
            text = event.get("text")
            return text if text is not None else event.get("bytes") or b""
        if event["type"] == "websocket.disconnect":
            code = event.get("code")
            raise self._end_by(NO_STATUS if code is None else code, event.get("reason") or "")
        state_after(self.state, event["type"])
        raise AssertionError("no state allows another event here")

    async def send(self, data: str | bytes) -> None:
        """Send a message; wait while the client is behind.

        Raises:
            WebSocketDisconnect: the message cannot reach the client any more.
            BridgeError: the app has not accepted it yet.
        """
        self._advance("websocket.send")
        event: WebSocketSendEvent = (
            {"type": "websocket.send", "bytes": None, "text": data}
            if isinstance(data, str)
            else {"type": "websocket.send", "bytes": data, "text": None}
        )
        try:
            await self._send(event)
        except (OSError, RuntimeError) as error:
            # uvicorn raises a RuntimeError between an unanswered ping and the connection's end. It cannot be
            # the app's fault, as the order was checked above.
            raise self._end_by(ABNORMAL, "") from error

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it. Before an accept this refuses it, and hosts answer 403. A second call does nothing.

        A task that waits for a message gets its `WebSocketDisconnect` once the close is sent.

        Raises:
            Exception: the host takes no such code. `HandshakeHost.finish` raises it again, so that the host
                ends the websocket.
        """
        if self.state not in ("handshake", "open"):
            return
        self.close_code, self.close_reason = code, reason
        self._close_from_here()
        if self._receiver is not None:  # granian 2.8 sends no close while its `receive` waits
            self._close_sent = asyncio.Event()
            self._receiver.cancel()
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

    # For the answer to the handshake

    async def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin a response instead of an accept; a host that cannot send one answers 403."""
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await self.close()
            return
        self._advance("websocket.http.response.start")
        self._tell_changed()
        await self._pass_on({"type": "websocket.http.response.start", "status": status, "headers": headers})

    async def send_body(self, body: bytes, more: bool) -> None:
        """Send a part of the response's body."""
        if not more:
            self._close_from_here()
        await self._pass_on({"type": "websocket.http.response.body", "body": body, "more_body": more})

    async def wait_for_end(self) -> None:
        """Wait until either side closes it."""
        while self.state != "closed":
            if self.state == "answered" and self.is_of_bridge:
                # The client may leave while the app answers; other hosts may not report it.
                if (await self._receive())["type"] == "websocket.disconnect":
                    self._end_by(ABNORMAL, "")
            else:
                self._changed = asyncio.Event()
                await self._changed.wait()

    def take_failure(self) -> Exception | None:
        """Return what the host raised when it was asked to close, once."""
        failure, self._failure = self._failure, None  # its traceback leads here
        return failure

    # Inside

    def _advance(self, event: str) -> None:
        """Note an event that the app is about to send."""
        if self.state == "closed":
            raise self._disconnect()
        self.state = state_after(self.state, event)

    async def _pass_on(self, event: WebSocketAppEvent) -> None:
        try:
            await self._send(event)
        except OSError as error:
            raise self._end_by(ABNORMAL, "") from error

    def _close_from_here(self) -> None:
        self.state = "closed"
        self.is_closed_from_here = True
        self._tell_changed()

    def _end_by(self, code: int, reason: str) -> WebSocketDisconnect:
        """Note the client's end, unless this side closed first; return the error to raise."""
        if self.state != "closed":
            self.close_code, self.close_reason = code, reason
            self.state = "closed"
            self._tell_changed()
        return self._disconnect()

    def _disconnect(self) -> WebSocketDisconnect:
        if self.on_disconnect is not None:
            self.on_disconnect()
        return WebSocketDisconnect(self.close_code, self.close_reason)

    def _tell_changed(self) -> None:
        if self._changed is not None:
            self._changed.set()


class HandshakeHost:
    """The handshake of a websocket as a request without a body; see `runners.host.Host`.

    It sends the app's response if the app has not accepted the websocket meanwhile.

    Args:
        websocket: the websocket, whose `websocket.connect` has come.
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
        """Awaited before the app's response begins."""
        self.body_is_over = True
        self.head: Head | None = None
        self.is_open = False
        self.is_complete = False

    async def next(self) -> bytes:
        """Return the end of the body, which is empty."""
        return b""

    async def left(self) -> bool:
        """Wait for the end of the websocket."""
        await self._websocket.wait_for_end()
        return True

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        """Return False: an ASGI host tells only the code that receives."""
        return False

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the app's response, if the app has not accepted the websocket."""
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
            self._body += data
            if not more or len(self._body) > (0 if websocket.is_of_bridge else _MOST_KEPT):
                body, self._body = self._body, b""
                await websocket.send_body(body, more)

    def prepare_file(self, file: BinaryIO, size: int) -> None:
        """Return None: a handshake is never answered by a file."""

    async def send_file(self, head: Head, file: object) -> None:
        """Fail: no file is ever prepared."""
        raise AssertionError("a websocket's handshake is not answered by a file")

    async def finish(self) -> None:
        """Close the websocket, if it is still open, as the app's call has ended.

        Raises:
            Exception: a close failed, so the host has to end the websocket.
        """
        await self._websocket.close(INTERNAL_ERROR if self._has_failed else NORMAL)
        failure = self._websocket.take_failure()
        if failure is not None:
            raise failure

"""One websocket of an ASGI host, as a request that a WSGI app answers, and as messages both ways.

The handshake of a websocket is a GET request (RFC 6455, 4.1), and to a WSGI app it is one: it is routed, its
hooks run, and it may be answered like any other, with a 401 or a 404. Or the websocket is accepted meanwhile;
then the app's response has nobody left to go to, and its end is the end of the websocket.

The states, and what may be sent in each (ASGI spec, "WebSocket"):

| state | may be sent | leads to |
| --- | --- | --- |
| connecting: nothing was received | nothing | handshake, when `websocket.connect` has come; closed |
| handshake | `accept`, a response, `close` | open, answered, closed |
| answered: the app's response is on its way | its body | closed |
| open | messages, `close` | closed |
| closed | nothing | |
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal, TypeAlias, cast

from bridge.errors import BridgeError, WebSocketDisconnect
from bridge.types import (
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
    WebSocketAppEvent,
    WebSocketReceive,
    WebSocketScope,
    WebSocketSend,
)

__all__ = [
    "ABNORMAL",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "NORMAL",
    "NO_STATUS",
    "WEBSOCKET",
    "HostWebSocket",
    "WebSocketState",
]

WebSocketState: TypeAlias = Literal["connecting", "handshake", "answered", "open", "closed"]

WEBSOCKET = "bridge.websocket"

# RFC 6455, 7.4.1
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
INTERNAL_ERROR = 1011

# What a WSGI app looks for in the environ; HTTP/2 has none of these (RFC 8441, 5).
_HANDSHAKE_FIELDS = {
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"YnJpZGdlIG1hZGUgaXQgdQ==",
}


class HostWebSocket:
    """A websocket from the handshake to its end; for one task that receives, and any that send.

    Args:
        scope: the ASGI `websocket` scope.
        receive: the host's `receive`.
        send: the host's `send`.
    """

    def __init__(self, scope: WebSocketScope, receive: WebSocketReceive, send: WebSocketSend) -> None:
        self.scope = scope
        self.state: WebSocketState = "connecting"
        self.close_code = NO_STATUS
        self.close_reason = ""
        self._receive = receive
        self._send = send
        self._ended = asyncio.Event()
        self._receiving: asyncio.Timeout | None = None
        self._is_going_away = False
        self._leaving: asyncio.Task[None] | None = None
        self._has_body = True
        self._has_failed = False

    @property
    def request(self) -> HTTPScope:
        """The handshake as the scope of an http request, with the fields that HTTP/1.1 has for it.

        Not those of extensions: compression is between the host and its client. The websocket itself is in it
        as `bridge.websocket`, and so in the environ's `asgi.scope`.
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
        request[WEBSOCKET] = self
        return cast(HTTPScope, request)

    # Messages

    async def connect(self) -> None:
        """Receive the client's wish for a websocket.

        Raises:
            WebSocketDisconnect: the client has left already.
        """
        event = await self._receive()
        if event["type"] != "websocket.connect":
            raise self._end_by(ABNORMAL, "")
        self.state = "handshake"

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Accept it.

        Args:
            subprotocol: one of those that the client has offered.
            headers: fields of the response, such as cookies.
        """
        self._expect("handshake", "accepted")
        self.state = "open"
        await self._pass_on({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        if self._is_going_away:
            await self.close(GOING_AWAY)

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            WebSocketDisconnect: the client has closed the websocket, or is gone; or it was closed from here
                meanwhile, for which the host's word may take a while.
        """
        if self.state == "closed":
            raise WebSocketDisconnect(self.close_code, self.close_reason)
        try:
            async with asyncio.timeout(None) as self._receiving:
                event = await self._receive()
        except TimeoutError:
            if not self._ended.is_set():
                raise  # the host's own
            raise WebSocketDisconnect(self.close_code, self.close_reason) from None
        except ConnectionError as error:
            raise self._end_by(ABNORMAL, "") from error
        finally:
            self._receiving = None
        if event["type"] == "websocket.receive":
            text = event.get("text")
            return text if text is not None else event.get("bytes") or b""
        if event["type"] != "websocket.disconnect":
            raise BridgeError(f"the host sent {event['type']} on a websocket that is {self.state}")
        code = event.get("code")
        raise self._end_by(NO_STATUS if code is None else code, event.get("reason") or "")

    async def send(self, data: str | bytes) -> None:
        """Send a message; waits while the client is behind.

        Raises:
            WebSocketDisconnect: it cannot reach the client any more.
        """
        self._expect("open", "sent on")
        if isinstance(data, str):
            await self._pass_on({"type": "websocket.send", "bytes": None, "text": data})
        else:
            await self._pass_on({"type": "websocket.send", "bytes": data, "text": None})

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; before it was accepted, that is a refusal, for which hosts answer 403. Twice is once."""
        if self.state in ("handshake", "open"):
            self.close_code, self.close_reason = code, reason
            self._end()
            with suppress(OSError):  # the client has left by itself
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def go_away(self) -> None:
        """Close it with 1001, as the server stops; as soon as it is open, if the app has not answered yet."""
        self._is_going_away = True
        if self.state == "open" and self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self.close(GOING_AWAY))

    # The request: in the place of a host's `receive` and `send`

    async def receive_request(self) -> HTTPRequestSideEvent:
        """The body, which is empty; then, when the websocket has ended, the disconnect."""
        if self._has_body:
            self._has_body = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send_response(self, event: HTTPResponseEvent) -> None:
        """Send what the app answers, if the websocket was not accepted; a host that cannot says 403."""
        if event["type"] == "http.response.start":
            self._has_failed = event["status"] >= 500
            if self.state == "handshake":
                await self._answer(event["status"], event["headers"])
        elif event["type"] == "http.response.body" and self.state == "answered":
            more = event["more_body"]
            if not more:
                self._end()
            await self._pass_on(
                {"type": "websocket.http.response.body", "body": event["body"], "more_body": more}
            )

    async def finish(self) -> None:
        """The app's call has ended: close what is still open, by how it went."""
        await self.close(INTERNAL_ERROR if self._has_failed else NORMAL)
        if self._leaving is not None:
            await self._leaving

    async def _answer(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if "websocket.http.response" in (self.scope.get("extensions") or {}):
            self.state = "answered"
            await self._pass_on(
                {"type": "websocket.http.response.start", "status": status, "headers": headers}
            )
        else:
            await self.close()

    async def _pass_on(self, event: WebSocketAppEvent) -> None:
        try:
            await self._send(event)
        except OSError as error:
            raise self._end_by(ABNORMAL, "") from error

    def _expect(self, state: WebSocketState, what: str) -> None:
        if self.state == "closed":
            raise WebSocketDisconnect(self.close_code, self.close_reason)
        if self.state != state:
            raise BridgeError(f"a websocket can be {what} when it is {state}; it is {self.state}")

    def _end_by(self, code: int, reason: str) -> WebSocketDisconnect:
        """Take note of the end, which did not come from here."""
        if self.state != "closed":
            self.close_code, self.close_reason = code, reason
            self._end()
        return WebSocketDisconnect(self.close_code, self.close_reason)

    def _end(self) -> None:
        self.state = "closed"
        self._ended.set()
        if self._receiving is not None:
            self._receiving.reschedule(asyncio.get_running_loop().time())

"""A websocket to an app in memory: the client's side for a test, and the host's for the app."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from bridge.errors import BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.testing.app_events import after, check
from bridge.types import ASGI3Application, WebSocketScope
from bridge.websockets.states import ABNORMAL, NORMAL, WebSocketState

__all__ = ["ClientWebSocket", "WebSocketRefused"]

# What an app can have sent without the client having read it; asyncio's transports have it at 64 KiB, too.
_UNREAD_BYTES = 65536


class WebSocketRefused(BridgeError):
    """The app answered the handshake, but not with a websocket.

    Args:
        response: what it answered; for a plain `websocket.close` that is a 403, as hosts answer then.
    """

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the app refused the websocket: {response.status_code} {response.reason_phrase}")
        self.response = response


class ClientWebSocket:
    """A websocket as its client has it; made by `Client.websocket`, opened and closed by `async with`.

    What the app raises is raised in the test, where it waits for the app, or at the end of the block. An app
    that still runs some time after the end of the websocket is cancelled, and that is an error, too.

    Args:
        app: an ASGI application.
        scope: what it is called with.
        request: the handshake.
        cookies: where those go that the app sets with its answer.
        timeout: how long the app may take for each thing that is waited for, in seconds.
        raise_app_exceptions: as in `Client`.
    """

    def __init__(
        self,
        app: ASGI3Application,
        scope: WebSocketScope,
        request: httpx.Request,
        cookies: httpx.Cookies,
        *,
        timeout: float,
        raise_app_exceptions: bool,
    ) -> None:
        self._app = app
        self._scope = scope
        self._request = request
        self._cookies = cookies
        self._timeout = timeout
        self._raise_app_exceptions = raise_app_exceptions
        self._host = _Host(tuple(scope["subprotocols"]))
        self._call: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Make the handshake.

        Raises:
            WebSocketRefused: the app answered with something else.
            TimeoutError: it did not answer in time.
        """
        self._call = asyncio.create_task(self._host.run(self._app, self._scope))
        try:
            host = self._host
            await self._wait(lambda: bool(host.answer or self._failure()), "did not answer the handshake")
            answer = self._answer()
            self._cookies.extract_cookies(answer)
            if answer.status_code != 101:
                raise WebSocketRefused(answer)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it, if it is open, and wait for the app to end."""
        if self._call is None:
            return
        call, self._call = self._call, None
        await self._host.disconnect(ABNORMAL if self._host.answer is None else NORMAL, "")
        try:
            await asyncio.wait([call], timeout=self._timeout)
        finally:
            is_late = call.cancel()
            await asyncio.wait([call])
        failure = self._failure()
        if is_late:
            failure = TimeoutError(
                f"the app still ran {self._timeout} s after the end of its websocket; it was cancelled"
            )
        if failure is None or failure is exc_value:
            return
        if exc_value is None or isinstance(exc_value, WebSocketRefused | WebSocketDisconnect):
            raise failure
        exc_value.add_note(f"And the app failed: {failure!r}")

    # What the app has answered

    @property
    def subprotocol(self) -> str | None:
        """The one that the app has chosen, if any."""
        chosen: str | None = self._accept.get("subprotocol")
        return chosen

    @property
    def headers(self) -> httpx.Headers:
        """Those that the app has sent with its accept."""
        return httpx.Headers(list(self._accept.get("headers") or ()))

    @property
    def closed(self) -> bool:
        """Whether either side has closed it; messages that came before can still be received."""
        return self._host.end is not None

    @property
    def close_code(self) -> int | None:
        """With what it was closed (RFC 6455, 7.4); None while it is open, 1006 if the app ended without."""
        return self._host.end and self._host.end[0]

    @property
    def close_reason(self) -> str | None:
        """What was said about it; None while it is open."""
        return self._host.end and self._host.end[1]

    @property
    def _accept(self) -> Mapping[str, Any]:
        answer = self._host.answer
        if answer is None or answer["type"] != "websocket.accept":
            raise RuntimeError("this websocket is not open; use `async with client.websocket(...) as ws`")
        return answer

    # Messages

    async def send(self, message: str | bytes) -> None:
        """Send a message; it does not wait for the app to receive it.

        Raises:
            WebSocketDisconnect: the websocket is closed.
        """
        if not isinstance(message, str | bytes):
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}; there is send_json()")
        self._raise_end()
        self._host.give(message)

    async def receive(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  # a line in a test is to stay a line
    ) -> str | bytes:
        """The app's next message.

        Args:
            timeout: how long to wait for it, in seconds; if not given, that of the websocket.

        Raises:
            WebSocketDisconnect: there is none to come, as the websocket is closed.
            TimeoutError: none came in time.
        """
        host = self._host
        await self._wait(lambda: bool(host.messages or host.end or self._failure()), "sent nothing", timeout)
        if not host.messages:
            self._raise_end()
        return await host.take()

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text message."""
        await self.send(json.dumps(value, separators=(",", ":"), ensure_ascii=False))

    async def receive_json(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  # as in receive()
    ) -> Any:
        """The value of the app's next message, which is JSON, as text or as bytes; as `receive`."""
        return json.loads(await self.receive(timeout))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """The next message, until the websocket is closed, however that was."""
        try:
            return await self.receive()
        except WebSocketDisconnect as error:
            if error is self._failure():
                raise
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; of what the app has sent, nothing more is received. Twice is once.

        Args:
            code: why (RFC 6455, 7.4); 1006 tells the app what hosts do when a client vanishes.
            reason: something about it.
        """
        await self._host.disconnect(code, reason)

    # The end

    def _answer(self) -> httpx.Response:
        event = self._host.answer
        if event is None:  # the app has made a mistake, and got around the exception
            raise cast(Exception, self._host.failure)
        match event["type"]:
            case "websocket.accept":
                status = 101
            case "websocket.close":
                status = 403
            case _:
                status = event["status"]
        headers = list(event.get("headers") or ())
        body = self._host.body
        return httpx.Response(status, headers=headers, content=body, request=self._request)

    def _failure(self) -> Exception | None:
        return self._host.failure if self._raise_app_exceptions else None

    def _raise_end(self) -> None:
        failure = self._failure()
        if failure is not None:
            raise failure
        if self._host.end is not None:
            raise WebSocketDisconnect(*self._host.end)

    async def _wait(self, condition: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Wait for something of the app."""
        seconds = self._timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds), self._host.changed:
                await self._host.changed.wait_for(condition)
        except TimeoutError:
            doing = "waiting for an event" if self._host.is_receiving else "not waiting for an event"
            raise TimeoutError(f"the app {what} within {seconds} s; it is {doing}") from None


class _Host:
    """The app's side: it gives the app its events, and holds it to the spec.

    Args:
        offered: the subprotocols that the client offers.
    """

    def __init__(self, offered: tuple[str, ...]) -> None:
        self.changed = asyncio.Condition()
        self.answer: Mapping[str, Any] | None = None
        """The event that answered the handshake, when that answer is complete."""
        self.body = b""
        self.messages: deque[str | bytes] = deque()
        self.end: tuple[int, str] | None = None
        self.failure: Exception | None = None
        self.is_receiving = False
        self._offered = offered
        self._state: WebSocketState = "handshake"
        self._response: Mapping[str, Any] = {}
        self._unread = 0
        self._client_left = False
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told_of_the_end = False

    async def run(self, app: ASGI3Application, scope: WebSocketScope) -> None:
        """Call the app, and take note of how it ended."""
        self._events.put_nowait({"type": "websocket.connect"})
        try:
            await app(scope, self.receive, self.send)
            if self._state in ("handshake", "answered") and not self._client_left:
                raise RuntimeError(
                    f"the app returned when its websocket was {self._state}; expected was a whole answer to "
                    "the handshake"
                )
        except Exception as error:  # noqa: BLE001  # raised in the test
            # An app need not catch what send() raises (ASGI spec, WebSocket, "Disconnected Client").
            if not (isinstance(error, ClientDisconnected) and self._client_left):
                self.failure = self.failure or error
        finally:
            async with self.changed:
                if self.answer is None:
                    self.answer = {"type": "websocket.http.response.start", "status": 500}
                    self.body = b""
                self.end = self.end or (ABNORMAL, "")
                self.changed.notify_all()

    # The client's side

    def give(self, message: str | bytes) -> None:
        """A message for the app, with one of `text` and `bytes`: hosts may leave out the other."""
        key = "text" if isinstance(message, str) else "bytes"
        self._events.put_nowait({"type": "websocket.receive", key: message})

    async def take(self) -> str | bytes:
        """The app's first message that was not taken; there is one."""
        async with self.changed:
            message = self.messages.popleft()
            self._unread -= len(message)
            self.changed.notify_all()
        return message

    async def disconnect(self, code: int, reason: str) -> None:
        """The client leaves, if nobody has closed the websocket yet."""
        if self.end is not None:
            return
        async with self.changed:
            self._client_left = True
            self._end_by(code, reason)
            self.messages.clear()
            self.changed.notify_all()

    # The app's side

    async def receive(self) -> Any:
        """Give the app its next event, when there is one."""
        if self._told_of_the_end:
            raise await self._fail(
                RuntimeError(
                    "the app called receive() after websocket.disconnect; hosts never return from that"
                )
            )
        self.is_receiving = True
        try:
            event = await self._events.get()
        finally:
            self.is_receiving = False
        self._told_of_the_end = event["type"] == "websocket.disconnect"
        return event

    async def send(self, event: Any) -> None:
        """Take an event from the app; wait while the client is behind with reading."""
        if self._client_left:
            raise ClientDisconnected("the client has closed the websocket")
        try:
            following = after(self._state, event)
            check(event, self._offered)
        except (RuntimeError, TypeError, ValueError) as error:
            raise await self._fail(error) from None
        async with self.changed:
            self._state = following
            self._take(event)
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self._unread <= _UNREAD_BYTES or self._client_left)

    def _take(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "websocket.accept":
                self.answer = event
            case "websocket.send":
                message = event.get("bytes")
                self.messages.append(event["text"] if message is None else message)
                self._unread += len(self.messages[-1])
            case "websocket.close":
                if self.answer is None:
                    self.answer = event
                    self._end_by(ABNORMAL, "")
                else:
                    self._end_by(event.get("code", 1000), event.get("reason") or "")
            case "websocket.http.response.start":
                self._response = event
            case "websocket.http.response.body":
                self.body += event.get("body", b"")
                if self._state == "closed":
                    self.answer = self._response
                    self._end_by(ABNORMAL, "")

    async def _fail(self, error: Exception) -> Exception:
        """Keep the app's mistake for the test, whatever the app does with the exception."""
        async with self.changed:
            self.failure = self.failure or error
            self.changed.notify_all()
        return error

    def _end_by(self, code: int, reason: str) -> None:
        self.end = (code, reason)
        self._events.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

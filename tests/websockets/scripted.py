"""An ASGI host of one websocket, in a test's hands."""

import asyncio
from typing import Any

from bridge.types import WebSocketScope


def websocket_scope(path: str, query: str = "", **changes: Any) -> WebSocketScope:
    """A handshake, by a host that can send a response."""
    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    scope.update(changes)
    return scope  # type: ignore[return-value]  # a dict literal with the keys of one


class ScriptedWebSocket:
    """Calls an app with the events that the test puts, and keeps those that it gets.

    Args:
        app: the ASGI application.
        scope: the handshake.
    """

    def __init__(self, app: Any, scope: WebSocketScope) -> None:
        self.sent: list[Any] = []
        self.received = 0
        self.failure: Exception | None = None
        """Raised by `send` from here on."""
        self._app = app
        self._scope = scope
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._receiving = False
        self.task: asyncio.Task[None] | None = None
        """The host's task for the app."""

    async def __aenter__(self) -> "ScriptedWebSocket":
        self.put("connect")
        self.task = asyncio.create_task(self._app(self._scope, self.receive, self.send))
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.task is not None
        if error[0] is not None:
            self.task.cancel()
        await asyncio.wait([self.task])
        if error[0] is None:
            await self.task

    def put(self, kind: str, **fields: Any) -> None:
        """Have the app receive an event, or the `receive` of the host raise an error."""
        self._events.put_nowait(fields.get("error") or {"type": f"websocket.{kind}", **fields})

    async def receive(self) -> Any:
        assert not self._receiving, "the app called receive() while another call of it was waiting"
        self._receiving = True
        try:
            event = await self._events.get()
            self.received += 1
            self._tell()
            if isinstance(event, Exception):
                raise event
            return event
        finally:
            self._receiving = False

    async def send(self, event: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append(event)
        self._tell()

    async def until_sent(self, count: int) -> None:
        """Wait until that many events have been sent."""
        while len(self.sent) < count:
            await self._change()

    async def until_received(self, count: int) -> None:
        """Wait until that many events have been received."""
        while self.received < count:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()

    @property
    def kinds(self) -> list[str]:
        """The types of what was sent, without their beginning."""
        return [event["type"].removeprefix("websocket.") for event in self.sent]

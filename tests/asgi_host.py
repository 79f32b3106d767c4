"""An ASGI host in a test's hands: what it receives and how it sends are the test's to decide."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bridge.types import HTTPRequestSideEvent, HTTPScope


def http_scope(**changes: Any) -> HTTPScope:
    """A plain GET, changed as asked."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    }
    scope.update(changes)
    return scope  # type: ignore[return-value]  # a dict literal with the keys of one


def body_event(body: bytes = b"", *, more: bool = False) -> HTTPRequestSideEvent:
    return {"type": "http.request", "body": body, "more_body": more}


DISCONNECT: HTTPRequestSideEvent = {"type": "http.disconnect"}


class ScriptedHost:
    """Calls an app with the events it was given, and keeps those it gets.

    Args:
        events: what `receive` gives, in order; afterwards it waits for `disconnect()`.
        on_send: awaited with each event before it is kept: to stall, to fail, to disconnect.
    """

    def __init__(
        self,
        events: Iterable[HTTPRequestSideEvent] = (),
        on_send: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        self.sent: list[Any] = []
        self.received = 0
        self._events = list(events)
        self._on_send = on_send
        self._gone = asyncio.Event()
        self._has_sent = asyncio.Event()
        self.receiving = 0

    async def receive(self) -> Any:
        assert not self.receiving, "the app called receive() while another call of it was waiting"
        self.receiving += 1
        try:
            if self._events:
                self.received += 1
                return self._events.pop(0)
            await self._gone.wait()
            return DISCONNECT
        finally:
            self.receiving -= 1

    async def send(self, event: Any) -> None:
        if self._on_send is not None:
            await self._on_send(event)
        self.sent.append(event)
        self._has_sent.set()

    def disconnect(self) -> None:
        self._gone.set()

    @property
    def is_gone(self) -> bool:
        return self._gone.is_set()

    async def until_sent(self, count: int = 1) -> None:
        """Wait until that many events have been sent."""
        while len(self.sent) < count:
            self._has_sent.clear()
            await self._has_sent.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False

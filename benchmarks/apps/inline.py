"""Each app called on the event loop itself, as Bridge does but for the threads: `…apps.inline:flask`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from benchmarks.apps import load
from bridge.core.call import run_call
from bridge.types import HTTPReceive, HTTPRequestSideEvent, HTTPResponseEvent, HTTPSend, Scope

__all__: list[str] = []

_HTTPApplication: TypeAlias = Callable[[Scope, HTTPReceive, HTTPSend], Awaitable[None]]


class _ListLink:
    """Keeps the events of a call; the request has no body."""

    on_loop = None

    def __init__(self) -> None:
        self.events: list[HTTPResponseEvent] = []

    def receive(self) -> HTTPRequestSideEvent:
        return {"type": "http.request", "body": b"", "more_body": False}

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        self.events.extend(events)

    def answer(self, produce: Callable[["_ListLink"], None]) -> None:
        produce(self)


def __getattr__(name: str) -> _HTTPApplication:
    app = load(name)

    async def inline(scope: Scope, receive: HTTPReceive, send: HTTPSend) -> None:
        if scope["type"] != "http":
            # The host takes it as "no lifespan" (ASGI spec, "Lifespan").
            raise ValueError(f"serves http only, not {scope['type']!r}")
        link = _ListLink()
        run_call(app, scope, {}, link)
        for event in link.events:
            await send(event)

    return inline

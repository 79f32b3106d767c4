"""Each app called on the event loop itself, as Bridge does but for the threads: `…apps.inline:flask`."""

from collections.abc import Awaitable, Callable
from typing import BinaryIO, TypeAlias

from benchmarks.apps import load
from bridge.asgi.environ import build_environ
from bridge.core.call import Call
from bridge.core.link import Head, Part
from bridge.types import HTTPReceive, HTTPSend, Scope

__all__: list[str] = []

_HTTPApplication: TypeAlias = Callable[[Scope, HTTPReceive, HTTPSend], Awaitable[None]]


class _ListLink:
    """Keeps the parts of a response; the request has no body."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def read(self) -> bytes:
        return b""

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        if head is not None or data or not more:
            self.parts.append((head, data, more))

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        return False


def __getattr__(name: str) -> _HTTPApplication:
    app = load(name)

    async def inline(scope: Scope, receive: HTTPReceive, send: HTTPSend) -> None:
        if scope["type"] != "http":
            # The host takes it as "no lifespan" (ASGI spec, "Lifespan").
            raise ValueError(f"serves http only, not {scope['type']!r}")
        link = _ListLink()
        Call(app, build_environ(scope, {})).run(link)
        for head, data, more in link.parts:
            if head is not None:
                await send(
                    {
                        "type": "http.response.start",
                        "status": head.status,
                        "headers": head.headers,
                        "trailers": False,
                    }
                )
            await send({"type": "http.response.body", "body": data, "more_body": more})

    return inline

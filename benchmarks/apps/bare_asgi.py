"""What the ASGI host does by itself: the answers of the Flask app, without Flask and without WSGI."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import parse_qs

from benchmarks.apps.events import due_times, event_text
from benchmarks.apps.page import html, rows
from benchmarks.apps.sizes import KIB, MIB
from bridge.types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

__all__ = ["app"]

_Handler: TypeAlias = Callable[[HTTPScope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]

_SMALL_CHUNK = b"s" * KIB
_WHOLE = b"w" * (10 * MIB)


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer the paths of `_HANDLERS`."""
    if scope["type"] != "http":
        # The host takes it as "no lifespan" (ASGI spec, "Lifespan").
        raise ValueError(f"serves http only, not {scope['type']!r}")
    await _HANDLERS[scope["path"]](scope, receive, send)


async def _hello(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await _answer(send, b"Hello, World!")


async def _page(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await _answer(send, html(rows()).encode())


async def _whole(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await _answer(send, _WHOLE)


async def _sleep(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await asyncio.sleep(0.05)
    await _answer(send, b"Hello, World!")


async def _upload(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    received = 0
    while (event := await receive())["type"] == "http.request":
        received += len(event["body"])
        if not event["more_body"]:
            break
    await _answer(send, b'{"received":%d}\n' % received)


async def _stream(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await _start(send, [(b"content-type", b"application/octet-stream")])
    for _ in range(100):
        await _chunk(send, _SMALL_CHUNK)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    interval = float(parse_qs(scope["query_string"])[b"interval"][0])
    leaving = asyncio.create_task(_until_client_leaves(receive))
    await _start(send, [(b"content-type", b"text/event-stream")])
    for due in due_times(interval):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if leaving.done():
            return
        await _chunk(send, event_text(due).encode())


async def _until_client_leaves(receive: ASGIReceiveCallable) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_HANDLERS: Mapping[str, _Handler] = {
    "/": _hello,
    "/page": _page,
    "/whole/static": _whole,
    "/sleep": _sleep,
    "/upload": _upload,
    "/stream": _stream,
    "/events": _events,
}


async def _answer(send: ASGISendCallable, body: bytes) -> None:
    length = str(len(body)).encode()
    await _start(send, [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", length)])
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _start(send: ASGISendCallable, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})


async def _chunk(send: ASGISendCallable, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})

"""What a call in a greenlet leaves behind: nothing, and nothing that the garbage collector has to find."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from flask import Flask, Response

from bridge import WSGIToASGI
from bridge.flask import EventSource, stream
from tests.asgi_host import ScriptedHost, body_event, http_scope

# What Werkzeug's routing leaves in a cycle for every match: a function that calls itself, and its variables.
_WERKZEUGS = {"function", "cell", "tuple", "set"}


def make_app() -> Flask:
    app = Flask(__name__)

    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0)

    @app.get("/at-once")
    async def at_once() -> str:
        return "done"

    @app.get("/later")
    async def later() -> str:
        await asyncio.sleep(0)
        return "done"

    @app.get("/never")
    async def never() -> str:
        await asyncio.sleep(60)
        return "never"

    @app.get("/stream")
    async def streaming() -> Response:
        return Response(stream(ticks()))

    @app.get("/events")
    async def events() -> Response:
        return EventSource(ticks())

    @app.get("/fails")
    async def fails() -> str:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    return app


async def to_its_end(adapter: WSGIToASGI, path: str) -> None:
    host = ScriptedHost([body_event()])
    await adapter(http_scope(path=path, raw_path=path.encode()), host.receive, host.send)


async def left(adapter: WSGIToASGI, path: str) -> None:
    """The client leaves a stream after its second part, and a view that waits, at once."""
    host = ScriptedHost([body_event()])
    scope = http_scope(path=path, raw_path=path.encode())
    call = asyncio.create_task(adapter(scope, host.receive, host.send))
    if path != "/never":
        await host.until_sent(3)
    host.disconnect()
    await asyncio.wait_for(call, 5)


async def cancelled(adapter: WSGIToASGI, path: str) -> None:
    host = ScriptedHost([body_event()])
    scope = http_scope(path=path, raw_path=path.encode())
    call = asyncio.create_task(adapter(scope, host.receive, host.send))
    if path != "/never":
        await host.until_sent(3)
    await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


Request = Callable[[WSGIToASGI, str], Awaitable[None]]

REQUESTS: dict[str, tuple[Request, str]] = {
    "answered at once": (to_its_end, "/at-once"),
    "answered later": (to_its_end, "/later"),
    "a view that fails": (to_its_end, "/fails"),
    "a view whose client leaves": (left, "/never"),
    "a view that the host cancels": (cancelled, "/never"),
    "a stream whose client leaves": (left, "/stream"),
    "a stream that the host cancels": (cancelled, "/stream"),
    "events whose client leaves": (left, "/events"),
}


@pytest.mark.parametrize(("request_", "path"), REQUESTS.values(), ids=REQUESTS)
async def test_nothing_is_left_to_the_garbage_collector(request_: Request, path: str) -> None:
    """A cycle holds the request, its body and its contexts until the collector comes, which then has to walk
    through them: at 1,000 connections, that took a quarter of the processor."""
    adapter = WSGIToASGI(make_app(), blocking_threshold=0)  # the watch's thread has objects of its own
    try:
        async with adapter.lifespan_context():
            await request_(adapter, path)  # imports, and fills what is kept
            gc.collect()
            gc.disable()
            for _ in range(3):
                await request_(adapter, path)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()  # now, as in `tests.runners.test_garbage`
        found: list[Any] = [each for each in gc.garbage if type(each).__name__ not in _WERKZEUGS]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert [type(each).__name__ for each in found] == []


async def test_greenlets_are_kept_up_to_a_number_and_the_others_end() -> None:
    """The stack of a greenlet is not looked into by the garbage collector: it has to end by itself."""
    # Imported here: the adapter does without greenlets where there is no async view.
    from bridge.runners.greenlets import CallGreenlet

    def count() -> int:
        gc.collect()
        # By their types: Django's settings, if another test has imported them, would load to say their class.
        return sum(issubclass(type(each), CallGreenlet) for each in gc.get_objects())

    adapter = WSGIToASGI(make_app())
    before = count()
    async with adapter.lifespan_context():
        await asyncio.gather(*[to_its_end(adapter, "/later") for _ in range(300)])
        assert 0 < count() - before <= 256
    assert count() == before


async def test_methods_of_any_length_are_not_kept() -> None:
    """A method is any token, of the client's choice."""
    adapter = WSGIToASGI(make_app())
    try:
        async with adapter.lifespan_context():
            await to_its_end(adapter, "/at-once")
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            for number in range(50):
                host = ScriptedHost([body_event()])
                await adapter(http_scope(method=f"M{number}" * 20_000), host.receive, host.send)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000

"""Requests that take too long."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask, Response

from bridge import WSGIToASGI
from bridge.errors import ApplicationError
from bridge.flask import stream
from bridge.server.request_timeout import RequestTimeout
from tests.asgi_host import ScriptedHost, body_event, http_scope

SECONDS = 0.1


@contextmanager
def served() -> Iterator[tuple[RequestTimeout, WSGIToASGI, list[str], threading.Event]]:
    """The limited app, its adapter, what happened in it, and what lets its threads go on."""
    app = Flask(__name__)
    happened: list[str] = []
    go_on = threading.Event()

    @app.get("/quick")
    def quick() -> str:
        return "done"

    @app.get("/thread")
    def in_thread() -> str:
        go_on.wait(10)
        happened.append("thread ended")
        return "done"

    @app.get("/loop")
    async def on_loop() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            happened.append("view cancelled")
        return "done"

    @app.get("/stream")
    async def streaming() -> Response:
        async def parts() -> AsyncIterator[str]:
            try:
                yield "one"
                await asyncio.sleep(60)
            finally:
                happened.append("stream ended")

        return Response(stream(parts()))

    @app.get("/own-timeout")
    async def own_timeout() -> str:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
        return "never"

    adapter = WSGIToASGI(app)
    try:
        yield RequestTimeout(adapter, SECONDS, lambda: adapter.busy_threads), adapter, happened, go_on
    finally:
        go_on.set()


async def get(app: RequestTimeout, path: str) -> ScriptedHost:
    host = ScriptedHost([body_event()])
    await asyncio.wait_for(app(http_scope(path=path, raw_path=path.encode()), host.receive, host.send), 5)
    return host


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/quick", 200, []),
        ("/loop", 504, ["view cancelled"]),
        ("/own-timeout", 500, []),
        ("/thread", 504, []),
    ],
)
async def test_requests(
    path: str, status: int, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with served() as (app, adapter, happened, go_on):
        async with adapter.lifespan_context():
            host = await get(app, path)
            assert host.status == status
            assert host.is_complete
            assert happened == expected
            busy = 1 if path == "/thread" else 0
            said = f"GET {path}: it took more than 0.1 s; answering 504. {busy} thread(s) are at work still"
            assert (said in caplog.text) == (status == 504)
            go_on.set()


async def test_a_response_that_has_begun_is_cut() -> None:
    with served() as (app, adapter, happened, _):
        async with adapter.lifespan_context():
            with pytest.raises(ApplicationError, match="cut short, as it took too long"):
                await get(app, "/stream")
    assert happened == ["stream ended"]

"""No request leaves work for the garbage collector: what it used is freed when it ends."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from bridge import WSGIToASGI
from tests.asgi_host import ScriptedHost, body_event, http_scope
from tests.server.wire import Asked, Wire, http_server

REQUESTS = 50


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"Hello"]


def fails(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError


def reads(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read()
    return hello(environ, start_response)


def is_cut(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    raise ValueError


def endless(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    while True:
        yield b"x" * 1000


class Host(ScriptedHost):
    leaves = False

    async def send(self, event: Any) -> None:
        await asyncio.sleep(0)
        await super().send(event)
        if self.leaves:
            self.disconnect()


@pytest.mark.parametrize(
    ("app", "ends"),
    [
        (app, ends)
        for app in (hello, fails, reads, is_cut, endless)
        for ends in ("by itself", "by a disconnect", "by being cancelled")
        if not (app is endless and ends == "by itself")
    ],
)
async def test_no_cycles(app: Any, ends: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="bridge")  # a kept log record would keep its traceback
    adapter = WSGIToASGI(app)

    async def request() -> None:
        host = Host([body_event(b"a", more=True), body_event(b"b", more=True), body_event(b"c")])
        host.leaves = ends == "by a disconnect"
        call = asyncio.create_task(adapter(http_scope(method="POST"), host.receive, host.send))
        if ends == "by being cancelled":
            if app is endless:
                await host.until_sent()
            call.cancel()
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()

    async with adapter.lifespan_context():
        for _ in range(5):
            await request()
    try:
        async with adapter.lifespan_context():
            gc.collect()
            gc.disable()
            for _ in range(REQUESTS):
                await request()
        # Without the global interpreter lock, what one thread has made and another has dropped is freed when
        # the first runs again (PEP 703, "Biased Reference Counting"): the workers have ended by now.
        found = gc.collect()
    finally:
        gc.enable()
    assert found < REQUESTS, f"{found / REQUESTS} objects of garbage a request"


SENT = {
    "nothing": b"",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "the last request": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    "what is refused": b"GET / HTTP/7.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
async def test_no_cycles_of_a_connection(sent: bytes) -> None:
    """Neither when the client leaves, nor when the server ends it."""
    config = uvicorn.Config(Asked(), http=http_server(), lifespan="off", log_config=None)
    config.load()
    protocol: Any = config.http_protocol_class
    state = ServerState()

    async def connect() -> None:
        wire = Wire()
        wire.protocol = protocol(config=config, server_state=state, app_state={})
        wire.protocol.connection_made(wire)
        if sent:
            wire.protocol.data_received(sent)
        while state.tasks:  # noqa: ASYNC110  # a set has no event
            await asyncio.sleep(0)
        wire.protocol.connection_lost(None)
        wire.protocol = None

    for _ in range(5):
        await connect()
    await asyncio.sleep(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(REQUESTS):
            await connect()
        found = gc.collect()
    finally:
        gc.enable()
    assert found < REQUESTS, f"{found / REQUESTS} objects of garbage a connection"

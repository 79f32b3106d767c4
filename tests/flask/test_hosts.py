"""Async views on real servers: many at once, clients that leave, and a loop that is blocked."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from flask import Flask, request

from bridge import WSGIToASGI
from bridge.flask import Bridge, EventSource
from bridge.testing import Client
from tests.hosts import Host


def make_app() -> Flask:
    app = Flask(__name__)
    bridge = Bridge(app)
    app.config["LEFT"] = threading.Event()

    @bridge.lifespan
    async def lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"gate": asyncio.Event(), "count": 0}

    @app.get("/wait")
    async def wait() -> str:
        await asyncio.sleep(0.05)
        return request.args["number"]

    @app.post("/upload")
    async def upload() -> str:
        await asyncio.sleep(0)
        return str(len(request.get_data()))

    @app.get("/events")
    async def events() -> EventSource:
        async def ticks() -> AsyncIterator[str]:
            try:
                while True:
                    yield str(time.monotonic())
                    await asyncio.sleep(0.01)
            finally:
                app.config["LEFT"].set()

        return EventSource(ticks())

    @app.get("/for-ever")
    async def for_ever() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            app.config["LEFT"].set()
        return "never"

    return app


def test_many_at_once(host: Host) -> None:
    async def ask_all(url: str) -> list[str]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
            answers = await asyncio.gather(
                *(client.get("/wait", params={"number": number}) for number in range(300))
            )
        return [answer.text for answer in answers]

    with host(WSGIToASGI(make_app(), threads=1)) as server:
        assert asyncio.run(ask_all(server.url)) == [str(number) for number in range(300)]


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_uploads(host: Host, size: int) -> None:
    with host(WSGIToASGI(make_app())) as server, httpx.Client(base_url=server.url) as client:
        assert client.post("/upload", content=b"x" * size).text == str(size)


@pytest.mark.parametrize("path", ["/events", "/for-ever"])
def test_a_client_that_leaves(host: Host, path: str, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    with host(WSGIToASGI(app)) as server:
        client = server.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if path == "/events":
            client.recv(1000)
        else:
            time.sleep(0.1)  # until the view waits: nothing else tells
        client.shutdown(socket.SHUT_RDWR)
        client.close()
        assert app.config["LEFT"].wait(5)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_events_arrive_as_they_are_made(host: Host) -> None:
    with (
        host(WSGIToASGI(make_app())) as server,
        httpx.Client(base_url=server.url) as client,
        client.stream("GET", "/events") as response,
    ):
        lines = (line for line in response.iter_lines() if line)
        for _ in range(5):
            due = float(next(lines).removeprefix("data: "))
            assert time.monotonic() - due < 1


# A blocked loop


async def test_a_view_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)

    @app.get("/")
    async def careless() -> str:
        time.sleep(0.6)  # noqa: ASYNC251  # that is the point
        return "x"

    async with Client(WSGIToASGI(app, blocking_threshold=0.2)) as client:
        await client.get("/")
    (message,) = [record.getMessage() for record in caplog.records if "blocked" in record.getMessage()]
    assert "careless" in message
    assert "test_hosts.py:" in message


@pytest.mark.parametrize(
    ("debug", "threshold", "warned"),
    [(True, None, True), (False, None, True), (True, 0, False), (False, 0, False)],
)
async def test_blocking_is_looked_for_by_default(
    debug: bool, threshold: float | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask(__name__)
    app.debug = debug

    @app.get("/")
    async def careless() -> str:
        time.sleep(1)  # noqa: ASYNC251  # that is the point
        return "x"

    async with Client(WSGIToASGI(app, blocking_threshold=threshold)) as client:
        await client.get("/")
    assert ("blocked" in caplog.text) is warned


async def test_waiting_is_not_blocking(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0.7)
        return "x"

    async with Client(WSGIToASGI(app, blocking_threshold=0.5)) as client:
        await client.get("/")
    assert "blocked" not in caplog.text


# Without Bridge


def test_flasks_test_client_after_bridge_has_served_the_app() -> None:
    """What Bridge replaces on the app does, elsewhere, what it replaced."""
    app = make_app()
    app.add_url_rule("/plain", view_func=lambda: "plain")

    async def serve() -> str:
        async with Client(app) as client:
            return (await client.get("/wait?number=7")).text

    assert asyncio.run(serve()) == "7"
    with app.test_client() as client:
        assert client.get("/wait?number=8").text == "8"
        assert client.get("/plain").text == "plain"
        assert client.get("/nothing").status_code == 404
    assert asyncio.run(serve()) == "7"

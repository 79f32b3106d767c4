"""The header Server-Timing: what it says, of which apps."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from bridge import WSGIToASGI
from bridge.core.link import Head
from bridge.server.hooks.server_timing import ServerTiming
from bridge.testing import Client
from tests.server.command import Serving
from tests.server.exchanges import Driven, HookedApp

NUMBER = r"dur=\d+\.\d"


def flask_app() -> Flask:
    app = Flask(__name__)

    @app.get("/thread")
    def in_thread() -> str:
        return "done"

    @app.get("/loop")
    async def on_loop() -> str:
        return "done"

    @app.get("/own")
    def own() -> tuple[str, dict[str, str]]:
        return "done", {"Server-Timing": "db;dur=5"}

    return app


CASES: list[tuple[str, list[str]]] = [
    ("/thread", [f"queue;{NUMBER}, app;{NUMBER}"]),
    ("/loop", [f"app;{NUMBER}"]),
    ("/own", [r"db;dur=5", f"queue;{NUMBER}, app;{NUMBER}"]),
    ("/nowhere", [f"queue;{NUMBER}, app;{NUMBER}"]),
]


def timed(app: WSGIToASGI) -> Any:
    return HookedApp(app, ServerTiming(has_threads=True))


async def timing_of(app: Flask, path: str) -> list[str]:
    async with Client(timed(WSGIToASGI(app)), interface="asgi") as client:
        return (await client.get(path)).headers.get_list("server-timing")


@pytest.mark.parametrize(("path", "expected"), CASES)
async def test_what_it_says(path: str, expected: list[str]) -> None:
    found = await timing_of(flask_app(), path)
    assert len(found) == len(expected)
    for value, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(pattern, value)


def test_apps_that_are_not_wsgi() -> None:
    driven = Driven(ServerTiming(has_threads=False))
    driven.exchange.begun -= 0.05
    head = Head(200, b"", [(b"a", b"b")])
    driven.send(head)
    before, (name, value) = driven.fields
    assert (before, name) == ((b"a", b"b"), b"server-timing")
    found = re.fullmatch(r"app;dur=(\d+\.\d)", value.decode())
    assert found is not None
    assert float(found[1]) >= 50
    assert head.headers == [(b"a", b"b")]


async def test_a_request_that_no_thread_took() -> None:
    """The app has not been called, so nothing is said of it."""
    begun, go_on = threading.Event(), threading.Event()
    app = Flask(__name__)

    @app.get("/")
    def busy() -> str:
        begun.set()
        go_on.wait()
        return "done"

    hooked = timed(WSGIToASGI(app, threads=1, queue_length=0))
    async with Client(hooked, interface="asgi") as client, asyncio.TaskGroup() as group:
        group.create_task(client.get("/"))
        await asyncio.to_thread(begun.wait)
        refused = await client.get("/")
        go_on.set()
    assert refused.status_code == 503
    assert re.fullmatch(f"queue;{NUMBER}", refused.headers["server-timing"])


async def test_durations() -> None:
    """In milliseconds, from the call to the beginning of the response."""
    app = Flask(__name__)

    @app.get("/")
    def slow() -> Iterator[str]:
        time.sleep(0.05)

        def parts() -> Iterator[str]:
            yield "one"
            time.sleep(0.2)
            yield "two"

        return parts()

    (value,) = await timing_of(app, "/")
    found = re.fullmatch(r"queue;dur=(.*), app;dur=(.*)", value)
    assert found is not None
    assert 50 <= float(found[2]) < 200


def test_the_option() -> None:
    with Serving("shop:app", "--port", "0", "--server-timing") as serving:
        assert re.fullmatch(f"queue;{NUMBER}, app;{NUMBER}", serving.get("/").headers["Server-Timing"])
        assert serving.get("/-/health/live").headers["Server-Timing"] is None


def test_without_the_option() -> None:
    with Serving("shop:app", "--port", "0") as serving:
        assert serving.get("/").headers["Server-Timing"] is None


def test_with_an_access_log_and_metrics() -> None:
    options = ("--server-timing", "--metrics-port", "0", "--access-log-format", "%({server-timing}o)s %(W)s")
    with Serving("shop:app", "--port", "0", *options) as serving:
        said = serving.get("/").headers["Server-Timing"]
        serving.wait_for_access_log(f"(?m)^{re.escape(said)} {re.findall('queue;dur=(.*?),', said)[0]}$")

"""Requests that wait for a thread: how many may, for how long, and what the others get."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.testing import Client


class BusyApp:
    """A WSGI app that is busy until it is told to go on."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.paths: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.paths.append(environ["PATH_INFO"])
        self.begun.release()
        self.go_on.wait()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]


@asynccontextmanager
async def busy(**options: Any) -> AsyncIterator[tuple[BusyApp, Client, "asyncio.Task[Any]"]]:
    """An app whose only thread is busy with a request, a client, and the task of that request."""
    app = BusyApp()
    async with Client(WSGIToASGI(app, threads=1, **options)) as client:
        first = asyncio.create_task(client.get("/first"))
        assert await asyncio.to_thread(app.begun.acquire, timeout=5)
        try:
            yield app, client, first
        finally:
            app.go_on.set()
            await first


async def begin(client: Client, path: str) -> "asyncio.Task[Any]":
    """A request that has reached the adapter."""
    task = asyncio.create_task(client.get(path))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def test_one_too_many_is_answered_503_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with busy(queue_length=1) as (app, client, first):
        second = await begin(client, "/second")
        third = await client.get("/third")
        fourth = await client.get("/fourth")
        assert not second.done()
        app.go_on.set()
        assert [(await each).text for each in (first, second)] == ["/first", "/second"]
    for refused in (third, fourth):
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
    assert app.paths == ["/first", "/second"]
    (record,) = [record for record in caplog.records if record.name == "bridge"]
    assert "all threads are busy" in record.getMessage()


async def test_nobody_may_wait() -> None:
    async with busy(queue_length=0) as (app, client, first):
        assert (await client.get("/second")).status_code == 503
        app.go_on.set()
        assert (await first).text == "/first"


async def test_who_has_waited_too_long_is_answered_503() -> None:
    async with busy(queue_timeout=0.05) as (app, client, first):
        assert (await client.get("/second")).status_code == 503
        app.go_on.set()
        assert (await first).text == "/first"
        assert (await client.get("/third")).text == "/third"
    assert app.paths == ["/first", "/third"]


async def test_the_wait_is_for_a_thread_and_not_for_the_answer() -> None:
    async with busy(queue_timeout=0.05) as (app, _, first):
        await asyncio.sleep(0.1)
        assert not first.done()
        app.go_on.set()
        assert (await first).text == "/first"


async def test_without_limits_all_wait() -> None:
    async with busy() as (app, client, _):
        tasks = [await begin(client, f"/{number}") for number in range(50)]
        app.go_on.set()
        assert [(await task).text for task in tasks] == [f"/{number}" for number in range(50)]


async def test_a_client_that_leaves_the_queue() -> None:
    """Those behind it are served as ever."""
    async with busy(queue_timeout=5) as (app, client, first):
        second = await begin(client, "/second")
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        app.go_on.set()
        assert (await first).text == "/first"
        assert (await client.get("/third")).text == "/third"


@pytest.mark.parametrize("length", [-1, -100])
def test_a_queue_has_no_negative_length(length: int) -> None:
    with pytest.raises(ValueError, match="queue_length must be at least 0"):
        WSGIToASGI(BusyApp(), queue_length=length)

"""The demos do what they say on top."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from bridge.testing import Client
from demos import async_views, hello, streaming


async def test_hello() -> None:
    async with Client(hello.app) as client:
        assert (await client.get("/")).text == "Hello, World!"


async def test_the_export_has_every_row() -> None:
    async with Client(streaming.app) as client:
        lines = (await client.get("/export", params={"rows": 5000})).text.splitlines()
    assert (len(lines), lines[0], lines[-1]) == (5000, "0,0,row 0", "4999,24990001,row 4999")


async def test_an_upload_is_hashed_while_it_arrives() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 50_000

    async with Client(streaming.app) as client:
        answer = (await client.put("/hash", content=pieces())).json()
    assert answer == {"bytes": 1_000_000, "sha256": hashlib.sha256(b"x" * 1_000_000).hexdigest()}


async def test_the_page_and_the_events_begin_at_once() -> None:
    async with Client(streaming.app) as client:
        for path, start in (("/", "<!doctype html>"), ("/events", "event: tick")):
            async with client.stream("GET", path) as response:
                assert (await anext(response.aiter_text())).startswith(start)


async def test_ten_slow_answers_take_the_time_of_one() -> None:
    async with Client(async_views.app) as client:
        answer = (await client.get("/fan-out")).json()
    assert answer["answers"] == [f"answer to /{number}" for number in range(10)]
    assert answer["seconds"] < 10 * 0.3


async def test_async_views() -> None:
    async with Client(async_views.app) as client:
        assert "EventSource" in (await client.get("/")).text
        assert (await client.get("/legacy")).text == "answer to /legacy"
        assert (await client.get("/tokens?prompt=why+not")).text == "You asked: why not … who knows? "
        async with client.stream("GET", "/clock") as response:
            assert (await anext(response.aiter_text())).startswith("event: tick\ndata: ")


async def test_the_receipt_is_sent_before_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    async with Client(async_views.app) as client:
        assert (await client.post("/orders?to=me")).status_code == 202
        assert "a receipt" not in caplog.text
    assert "a receipt for me" in caplog.text

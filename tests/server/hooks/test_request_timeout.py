"""Requests that take too long."""

import asyncio
import http.client
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.core.link import Head, Part
from bridge.server.hooks.request_id import REQUEST_ID, RequestIdFilter
from bridge.server.hooks.request_timeout import RequestTimeout
from tests.server.command import Serving
from tests.server.exchanges import Driven, make_request

SECONDS = 0.02

BODY = b"Gateway Timeout: the server took too long."


def answer(body: bytes) -> Part:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(BODY))]
    return Head(504, b"", headers), body, False


def begin(hook: RequestTimeout, method: str = "GET") -> Driven:
    driven = Driven(hook, request=make_request(method, b"/sl%C3%B6w", b"secret=1"))
    driven.begin()
    return driven


@pytest.mark.parametrize(("method", "body"), [("GET", BODY), ("HEAD", b"")])
async def test_a_request_that_is_not_answered_in_time(
    method: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    driven = begin(RequestTimeout(SECONDS, lambda: 3), method)
    await driven.until_cut()
    driven.finish()
    assert driven.cuts == [answer(body)]
    assert caplog.messages == [
        rf"{method} /sl\xf6w: it took more than 0.02 s; answering 504. Busy threads: 3"
    ]


async def test_a_response_that_has_begun_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    driven = begin(RequestTimeout(SECONDS, lambda: 0))
    driven.send(Head(200, b"", []), b"one", more=True)
    await driven.until_cut()
    driven.finish()
    assert len(driven.cuts) == 1
    assert caplog.messages == [
        r"GET /sl\xf6w: it took more than 0.02 s; cutting the connection. Busy threads: 0"
    ]


async def test_what_ends_in_time_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the response has ended, and only the call goes on."""
    hook = RequestTimeout(SECONDS, lambda: 0)
    ended, at_work, left, refused = (begin(hook) for _ in range(4))
    ended.respond()
    ended.finish()
    at_work.respond()
    left.leave()
    left.finish()
    refused.refuse(413)
    Driven(hook).refuse(431)  # it has never begun
    last = begin(hook)
    await last.until_cut()  # the time of the others was up before
    last.finish()
    at_work.finish()
    assert [each.cuts for each in (ended, at_work, left, refused)] == [[]] * 4
    assert len(caplog.messages) == 1


@pytest.fixture
def ids() -> Iterator[list[str]]:
    """The request ids of what is logged."""
    found: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(vars(record)["request_id"])

    handler = Keeping()
    handler.addFilter(RequestIdFilter())
    logging.getLogger("bridge").addHandler(handler)
    yield found
    logging.getLogger("bridge").removeHandler(handler)


async def test_whose_time_was_up_is_said_with_its_id(ids: list[str]) -> None:
    """Also while a thread is in the request's context."""
    driven = begin(RequestTimeout(SECONDS, lambda: 0))
    context = driven.exchange.context
    context.run(REQUEST_ID.set, "id-1")
    loop = asyncio.get_running_loop()
    cut = asyncio.run_coroutine_threadsafe(driven.until_cut(), loop)
    await asyncio.to_thread(context.run, cut.result)
    assert ids == ["id-1"]
    driven.finish()


# Served

APP = """
import asyncio
import sys
from pathlib import Path

from flask import Flask, Response, request

from bridge.flask import stream

app = Flask(__name__)


def say(what):
    print(what, file=sys.stderr, flush=True)


@app.get("/quick")
def quick():
    return "done"


@app.get("/thread")
def in_thread():
    Path(request.args["pipe"]).read_text()
    say("thread ended")
    return "done"


@app.get("/loop")
async def on_loop():
    try:
        await asyncio.sleep(60)
    finally:
        say("view cancelled")
    return "done"


@app.get("/stream")
async def streaming():
    async def parts():
        try:
            yield "one"
            await asyncio.sleep(60)
        finally:
            say("stream ended")

    return Response(stream(parts()))


@app.get("/own-timeout")
async def own_timeout():
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)
    return "never"
"""


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "app.py").write_text(APP)
    with Serving("app:app", "--port", "0", "--timeout-request", "0.5", cwd=tmp_path) as serving:
        yield serving


def said_of(path: str, threads: int = 0, outcome: str = "answering 504") -> str:
    return rf"GET {path}: it took more than 0\.5 s; {outcome}\. Busy threads: {threads}$"


def test_a_view_on_the_loop_is_cancelled(serving: Serving) -> None:
    assert serving.get("/quick").text == "done"
    assert serving.get("/own-timeout").status == 500  # the app's own
    assert "took more than" not in serving.stderr
    answer = serving.get("/loop")
    assert (answer.status, answer.text) == (504, BODY.decode())
    serving.wait_for("^view cancelled$")
    serving.wait_for(said_of("/loop"))


def test_a_thread_is_left_at_work(serving: Serving, pipe: Path) -> None:
    assert serving.get(f"/thread?pipe={pipe}").status == 504
    serving.wait_for(said_of("/thread", threads=1))
    pipe.write_text("")
    serving.wait_for("^thread ended$")


def test_a_stream_is_cut(serving: Serving) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        serving.get("/stream")
    assert caught.value.partial == b"one"
    serving.wait_for("^stream ended$")
    serving.wait_for(said_of("/stream", outcome="cutting the connection"))

"""Async iterables as responses: `stream` and `EventSource`, with and without Bridge."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request

from bridge import WSGIToASGI
from bridge.errors import ClientDisconnected
from bridge.flask import EventSource, ServerSentEvent, stream
from bridge.flask.events import encode_event
from bridge.testing import Client
from tests.asgi_host import ScriptedHost, body_event, http_scope
from tests.flask.places import place

MODES = ["async view", "plain view", "thread mode"]


def serve(answer: Any, mode: str) -> WSGIToASGI:
    """An app whose view returns what `answer()` does."""
    app = Flask(__name__)

    async def asynchronous() -> Any:
        return answer()

    view = answer if mode == "plain view" else asynchronous
    app.add_url_rule("/", "view", view, methods=["GET", "POST"])
    return WSGIToASGI(app, async_views="thread" if mode == "thread mode" else "loop")


async def words() -> AsyncIterator[str]:
    for word in ("one ", "two ", "three"):
        yield word
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_is_sent_as_it_comes(mode: str) -> None:
    go_on = threading.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one "
        await asyncio.to_thread(go_on.wait, 5)
        yield b"two"

    async with (
        Client(serve(lambda: Response(stream(chunks())), mode)) as client,
        client.stream("GET", "/") as response,
    ):
        parts = response.aiter_raw()
        assert await anext(parts) == b"one "
        go_on.set()
        assert b"".join([part async for part in parts]) == b"two"


@pytest.mark.parametrize("mode", MODES)
async def test_it_runs_with_the_request_context_where_the_view_has_its_loop(mode: str) -> None:
    expected = "thread" if mode == "thread mode" else "loop"

    async def chunks() -> AsyncIterator[str]:
        for _ in range(3):
            yield f"{place()} {request.args['word']} "
            await asyncio.sleep(0)

    async with Client(serve(lambda: Response(stream(chunks())), mode)) as client:
        assert (await client.get("/?word=x")).text == f"{expected} x " * 3


@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_runs_in_one_task(mode: str) -> None:
    """What it enters, such as a timeout, belongs to one, and may span its steps."""

    async def chunks() -> AsyncIterator[str]:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            for letter in "abc":
                yield letter
                await asyncio.sleep(0)

    async with Client(serve(lambda: Response(stream(chunks())), mode)) as client:
        assert (await client.get("/")).text == "abc"


@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_that_fails(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    async def chunks() -> AsyncIterator[str]:
        yield "x"
        raise ZeroDivisionError("in the stream")

    adapter = serve(lambda: Response(stream(chunks())), mode)
    async with Client(adapter, raise_app_exceptions=False) as client:
        with pytest.raises(Exception, match="in the middle of its response"):
            await client.get("/")
    assert "in the stream" in caplog.text


class Watched:
    """An endless iterable, and whether it has been cleaned up."""

    def __init__(self) -> None:
        self.cleaned_up = asyncio.Event()

    async def chunks(self) -> AsyncIterator[str]:
        try:
            yield "x"
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            self.cleaned_up.set()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ping", ["stream", None, 15.0], ids=["stream", "events", "events with pings"])
async def test_a_client_that_leaves_cancels_what_the_iterable_awaits(
    mode: str, ping: Any, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched()

    def answer() -> Response:
        if ping == "stream":
            return Response(stream(watched.chunks()))
        return EventSource(watched.chunks(), ping=ping)

    adapter = serve(answer, mode)
    async with adapter.lifespan_context():
        host = ScriptedHost([body_event()])
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        host.disconnect()
        await asyncio.wait_for(watched.cleaned_up.wait(), 5)
        await asyncio.wait_for(call, 5)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("mode", ["async view", "plain view"])
@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_host_that_cancels_again_while_events_are_cleaned_up(mode: str, cancellations: int) -> None:
    """Nothing is logged as never retrieved; see `nothing_lost_on_a_loop`."""
    cleaning_up, go_on, cleaned_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "x"
            await asyncio.sleep(60)
        finally:
            cleaning_up.set()
            try:
                await go_on.wait()
            finally:
                cleaned_up.set()

    adapter = serve(lambda: EventSource(events()), mode)
    async with adapter.lifespan_context():
        host = ScriptedHost([body_event()])
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        host.disconnect()
        await asyncio.wait_for(cleaning_up.wait(), 5)
        for _ in range(cancellations):
            call.cancel()
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(cleaned_up.wait(), 5)
        await asyncio.wait([call], timeout=5)


async def test_a_client_that_has_left_gets_no_more() -> None:
    """No event later than the loop's next turn, on the loop."""
    made = 0

    async def chunks() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x"
            await asyncio.sleep(0.001)

    adapter = serve(lambda: Response(stream(chunks())), "async view")
    host = ScriptedHost([body_event()])
    call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
    await host.until_sent(3)
    host.disconnect()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = made
    await asyncio.wait_for(call, 5)
    assert made == before


async def test_a_client_may_leave_before_the_iterable_begins() -> None:
    has_left = threading.Event()
    ends: list[BaseException] = []

    def chunks() -> Iterator[bytes]:
        yield b"x"
        has_left.wait(5)
        try:
            yield from stream(words())
        except BaseException as error:
            ends.append(error)
            raise

    adapter = serve(lambda: Response(chunks()), "plain view")
    async with adapter.lifespan_context():
        host = ScriptedHost([body_event()])
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        host.disconnect()
        await asyncio.sleep(0.1)
        has_left.set()
        await asyncio.wait_for(call, 5)
    assert [type(end) for end in ends] == [ClientDisconnected]


@pytest.mark.parametrize("mode", MODES)
async def test_a_slow_client_holds_the_iterable_back(mode: str) -> None:
    made = 0
    stalled = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 10_000

    async def stall(event: Any) -> None:
        if event["type"] == "http.response.body":
            await stalled.wait()

    adapter = serve(lambda: Response(stream(chunks())), mode)
    async with adapter.lifespan_context():
        host = ScriptedHost([body_event()], on_send=stall)
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        before = -1
        while made != before:
            before = made
            await asyncio.sleep(0.05)
        assert made < 20
        host.disconnect()
        stalled.set()
        await asyncio.wait_for(call, 5)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_an_iterable_that_is_not_begun_need_not_end(method: str) -> None:
    begun = []

    async def chunks() -> AsyncIterator[str]:
        begun.append(True)
        yield "x"

    async with Client(serve(lambda: Response(stream(chunks())), "async view")) as client:
        assert (await client.request(method, "/")).status_code == 200
    assert begun == ([True] if method == "GET" else [])


@pytest.mark.parametrize("value", ["text", [b"x"], words, None])
def test_what_is_no_async_iterable(value: Any) -> None:
    with pytest.raises(TypeError, match="async iterable"):
        stream(value)
    with pytest.raises(TypeError, match="async iterable"):
        EventSource(value)


async def test_a_server_that_stops_ends_open_event_streams() -> None:
    watched = Watched()
    adapter = serve(lambda: EventSource(watched.chunks()), "async view")
    async with adapter.lifespan_context():
        host = ScriptedHost([body_event()])
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        adapter.end_streams()
        await asyncio.wait_for(call, 5)
    assert host.is_complete
    assert watched.cleaned_up.is_set()


# Events


@pytest.mark.parametrize("mode", MODES)
async def test_an_event_source(mode: str) -> None:
    async def events() -> AsyncIterator[Any]:
        yield "hello"
        yield {"event": "tick", "data": {"n": 1}, "id": request.headers.get("Last-Event-ID")}
        yield ServerSentEvent("two\nlines", retry=1000)

    async with Client(serve(lambda: EventSource(events()), mode)) as client:
        response = await client.get("/", headers={"Last-Event-ID": "41"})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.text == (
        'data: hello\n\nevent: tick\nid: 41\ndata: {"n": 1}\n\nretry: 1000\ndata: two\ndata: lines\n\n'
    )


async def test_pings_while_no_event_comes() -> None:
    """Waiting for the next event goes on meanwhile."""

    async def events() -> AsyncIterator[str]:
        yield "first"
        await asyncio.sleep(0.2)
        yield "second"

    async with Client(serve(lambda: EventSource(events(), ping=0.03), "async view")) as client:
        text = (await client.get("/")).text
    assert text.startswith("data: first\n\n: ping\n\n: ping\n\n")
    assert text.endswith(": ping\n\ndata: second\n\n")


EVENTS: dict[str, tuple[Any, str]] = {
    "text": ("hello", "data: hello\n\n"),
    "empty text": ("", "data: \n\n"),
    "all line ends": ("a\nb\rc\r\nd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
    "a line end at the end": ("a\n", "data: a\ndata: \n\n"),
    "a leading space is kept": (" a", "data:  a\n\n"),
    "a colon": ("a: b", "data: a: b\n\n"),
    "other line ends of Unicode are none": ("a\u2028b\x0bc", "data: a\u2028b\x0bc\n\n"),
    "JSON": ({"data": [1, None]}, "data: [1, null]\n\n"),
    "a type without data": ({"event": "x"}, "event: x\n\n"),
    "everything": (
        ServerSentEvent("d", event="e", id="i", retry=5),
        "event: e\nid: i\nretry: 5\ndata: d\n\n",
    ),
    "a number as id": ({"id": 0, "data": "x"}, "id: 0\ndata: x\n\n"),
    "an empty id takes the last one back": ({"id": "", "data": "x"}, "id: \ndata: x\n\n"),
}


@pytest.mark.parametrize(("event", "text"), EVENTS.values(), ids=EVENTS)
def test_events_by_the_standard(event: Any, text: str) -> None:
    """WHATWG HTML, 9.2.6 "Interpreting an event stream"."""
    assert encode_event(event) == text


WRONG_EVENTS: dict[str, tuple[Any, type[Exception]]] = {
    "a number": (7, TypeError),
    "bytes": (b"x", TypeError),
    "unknown fields": ({"date": "x"}, TypeError),
    "a type that is no text": ({"event": 1}, TypeError),
    "an id of another type": ({"id": [1]}, TypeError),
    "a retry that is no number": ({"retry": "1"}, TypeError),
    "a type of two lines": ({"event": "a\nb"}, ValueError),
    "an id of two lines": ({"id": "a\rb"}, ValueError),
    "an id with NUL": ({"id": "a\0b"}, ValueError),
    "a negative retry": ({"retry": -1}, ValueError),
}


@pytest.mark.parametrize(("event", "error"), WRONG_EVENTS.values(), ids=WRONG_EVENTS)
def test_what_is_no_event(event: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_event(event)


@pytest.mark.parametrize("mode", MODES)
async def test_a_bad_event_is_one_entry_with_the_line_that_yields_it(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def ticks() -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield {"id": 1.5}

    async with Client(serve(lambda: EventSource(ticks()), mode)) as client:
        assert (await client.get("/")).status_code == 500
    (entry,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert entry.exc_info is not None
    error = entry.exc_info[1]
    assert error is not None
    assert str(error) == "the id of a server-sent event is of type str or int, not float: 1.5"
    line = ticks.__code__.co_firstlineno + 2
    assert error.__notes__ == [f"the event was yielded by {ticks.__qualname__}, {__file__}:{line}"]


# Without Bridge


def outside(answer: Any, *, asynchronous: bool) -> Flask:
    app = Flask(__name__)

    async def view() -> Any:
        return answer()

    app.add_url_rule("/", view_func=view if asynchronous else answer, endpoint="view")
    return app


@pytest.mark.parametrize("asynchronous", [True, False])
def test_streams_in_flasks_test_client(asynchronous: bool) -> None:
    app = outside(lambda: Response(stream(words())), asynchronous=asynchronous)
    with app.test_client() as client:
        assert client.get("/").text == "one two three"


@pytest.mark.parametrize("asynchronous", [True, False])
def test_events_in_flasks_test_client(asynchronous: bool) -> None:
    app = outside(lambda: EventSource(words()), asynchronous=asynchronous)
    with app.test_client() as client:
        assert client.get("/").text == "data: one \n\ndata: two \n\ndata: three\n\n"


def test_a_stream_that_is_left_in_the_middle_without_bridge() -> None:
    ended = []

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            ended.append(True)

    app = outside(lambda: Response(stream(chunks())), asynchronous=False)
    with app.test_client() as client:
        response = client.get("/", buffered=False)
        parts: Iterator[bytes] = iter(response.response)  # type: ignore[arg-type]  # bytes, of a server
        assert next(parts) == b"one"
        response.close()
    assert ended == [True]


@pytest.mark.parametrize("mode", MODES)
async def test_a_plain_generator_reads_a_body_that_comes_while_it_is_sent(mode: str) -> None:
    """As one that echoes does; beside an async view on the loop a worker thread runs it."""
    is_sending = asyncio.Event()
    lines = [b"line %d\n" % number for number in range(20)]

    def answer() -> Response:
        body = request.environ["wsgi.input"]

        def chunks() -> Iterator[bytes]:
            yield b"start\n"
            yield from body

        return Response(chunks())

    async def receive() -> Any:
        if len(waiting) < len(lines):  # the first line comes with the head
            await is_sending.wait()
            await asyncio.sleep(0)
        if waiting:
            return body_event(waiting.pop(0), more=bool(waiting))
        return await asyncio.Event().wait()

    async def send(event: Any) -> None:
        sent.append(event.get("body", b""))
        is_sending.set()

    waiting = list(lines)
    sent: list[bytes] = []
    app = serve(answer, mode)
    async with app.lifespan_context(), asyncio.timeout(10):
        await app(http_scope(method="POST"), receive, send)
    assert b"".join(sent) == b"".join([b"start\n", *lines])

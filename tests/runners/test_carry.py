"""A call in a thread, through the adapter, on a host in the test's hands."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from bridge import ClientDisconnected, WSGIToASGI, run_on_loop
from tests.asgi_host import ScriptedHost, body_event, http_scope

HEADERS = [("Content-Type", "text/plain")]


async def test_thousands_of_calls_send_each_event_once() -> None:
    """Found a race: the worker filled the list of parts while the loop looked at it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", HEADERS)
        return [b"Hello"]

    adapter = WSGIToASGI(app, threads=8)

    async def client() -> None:
        for _ in range(150):
            host = ScriptedHost()
            await adapter(http_scope(), host.receive, host.send)
            assert [event["type"] for event in host.sent] == ["http.response.start", "http.response.body"]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        async with adapter.lifespan_context():
            await asyncio.gather(*(client() for _ in range(32)))
    finally:
        sys.setswitchinterval(interval)


async def test_a_thread_for_plain_code_of_a_coroutine_ends_with_its_call() -> None:
    """Also where a thread has, and holds, the context of whoever starts it (free-threaded Pythons)."""
    threads: list[threading.Thread] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        threads.append(run_on_loop(sync_to_async(threading.current_thread)()))
        start_response("200 OK", HEADERS)
        return [b"x"]

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        for _ in range(3):
            host = ScriptedHost()
            await adapter(http_scope(), host.receive, host.send)
            threads[-1].join()
    assert len(set(threads)) == 3


async def test_chunks_arrive_in_order_whatever_the_timing() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", HEADERS)
        for number in range(5000):
            yield b"%d\n" % number

    adapter = WSGIToASGI(app, buffer_size=1024)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        async with adapter.lifespan_context():
            host = ScriptedHost()
            await adapter(http_scope(), host.receive, host.send)
    finally:
        sys.setswitchinterval(interval)
    assert host.body == b"".join(b"%d\n" % number for number in range(5000))
    assert host.is_complete


@pytest.mark.parametrize("size", [1, 100, 10_000, 200_000])
async def test_a_stalled_client_holds_the_app_back_after_buffer_size_and_one_chunk(size: int) -> None:
    produced = 0
    stalled = asyncio.Event()
    release = asyncio.Event()
    waiting = threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            nonlocal produced
            for _ in range(500_000 // size):
                produced += size
                yield b"x" * size

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", HEADERS)
        return Body()

    async def stall(event: Any) -> None:
        if event["type"] == "http.response.body" and not release.is_set():
            stalled.set()
            await release.wait()

    adapter = WSGIToASGI(app, buffer_size=50_000)
    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=stall)
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await stalled.wait()
        before = -1
        while produced != before:  # until the app has come to rest
            before = produced
            await asyncio.to_thread(waiting.wait, 0.05)
        assert produced <= 50_000 + size
        release.set()
        await call
    assert len(host.body) == produced == 500_000 // size * size


async def test_small_chunks_are_joined_and_large_ones_sliced() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", HEADERS)
        yield b"y" * 1_000_000

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
    sizes = [len(event["body"]) for event in host.sent[1:]]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 262_144


@pytest.mark.parametrize("reading", ["before the first chunk", "between two chunks"])
async def test_a_body_is_read_while_the_client_takes_nothing(reading: str) -> None:
    """A client may send all of its request before it reads any of the answer."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", HEADERS)
        yield body.read(10)
        yield body.read()

    everything_received = asyncio.Event()

    class Host(ScriptedHost):
        async def receive(self) -> Any:
            event = await super().receive()
            if event.get("more_body") is False:
                everything_received.set()
            return event

    async def stall(event: Any) -> None:
        if event["type"] == "http.response.body":
            await everything_received.wait()

    adapter = WSGIToASGI(app)
    first = 5 if reading == "before the first chunk" else 10
    async with adapter.lifespan_context():
        host = Host(
            [body_event(b"x" * first, more=True), *[body_event(b"x" * 100_000, more=True)] * 5, body_event()],
            on_send=stall,
        )
        async with asyncio.timeout(10):
            await adapter(http_scope(method="POST"), host.receive, host.send)
    assert host.body == b"x" * (500_000 + first)


async def test_the_body_is_read_ahead_by_one_event_only() -> None:
    read_one = threading.Event()
    go_on = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(1)
        read_one.set()
        go_on.wait()
        rest = environ["wsgi.input"].read()
        start_response("200 OK", HEADERS)
        return [b"%d" % len(rest)]

    adapter = WSGIToASGI(app, buffer_size=1000)
    async with adapter.lifespan_context():
        host = ScriptedHost([*[body_event(b"x" * 1000, more=True)] * 10, body_event(b"end")])
        call = asyncio.create_task(adapter(http_scope(method="POST"), host.receive, host.send))
        await asyncio.to_thread(read_one.wait)
        for _ in range(20):
            await asyncio.sleep(0)  # turns of the loop, in which a reader without a limit would read on
        assert host.received == 2
        go_on.set()
        await call
    assert host.body == b"10002"


async def test_a_short_request_needs_no_task() -> None:
    tasks: set[str] = set()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", HEADERS)
        return [body]

    async def count(event: Any) -> None:
        tasks.update(task.get_name() for task in asyncio.all_tasks())

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        before = {task.get_name() for task in asyncio.all_tasks()}
        host = ScriptedHost([body_event(b"all of it")], on_send=count)
        await adapter(http_scope(method="POST"), host.receive, host.send)
    assert host.body == b"all of it"
    assert tasks == before


class Stream:
    """An endless body that knows whether it was closed, and tells when its first chunk is taken."""

    def __init__(self) -> None:
        self.closed = 0
        self.error: BaseException | None = None
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x" * 100

    def close(self) -> None:
        self.closed += 1
        self.ended.set()


def stream_app(stream: Stream) -> Any:
    def app(environ: Any, start_response: Any) -> Stream:
        start_response("200 OK", HEADERS)
        return stream

    return app


async def test_a_disconnect_ends_an_endless_stream() -> None:
    stream = Stream()
    adapter = WSGIToASGI(stream_app(stream))
    async with adapter.lifespan_context():
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(5)
        host.disconnect()
        await call
    assert stream.closed == 1


async def test_a_disconnect_is_seen_while_a_send_is_stalled() -> None:
    stream = Stream()
    stalled = asyncio.Event()

    async def stall(event: Any) -> None:
        if len(host.sent) == 3:
            stalled.set()
            await asyncio.Event().wait()

    adapter = WSGIToASGI(stream_app(stream))
    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=stall)
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await stalled.wait()
        host.disconnect()
        assert await asyncio.to_thread(stream.ended.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert stream.closed == 1


async def test_a_host_that_refuses_to_send_ends_the_call_and_is_told_of_its_error() -> None:
    stream = Stream()

    async def refuse(event: Any) -> None:
        if event["type"] == "http.response.body":
            raise RuntimeError("the middleware is broken")

    adapter = WSGIToASGI(stream_app(stream))
    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=refuse)
        with pytest.raises(RuntimeError, match="the middleware is broken"):
            await adapter(http_scope(), host.receive, host.send)
        assert await asyncio.to_thread(stream.ended.wait, 10)
    assert stream.closed == 1


@pytest.mark.parametrize("ends", ["the host fails", "the host cancels"])
async def test_a_call_that_ends_while_the_app_reads_and_the_host_sends_receives_no_more(ends: str) -> None:
    """The app's last post found the wish for the body, and began to receive for a call that was over."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", HEADERS)
        yield b"part"
        environ["wsgi.input"].read()
        raise AssertionError("the body had no end")

    receives = asyncio.Event()

    class Host(ScriptedHost):
        async def receive(self) -> Any:
            receives.set()
            return await super().receive()

    async def end(event: Any) -> None:
        if event["type"] == "http.response.body":
            await receives.wait()
            if ends == "the host fails":
                raise RuntimeError("the middleware is broken")
            call.cancel()
            await asyncio.Event().wait()

    adapter = WSGIToASGI(app)
    before = asyncio.all_tasks()
    async with adapter.lifespan_context():
        host = Host(on_send=end)
        call = asyncio.create_task(adapter(http_scope(method="POST"), host.receive, host.send))
        with pytest.raises(asyncio.CancelledError if ends == "the host cancels" else RuntimeError):
            await call
    assert asyncio.all_tasks() == before


async def test_an_oserror_of_send_is_a_disconnect() -> None:
    """ASGI spec, HTTP: "raise ... OSError if called after a client has disconnected"."""
    stream = Stream()

    async def refuse(event: Any) -> None:
        raise BrokenPipeError

    adapter = WSGIToASGI(stream_app(stream))
    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=refuse)
        await adapter(http_scope(), host.receive, host.send)
    assert stream.closed == 1
    assert host.sent == []


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TimeoutError("too slow"), RuntimeError("broken")], ids=repr
)
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_failing_receive_reaches_the_app_as_a_disconnect(error: Exception, after: int) -> None:
    seen: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected as disconnected:
            seen.append(disconnected)
            raise
        raise AssertionError("the body had no end")

    class Host(ScriptedHost):
        async def receive(self) -> Any:
            if self.received == after:
                raise error
            return await super().receive()

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        host = Host([body_event(b"x", more=True)] * 3)
        call = adapter(http_scope(method="POST"), host.receive, host.send)
        if isinstance(error, ConnectionError):
            await call
        else:  # a middleware's own, for which it may have an answer of its own
            with pytest.raises(type(error), match=str(error)):
                await call
    assert len(seen) == 1
    assert host.sent == []


@pytest.mark.parametrize("doing", ["reading", "sending", "waiting in the queue"])
async def test_cancelling_the_call_frees_its_thread(doing: str) -> None:
    closed = threading.Event()
    started = threading.Event()
    calls: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        calls.append(environ["PATH_INFO"])
        started.set()
        try:
            if environ["PATH_INFO"] == "/reading":
                environ["wsgi.input"].read()
            start_response("200 OK", HEADERS)
            if environ["PATH_INFO"] == "/sending":
                write = environ["wsgi.file_wrapper"]
                assert write is not None
                return stream
            return [b"done"]
        except ClientDisconnected:
            closed.set()
            raise

    stream = Stream()
    adapter = WSGIToASGI(app, threads=1)

    async def stall(event: Any) -> None:
        if event["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=stall if doing != "reading" else None)
        first = asyncio.create_task(
            adapter(
                http_scope(path="/sending" if doing == "sending" else "/reading"), host.receive, host.send
            )
        )
        await asyncio.to_thread(started.wait)
        queued_host = ScriptedHost()
        queued = asyncio.create_task(
            adapter(http_scope(path="/queued"), queued_host.receive, queued_host.send)
        )
        await asyncio.sleep(0)
        if doing == "waiting in the queue":
            queued.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queued
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        if doing == "waiting in the queue":
            after = ScriptedHost()
            await adapter(http_scope(path="/after"), after.receive, after.send)
            assert after.body == b"done"
            assert "/queued" not in calls
        else:
            await queued  # served by the only thread, so that one is free again
            assert queued_host.body == b"done"
    assert stream.closed == 1 if doing == "sending" else closed.is_set()


async def test_a_stream_that_is_told_to_end_ends_completely() -> None:
    wait = threading.Event()
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", environ["QUERY_STRING"])])
        try:
            yield b"data: 1\n\n"
            wait.wait()
            yield b"data: 2\n\n"
        finally:
            closed.set()

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        events = ScriptedHost()
        other = ScriptedHost()
        calls = [
            asyncio.create_task(adapter(http_scope(query_string=query), host.receive, host.send))
            for query, host in ((b"text/event-stream; charset=utf-8", events), (b"text/csv", other))
        ]
        await events.until_sent(2)
        await other.until_sent(2)
        await asyncio.sleep(0)
        adapter.end_streams()
        await events.until_sent(3)
        assert events.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        wait.set()
        await asyncio.gather(*calls)
    assert events.body == b"data: 1\n\n"
    assert other.body == b"data: 1\n\ndata: 2\n\n"
    assert closed.is_set()


def events_app(wait: threading.Event, *headers: tuple[str, str]) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream"), *headers])
        yield b"data: 1\n\n"
        wait.wait()
        yield b"data: 2\n\n"

    return app


async def test_a_stream_that_waits_for_hours_does_not_keep_a_server_from_stopping() -> None:
    wait = threading.Event()
    adapter = WSGIToASGI(events_app(wait))
    async with adapter.lifespan_context():
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        adapter.end_streams()
        await call
        assert host.is_complete
        wait.set()


async def test_a_stream_that_opens_while_the_server_stops_is_ended() -> None:
    wait = threading.Event()
    adapter = WSGIToASGI(events_app(wait))
    async with adapter.lifespan_context():
        adapter.end_streams()
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(3)
        assert host.is_complete
        wait.set()
        await call
    async with adapter.lifespan_context():  # and one of the next life is not
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
        assert host.body == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("before", ["a lifespan that has failed", "a request as late as the last thread"])
async def test_streams_are_those_of_the_next_life_whatever_was_before(before: str) -> None:
    wait = threading.Event()
    fails = before == "a lifespan that has failed"

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        if fails:
            raise LookupError("no database yet")
        yield

    adapter = WSGIToASGI(events_app(wait), lifespan=lifespan)

    async def request() -> ScriptedHost:
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
        return host

    if fails:
        wait.set()
        await request()
        with pytest.raises(LookupError):
            async with adapter.lifespan_context():
                pass
        fails = False
    else:
        async with adapter.lifespan_context():
            host = ScriptedHost()
            call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
            await host.until_sent(2)
            late = asyncio.create_task(request())  # begins when the lifespan's end waits for the thread
            asyncio.get_running_loop().call_soon(wait.set)
        await asyncio.gather(call, late)
    wait.clear()
    async with adapter.lifespan_context():
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        assert len(host.sent) == 2
        adapter.end_streams()
        await host.until_sent(3)
        assert host.is_complete
        wait.set()
        await call


async def test_events_of_a_known_length_have_an_end_of_their_own() -> None:
    wait = threading.Event()
    adapter = WSGIToASGI(events_app(wait, ("Content-Length", "18")))
    async with adapter.lifespan_context():
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await host.until_sent(2)
        adapter.end_streams()
        wait.set()
        await call
    assert host.body == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(("size", "most"), [(0, 5000), (1, 20), (100, 10), (1000, 3)])
async def test_many_small_events_of_a_body_are_not_hoarded(size: int, most: int) -> None:
    read_one = threading.Event()
    go_on = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        first = environ["wsgi.input"].read(1)
        read_one.set()
        go_on.wait()
        start_response("200 OK", HEADERS)
        return [b"%d" % len(first + environ["wsgi.input"].read())]

    adapter = WSGIToASGI(app, buffer_size=1000)
    events = [
        body_event(b"first", more=True),
        *[body_event(b"x" * size, more=True)] * 2000,
        body_event(b"end"),
    ]
    async with adapter.lifespan_context():
        host = ScriptedHost(events)
        call = asyncio.create_task(adapter(http_scope(method="POST"), host.receive, host.send))
        await asyncio.to_thread(read_one.wait)
        for _ in range(100):
            await asyncio.sleep(0)
        assert host.received <= most
        go_on.set()
        await call
    assert host.body == b"%d" % (8 + 2000 * size)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_file_is_closed_when_the_host_has_sent_it(fails: bool, tmp_path: Path) -> None:
    """An app may delete it then; and a file that the host cannot open is not a client that has left."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    order: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        body = environ["wsgi.file_wrapper"](path.open("rb"))
        close = body.close

        def close_and_note() -> None:
            order.append("closed")
            close()

        body.close = close_and_note
        return body

    async def on_send(event: Any) -> None:
        if event["type"] == "http.response.pathsend":
            await asyncio.sleep(0.01)
            if fails:
                raise FileNotFoundError(event["path"])
            order.append("sent")

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        host = ScriptedHost(on_send=on_send)
        call = adapter(http_scope(extensions={"http.response.pathsend": {}}), host.receive, host.send)
        if fails:
            with pytest.raises(FileNotFoundError):
                await call
        else:
            await call
    assert order == (["closed"] if fails else ["sent", "closed"])


async def test_context_variables_go_there_and_back() -> None:
    shared: ContextVar[str] = ContextVar("shared")
    unset_again: ContextVar[str] = ContextVar("unset_again")
    hosts_own: ContextVar[str] = ContextVar("hosts_own", default="before")
    seen_in_app: list[tuple[str | None, str | None]] = []
    seen_in_send: list[tuple[str | None, str | None]] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen_in_app.append((shared.get(None), unset_again.get(None)))
        shared.set("set by the app")
        token = unset_again.set("only while it streams")
        start_response("200 OK", HEADERS)
        yield b"one"
        unset_again.reset(token)
        yield b"two"

    async def look(event: Any) -> None:
        seen_in_send.append((shared.get(None), unset_again.get(None)))
        if event["type"] == "http.response.start":
            hosts_own.set("set by the host while it sends")

    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():
        for _ in range(2):

            async def one_request() -> None:
                shared.set("set by middleware")
                host = ScriptedHost(on_send=look)
                await adapter(http_scope(), host.receive, host.send)
                assert shared.get() == "set by the app"
                assert unset_again.get(None) is None
                assert hosts_own.get() == "set by the host while it sends"

            await asyncio.create_task(one_request())
    assert seen_in_app == [("set by middleware", None)] * 2
    assert {shared for shared, _ in seen_in_send} == {"set by the app"}
    assert seen_in_send[-1][1] is None


def test_a_loop_that_closes_under_a_call_does_not_hang_its_thread() -> None:
    started = threading.Event()
    go_on = threading.Event()
    stream = Stream()

    def app(environ: Any, start_response: Any) -> Stream:
        started.set()
        go_on.wait()
        start_response("200 OK", HEADERS)
        return stream

    adapter = WSGIToASGI(app)
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        host = ScriptedHost()
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await asyncio.to_thread(started.wait)
        call.cancel()
        await asyncio.wait([call])

    loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    go_on.set()
    assert stream.ended.wait(10)


def test_one_adapter_serves_several_loops_one_after_the_other() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", HEADERS)
        return [b"Hello"]

    adapter = WSGIToASGI(app)

    async def once() -> bytes:
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
        return host.body

    assert [asyncio.run(once()) for _ in range(3)] == [b"Hello"] * 3


def test_another_kind_of_loop_is_refused_clearly() -> None:
    from bridge import BridgeError

    adapter = WSGIToASGI(lambda environ, start_response: [])
    host_call = adapter(http_scope(), None, None)  # type: ignore[arg-type]  # never used
    with pytest.raises(BridgeError, match="asyncio event loop"):
        host_call.send(None)

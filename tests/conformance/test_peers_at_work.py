"""What other adapters get wrong, and what takes more than one request and its response to show.

The host leaves, stalls, fails, counts or cancels. The docstrings quote what was seen elsewhere.
"""

import asyncio
import contextvars
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import flask
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.routing import Mount
from uvicorn.lifespan.on import LifespanOn

from bridge import WSGIToASGI
from bridge.errors import BridgeError, ClientDisconnected
from bridge.runners.host import PART_COST
from bridge.testing import Client
from bridge.types import StartResponse, WSGIEnvironment
from tests.conformance.apps import PLAIN, answering, beside_hello, echoing, hello
from tests.conformance.exchange import Exchange, Signal, adapted, ask, turns
from tests.core.links import Reply, http_scope

KIB = 1024
MIB = 1024 * KIB


class Endless:
    """An app whose body has no end but `close()`."""

    def __init__(self, chunk: bytes = b"tick\n", headers: list[tuple[str, str]] = PLAIN) -> None:
        self.chunk = chunk
        self.headers = headers
        self.produced = 0
        self.closed = 0
        self.ended = Signal()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", self.headers)
        try:
            while True:
                self.produced += len(self.chunk)
                yield self.chunk
        finally:
            self.closed += 1
            self.ended.set()


async def still_serves(adapter: WSGIToASGI) -> bool:
    return (await Exchange(adapter, b"/hello").run()).body == b"hello"


# close(), disconnects, failures of the host


class CountingBody:
    """An iterable that counts how often it is closed, and fails where it is told to."""

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.closed = 0
        self.closed_in = ""
        self.iterated_in = ""

    def __iter__(self) -> Iterator[bytes]:
        self.iterated_in = threading.current_thread().name
        if self.fails == "before":
            raise LookupError
        yield b"one"
        if self.fails == "in the middle":
            raise LookupError
        yield b"two"

    def close(self) -> None:
        self.closed += 1
        self.closed_in = threading.current_thread().name


@pytest.mark.parametrize("fails", ["never", "before", "in the middle"])
async def test_close_of_the_iterable_is_called(fails: str) -> None:
    """`close()` of the iterable not called."""
    body = CountingBody(fails)
    async with adapted(answering(body)) as adapter, AsyncExitStack() as stack:
        if fails == "in the middle":
            stack.enter_context(pytest.raises(BridgeError, match="cut short"))
        await Exchange(adapter).run()
    assert body.closed == 1
    assert body.closed_in == body.iterated_in


async def test_flask_functions_for_after_the_response_are_called() -> None:
    """`close()` of the iterable not called: Flask's call_on_close and teardown functions hang on it."""
    called = []
    app = flask.Flask(__name__)
    app.teardown_request(lambda error: called.append("teardown"))

    @app.get("/")
    def index() -> flask.Response:
        response = flask.Response(flask.stream_with_context(iter(["a", "b"])))
        response.call_on_close(lambda: called.append("on close"))
        return response

    assert (await ask(app)).body == b"ab"
    assert set(called) == {"on close", "teardown"}  # the latter twice: a streaming view has two contexts


async def test_an_endless_generator_stops_at_a_disconnect() -> None:
    """An endless generator goes on after `http.disconnect`."""
    app = Endless()
    async with adapted(beside_hello(app), threads=1) as adapter:
        exchange = Exchange(adapter)
        call = exchange.start()
        await exchange.until_streaming()
        await exchange.leave()
        await call
        assert app.closed == 1
        assert await still_serves(adapter)


async def test_an_endless_generator_stops_when_an_in_memory_client_leaves() -> None:
    """An endless generator goes on after `http.disconnect`."""
    app = Endless()
    async with Client(WSGIToASGI(app)) as client:
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_bytes())
        await app.ended.wait()


async def test_an_endless_generator_of_nothing_stops_at_a_disconnect() -> None:
    """An endless generator goes on after `http.disconnect`: as long as it only polls, with `yield b""`."""
    closed = Signal()
    give_up = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        try:
            yield b"first"
            while not give_up.wait(0.001):
                yield b""
        finally:
            closed.set()

    async with adapted(app) as adapter:
        exchange = Exchange(adapter)
        call = exchange.start()
        await exchange.until_streaming()
        await exchange.leave()
        try:
            await asyncio.wait_for(closed.wait(), 1)
        finally:
            give_up.set()
            await call


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> StarletteResponse:
    return await call_next(request)


async def test_an_endless_generator_stops_behind_middleware() -> None:
    """An endless generator goes on after `http.disconnect`: the middleware has a `receive` of its own."""
    app = Endless()
    adapter = WSGIToASGI(beside_hello(app), threads=1)
    outer = Starlette(
        routes=[Mount("/", app=adapter)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=_pass_on)]
    )
    async with adapter.lifespan_context(), Client(outer) as client:
        async with client.stream("POST", "/", content=b"read by nobody") as response:
            assert await anext(response.aiter_bytes())
        await app.ended.wait()
        assert (await client.get("/hello")).text == "hello"


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        pytest.param(RuntimeError("broken middleware"), RuntimeError, id="an error"),
        pytest.param(ConnectionResetError("gone"), None, id="an OSError, ASGI's word for a disconnect"),
    ],
)
async def test_fifty_failing_sends_leave_a_pool_of_two_serving(
    failure: Exception, raised: type[Exception] | None
) -> None:
    """`send` raising leaves a deadlocked thread; ten of them kill the pool."""
    app = Endless(bytes(KIB))
    async with adapted(beside_hello(app), threads=2) as adapter:
        for _ in range(50):
            exchange = Exchange(adapter)
            exchange.send_failure = failure
            if raised is None:
                await exchange.run()
            else:
                with pytest.raises(raised):
                    await exchange.run()
        assert await still_serves(adapter)
    assert app.closed == 50


# Cancelled calls


class Cancelled:
    """An app in a state in which the host cancels its call; tells when it is there, and how it ended."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.is_there = Signal()
        self.may_go_on = threading.Event()
        self.error: BaseException | None = None
        self.closed = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return self._body(environ)

    def _body(self, environ: WSGIEnvironment) -> Iterator[bytes]:
        try:
            match self.state:
                case "waiting for the body":
                    self.is_there.set()
                    environ["wsgi.input"].read()
                case "waiting for a slow client":
                    while True:
                        yield bytes(8 * KIB)
                case "waiting for something of its own":
                    yield b"first"
                    self.is_there.set()
                    self.may_go_on.wait()
                    yield b"second"
                case "sending":
                    while True:
                        yield b"x"
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.closed += 1
            self.may_go_on.set()


@pytest.mark.parametrize(
    "state",
    [
        "waiting for the body",
        "waiting for a slow client",
        "waiting for something of its own",
        "sending",
    ],
)
async def test_a_cancelled_call_ends_the_app(state: str) -> None:
    """Cancelling the call leaves the app running or parked."""
    app = Cancelled(state)
    async with adapted(beside_hello(app), threads=1) as adapter:
        exchange = Exchange(adapter, method="POST", body=(b"half of",), is_whole=False)
        if state == "waiting for a slow client":
            await exchange.stall()
        call = exchange.start()
        match state:
            case "waiting for a slow client":
                await turns(100)
            case "sending":
                await exchange.until_streaming()
            case _:
                await app.is_there.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        app.may_go_on.set()
        # Its one thread is free again, which is how a test can wait for the end of a call given up.
        assert await still_serves(adapter)
        assert app.closed == 1
        if state == "waiting for the body":
            assert isinstance(app.error, ClientDisconnected)
        else:
            assert isinstance(app.error, GeneratorExit)  # closed where it had yielded


async def test_a_call_cancelled_in_the_queue_never_runs() -> None:
    """Cancelling the call leaves the app running: here, one that has not begun."""
    app = Cancelled("waiting for something of its own")
    calls: list[str] = []

    def counting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        calls.append(environ["PATH_INFO"])
        return app(environ, start_response)

    async with adapted(counting, threads=1) as adapter:
        first = Exchange(adapter, b"/first").start()
        await app.is_there.wait()
        second = Exchange(adapter, b"/second").start()
        await turns(5)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        app.may_go_on.set()
        await first
    assert calls == ["/first"]


# What is held in memory


@pytest.mark.parametrize(
    ("chunk_size", "buffer_size"),
    [(1, 2 * KIB), (KIB, 64 * KIB), (40 * KIB, 64 * KIB), (100 * KIB, 64 * KIB)],
)
async def test_chunks_do_not_pile_up_for_a_stalled_client(chunk_size: int, buffer_size: int) -> None:
    """Unbounded chunks pile up for a stalled client."""
    produced = 0
    is_full = Signal()
    too_much = Signal()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal produced
        start_response("200 OK", PLAIN)
        chunk = bytes(chunk_size)
        while True:
            produced += chunk_size
            if produced + produced // chunk_size * PART_COST > buffer_size:
                is_full.set()
            if produced > buffer_size + chunk_size:
                too_much.set()
            yield chunk

    async with adapted(app, buffer_size=buffer_size) as adapter:
        exchange = Exchange(adapter)
        await exchange.stall()
        call = exchange.start()
        await is_full.wait()
        with pytest.raises(TimeoutError):  # that it waits can only be seen by waiting
            await asyncio.wait_for(too_much.wait(), 0.2)
        await exchange.go_on()
        await exchange.until(lambda: exchange.sent_bytes > 10 * buffer_size)
        await exchange.leave()
        await call


async def test_a_slow_client_is_never_further_behind() -> None:
    """Unbounded chunks pile up: neither do they in the middle, and none is lost, doubled or moved."""
    buffer_size, chunk_size, chunks = 16 * KIB, KIB, 4000
    furthest = 0
    produced = 0

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal produced, furthest
        start_response("200 OK", PLAIN)
        for number in range(chunks):
            produced += chunk_size
            furthest = max(furthest, produced - exchange.sent_bytes)
            yield number.to_bytes(4, "big") * (chunk_size // 4)

    async with adapted(app, buffer_size=buffer_size) as adapter:
        exchange = Exchange(adapter)
        reply = await exchange.run()
    assert reply.body == b"".join(number.to_bytes(4, "big") * (chunk_size // 4) for number in range(chunks))
    assert furthest <= buffer_size + chunk_size


async def test_the_request_body_is_not_held_in_memory() -> None:
    """Request body held in memory or spooled whole."""
    chunk, chunks = bytes(64 * KIB), 800
    buffer_size = 64 * KIB
    taken = 0
    is_waiting = Signal()
    may_go_on = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal taken
        while data := environ["wsgi.input"].read(10_000):
            taken += len(data)
            if taken == 100_000:
                is_waiting.set()
                may_go_on.wait()
        start_response("200 OK", PLAIN)
        return [b"%d" % taken]

    async with adapted(app, buffer_size=buffer_size) as adapter:
        exchange = Exchange(adapter, method="POST", body=(chunk,) * chunks)
        call = exchange.start()
        await is_waiting.wait()
        await turns(1000)
        # One event less a byte is with `wsgi.input`; `buffer_size` less a byte and one event are ahead of it.
        assert exchange.received * len(chunk) - taken < len(chunk) + buffer_size + len(chunk)
        may_go_on.set()
        assert (await call).body == b"%d" % (50 * MIB)


async def test_a_disconnect_in_the_body_does_not_look_like_its_end() -> None:
    """A disconnect in the body looks like its end."""
    read: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        read.append(environ["wsgi.input"].read(4))
        try:
            read.append(environ["wsgi.input"].read())
        except ConnectionError as error:
            read.append(type(error))
            raise
        raise AssertionError("half a body was taken for a whole one")

    async with adapted(beside_hello(app), threads=1) as adapter:
        exchange = Exchange(adapter, method="POST", body=(b"half of",), is_whole=False)
        call = exchange.start()
        await exchange.until(lambda: exchange.received == 1)
        await exchange.leave()
        await call
        assert exchange.sent == []
        assert await still_serves(adapter)
    assert read == [b"half", ClientDisconnected]


# Context variables

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour")


class HostWithContext(Exchange):
    """A host that looks at the colour in `send`, and paints it, if told."""

    seen: list[str | None]
    paints: str | None = None

    async def send(self, event: Any) -> None:
        self.seen.append(colour.get(None))
        if self.paints is not None:
            colour.set(self.paints)
        await super().send(event)


async def test_context_variables_set_by_the_app_are_seen_by_the_host() -> None:
    """Context variables set by the app are lost to the host."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        assert colour.get() == "white, by the middleware"
        colour.set("red")
        start_response("200 OK", PLAIN)
        yield b"first"
        may_go_on.wait()
        colour.set("green")
        yield b"second"
        colour.set("blue, in the end")

    async def middleware(exchange: Exchange) -> str:
        colour.set("white, by the middleware")
        await exchange.run()
        return colour.get()

    may_go_on = threading.Event()
    async with adapted(app) as adapter:
        exchange = HostWithContext(adapter)
        exchange.seen = []
        call = asyncio.create_task(middleware(exchange))
        await exchange.until_streaming()
        may_go_on.set()
        assert await call == "blue, in the end"
    assert exchange.seen[:2] == ["red", "red"]
    assert exchange.seen[2] in ("green", "blue, in the end")  # the app may be ahead of its second chunk
    assert colour.get(None) is None


async def test_a_context_variable_reset_by_the_app_is_reset_for_the_host() -> None:
    """Context variables set by the app are lost to the host: so is that they are set no more."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        token = colour.set("red")
        start_response("200 OK", PLAIN)
        yield b"first"
        may_go_on.wait()
        colour.reset(token)

    async def middleware(exchange: Exchange) -> str | None:
        await exchange.run()
        return colour.get(None)

    may_go_on = threading.Event()
    async with adapted(app) as adapter:
        exchange = HostWithContext(adapter)
        exchange.seen = []
        call = asyncio.create_task(middleware(exchange))
        await exchange.until_streaming()
        may_go_on.set()
        assert await call is None
    assert exchange.seen[:2] == ["red", "red"]


async def test_context_variables_set_by_the_host_meanwhile_stay() -> None:
    """Not seen elsewhere, but near: the app's copy of a variable is older than the host's."""

    async def middleware(exchange: Exchange) -> str:
        colour.set("white")
        await exchange.run()
        return colour.get()

    async with adapted(hello) as adapter:
        exchange = HostWithContext(adapter)
        exchange.seen = []
        exchange.paints = "black, in send"
        assert await asyncio.create_task(middleware(exchange)) == "black, in send"
    assert exchange.seen == ["white", "black, in send"]


async def test_context_variables_do_not_leak_to_the_next_request_of_a_thread() -> None:
    """Nothing of a request is left on a thread that another one gets."""
    seen = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append((threading.current_thread().name, colour.get(None)))
        colour.set("red")
        return hello(environ, start_response)

    async with adapted(app, threads=1) as adapter:
        for _ in range(3):
            await Exchange(adapter).start()  # a task each, as hosts have it
    assert len(seen) == 3
    assert set(seen) == {(seen[0][0], None)}


# Many requests at once


async def test_requests_run_at_the_same_time() -> None:
    """One request at a time per process."""
    all_here = threading.Barrier(20)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        all_here.wait(timeout=10)
        return hello(environ, start_response)

    async with adapted(app, threads=20) as adapter:
        replies = await asyncio.gather(*(Exchange(adapter).run() for _ in range(20)))
    assert {reply.body for reply in replies} == {b"hello"}


async def test_no_request_fails_or_is_mixed_up_under_concurrency() -> None:
    """Half of all requests fail under concurrency."""
    app = flask.Flask(__name__)

    @app.post("/<int:number>")
    def echo(number: int) -> flask.Response:
        return flask.Response([b"%d:" % number, flask.request.data])

    async with Client(WSGIToASGI(app, threads=8)) as client:
        responses = await asyncio.gather(
            *(client.post(f"/{number}", content=b"body of %d" % number) for number in range(300))
        )
    assert [(response.status_code, response.content) for response in responses] == [
        (200, b"%d:body of %d" % (number, number)) for number in range(300)
    ]


@asynccontextmanager
async def open_streams(
    adapter: WSGIToASGI, release: threading.Event, number: int
) -> AsyncIterator[list[asyncio.Task[Reply]]]:
    """So many streams of server-sent events, each of which has begun."""
    exchanges = [Exchange(adapter) for _ in range(number)]
    calls = [exchange.start() for exchange in exchanges]
    try:
        for exchange in exchanges:
            await exchange.until_streaming()
        yield calls
    finally:
        release.set()
        await asyncio.gather(*calls)


def _events(release: threading.Event) -> Any:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"data: open\n\n"
        release.wait()

    return beside_hello(app)


@pytest.mark.parametrize(("streams", "threads"), [(10, 2), (40, 20)])
async def test_open_streams_do_not_block_every_other_request(streams: int, threads: int) -> None:
    """Ten open SSE clients block every other request."""
    release = threading.Event()
    async with adapted(_events(release), threads=threads) as adapter:
        async with open_streams(adapter, release, streams):
            assert await still_serves(adapter)
        assert await still_serves(adapter)


async def test_streams_over_their_limit_count_as_requests_until_there_is_room() -> None:
    """Ten open SSE clients block every other request: as many as the limit allows do not."""
    first, second = threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"data: open\n\n"
        (first if environ["PATH_INFO"] == "/first" else second).wait()

    async with adapted(beside_hello(app), threads=1, streams=1) as adapter:
        exchanges = [Exchange(adapter, b"/first"), Exchange(adapter, b"/second")]
        calls = [exchange.start() for exchange in exchanges]
        for exchange in exchanges:
            await exchange.until_streaming()
        # One is off the count, the other has the only thread: a third has to wait, and not for ever.
        waiting = Exchange(adapter, b"/hello").start()
        done, _ = await asyncio.wait([waiting], timeout=1.2)
        assert not done
        first.set()
        assert (await waiting).body == b"hello"
        second.set()
        await asyncio.gather(*calls)


# Lifespan


class Shop:
    """A lifespan that says what has happened to it."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @asynccontextmanager
    async def __call__(self, app: Any) -> AsyncIterator[dict[str, object]]:
        self.log.append("open")
        yield {"till": self.log}
        self.log.append("closed")


async def test_lifespan_is_run_for_the_app() -> None:
    """Lifespan: raises, asserts, or acknowledges and does nothing."""
    shop = Shop()
    adapter = WSGIToASGI(echoing(lambda environ: environ["asgi.state"]["till"]), lifespan=shop)
    for _ in range(2):  # some hosts run it once for every invocation
        shop.log.clear()
        async with Client(adapter) as client:
            assert (await client.get("/")).text == "['open']"
        assert shop.log == ["open", "closed"]


async def test_a_server_that_insists_on_lifespan_can_start() -> None:
    """Ray Serve cannot start an app behind asgiref's: it drives uvicorn's own lifespan class, set to on."""
    shop = Shop()
    config = uvicorn.Config(WSGIToASGI(hello, lifespan=shop), lifespan="on", log_config=None)
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    assert not lifespan.should_exit
    assert lifespan.state == {"till": ["open"]}
    await lifespan.shutdown()
    assert shop.log == ["open", "closed"]


async def test_a_failing_start_is_reported_with_its_message() -> None:
    """Lifespan: acknowledges and does nothing."""

    @asynccontextmanager
    async def fails(app: Any) -> AsyncIterator[None]:
        if app is hello:
            raise LookupError("no database at db.example")
        yield

    with pytest.raises(BridgeError, match=r"failed to start: LookupError: no database at db\.example"):
        async with Client(WSGIToASGI(hello, lifespan=fails)):
            pass


def test_a_host_without_lifespan_is_served() -> None:
    """Lifespan, on the hosts that do not know it: the threads then end with the adapter."""

    async def serve(adapter: WSGIToASGI) -> bytes:
        return (await Exchange(adapter).run()).body

    before = set(threading.enumerate())
    adapter = WSGIToASGI(echoing(lambda environ: environ["asgi.state"]))
    assert asyncio.run(serve(adapter)) == b"{}"
    threads = set(threading.enumerate()) - before
    assert len(threads) == 1
    del adapter
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()


async def test_a_mounted_app_has_its_lifespan_entered_by_the_one_around_it() -> None:
    """Lifespan, where its events do not reach: Starlette does not pass them on to what is mounted."""
    shop = Shop()
    mounted = WSGIToASGI(
        echoing(lambda environ: (environ["asgi.state"], environ["SCRIPT_NAME"])), lifespan=shop
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with mounted.lifespan_context():
            yield

    outer = Starlette(routes=[Mount("/old", app=mounted)], lifespan=lifespan)
    async with Client(outer) as client:
        assert (await client.get("/old/")).text == "({'till': ['open']}, '/old')"
    assert shop.log == ["open", "closed"]


# Files


def _flask_with_file(path: Path) -> flask.Flask:
    app = flask.Flask(__name__)

    @app.get("/")
    def download() -> flask.Response:
        return flask.send_file(path)

    return app


async def test_a_file_is_sent_by_the_host_if_it_can(tmp_path: Path) -> None:
    """No ASGI extension used."""
    path = tmp_path / "report.txt"
    path.write_bytes(b"a report")
    extensions: dict[str, object] = {"http.response.pathsend": {}}
    reply = await ask(_flask_with_file(path), extensions=extensions)
    assert reply == Reply(200, reply.headers, b"", (), True, str(path))
    assert reply.header(b"content-length") == b"8"


@pytest.mark.parametrize(
    ("scope", "status", "answer"),
    [
        pytest.param({}, 200, bytes(range(256)) * KIB, id="without the extension"),
        pytest.param(
            {"extensions": {"http.response.pathsend": {}}, "headers": [(b"range", b"bytes=3-6")]},
            206,
            b"\3\4\5\6",
            id="a part of the file",
        ),
        pytest.param(
            {"extensions": {"http.response.pathsend": {}}, "method": "HEAD"}, 200, b"", id="no body at all"
        ),
    ],
)
async def test_a_file_is_sent_in_blocks_otherwise(
    tmp_path: Path, scope: dict[str, Any], status: int, answer: bytes
) -> None:
    """No `wsgi.file_wrapper`."""
    path = tmp_path / "report.bin"
    path.write_bytes(bytes(range(256)) * KIB)
    reply = await ask(_flask_with_file(path), **scope)
    assert reply.path is None
    assert (reply.status, reply.body) == (status, answer)


# Other scopes


async def _serve_scope(scope: dict[str, Any], *events: dict[str, Any]) -> list[Any]:
    received = list(events)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    await WSGIToASGI(hello)(scope, receive, send)
    return sent


async def test_a_websocket_is_refused_as_asgi_has_it() -> None:
    """Websocket scopes: refused, or an assertion error."""
    scope = {**http_scope(), "type": "websocket", "scheme": "ws", "subprotocols": []}
    sent = await _serve_scope(scope, {"type": "websocket.connect"})
    assert [event["type"] for event in sent] == ["websocket.close"]


async def test_an_unknown_scope_is_an_error() -> None:
    """A scope of a type the adapter does not know has to raise (ASGI spec, "Applications")."""
    with pytest.raises(ValueError, match="not scopes of type 'smtp'"):
        await _serve_scope({"type": "smtp"})


# Many headers


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"x-list", b"value %d" % number) for number in range(32_000)], id="of one name"),
        pytest.param([(b"cookie", b"n%d=v" % number) for number in range(32_000)], id="cookies"),
        pytest.param([(b"x-%d" % number, b"value") for number in range(100_000)], id="of 100,000 names"),
    ],
)
async def test_many_headers_cost_no_more_than_their_number(headers: list[tuple[bytes, bytes]]) -> None:
    """32,000 headers cost seconds (quadratic join): 23 s in the slowest."""
    started = time.perf_counter()
    reply = await ask(
        echoing(lambda environ: sum(len(value) for value in _strings(environ))), headers=headers
    )
    assert time.perf_counter() - started < 3
    assert int(reply.body) >= sum(len(value) for _, value in headers)


def _strings(environ: WSGIEnvironment) -> Iterator[str]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield value


# Elsewhere and later: pickled, or forked


async def test_the_adapter_can_be_pickled() -> None:
    """The adapter cannot be pickled."""
    async with adapted(hello, threads=3, streams=4, buffer_size=5) as adapter:
        assert (await Exchange(adapter).run()).body == b"hello"  # so that it has threads, which stay behind
        pickled = pickle.dumps(adapter)
    unpickled = pickle.loads(pickled)
    assert (unpickled.threads, unpickled.streams, unpickled.buffer_size) == (3, 4, 5)
    async with unpickled.lifespan_context():
        assert (await Exchange(unpickled).run()).body == b"hello"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_adapter_works_after_a_fork() -> None:
    """In a process of its own: a fork of this one would copy whatever the tests have open."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.conformance.forking"],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["parent: hello", "child: hello", "parent again: hello"]

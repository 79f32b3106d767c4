"""What is the same for a call in a thread, in a greenlet, and in a greenlet whose response a thread makes.

No ASGI is here, and no Flask: the host is two lists, and the app plain WSGI.
"""

import asyncio
import itertools
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import pytest

from bridge.core.call import Call
from bridge.core.link import Head, Part
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.runners import reasons
from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine, Streams
from bridge.runners.greenlet_link import GreenletLink, Greenlets, LoopIterable
from bridge.runners.mailbox import Mailbox
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.core.links import Reply, without_collector, wsgi_environ


class Failure(Exception):
    """What an app or a host of these tests fails with."""


class ListHost:
    """A host that is two lists.

    Args:
        pieces: the request's body.
        on_send: awaited before each part is kept.
    """

    def __init__(self, pieces: Iterable[bytes] = (), on_send: Callable[[], Any] | None = None) -> None:
        self.pieces = list(pieces)
        self.parts: list[Part] = []
        self.head: Head | None = None
        self.is_open = False
        self.is_complete = False
        self.is_asked = asyncio.Event()
        self._on_send = on_send
        self._gone = asyncio.Event()
        self._sent = asyncio.Event()

    @property
    def body_is_over(self) -> bool:
        return not self.pieces

    async def next(self) -> bytes:
        await asyncio.sleep(0)
        return self.pieces.pop(0) if self.pieces else b""

    async def left(self) -> bool:
        self.is_asked.set()
        await self._gone.wait()
        return True

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        if self._on_send is not None:
            await self._on_send()
        self.head = head or self.head
        self.parts.append((head, data, more))
        self.is_open, self.is_complete = more, not more
        self._sent.set()

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        return False

    def prepare_file(self, file: BinaryIO, size: int) -> None:
        pass

    async def send_file(self, head: Head, file: object) -> None:
        raise AssertionError("no file was prepared")

    def leave(self) -> None:
        self._gone.set()

    async def until_sent(self) -> None:
        await self._sent.wait()

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data, _ in self.parts)


class Parts(LoopIterable):
    """A body whose parts come on the loop or in a thread, whoever asks; an exception among them is raised.

    Args:
        parts: the parts.
        close: what closing it raises.
    """

    def __init__(self, parts: Iterable[str | bytes | BaseException], close: Exception | None = None) -> None:
        self.asked = 0
        self.closed = 0
        self.on_loop = False
        self._parts = iter(parts)
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        for part in self._each():
            yield part.encode() if isinstance(part, str) else part

    async def begin_on_loop_(self) -> AsyncIterator[str | bytes]:
        for part in self._each():
            yield part

    def begin_on_loop(self, link: GreenletLink) -> AsyncIterator[str | bytes]:
        self.on_loop = True
        return self.begin_on_loop_()

    def _each(self) -> Iterator[str | bytes]:
        for part in self._parts:
            self.asked += 1
            if isinstance(part, BaseException):
                raise part
            yield part

    def close(self) -> None:
        self.closed += 1
        if self._close is not None:
            raise self._close


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    pool = WorkerPool(4, 4)
    yield Engine(ThreadQueue(pool, None, None), Mailbox(asyncio.get_running_loop()), Streams(), 1000)
    pool.close(lambda: None)


RUNNERS = ["thread", "loop", "loop, then thread"]
EACH = pytest.mark.parametrize("runner", RUNNERS)


def serving(runner: str, call: Call, host: ListHost, engine: Engine) -> "asyncio.Task[None]":
    """Serve a call in a task, as hosts do."""

    async def serve() -> None:
        if runner == "thread":
            await serve_in_thread(call, host, engine, "GET")
        else:
            link = GreenletLink(call, host, engine, Greenlets(), None)
            link.answers_on_loop = runner == "loop"
            await link.serve()

    return asyncio.create_task(serve())


def answering(body: Iterable[bytes], *headers: tuple[str, str]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", list(headers))
        return body

    return app


async def answer(
    runner: str, engine: Engine, app: WSGIApplication, *pieces: bytes, host: ListHost | None = None
) -> Reply:
    """Make a call, to its end; one that is cut has none."""
    host = host or ListHost(pieces)
    with suppress(ApplicationError):
        await serving(runner, Call(app, wsgi_environ(method="POST")), host, engine)
    return Reply.of(host.parts)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what a thread will have done soon."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # a thread, which knows no event
            await asyncio.sleep(0.001)


# Parts from the loop


PARTS: list[tuple[str, list[str | bytes], bytes]] = [
    ("bytes", [b"a", b"b"], b"ab"),
    ("text, as UTF-8", ["é", "ü"], "éü".encode()),
    ("both", ["é", b"\xff", "b", b"c"], "é".encode() + b"\xffbc"),
    ("empty ones in between", ["", b"a", b"", "", "b", b""], b"ab"),
    ("only empty ones", ["", b""], b""),
    ("none at all", [], b""),
]


@EACH
@pytest.mark.parametrize(("parts", "body"), [pytest.param(*case, id=name) for name, *case in PARTS])
async def test_parts(runner: str, engine: Engine, parts: list[str | bytes], body: bytes) -> None:
    made = Parts(parts)
    reply = await answer(runner, engine, answering(made, ("X-A", "1")))
    assert (reply.status, reply.headers, reply.body) == (200, [(b"x-a", b"1")], body)
    assert reply.is_complete
    assert (made.closed, made.asked, made.on_loop) == (1, len(parts), runner == "loop")


@pytest.mark.parametrize(("parts", "body"), [pytest.param(*case, id=name) for name, *case in PARTS])
async def test_on_the_loop_each_part_is_sent_as_it_comes(
    engine: Engine, parts: list[str | bytes], body: bytes
) -> None:
    reply = await answer("loop", engine, answering(Parts(parts)))
    sent = [part.encode() if isinstance(part, str) else part for part in parts if part]
    assert list(reply.chunks) == [*sent, b""]


@EACH
@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        pytest.param([b"abc"], 1, id="as many"),
        pytest.param([b"ab", "c", b"d", b"e"], 3, id="one part too many"),
        pytest.param([b"ab", "cd", b"e", b"f"], 3, id="a part too long"),
        # It has no bytes, so it says nothing of whether there are too many.
        pytest.param([b"abc", b"", b"d", b"e"], 3, id="an empty one in between"),
    ],
)
async def test_more_parts_than_declared(
    runner: str, engine: Engine, parts: list[str | bytes], asked: int, caplog: pytest.LogCaptureFixture
) -> None:
    """They are cut, and with the first one too many the app is asked for no other (PEP 3333)."""
    made = Parts(parts)
    reply = await answer(runner, engine, answering(made, ("Content-Length", "3")))
    assert (reply.body, reply.is_complete) == (b"abc", True)
    assert (made.asked, made.closed) == (asked, 1)
    warned = "cut the app's body at its Content-Length" in caplog.text
    assert warned is (len(parts) > 1)


@EACH
async def test_fewer_parts_than_declared(runner: str, engine: Engine) -> None:
    made = Parts([b"ab"])
    reply = await answer(runner, engine, answering(made, ("Content-Length", "3")))
    assert (reply.body, reply.is_complete, made.closed) == (b"ab", False, 1)


FAILING: list[tuple[str, Callable[[], Parts], int, bool]] = [
    # id, the body, the status, whether it is complete
    ("at once", lambda: Parts([Failure()]), 500, True),
    ("after an empty part", lambda: Parts([b"", Failure()]), 500, True),
    ("later", lambda: Parts([b"a", Failure()]), 200, False),
    ("in close()", lambda: Parts([b"a"], Failure()), 200, True),
    ("in both", lambda: Parts([b"a", Failure()], Failure()), 200, False),
]


@EACH
@pytest.mark.parametrize(
    ("make", "status", "is_complete"), [pytest.param(*case, id=name) for name, *case in FAILING]
)
async def test_failing_parts(
    runner: str, engine: Engine, make: Callable[[], Parts], status: int, is_complete: bool
) -> None:
    made = make()
    reply = await answer(runner, engine, answering(made))
    assert (reply.status, reply.is_complete, made.closed) == (status, is_complete, 1)


@EACH
async def test_an_empty_part_finds_out_that_the_client_left(runner: str, engine: Engine) -> None:
    """It sends nothing; and with it the app, which has not waited for anything, is done."""
    knows = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b"a"
        while not knows.is_set():
            yield b"b"  # a turn for the loop every now and then
        for _ in range(100):
            yield b""

    made = Parts(parts())
    host = ListHost(on_send=lambda: asyncio.sleep(0))
    call = serving(runner, Call(answering(made), wsgi_environ()), host, engine)
    await host.is_asked.wait()
    host.leave()
    for _ in range(100):
        await asyncio.sleep(0)
    knows.set()
    await call
    assert made.closed == 1
    assert all(data for _, data, _ in host.parts)
    assert not host.is_complete


# The loop's turns


def plain(parts: list[bytes]) -> Iterable[bytes]:
    yield from parts


@pytest.mark.parametrize("make", [Parts, plain], ids=["parts from the loop", "a plain iterable"])
@EACH
async def test_others_have_their_turn(
    runner: str, engine: Engine, make: Callable[[list[bytes]], Iterable[bytes]]
) -> None:
    """Though neither the app nor the host ever waits."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await answer(runner, engine, answering(make([b"a"] * 1000)))
    other.cancel()
    assert turns > (1000 // 20 if runner == "loop" else 1)


@pytest.mark.parametrize("make", [Parts, plain], ids=["parts from the loop", "a plain iterable"])
async def test_others_have_their_turn_beside_empty_parts(
    engine: Engine, make: Callable[[list[bytes]], Iterable[bytes]]
) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await answer("loop", engine, answering(make([b"a", *[b""] * 1000])))
    other.cancel()
    assert turns > 1000 // 20


# Threads of the app's own, after the end


class Kept:
    """An app that keeps what it was given, for another thread of its own.

    Args:
        ends: how its call ends: it answers, it fails, or it goes on until nobody is there.
    """

    def __init__(self, ends: str) -> None:
        self._ends = ends
        self.write: Callable[[bytes], object] = print
        self.environ: WSGIEnvironment = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        self.environ = environ
        self.write = start_response("200 OK", [])
        yield b"first"
        if self._ends == "fails":
            raise Failure
        while self._ends != "answers":
            yield b"x" * 100


async def ended(runner: str, engine: Engine, ends: str, host: ListHost) -> Kept:
    """Make a call that has ended in a way."""
    app = Kept(ends)
    call = serving(runner, Call(app, wsgi_environ(method="POST")), host, engine)
    await host.until_sent()
    if ends == "is left":
        host.leave()
    if ends == "is cancelled":
        call.cancel()
    await asyncio.wait([call])
    await until(lambda: not engine.pool.busy)
    if not call.cancelled():
        call.exception()
    return app


LATE = [(runner, ends) for runner in RUNNERS for ends in ("fails", "is left", "is cancelled")]


@pytest.mark.parametrize(("runner", "ends"), LATE)
async def test_a_late_send_raises_and_sends_nothing(runner: str, engine: Engine, ends: str) -> None:
    host = ListHost([b"a", b"b"], on_send=lambda: asyncio.sleep(0))
    app = await ended(runner, engine, ends, host)
    sent = len(host.parts)
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            await asyncio.to_thread(app.write, b"late")
    assert len(host.parts) == sent


@EACH
async def test_a_late_write_to_a_complete_response_is_the_apps_mistake(runner: str, engine: Engine) -> None:
    host = ListHost([b"a", b"b"])
    app = await ended(runner, engine, "answers", host)
    sent = len(host.parts)
    with pytest.raises(ApplicationError, match="already complete"):
        await asyncio.to_thread(app.write, b"late")
    assert len(host.parts) == sent


@pytest.mark.parametrize("runner", ["thread", "loop"])
async def test_a_late_read_raises_and_receives_nothing(runner: str, engine: Engine) -> None:
    host = ListHost([b"a" * 100] * 50)  # more than is read ahead
    app = await ended(runner, engine, "answers", host)
    left = list(host.pieces)
    with pytest.raises(ClientDisconnected, match=reasons.OVER):
        await asyncio.to_thread(app.environ["wsgi.input"].read)
    assert host.pieces == left


# A host that gives up, at any moment


def echoing(opened: list[Parts]) -> WSGIApplication:
    """An app that sends what it reads, in parts that may come from the loop."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read(1)
        start_response("200 OK", [])
        opened.append(Parts([b"a", "b", b"c" * 2000, b"d"]))
        return opened[-1]

    return app


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_after_any_number_of_turns(runner: str, engine: Engine, times: int) -> None:
    """The app's body is closed, its thread free, and nothing is sent from then on."""
    for turns in range(40):
        opened: list[Parts] = []
        host = ListHost([b"x", b"y"], on_send=lambda: asyncio.sleep(0))
        call = serving(runner, Call(echoing(opened), wsgi_environ(method="POST")), host, engine)
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(times):
            call.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await asyncio.wait([call])
        sent = len(host.parts)
        await until(lambda: not engine.pool.busy and not engine.pool.waiting)
        assert [each.closed for each in opened] == [1] * len(opened), turns
        assert len(host.parts) == sent, turns
        assert call.cancelled() or host.is_complete, turns
    assert not engine.streams.links


@pytest.mark.parametrize("error", [None, Failure("while it is closed")], ids=["closed", "close() raises"])
async def test_a_body_that_waits_for_a_thread_is_closed_when_the_host_gives_up(
    error: Failure | None, caplog: pytest.LogCaptureFixture
) -> None:
    """PEP 3333, "Specification Details": close() must be called, whatever has ended the request."""
    pool = WorkerPool(1, 0)
    engine = Engine(ThreadQueue(pool, None, None), Mailbox(asyncio.get_running_loop()), Streams(), 1000)
    go_on = threading.Event()

    def holds_the_thread(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        go_on.wait()
        start_response("200 OK", [])
        return []

    made = Parts([b"a"], close=error)
    try:
        first = serving("thread", Call(holds_the_thread, wsgi_environ()), ListHost(), engine)
        second = serving("loop, then thread", Call(answering(made), wsgi_environ()), ListHost(), engine)
        await until(lambda: pool.busy and pool.waiting)
        second.cancel()
        await asyncio.wait([second])
        go_on.set()
        await first
        await until(lambda: not pool.busy and not pool.waiting)
    finally:
        pool.close(lambda: None)
    assert made.closed == 1
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == ([error] if error else [])


# Garbage


class Canary:
    """Something in the environ that tells whether the request has been freed."""


def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    while True:
        yield b"x" * 100


def fails_at_its_end(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    try:
        while True:
            yield b"x" * 100
    finally:
        raise Failure("while it cleans up")


GARBAGE = [
    (runner, app, ends)
    for runner in RUNNERS
    for app in (endless, fails_at_its_end)
    for ends in ("is left", "is cancelled", "is cancelled twice", "the host fails")
]


@pytest.mark.parametrize(("runner", "app", "ends"), GARBAGE)
async def test_nothing_is_left_for_the_collector(
    runner: str,
    engine: Engine,
    app: WSGIApplication,
    ends: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "bridge")  # a kept log record would keep its traceback

    async def request() -> "tuple[weakref.ref[object], ...]":
        canary = Canary()
        sends = itertools.count()

        async def on_send() -> None:  # knows no host: that would hold itself
            await asyncio.sleep(0)
            if next(sends) and ends == "the host fails":
                raise Failure

        host = ListHost(on_send=on_send)
        call = serving(runner, Call(app, {**wsgi_environ(), "test.canary": canary}), host, engine)
        await host.until_sent()
        if ends == "is left":
            host.leave()
        for _ in range({"is cancelled": 1, "is cancelled twice": 2}.get(ends, 0)):
            call.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()
        await until(lambda: not engine.pool.busy)
        return weakref.ref(canary), weakref.ref(host)

    await request()
    with without_collector():
        left = await request()
        for _ in range(20):
            await asyncio.sleep(0)
        assert [each() for each in left] == [None, None]

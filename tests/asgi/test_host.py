"""`ASGIHost`: events in, pieces of the body out; parts in, events out. The callables are the test's."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
import uvloop

from bridge.asgi.host import SLICE, ASGIHost, events_of, path_of
from bridge.core.link import Head, Part
from bridge.errors import ClientDisconnected
from bridge.runners import reasons
from tests.asgi_host import DISCONNECT, body_event, http_scope
from tests.core.links import Reply

HEAD = Head(201, b"Made", [(b"x-a", b"1")])

START = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"x-a", b"1")],
    "trailers": False,
}

PATHSEND: dict[str, Any] = {"extensions": {"http.response.pathsend": {}}}


class Callables:
    """`receive` and `send` of a host.

    Args:
        events: what `receive` gives, one after the other; an exception among them is raised.
        failures: what `send` raises, by the number of the event.
    """

    def __init__(self, events: Iterable[Any] = (), failures: dict[int, BaseException] | None = None) -> None:
        self.events = list(events)
        self.sent: list[Any] = []
        self._failures = failures or {}

    async def receive(self) -> Any:
        assert self.events, "received more than there was reason to"
        event = self.events.pop(0)
        if isinstance(event, BaseException):
            raise event
        return event

    async def send(self, event: Any) -> None:
        failure = self._failures.get(len(self.sent))
        self.sent.append(event)
        if failure is not None:
            raise failure


def host_of(callables: Callables, **changes: Any) -> ASGIHost:
    return ASGIHost(http_scope(**changes), callables.receive, callables.send)


def state_of(host: ASGIHost) -> tuple[Head | None, bool, bool]:
    return host.head, host.is_open, host.is_complete


# The request's body


BODIES: list[tuple[str, list[Any], list[bytes]]] = [
    # id, events, pieces up to the end
    ("one event", [body_event(b"a")], [b"a"]),
    ("two events", [body_event(b"a", more=True), body_event(b"b")], [b"a", b"b"]),
    ("an end without bytes", [body_event(b"a", more=True), body_event()], [b"a"]),
    ("no body", [body_event()], []),
    # ASGI spec, "Request - receive event": both keys are optional.
    ("no keys", [{"type": "http.request"}], []),
    ("no more_body", [{"type": "http.request", "body": b"a"}], [b"a"]),
    ("no body, more to come", [{"type": "http.request", "more_body": True}, body_event(b"a")], [b"a"]),
    (
        "empty events in between",
        [
            body_event(more=True),
            body_event(b"a", more=True),
            *[body_event(more=True)] * 1000,
            body_event(b"b"),
        ],
        [b"a", b"b"],
    ),
]


@pytest.mark.parametrize(("events", "pieces"), [pytest.param(*case, id=name) for name, *case in BODIES])
async def test_body(events: list[Any], pieces: list[bytes]) -> None:
    """To the end, which stays, and nothing is received after it."""
    host = host_of(Callables(events))
    for piece in pieces:
        assert await host.next() == piece
    assert [await host.next(), await host.next()] == [b"", b""]
    assert host.body_is_over


@pytest.mark.parametrize(
    ("events", "is_over"),
    [([body_event(b"a")], True), ([body_event(b"a", more=True), body_event()], False)],
    ids=["said with it", "said later"],
)
async def test_body_is_known_to_be_over_with_its_last_event(events: list[Any], is_over: bool) -> None:
    host = host_of(Callables(events))
    before = host.body_is_over
    await host.next()
    assert (before, host.body_is_over) == (False, is_over)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (DISCONNECT, "before it had sent the whole request body"),
        (ConnectionResetError("reset"), reasons.LEFT),
        (ClientDisconnected("another adapter's"), reasons.LEFT),
    ],
    ids=["disconnect", "ConnectionError", "ClientDisconnected"],
)
async def test_client_leaves_in_the_body(before: int, ending: Any, message: str) -> None:
    host = host_of(Callables([*[body_event(b"a", more=True)] * before, ending]))
    for _ in range(before):
        await host.next()
    with pytest.raises(ClientDisconnected, match=message):
        await host.next()
    assert not host.body_is_over


@pytest.mark.parametrize("error", [TimeoutError("slow"), OSError("disk"), RuntimeError("broken")], ids=repr)
@pytest.mark.parametrize("ask", [ASGIHost.next, ASGIHost.left])
async def test_failing_receive_is_no_disconnect(
    error: Exception, ask: Callable[[ASGIHost], Awaitable[object]]
) -> None:
    """It is a middleware's, for which others may have an answer."""
    with pytest.raises(type(error)) as raised:
        await ask(host_of(Callables([error])))
    assert raised.value is error


@pytest.mark.parametrize(
    ("event", "has_left"),
    [(DISCONNECT, True), (ConnectionResetError(), True), (body_event(), False)],
    ids=["disconnect", "ConnectionError", "a body that is replayed"],
)
async def test_left(event: Any, has_left: bool) -> None:
    assert await host_of(Callables([event])).left() is has_left


async def test_left_waits() -> None:
    gone = asyncio.Event()

    async def receive() -> Any:
        await gone.wait()
        return DISCONNECT

    async def send(event: Any) -> None:
        raise AssertionError("nothing is sent")

    left = asyncio.create_task(ASGIHost(http_scope(), receive, send).left())
    await asyncio.sleep(0)
    assert not left.done()
    gone.set()
    assert await left


# The response


RESPONSES: list[tuple[str, list[Part]]] = [
    ("one part", [(HEAD, b"a", False)]),
    ("no bytes", [(HEAD, b"", False)]),
    ("a head first", [(HEAD, b"", True), (None, b"a", False)]),
    ("an end without bytes", [(HEAD, b"a", True), (None, b"b", True), (None, b"", False)]),
]


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in RESPONSES])
async def test_parts_become_events(parts: list[Part]) -> None:
    callables = Callables()
    host = host_of(callables)
    assert state_of(host) == (None, False, False)
    for head, data, more in parts:
        await host.send(head, data, more)
        assert state_of(host) == (HEAD, more, not more)
    start, *bodies = callables.sent
    assert start == START
    assert bodies == [
        {"type": "http.response.body", "body": data, "more_body": more} for _, data, more in parts
    ]


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in RESPONSES])
async def test_events_of_are_those_that_are_sent(parts: list[Part]) -> None:
    callables = Callables()
    host = host_of(callables)
    for part in parts:
        await host.send(*part)
    assert [event for part in parts for event in events_of(part)] == callables.sent


LARGE: list[tuple[int, list[int]]] = [
    # bytes of a part, and of the events that it becomes
    (SLICE - 1, [SLICE - 1]),
    (SLICE, [SLICE]),
    (SLICE + 1, [SLICE, 1]),
    (2 * SLICE, [SLICE, SLICE]),
    (2 * SLICE + 1, [SLICE, SLICE, 1]),
]


def sizes_on(loop: Callable[[], asyncio.AbstractEventLoop], size: int, more: bool) -> list[int]:
    """The events that a part becomes on a loop: together they are the part, its end included."""
    data = os.urandom(size)
    callables = Callables()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(host_of(callables).send(HEAD, data, more))
    reply = Reply.of_events(callables.sent)
    assert reply.body == data
    assert reply.is_complete is not more
    return [len(chunk) for chunk in reply.chunks]


@pytest.mark.parametrize(("size", "slices"), LARGE)
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_large_part_goes_in_slices_if_more_follows(
    loop: Callable[[], asyncio.AbstractEventLoop], size: int, slices: list[int]
) -> None:
    """So that the host says early when the client is behind."""
    assert sizes_on(loop, size, True) == slices


@pytest.mark.parametrize(("size", "slices"), LARGE)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_large_body_goes_whole_unless_the_loop_would_copy_it(loop: str, size: int, slices: list[int]) -> None:
    """asyncio's own did, before Python 3.12, for each piece that the socket did not take."""
    copies = loop == "asyncio" and sys.version_info < (3, 12)
    new_loop = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    assert sizes_on(new_loop, size, False) == (slices if copies else [size])


# Who cannot be sent to


AT = pytest.mark.parametrize("at", [0, 1, 2], ids=["the head", "the first body", "a later body"])


async def send_all(host: ASGIHost) -> None:
    await host.send(HEAD, b"a", True)
    await host.send(None, b"b", True)


@AT
@pytest.mark.parametrize("error", [OSError("gone"), BrokenPipeError(), ClientDisconnected("left")], ids=repr)
async def test_oserror_is_a_disconnect(at: int, error: OSError) -> None:
    """ASGI spec, HTTP, "Disconnected Client - send exception"."""
    callables = Callables(failures={at: error})
    host = host_of(callables)
    with pytest.raises(ClientDisconnected, match=reasons.LEFT) as raised:
        await send_all(host)
    assert raised.value.__cause__ is error
    assert state_of(host) == (HEAD, False, False)
    assert len(callables.sent) == at + 1


@AT
async def test_timeout_error_is_none(at: int) -> None:
    """It is an OSError since Python 3.11, and most often a middleware's that has given up."""
    error = TimeoutError("too slow")
    host = host_of(Callables(failures={at: error}))
    with pytest.raises(TimeoutError) as raised:
        await send_all(host)
    assert raised.value is error
    assert state_of(host) == (HEAD, False, False)


@AT
@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()], ids=repr)
async def test_other_failures_are_the_hosts_own(at: int, error: BaseException) -> None:
    """As far as is known, the response is as open as it was."""
    host = host_of(Callables(failures={at: error}))
    with pytest.raises(type(error)) as raised:
        await send_all(host)
    assert raised.value is error
    assert state_of(host) == (HEAD, at > 0, False)


async def test_client_that_leaves_between_slices() -> None:
    callables = Callables(failures={2: BrokenPipeError()})
    host = host_of(callables)
    with pytest.raises(ClientDisconnected):
        await host.send(HEAD, b"x" * 5 * SLICE, True)
    assert len(callables.sent) == 3
    assert not host.is_open


# Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file on the disk."""
    found = tmp_path / "file"
    found.write_bytes(b"content")
    return found


@pytest.mark.parametrize(
    ("extensions", "is_offered"),
    [
        ({"http.response.pathsend": {}}, True),
        ({"http.response.pathsend": None}, True),
        ({"http.response.trailers": {}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_file_is_prepared_if_the_host_offers_it(path: Path, extensions: Any, is_offered: bool) -> None:
    with path.open("rb") as file:
        prepared = host_of(Callables(), extensions=extensions).prepare_file(file, 7)
    assert prepared == (str(path) if is_offered else None)


def test_scope_need_not_have_extensions(path: Path) -> None:
    scope = http_scope()
    del scope["extensions"]  # type: ignore[misc]  # the ASGI spec lets a host leave it out
    callables = Callables()
    with path.open("rb") as file:
        assert ASGIHost(scope, callables.receive, callables.send).prepare_file(file, 7) is None


async def test_file_is_sent_by_its_path(path: Path) -> None:
    callables = Callables()
    host = host_of(callables, **PATHSEND)
    await host.send_file(HEAD, str(path))
    assert callables.sent == [START, {"type": "http.response.pathsend", "path": str(path)}]
    assert state_of(host) == (HEAD, False, True)


@pytest.mark.parametrize(
    ("at", "error"),
    [
        (0, TimeoutError("too slow")),
        (0, RuntimeError("broken")),
        (1, FileNotFoundError("the file")),
        (1, RuntimeError("broken")),
    ],
    ids=repr,
)
async def test_file_that_is_not_sent(at: int, error: Exception) -> None:
    """Of an OSError at the path nobody knows here whether it is about the client or the file."""
    host = host_of(Callables(failures={at: error}), **PATHSEND)
    with pytest.raises(type(error)) as raised:
        await host.send_file(HEAD, "/a/path")
    assert raised.value is error
    assert state_of(host) == (HEAD, False, False)


async def test_client_that_left_before_the_head_of_a_file() -> None:
    """ASGI spec, HTTP, "Disconnected Client - send exception": the head is not about the file."""
    error = BrokenPipeError()
    host = host_of(Callables(failures={0: error}), **PATHSEND)
    with pytest.raises(ClientDisconnected, match=reasons.LEFT) as raised:
        await host.send_file(HEAD, "/a/path")
    assert raised.value.__cause__ is error
    assert state_of(host) == (HEAD, False, False)


def read_from(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.read(1)
    return file


def grown(path: Path) -> IO[bytes]:
    file = path.open("rb")
    path.write_bytes(b"content, and more of it")
    return file


def closed(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.close()
    return file


def deleted(path: Path) -> IO[bytes]:
    file = path.open("rb")
    path.unlink()
    return file


def replaced(path: Path) -> IO[bytes]:
    file = path.open("rb")
    other = path.with_name("other")
    other.write_bytes(b"another")
    other.replace(path)
    return file


def by_descriptor(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY), "rb")


def by_bytes(path: Path) -> IO[bytes]:
    return open(os.fsencode(path), "rb")


def by_a_link(path: Path) -> IO[bytes]:
    link = path.with_name("link")
    link.symlink_to(path)
    return link.open("rb")


PATHS: list[tuple[Callable[[Path], IO[bytes]], str | None]] = [
    # the file, and the name of the path by which others can read the same
    (lambda path: path.open("rb"), "file"),
    (lambda path: path.open("rb", buffering=0), "file"),
    (by_bytes, "file"),
    (by_a_link, "link"),
    (read_from, None),
    (grown, None),
    (closed, None),
    (deleted, None),
    (replaced, None),
    (by_descriptor, None),
]


@pytest.mark.parametrize(("opened", "name"), PATHS)
def test_path_of(path: Path, opened: Callable[[Path], IO[bytes]], name: str | None) -> None:
    with closing(opened(path)) as file:
        found = path_of(file, 7)  # type: ignore[arg-type]  # IO[bytes] is BinaryIO, but for mypy
    assert found == (None if name is None else str(path.with_name(name)))

"""`ThreadLink` by itself: a worker in a thread of the test's, and the loop's side in the test's hands."""

import io
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, cast

import pytest

from bridge.core.link import Head, Link
from bridge.errors import BridgeError, ClientDisconnected
from bridge.runners import reasons
from bridge.runners.host import PART_COST
from bridge.runners.thread_link import PreparedFile, ThreadLink
from bridge.runners.threads import Worker, WorkerPool
from tests.core.links import without_collector

HEAD = Head(200, b"", [])

LIMIT = 1000

PATIENCE = 10.0  # seconds, for what takes none


class Failure(Exception):
    """What work of these tests fails with."""


class Side:
    """The loop's side. What it is told, it keeps.

    Args:
        is_closed: the loop is closed.
        refuses_to_wait: the thread is the loop's own.
        prepared: what a file becomes.
        reads_ahead: the loop need not be asked for the body.
    """

    def __init__(
        self,
        *,
        is_closed: bool = False,
        refuses_to_wait: bool = False,
        prepared: object = None,
        reads_ahead: bool = False,
    ) -> None:
        self.reads_ahead = reads_ahead
        self.is_closed = is_closed
        self.refuses_to_wait = refuses_to_wait
        self.prepared = prepared
        self.posts = 0
        self.disconnects = 0
        self.files: list[tuple[BinaryIO, int]] = []
        self._posted = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)

    def post(self) -> None:
        if self.is_closed:
            raise RuntimeError("the event loop is closed")
        self.posts += 1
        self._posted.release()

    def before_part(self) -> None:
        pass

    def before_wait(self) -> None:
        if self.refuses_to_wait:
            raise BridgeError("the loop's own thread may not wait")
        self._waits.release()

    def before_disconnect(self) -> None:
        self.disconnects += 1

    def send_file(self, file: object) -> None:
        pass

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        self.files.append((file, size))
        return self.prepared

    def until_posted(self) -> None:
        """Wait for one more post."""
        assert self._posted.acquire(timeout=PATIENCE)

    def until_waiting(self, threads: int = 1) -> None:
        """Wait until so many threads more are about to wait.

        All that the loop's side does from then on reaches them, as what they wait for is looked at under the
        lock.
        """
        for _ in range(threads):
            assert self._waits.acquire(timeout=PATIENCE)


class Doing:
    """Work that is a function."""

    name = "GET /"

    def __init__(self, do: Callable[[Link], object]) -> None:
        self._do = do

    def run(self, link: Link) -> None:
        self._do(link)

    def drop(self) -> None:
        raise AssertionError("the host has not given it up")


def nothing(link: Link) -> None:
    pass


def link_of(side: Side, do: Callable[[Link], object] = nothing, limit: int = LIMIT) -> ThreadLink:
    return ThreadLink(Doing(do), side, limit)


def worker_of_nobody() -> Worker:
    """One whose thread is not started."""
    return Worker(WorkerPool(1, 0), 1)


@contextmanager
def in_threads(*functions: Callable[[], object]) -> Iterator[list["Future[Any]"]]:
    """Call functions in a thread each; the block has what becomes of them, and must bring them to an end."""
    with ThreadPoolExecutor(len(functions)) as pool:
        yield [pool.submit(function) for function in functions]


def taken(link: ThreadLink) -> list[tuple[Head | None, bytes | PreparedFile, bool]]:
    parts, _ = link.take()
    return parts


def parts_of(link: ThreadLink) -> list[tuple[Head | None, bytes | PreparedFile, bool]]:
    """What the loop takes, and has sent at once."""
    parts = taken(link)
    link.sent(sum(PART_COST + len(data) for _, data, _ in parts if isinstance(data, bytes)))
    return parts


# Sending


def test_parts_are_taken_as_they_were_sent() -> None:
    """All that there are, in their order, once."""
    side = Side()
    link = link_of(side)
    parts = [(HEAD, b"a", True), (None, b"b", True), (None, b"", False)]
    for head, data, more in parts:
        link.send(head, data, more)
    assert taken(link) == parts
    assert taken(link) == []
    assert side.posts == len(parts)


@pytest.mark.parametrize(
    ("head", "more", "is_sent"), [(None, True, False), (HEAD, True, True), (None, False, True)]
)
def test_a_part_of_nothing_is_not_sent(head: Head | None, more: bool, is_sent: bool) -> None:
    side = Side()
    link = link_of(side)
    link.send(head, b"", more)
    assert taken(link) == ([(head, b"", more)] if is_sent else [])
    assert side.posts == is_sent


def test_a_part_of_nothing_finds_out_that_the_client_left() -> None:
    side = Side()
    link = link_of(side)
    link.leave(reasons.LEFT)
    with pytest.raises(ClientDisconnected, match=reasons.LEFT):
        link.send(None, b"", True)
    assert side.disconnects == 1


LENGTHS: list[tuple[str, int, int]] = [
    # id, bytes of a part, how many parts there are room for before one waits
    ("one that fills the room", LIMIT - PART_COST, 1),
    ("tiny ones, which take room, too", 1, LIMIT // (PART_COST + 1)),
    ("larger ones", 300, LIMIT // (PART_COST + 300)),
]


@pytest.mark.parametrize(("size", "room"), [pytest.param(*case, id=name) for name, *case in LENGTHS])
def test_the_app_waits_with_the_part_beyond_the_limit(size: int, room: int) -> None:
    side = Side()
    link = link_of(side)
    for _ in range(room):
        link.send(None, b"x" * size, True)  # in this thread, which would wait for ever
    with in_threads(lambda: link.send(None, b"x" * LIMIT, True)) as [sending]:
        side.until_waiting()
        assert not sending.done()
        assert len(taken(link)) == room + 1  # the part is on its way before the wait
        link.sent((room + 1) * PART_COST + room * size + LIMIT)
        sending.result(PATIENCE)


def test_the_app_goes_on_when_half_has_been_sent() -> None:
    """Not before, so that a slow client does not wake the thread for each part."""
    side = Side()
    link = link_of(side)
    size = LIMIT + 1 - PART_COST
    with in_threads(lambda: link.send(HEAD, b"x" * size, True)) as [sending]:
        side.until_waiting()
        link.sent(1)  # at the limit
        link.sent(LIMIT // 2 - 1)  # a byte more than half is left
        with pytest.raises(TimeoutError):
            sending.result(0.05)
        link.sent(1)
        sending.result(PATIENCE)


def test_the_last_part_waits_for_nobody() -> None:
    """The app has nothing more to do that could wait."""
    link = link_of(Side(refuses_to_wait=True))
    link.send(HEAD, b"x" * 10 * LIMIT, False)
    assert len(taken(link)) == 1


def test_more_may_be_reported_sent_than_there_was() -> None:
    """What was taken back by `leave` may yet be sent."""
    side = Side()
    link = link_of(side)
    link.sent(5 * LIMIT)
    with in_threads(lambda: link.send(HEAD, b"x" * LIMIT, True)) as [sending]:
        side.until_waiting()
        link.sent(LIMIT + PART_COST)
        sending.result(PATIENCE)


# A file


def test_a_file_is_waited_for() -> None:
    """The app closes it next."""
    side = Side(prepared="/a/path")
    link = link_of(side)
    file = io.BytesIO(b"content")
    with in_threads(lambda: link.send_file(HEAD, file, 7)) as [sending]:
        side.until_waiting()
        [part] = taken(link)
        assert part == (HEAD, PreparedFile("/a/path"), False)
        assert not sending.done()
        link.sent(PART_COST)
        assert sending.result(PATIENCE)
    assert side.files == [(file, 7)]


def test_a_file_that_the_host_does_not_send() -> None:
    side = Side()
    link = link_of(side)
    assert not link.send_file(HEAD, io.BytesIO(b"content"), 7)
    assert (taken(link), side.posts) == ([], 0)


# Reading


def test_pieces_are_read_as_they_were_fed() -> None:
    link = link_of(Side(refuses_to_wait=True))
    for piece in (b"a", b"bc", b""):
        link.feed(piece)
    assert [link.read(), link.read()] == [b"a", b"bc"]


def test_the_end_stays() -> None:
    """The app may read as often as it likes."""
    link = link_of(Side(refuses_to_wait=True))
    link.feed(b"")
    assert [link.read() for _ in range(3)] == [b""] * 3


def test_reading_waits_and_says_who_does() -> None:
    side = Side()
    link = link_of(side)
    with in_threads(lambda: (threading.get_ident(), link.read())) as [reading]:
        side.until_posted()
        side.until_waiting()
        wants = link.wants_body
        link.feed(b"piece")
        thread, piece = reading.result(PATIENCE)
    assert (piece, wants) == (b"piece", thread)
    assert link.wants_body is None


def test_room_for_the_body() -> None:
    """There is until the limit is reached; the loop is told when there is again, once."""
    side = Side()
    link = link_of(side)
    piece = b"x" * (LIMIT // 2 - PART_COST)  # two reach it
    seen = []
    for step in (link.feed, link.feed, link.feed, None, None, None):
        if step is None:
            link.read()
        else:
            step(piece)
        seen.append((link.has_room, side.posts))
    assert seen == [(True, 0), (False, 0), (False, 0), (False, 0), (True, 1), (True, 1)]


def test_many_tiny_pieces_take_room_too() -> None:
    link = link_of(Side())
    count = 0
    while link.has_room:
        link.feed(b"x")
        count += 1
    assert count <= LIMIT // PART_COST + 1


def test_two_threads_read_each_piece_once() -> None:
    side = Side()
    link = link_of(side)

    def read_all() -> list[bytes]:
        return list(iter(link.read, b""))

    pieces = [b"%d" % number for number in range(100)]
    with in_threads(read_all, read_all) as readers:
        side.until_waiting(2)
        for piece in pieces:
            link.feed(piece)
        link.feed(b"")
        first, second = (each.result(PATIENCE) for each in readers)
    assert sorted(first + second, key=int) == pieces
    assert first == sorted(first, key=int)


def test_the_reader_that_gets_nothing_asks_again() -> None:
    """A host that receives only what is wanted would never receive its piece."""
    for _ in range(50):  # it depends on which of the threads is faster
        side = Side()
        link = link_of(side)
        with in_threads(link.read, link.read) as readers:
            side.until_waiting(2)
            link.feed(b"first")
            _, waiting = wait(readers, PATIENCE, FIRST_COMPLETED)
            for _ in range(50):
                if link.wants_body is not None or wait(waiting, 0.01).done:
                    break
            wants = link.wants_body
            link.feed(b"second")
        assert wants is not None
        assert sorted(each.result() for each in readers) == [b"first", b"second"]


# The client leaves


def sends(link: ThreadLink) -> None:
    link.send(HEAD, b"x" * 2 * LIMIT, True)


def sends_a_file(link: ThreadLink) -> None:
    link.send_file(HEAD, io.BytesIO(b"content"), 7)


def reads(link: ThreadLink) -> None:
    link.read()


WAYS = pytest.mark.parametrize("do", [sends, sends_a_file, reads])


@WAYS
def test_a_waiting_thread_notices_that_the_client_left(do: Callable[[ThreadLink], None]) -> None:
    side = Side(prepared="/a/path")
    link = link_of(side)
    with in_threads(lambda: do(link)) as [waiting]:
        side.until_waiting()
        link.leave(reasons.LEFT)
        with pytest.raises(ClientDisconnected, match=reasons.LEFT):
            waiting.result(PATIENCE)
    assert side.disconnects == 1
    assert taken(link) == []


@WAYS
def test_a_later_thread_notices_it_at_once(do: Callable[[ThreadLink], None]) -> None:
    side = Side(refuses_to_wait=True, prepared="/a/path")
    link = link_of(side)
    link.leave(reasons.CANCELLED)
    link.leave(reasons.LEFT)
    for times in (1, 2):
        with pytest.raises(ClientDisconnected, match=reasons.CANCELLED):  # the first reason stays
            do(link)
        assert side.disconnects == times
    assert taken(link) == []


def test_what_has_come_before_can_be_read() -> None:
    link = link_of(Side())
    link.feed(b"piece")
    link.leave(reasons.LEFT)
    assert link.read() == b"piece"
    with pytest.raises(ClientDisconnected):
        link.read()


def test_what_the_client_would_have_got_is_dropped() -> None:
    link = link_of(Side())
    link.send(HEAD, b"a", True)
    link.leave(reasons.LEFT)
    assert taken(link) == []


# The work


def test_work_is_done_in_the_worker() -> None:
    side = Side()
    worker = worker_of_nobody()
    seen: list[object] = []
    link = link_of(side, lambda link: seen.append(cast(ThreadLink, link).worker))
    assert (link.name, link.worker, link.is_finished) == ("GET /", None, False)
    link.run(worker)
    assert seen == [worker]
    assert (link.name, link.worker, link.is_finished, link.failure) == ("", None, True, None)
    assert side.posts == 1


@pytest.mark.parametrize("error", [Failure(), SystemExit(), ClientDisconnected()], ids=repr)
def test_failure_is_kept_for_the_host(error: BaseException) -> None:
    def fail(link: Link) -> NoReturn:
        raise error

    link = link_of(Side(), fail)
    link.run(worker_of_nobody())
    assert (link.is_finished, link.failure) == (True, error)


def test_work_for_a_client_that_has_left_is_not_done() -> None:
    seen: list[object] = []
    side = Side()
    link = link_of(side, seen.append)
    link.leave(reasons.LEFT)
    link.run(worker_of_nobody())
    assert (seen, link.is_finished, side.posts) == ([], True, 1)


def test_work_that_no_thread_does() -> None:
    seen: list[object] = []
    side = Side()
    link = link_of(side, seen.append)
    failure = Failure()
    link.refuse(failure)
    assert (link.is_finished, link.failure, side.posts) == (True, failure, 1)
    link.run(worker_of_nobody())  # a thread that has come for it after all
    assert seen == []


def test_parts_left_at_the_end_can_be_taken() -> None:
    def answer(link: Link) -> None:
        link.send(HEAD, b"a", True)
        link.send(None, b"", False)

    link = link_of(Side(), answer)
    link.run(worker_of_nobody())
    assert [data for _, data, _ in taken(link)] == [b"a", b""]


@WAYS
def test_finished_link_refuses_threads_of_the_apps_own(do: Callable[[ThreadLink], None]) -> None:
    """Nor is the loop's side, which goes on to another request, told of it."""
    side = Side(refuses_to_wait=True)
    link = link_of(side)
    link.run(worker_of_nobody())
    posts = side.posts
    if do is sends_a_file:
        assert not link.send_file(
            HEAD, io.BytesIO(b"content"), 7
        )  # then it is sent in blocks, which are refused
    else:
        with pytest.raises(ClientDisconnected, match=reasons.OVER):
            do(link)
    assert (taken(link), side.posts, side.disconnects) == ([], posts, 0)


@pytest.mark.parametrize("do", [sends, reads])
def test_a_waiting_thread_of_the_app_notices_the_end(do: Callable[[ThreadLink], None]) -> None:
    side = Side()
    link = link_of(side)
    with in_threads(lambda: do(link)) as [waiting]:
        side.until_waiting()
        link.run(worker_of_nobody())
        if do is reads:
            with pytest.raises(ClientDisconnected, match=reasons.OVER):
                waiting.result(PATIENCE)
        else:
            waiting.result(PATIENCE)  # what it has sent can still be taken
            assert len(taken(link)) == 1


# The loop


@WAYS
def test_closed_loop_is_nobody_to_talk_to(do: Callable[[ThreadLink], None]) -> None:
    """It has ended without waiting for the call."""
    link = link_of(Side(is_closed=True, prepared="/a/path"))
    with pytest.raises(ClientDisconnected, match=reasons.LOOP_CLOSED):
        do(link)


def test_closed_loop_is_no_failure_of_the_work() -> None:
    link = link_of(Side(is_closed=True), lambda link: link.send(HEAD, b"short", False))
    link.run(worker_of_nobody())
    assert (link.failure, link.gone) == (None, reasons.LOOP_CLOSED)


@pytest.mark.parametrize("do", [sends, reads])
def test_other_threads_notice_a_closed_loop(do: Callable[[ThreadLink], None]) -> None:
    """One finds out, another waits already."""
    side = Side()
    link = link_of(side)
    with in_threads(lambda: do(link)) as [waiting]:
        side.until_waiting()
        side.is_closed = True
        with pytest.raises(ClientDisconnected, match=reasons.LOOP_CLOSED):
            link.read()
        try:
            with pytest.raises(ClientDisconnected, match=reasons.LOOP_CLOSED):
                waiting.result(1)
        finally:
            link.leave(reasons.LEFT)  # or the test would hang with it


@WAYS
def test_loops_own_thread_may_not_wait(do: Callable[[ThreadLink], None]) -> None:
    with pytest.raises(BridgeError, match="the loop's own thread"):
        do(link_of(Side(refuses_to_wait=True, prepared="/a/path")))


@pytest.mark.parametrize(
    "do", [nothing, lambda link: link.send(HEAD, b"x" * 800, True), lambda link: link.read()]
)
def test_loops_own_thread_may_do_what_needs_no_wait(do: Callable[[Link], object]) -> None:
    link = link_of(Side(refuses_to_wait=True))
    link.feed(b"piece")
    do(link)


# Garbage


class Canary:
    """Something that the work holds."""


def answers(link: Link) -> None:
    link.send(HEAD, b"a", False)


def fails(link: Link) -> NoReturn:
    raise Failure


def reads_too_much(link: Link) -> None:
    link.read()


@pytest.mark.parametrize("do", [nothing, answers, fails, reads_too_much])
@pytest.mark.parametrize("way", ["done", "done after the client left", "refused"])
def test_nothing_is_held_after_the_end(do: Callable[[Link], object], way: str) -> None:
    """Not the work, nor the loop's side, both of which hold the link; by whoever still has that."""
    canary = Canary()
    side = Side()

    def work(link: Link, held: Canary = canary) -> None:
        do(link)

    with without_collector():
        link = ThreadLink(Doing(work), side, LIMIT)
        link.feed(b"")
        if way == "done after the client left":
            link.leave(reasons.LEFT)
        if way == "refused":
            link.refuse(Failure())
        else:
            link.run(worker_of_nobody())
        link.failure = None  # as the loop does when it has raised it
        gone = weakref.ref(canary), weakref.ref(side)
        del canary, side, work
        assert [each() for each in gone] == [None, None]

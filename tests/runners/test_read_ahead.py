"""`ReadAhead` over a body that is a script, on a loop of the test's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from bridge.errors import ClientDisconnected
from bridge.runners.host import PART_COST
from bridge.runners.read_ahead import ReadAhead

LIMIT = 1000


class Failure(Exception):
    """What a host of these tests fails with."""


class Script:
    """A body: pieces, one after another, and then its end; each may have to be waited for.

    Args:
        pieces: what `next` gives; an exception among them is raised.
        waits: whether each piece has to be let go by `go_on`.
        leaves: what `left` gives once `leave` is called; an exception is raised.
        is_deaf: whether it goes on though it has been cancelled.
    """

    def __init__(
        self,
        pieces: Iterable[bytes | BaseException] = (),
        *,
        waits: bool = False,
        leaves: bool | BaseException = True,
        is_deaf: bool = False,
    ) -> None:
        self.pieces = list(pieces)
        self.received = 0
        self.asked_left = 0
        self.is_busy = False
        self._step = asyncio.Semaphore(0) if waits else None
        self._leaves = leaves
        self._left = asyncio.Event()
        self._is_deaf = is_deaf
        self.hears = asyncio.Event()

    @property
    def body_is_over(self) -> bool:
        return not self.pieces

    def go_on(self) -> None:
        assert self._step is not None
        self._step.release()

    def leave(self) -> None:
        self._left.set()

    async def next(self) -> bytes:
        assert not self.is_busy, "the body is for one task at a time"
        self.is_busy = True
        try:
            if self._step is not None:
                await self._undisturbed(self._step.acquire)
            if not self.pieces:
                return b""
            self.received += 1
            piece = self.pieces.pop(0)
            if isinstance(piece, BaseException):
                raise piece
            return piece
        finally:
            self.is_busy = False

    async def left(self) -> bool:
        assert not self.is_busy, "the body is for one task at a time"
        self.is_busy = True
        try:
            self.asked_left += 1
            await self._undisturbed(self._left.wait)
            if isinstance(self._leaves, BaseException):
                raise self._leaves
            return self._leaves
        finally:
            self.is_busy = False

    async def _undisturbed(self, wait: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await wait()
            except asyncio.CancelledError:
                self.hears.set()
                if not self._is_deaf:
                    raise
            else:
                return


class Reading:
    """A `ReadAhead`, and the ends that it has reported."""

    def __init__(self, script: Script, limit: int = LIMIT) -> None:
        self.ends: list[Exception | None] = []
        self.ahead = ReadAhead(script, limit, asyncio.get_running_loop(), self.ends.append)


@asynccontextmanager
async def reading(script: Script, limit: int = LIMIT) -> AsyncIterator[Reading]:
    made = Reading(script, limit)
    try:
        yield made
    finally:
        await made.ahead.stop(0)


async def turns(count: int = 20) -> None:
    """Let all that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def rest_of(ahead: ReadAhead) -> list[bytes]:
    """The pieces up to the end."""
    pieces = []
    while piece := await ahead.next():
        pieces.append(piece)
    return pieces


def running() -> int:
    return len(asyncio.all_tasks())


def starts_twice(ahead: ReadAhead) -> None:
    ahead.start()
    ahead.start()


def starts_later_and_soon(ahead: ReadAhead) -> None:
    ahead.start_later(60)
    ahead.start_soon()


STARTS: dict[str, Callable[[ReadAhead], None]] = {
    "not started": lambda ahead: None,
    "start": ReadAhead.start,
    "start, twice": starts_twice,
    "start_soon": ReadAhead.start_soon,
    "start_later": lambda ahead: ahead.start_later(0),
    "start_later, and soon": starts_later_and_soon,
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("waits", [False, True], ids=["all there", "still to come"])
@pytest.mark.parametrize("pieces", [[], [b"a"], [b"a", b"b", b"c"]], ids=len)
async def test_pieces_come_in_order(
    start: Callable[[ReadAhead], None], waits: bool, pieces: list[bytes]
) -> None:
    script = Script(pieces, waits=waits)
    async with reading(script) as read:
        start(read.ahead)
        got = asyncio.create_task(rest_of(read.ahead))
        for _ in pieces:
            await turns()
            if waits:
                script.go_on()
        assert await got == pieces
        assert await read.ahead.next() == b""  # the end stays
        assert read.ahead.body_is_over


async def test_without_a_start_nothing_is_read_ahead() -> None:
    script = Script([b"a", b"b"])
    async with reading(script) as read:
        before = running()
        await read.ahead.next()
        await turns()
        assert (script.received, running()) == (1, before)


@pytest.mark.parametrize("start", list(STARTS.values())[1:], ids=list(STARTS)[1:])
async def test_it_reads_ahead(start: Callable[[ReadAhead], None]) -> None:
    script = Script([b"a", b"b"])
    async with reading(script) as read:
        start(read.ahead)
        await asyncio.sleep(0.01)
        assert (script.received, script.asked_left) == (2, 1)
        assert not read.ahead.body_is_over  # the app has not taken it yet
        assert await rest_of(read.ahead) == [b"a", b"b"]


async def test_start_soon_lets_others_go_first() -> None:
    script = Script([b"a"])
    order = []
    async with reading(script) as read:
        read.ahead.start_soon()
        asyncio.get_running_loop().call_soon(lambda: order.append(script.received))
        await turns()
        assert order == [0]
        assert script.received == 1


@pytest.mark.parametrize(
    "again", [lambda ahead: ahead.start_later(0), lambda ahead: None], ids=["twice", "once"]
)
async def test_start_later_waits(again: Callable[[ReadAhead], None]) -> None:
    script = Script([b"a"])
    async with reading(script) as read:
        read.ahead.start_later(60)
        again(read.ahead)  # the first one counts
        await asyncio.sleep(0.01)
        assert script.received == 0


async def test_start_while_next_waits() -> None:
    """It receives for `next` first, as there may be one at a time."""
    script = Script([b"a", b"b"], waits=True)
    async with reading(script) as read:
        first = asyncio.create_task(read.ahead.next())
        await turns()
        read.ahead.start()
        await turns()
        assert not first.done()
        script.go_on()
        assert await first == b"a"
        script.go_on()
        await turns()
        assert script.received == 2
        assert await read.ahead.next() == b"b"


@pytest.mark.parametrize("starts", [False, True])
async def test_several_may_wait_for_the_next_piece(starts: bool) -> None:
    script = Script([b"a", b"b"], waits=True)
    async with reading(script) as read:
        if starts:
            read.ahead.start()
        waiting = [asyncio.create_task(read.ahead.next()) for _ in range(3)]
        for _ in range(2):
            await turns()
            script.go_on()
        assert sorted(await asyncio.gather(*waiting)) == [b"", b"a", b"b"]


LIMITS: list[tuple[str, list[bytes], int]] = [
    # id, pieces, how many are received before one is taken
    ("one larger piece", [b"x" * 2 * LIMIT] * 10, 1),
    ("pieces that fill it", [b"x" * (LIMIT - PART_COST)] * 10, 1),
    ("pieces that do not", [b"x" * 300] * 10, 3),
    ("tiny ones, which take room, too", [b"x"] * 1000, LIMIT // (PART_COST + 1) + 1),
]


@pytest.mark.parametrize(("pieces", "most"), [pytest.param(*case, id=name) for name, *case in LIMITS])
async def test_it_is_ahead_by_so_many_bytes_and_a_piece(pieces: list[bytes], most: int) -> None:
    script = Script(pieces)
    async with reading(script) as read:
        read.ahead.start()
        await turns(50)
        assert script.received == most
        await read.ahead.next()
        await turns(50)
        assert script.received <= most + 1
        assert [pieces[0], *await rest_of(read.ahead)] == pieces


# The client leaves


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_left(start: Callable[[ReadAhead], None]) -> None:
    """Waiting for it reads ahead; the app can still read what came before."""
    script = Script([b"a", b"b"])
    async with reading(script) as read:
        start(read.ahead)
        left = asyncio.create_task(read.ahead.left())
        await turns()
        assert not left.done()
        script.leave()
        assert await left
        assert await read.ahead.left()  # at once
        assert read.ends == [None]
        assert await rest_of(read.ahead) == [b"a", b"b"]


async def test_host_that_does_not_tell() -> None:
    script = Script([b"a"], leaves=False)
    async with reading(script) as read:
        read.ahead.start()
        script.leave()
        await turns()
        assert read.ends == []
        assert await rest_of(read.ahead) == [b"a"]


@pytest.mark.parametrize("start", list(STARTS.values())[:3], ids=list(STARTS)[:3])
@pytest.mark.parametrize("before", [[], [b"a"]], ids=len)
async def test_client_leaves_in_the_body(start: Callable[[ReadAhead], None], before: list[bytes]) -> None:
    """What came before is given first; it is told once, and does not look like the end of the body later."""
    script = Script([*before, ClientDisconnected("in the body"), b"never"])
    async with reading(script) as read:
        start(read.ahead)
        assert [await read.ahead.next() for _ in before] == before
        for _ in range(3):
            with pytest.raises(ClientDisconnected):
                await read.ahead.next()
        assert read.ends == [None]
        assert script.received == len(before) + 1
        read.ahead.start()  # there is nothing to start for
        await turns()
        assert script.received == len(before) + 1


# The host fails


@pytest.mark.parametrize("starts_with", ["start", "left"])
async def test_failure_of_the_host_is_told(starts_with: str) -> None:
    failure = Failure()
    script = Script([b"a", failure, b"never"])
    async with reading(script) as read:
        if starts_with == "left":
            assert await read.ahead.left()
        else:
            read.ahead.start()
            await turns()
        assert read.ends == [failure]
        assert await read.ahead.next() == b"a"
        with pytest.raises(ClientDisconnected, match="the host has failed"):
            await read.ahead.next()


async def test_failure_after_the_body_is_told() -> None:
    failure = Failure()
    script = Script([b"a"], leaves=failure)
    async with reading(script) as read:
        read.ahead.start()
        script.leave()
        await turns()
        assert read.ends == [failure]
        assert await rest_of(read.ahead) == [b"a"]


async def test_failure_in_next_is_raised_there() -> None:
    failure = Failure()
    async with reading(Script([failure])) as read:
        with pytest.raises(Failure) as raised:
            await read.ahead.next()
        assert raised.value is failure
        assert read.ends == []


async def test_next_that_is_cancelled_leaves_the_piece() -> None:
    script = Script([b"a"], waits=True)
    async with reading(script) as read:
        first = asyncio.create_task(read.ahead.next())
        await turns()
        first.cancel()
        await asyncio.wait([first])
        script.go_on()
        assert await read.ahead.next() == b"a"


# The end


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("stage", ["in the body", "with the limit reached", "after the body"])
async def test_stop(start: Callable[[ReadAhead], None], stage: str) -> None:
    """Nothing is received from then on, no task is left, and nobody is told."""
    pieces = {"in the body": [b"a"], "with the limit reached": [b"x" * LIMIT] * 3, "after the body": []}[
        stage
    ]
    script = Script(pieces, waits=stage == "in the body")
    before = running()
    read = Reading(script)
    start(read.ahead)
    await turns()
    await read.ahead.stop(10)
    received, asked = script.received, script.asked_left
    script.leave()
    await turns()
    assert (running(), read.ends) == (before, [])
    assert (script.received, script.asked_left) == (received, asked)


async def test_stop_before_a_start_that_was_due() -> None:
    script = Script([b"a"])
    read = Reading(script)
    read.ahead.start_later(0.001)
    await read.ahead.stop(0)
    await asyncio.sleep(0.01)
    assert script.received == 0


async def test_stop_does_not_wait_for_a_host_that_ignores_it() -> None:
    """Not for longer than there is patience for, and what it receives then is lost."""
    script = Script([b"a"], waits=True, is_deaf=True)
    read = Reading(script)
    before = running()
    read.ahead.start()
    await turns()
    async with asyncio.timeout(10):
        await read.ahead.stop(0.01)
    assert script.hears.is_set()
    assert running() == before + 1
    script.go_on()
    script.leave()
    await turns()
    assert (running(), read.ends) == (before, [])


async def test_stop_waits_for_a_host_that_takes_its_time() -> None:
    script = Script([b"a"], waits=True, is_deaf=True)
    read = Reading(script)
    read.ahead.start()
    await turns()
    stopping = asyncio.create_task(read.ahead.stop(60))
    await script.hears.wait()
    await turns()
    assert not stopping.done()
    script.go_on()
    script.leave()
    await stopping
    assert read.ends == []


async def test_a_waiting_task_notices_the_stop() -> None:
    """A thread of the app's own would wait for ever."""
    read = Reading(Script([b"a"], waits=True))
    read.ahead.start()
    waiting = asyncio.create_task(read.ahead.next())
    await turns()
    await read.ahead.stop(10)
    await turns()
    try:
        assert waiting.done()
    finally:
        waiting.cancel()
    with pytest.raises(ClientDisconnected):
        await waiting


async def test_nothing_is_received_after_it_has_stopped() -> None:
    """The host has the call behind it, and may give what is another request's, or nothing for hours."""
    script = Script([b"a", b"b"])
    read = Reading(script)
    await read.ahead.stop(10)
    with pytest.raises(ClientDisconnected):
        await read.ahead.next()
    assert script.received == 0

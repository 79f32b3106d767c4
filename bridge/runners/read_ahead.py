"""Receives a request's body on the event loop ahead of the app, and then the client's disconnect."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from bridge.errors import ClientDisconnected
from bridge.runners import reasons
from bridge.runners.host import PART_COST, Body

__all__ = ["ReadAhead", "Reader", "Sink", "feed"]


class Sink(Protocol):
    """Takes the pieces of a body that a `Reader` receives."""

    @property
    def has_room(self) -> bool:
        """Whether it takes another piece."""

    def feed(self, data: bytes) -> None:
        """Take a piece; b"" is the end of the body."""


class Reader:
    """A task that receives the body, ahead of the app, and then waits for the client to leave.

    Args:
        body: the body to receive.
        sink: takes its pieces.
        loop: the running loop.
        on_end: called when nothing is left to receive: with None if the client has left, or with the
            exception that the host raised.
    """

    __slots__ = ("_body", "_failure", "_loop", "_on_end", "_room", "_sink", "_task")

    def __init__(
        self,
        body: Body,
        sink: Sink,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[Exception | None], object],
    ) -> None:
        self._body = body
        self._sink = sink
        self._loop = loop
        self._on_end = on_end
        self._room: asyncio.Future[None] | None = None  # the task waits for it while the sink is full
        self._failure: Exception | None = None
        self._task: asyncio.Task[None] | None = loop.create_task(self._read())

    def go_on(self) -> None:
        """Receive more, if the sink has room again."""
        room = self._room
        if room is not None and not room.done() and self._sink.has_room:
            room.set_result(None)

    async def stop(self, patience: float) -> Exception | None:
        """Stop receiving, without calling `on_end`.

        Args:
            patience: how many seconds to wait for a host that ignores the cancellation.

        Returns:
            The exception that the host raised, if any.
        """
        self._on_end = _do_nothing  # the function holds this
        task, self._task = self._task, None  # the traceback of its cancellation leads here
        if task is not None:
            task.cancel()
            await asyncio.sleep(0)  # most tasks have ended by then; `wait` costs more than the task did
            if not task.done():
                await asyncio.wait([task], timeout=patience)
        failure, self._failure = self._failure, None  # its traceback leads here, too
        return failure

    async def _read(self) -> None:
        try:
            while not self._body.body_is_over:
                if not self._sink.has_room:
                    self._room = self._loop.create_future()
                    await self._room
                await feed(self._sink, self._body)
            if await self._body.left():
                self._on_end(None)
        except ClientDisconnected:
            self._on_end(None)
        except Exception as error:  # noqa: BLE001  # the call returns it to the host, which failed to receive
            self._failure = error
            self._on_end(error)


async def feed(sink: Sink, body: Body) -> None:
    """Receive the next piece for a sink, and its end as soon as that is known.

    Raises:
        ClientDisconnected: the client left before the end.
        Exception: the host failed.
    """
    data = await body.next()
    sink.feed(data)
    if data and body.body_is_over:
        sink.feed(b"")


class ReadAhead:
    """A `Body` that receives another one ahead of the app, from `start` on.

    Args:
        body: the host's.
        buffer_size: how many bytes, or one piece if that is larger, to receive ahead.
        loop: the running loop.
        on_end: see `Reader`.
    """

    __slots__ = (
        "_body",
        "_buffer_size",
        "_changed",
        "_ended",
        "_handle",
        "_is_receiving",
        "_loop",
        "_on_end",
        "_pieces",
        "_reader",
        "_size",
        "_starts_next",
    )

    def __init__(
        self,
        body: Body,
        buffer_size: int,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[Exception | None], object],
    ) -> None:
        self._body = body
        self._buffer_size = buffer_size
        self._loop = loop
        self._on_end = on_end
        # A list, as most bodies are one piece: a deque would cost each stream 0.6 KB.
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended: str | None = None  # why nothing is left to receive
        self._is_receiving = False  # `next` receives, without a reader
        self._starts_next = False  # a reader starts once that is over
        self._changed: asyncio.Event | None = None  # made by the first that has to wait
        self._reader: Reader | None = None
        self._handle: asyncio.Handle | None = None  # of a scheduled start

    @property
    def body_is_over(self) -> bool:
        """Whether the app has taken all of the body."""
        return self._body.body_is_over and not self._pieces

    async def next(self) -> bytes:
        """Return the next piece of the body; b"" at its end.

        Raises:
            ClientDisconnected: the rest will not come.
        """
        while not self._pieces:
            if self._body.body_is_over and not self._is_receiving:
                return b""
            if self._ended is not None:
                raise ClientDisconnected(self._ended)
            if self._reader is not None or self._is_receiving:
                await self._change()
            else:
                return await self._next_without_reader()
        data = self._pieces.pop(0)
        self._size -= len(data) + PART_COST
        if self._reader is not None:
            self._reader.go_on()
        return data

    async def left(self) -> bool:
        """Wait for the client to leave."""
        self.start()
        while self._ended is None:
            await self._change()
        return True

    def start_later(self, seconds: float) -> None:
        """Start in this many seconds."""
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, self.start_soon)

    def start_soon(self) -> None:
        """Start in the loop's next turn.

        Calls that can go on go first; on a busy loop most can, and then do not need this any more.
        """
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_soon(self.start)

    def start(self) -> None:
        """Receive ahead from here on."""
        if self._is_receiving:
            self._starts_next = True
        elif self._reader is None and self._ended is None:
            self._reader = Reader(self._body, self, self._loop, self._end)

    async def stop(self, patience: float) -> None:
        """Stop receiving, without calling `on_end`; wait `patience` seconds at most."""
        self._on_end = _do_nothing  # the function holds this
        self._ended = self._ended or reasons.OVER
        self._tell()
        if self._handle is not None:
            self._handle.cancel()
            # It holds this, and so all of the request. Left to the garbage collector, such cycles took a
            # quarter of the CPU at 1,000 connections.
            self._handle = None
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop(patience)

    # `Sink`

    @property
    def has_room(self) -> bool:
        """Whether it takes another piece."""
        return self._size < self._buffer_size

    def feed(self, data: bytes) -> None:
        """Keep a piece for `next`."""
        self._pieces.append(data)
        self._size += len(data) + PART_COST
        self._tell()

    # Inside

    async def _next_without_reader(self) -> bytes:
        """Receive a piece without a task, as most bodies are one piece."""
        self._is_receiving = True
        try:
            return await self._body.next()
        except ClientDisconnected:
            self._end(None)
            raise
        finally:
            self._is_receiving = False
            self._tell()
            if self._starts_next:
                self.start()

    def _end(self, error: Exception | None) -> None:
        self._ended = reasons.LEFT if error is None else reasons.HOST_FAILED
        self._tell()
        self._on_end(error)

    async def _change(self) -> None:
        """Wait until something changes."""
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()


def _do_nothing(error: Exception | None) -> None:
    pass

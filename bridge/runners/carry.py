"""The coroutine between a call in a worker thread and a host that is awaited.

Everything runs on the event loop's thread, except `run`, `name` and the methods of `LoopSide`, which the
worker's side calls.

- Links that have something for the loop queue in its `Mailbox`, at most once each, and one
  `call_soon_threadsafe` wakes the loop for all of them.
- Parts that pile up while the loop is busy leave as one. None waits for others to come.

A request with several pieces of body, or several parts of response, gets a reader: a task that receives ahead
of the app, up to `buffer_size` or one piece. On a body, app and network so work at the same time. During a
response, only the reader can notice a disconnect, after which every ASGI host makes `send` do nothing. Short
requests with short responses do without.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from threading import get_ident
from typing import Any, BinaryIO, cast

from bridge.core.link import Head
from bridge.errors import ClientDisconnected, Overloaded
from bridge.runners import reasons
from bridge.runners.context import CallContext
from bridge.runners.engine import Engine
from bridge.runners.host import PART_COST, Body, Host
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess
from bridge.runners.read_ahead import Reader, feed
from bridge.runners.thread_call import ThreadCall, submit
from bridge.runners.thread_link import PreparedFile, ThreadLink, Work
from bridge.runners.thread_queue import ThreadQueue
from bridge.types import override

__all__ = ["Carrier", "serve_in_thread"]


def serve_in_thread(work: Work, host: Host, engine: Engine, method: str) -> Coroutine[Any, Any, None]:
    """Have a thread make a call; answer 503 if none takes it in time.

    Args:
        work: the call.
        host: its client.
        engine: its threads.
        method: the request's method, for the 503.

    Returns:
        The coroutine to await; it raises what `Carrier.serve` raises, except `Overloaded`.
    """
    carrier = Carrier(work, host, engine)
    queue = engine.queue
    try:
        timer = submit(carrier.link, queue, engine.mailbox.loop)
    except Overloaded as error:
        carrier.link.refuse(error)
        return _refuse(host, queue, method)
    return carrier.serve() if timer is None else _serve_in_time(carrier, host, queue, method, timer)


async def _serve_in_time(
    carrier: "Carrier", host: Host, queue: ThreadQueue, method: str, timer: asyncio.TimerHandle
) -> None:
    """Serve a call that queues for a thread, until the timer refuses it."""
    try:
        await carrier.serve()
    except Overloaded:
        await _refuse(host, queue, method)
    finally:
        timer.cancel()


async def _refuse(host: Host, queue: ThreadQueue, method: str) -> None:
    with suppress(ClientDisconnected):
        await host.send(*queue.refusal(method))


class Carrier(ThreadCall):
    """The event loop's side of a `ThreadLink`, for a host that is awaited.

    Args:
        work: the call, or the rest of one.
        host: its client.
        engine: what it shares with other calls.
        body: the request's body, if it is not the host.
    """

    __slots__ = (
        "_access",
        "_body",
        "_context",
        "_engine",
        "_has_news",
        "_host",
        "_is_posted",
        "_is_sending",
        "_reader",
        "_stage",
        "_timer",
        "_waiter",
        "_work",
        "link",
    )

    def __init__(self, work: Work, host: Host, engine: Engine, body: Body | None = None) -> None:
        self._work = work
        self._host = host
        self._body: Body = host if body is None else body
        self._engine = engine
        self._access = LoopAccess(engine.mailbox.loop)
        token = CURRENT_LOOP.set(self._access)
        self._context: CallContext = CallContext()
        CURRENT_LOOP.reset(token)
        self.link = ThreadLink(self, self, engine.buffer_size)
        self._is_posted = False
        self._has_news = False
        self._is_sending = False
        self._waiter: asyncio.Future[None] | None = None
        self._reader: Reader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stage = ""  # "ending": a stream has to end; "given up": nobody waits for its app any longer

    async def serve(self) -> None:
        """Do what the worker asks for, until the call has ended.

        Raises:
            ApplicationError: the response was cut short.
            Overloaded: no thread took the call in time.
            Exception: what the host raised.
        """
        link, host = self.link, self._host
        try:
            while True:
                if host.is_open and link.gone is None and self._count_seconds():
                    self._read_ahead()  # listen for the disconnect: the response streams
                if not self._has_news:
                    self._waiter = self._engine.mailbox.loop.create_future()
                    await self._waiter
                    self._waiter = None
                self._has_news = False
                parts, is_finished = link.take()
                if parts or is_finished:
                    self._context.carry_back(noted=not is_finished)
                if parts:
                    await self._send(parts)
                if self._stage == "ending" and host.is_open:
                    with suppress(OSError):
                        await host.send(None, b"", False)
                if is_finished or self._stage == "given up":
                    break
                if link.wants_body is not None:
                    await self._receive()
        except GeneratorExit:  # the loop is closed, and runs nothing any more
            self._leave(reasons.LOOP_CLOSED)
            raise
        except BaseException as error:
            # Tell the thread, but do not wait for it: it may be busy, and this must end now.
            is_cancelled = isinstance(error, asyncio.CancelledError)
            self._leave(reasons.CANCELLED if is_cancelled else reasons.HOST_FAILED)
            await self._stop_watching()
            link.failure = None  # nobody wants it any more, and its traceback leads here
            raise
        failure: BaseException | None = None
        if self._reader is not None:
            failure = await self._stop_watching()
        if failure is None and link.gone is None:  # else no client gets the response cut short
            failure = link.failure
        link.failure = None  # its traceback leads here
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    @property
    @override
    def open_head(self) -> Head | None:
        return self._host.head if self._host.is_open else None

    @override
    def wake(self) -> None:
        self._is_posted = False
        self._has_news = True
        if self._reader is not None:
            self._reader.go_on()
        elif self._is_sending and self.link.wants_body is not None:
            # The client may read nothing before it has sent its whole body, so both must go on at once.
            self._read_ahead()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # `LoopSide`

    @override
    def before_part(self) -> None:
        worker = self.link.worker
        if worker is not None and worker.thread.ident == get_ident():  # else it is a thread of the app's own
            self._context.note()

    @property
    def reads_ahead(self) -> bool:
        """Whether a reader receives ahead of the app."""
        return self._reader is not None

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """See `Host.prepare_file`."""
        return self._host.prepare_file(file, size)

    # Inside

    async def _send(self, parts: list[tuple[Head | None, bytes | PreparedFile, bool]]) -> None:
        link, host = self.link, self._host
        head, data, more = parts[0]
        self._is_sending = True
        if link.wants_body is not None:
            self._read_ahead()  # see `wake`
        try:
            if isinstance(data, PreparedFile):
                assert head is not None, "a file is a whole response"
                await host.send_file(head, data.file)
                link.sent(PART_COST)
            else:
                if len(parts) > 1:
                    data = b"".join(cast("list[bytes]", [part[1] for part in parts]))  # a file comes alone
                    more = parts[-1][2]
                await host.send(head, data, more)
                if more:
                    link.sent(len(data) + PART_COST * len(parts))
                    if self._engine.streams.are_ending:
                        self.end()
        except ClientDisconnected:
            self._leave(reasons.LEFT)
        finally:
            self._is_sending = False

    async def _receive(self) -> None:
        """Receive a piece of the body here, if the worker waits for it, as most bodies are one piece.

        A reader receives the rest; or all of it, if the response has begun, or another thread waits: the
        worker may send something meanwhile.
        """
        link, body = self.link, self._body
        if self._reader is not None or link.gone is not None or link.is_fed:
            return
        worker = link.worker
        if self._host.is_open or worker is None or worker.thread.ident != link.wants_body:
            self._read_ahead()
            return
        try:
            await feed(link, body)
        except ClientDisconnected:
            self._leave(reasons.LEFT)
        else:
            if not body.body_is_over:
                self._read_ahead()

    def _read_ahead(self) -> None:
        """Receive ahead of the app from here on."""
        if self._reader is None:
            self._reader = Reader(self._body, self.link, self._engine.mailbox.loop, self._on_end)

    def _on_end(self, error: Exception | None) -> None:
        self._leave(reasons.LEFT if error is None else reasons.HOST_FAILED)
        self.wake()

    async def _stop_watching(self) -> Exception | None:
        """Stop listening; return what the host raised when it received, if that still matters."""
        self._stop_counting()
        reader, self._reader = self._reader, None
        if reader is None:
            return None
        failure = await reader.stop(reasons.GRACE)
        return None if self._host.is_complete else failure

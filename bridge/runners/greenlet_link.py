"""The link of a call in a greenlet, which the task that serves the call runs on the event loop.

When the call waits, for its host or for an `async def` view, the task awaits, and the loop serves others. The
call holds no thread. Worker threads run code that might block: an `Offload` calls plain functions, and a
`ThreadLink` takes over for a response that plain code produces.

Everything runs on the loop's thread. Threads that the app has started, and the worker that produces a
response, may call `read` and `send`, too, which then have the loop do it, and wait.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent

from bridge.core.call import Call
from bridge.core.link import Head, Link
from bridge.core.response import State
from bridge.errors import ClientDisconnected
from bridge.free_threading import has_gil
from bridge.runners import reasons
from bridge.runners.carry import Carrier
from bridge.runners.context import context_of_task
from bridge.runners.engine import Engine, is_event_stream
from bridge.runners.greenlets import CallGreenlet
from bridge.runners.host import PARTS_PER_TURN, Body, Host
from bridge.runners.loop_access import CURRENT_LOOP, AccessTokens, LoopAccess
from bridge.runners.offload import Offload
from bridge.runners.read_ahead import ReadAhead
from bridge.types import override

__all__ = ["GreenletLink", "GreenletLoopAccess", "Greenlets", "LoopIterable", "current_greenlet_link"]

logger = logging.getLogger("bridge")

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Seconds that a view may wait before a task listens for the disconnect. The task costs a tenth of a short
# request, and most views have answered by then. For streams it listens from their beginning.
_LISTEN_AFTER = 0.1

# Idle greenlets that are kept, 17 KB each.
_MAX_IDLE = 256


class LoopIterable(Iterable[bytes]):
    """A body whose parts come from the event loop; plain code can iterate over it as well."""

    @abstractmethod
    def begin_on_loop(self, link: "GreenletLink") -> AsyncIterator[str | bytes]:
        """Return the parts, for a coroutine in the call's context; the call then closes this as any body."""


class _LinkGreenlet(CallGreenlet):
    """A greenlet that knows the link of its call."""

    __slots__ = ("link",)
    link: "GreenletLink | None"


class Greenlets:
    """The greenlets of one event loop, at work and idle."""

    __slots__ = ("_busy", "_idle", "_none_busy")

    def __init__(self) -> None:
        self._busy: set[_LinkGreenlet] = set()
        self._idle: list[_LinkGreenlet] = []
        self._none_busy: asyncio.Event | None = None  # `close` waits for it

    def take(self, link: "GreenletLink") -> _LinkGreenlet:
        """Return an idle greenlet, or a new one."""
        greenlet = self._idle.pop() if self._idle else _LinkGreenlet()
        greenlet.link = link
        self._busy.add(greenlet)
        return greenlet

    def give_back(self, greenlet: _LinkGreenlet) -> None:
        """Keep a greenlet for the next call, if it has finished, and there are not enough."""
        greenlet.link = None
        self._busy.discard(greenlet)
        if greenlet.is_idle and len(self._idle) < _MAX_IDLE:
            self._idle.append(greenlet)
        if self._none_busy is not None and not self._busy:
            self._none_busy.set()

    @property
    def are_busy(self) -> bool:
        """Whether any runs a call."""
        return bool(self._busy)

    def step_of(self, task: "asyncio.Task[Any]") -> float | None:
        """Return when the call that a task serves last went on, by `time.monotonic()`; for any thread."""
        for greenlet in list(self._busy):
            link = greenlet.link
            if link is not None and link.is_served_by(task):
                return greenlet.resumed_at
        return None

    def link_of(self, task: "asyncio.Task[Any]") -> "GreenletLink | None":
        """Return the link whose call runs in a task, or has started it; for any thread.

        Without the global interpreter lock, only the first is known: this must not look into a context that
        another thread runs in.
        """
        access = context_of_task(task).get(CURRENT_LOOP) if has_gil() else None
        for greenlet in list(self._busy):
            link = greenlet.link
            if link is not None and (link.access is access or link.is_served_by(task)):
                return link
        return None

    async def close(self, patience: float) -> None:
        """Wait for calls that the host has given up, `patience` seconds at most; abandon the others."""
        if self._busy:
            self._none_busy = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._none_busy.wait()
            for greenlet in self._busy:
                if greenlet.link is not None:
                    greenlet.link.abandon()
        self._idle.clear()


class _Rest:
    """The rest of a call, once its app has returned the body, for a worker thread."""

    __slots__ = ("_call", "_chunks")

    def __init__(self, call: Call, chunks: Iterable[bytes]) -> None:
        self._call = call
        self._chunks = chunks

    @property
    def name(self) -> str:
        return self._call.name

    def run(self, link: Link) -> None:
        self._call.finish(self._chunks, link)

    def drop(self) -> None:
        try:
            self._call.close(self._chunks)
        except Exception:
            logger.exception("%s: the close() of a response whose client had left failed", self.name)


class _EndOfClient:
    """The body of a `_Rest`: only the disconnect, as `wsgi.input` keeps the greenlet's link."""

    body_is_over = True

    def __init__(self, body: Body) -> None:
        self._body = body

    async def next(self) -> bytes:
        return b""

    async def left(self) -> bool:
        return await self._body.left()


class GreenletLink:
    """Makes a call in a greenlet.

    Args:
        call: the call.
        host: its client.
        engine: what it shares with other calls.
        greenlets: those of the running loop.
        request: identifies the request to the caller.
    """

    __slots__ = (
        "_body",
        "_call",
        "_engine",
        "_failure",
        "_gone",
        "_greenlet",
        "_greenlets",
        "_host",
        "_task",
        "_waits_for_app",
        "access",
        "answers_on_loop",
        "offload",
        "request",
    )

    def __init__(self, call: Call, host: Host, engine: Engine, greenlets: Greenlets, request: Any) -> None:
        self._call = call
        self._host = host
        self._engine = engine
        self._greenlets = greenlets
        self.request = request
        self.access = GreenletLoopAccess(engine.mailbox.loop)
        self.answers_on_loop = False
        """Whether the loop may iterate over the app's response; else a worker thread does."""
        self.offload = Offload(engine.pool, engine.mailbox)
        """Calls plain functions for the app."""
        # The host, if it tells of the client's end; else a `ReadAhead`, once somebody reads or listens.
        self._body: Body | None = host if host.tell_of_end(partial(self._leave, reasons.LEFT)) else None
        self._task: asyncio.Task[Any] | None = None
        self._gone: str | None = None  # why nobody is left to talk to
        self._waits_for_app = False  # the task waits for something of the app's, which `_leave` may cancel
        self._failure: BaseException | None = None  # of the host, or the task's cancellation

    # For the host

    async def serve(self) -> None:
        """Make the call.

        Raises:
            ApplicationError: the response was cut short.
            Exception: what the host has raised.
        """
        self._task = asyncio.current_task()
        tokens = self.access.enter()
        self._greenlet = self._greenlets.take(self)
        try:
            await self._greenlet.drive(self._run, None if self._body is not None else self._listen_later)
        except GeneratorExit:  # the loop is closed, and runs nothing any more
            raise
        except BaseException:
            self._failure = None  # its traceback leads here: only the garbage collector would free this
            await self._end(tokens)
            raise
        await self._end(tokens)
        failure, self._failure = self._failure, None
        try:
            if isinstance(failure, asyncio.CancelledError):
                raise failure
            if self._gone is reasons.STOPPING and self._host.is_open:
                with suppress(OSError):
                    await self._host.send(None, b"", False)
            if failure is not None and not self._host.is_complete:
                raise failure
        finally:
            del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    def end(self) -> None:
        """End the response, if it is an open stream of server-sent events, as the server stops."""
        if self._host.is_open and self._gone is None and is_event_stream(self._host.head):
            self._leave(reasons.STOPPING)

    def is_served_by(self, task: "asyncio.Task[Any]") -> bool:
        """Whether this task makes the call."""
        return self._task is task

    def abandon(self) -> None:
        """Give up a call that goes on after the host has cancelled it, as the server stops."""
        logger.error(
            "%s: the async view goes on after it was cancelled; the server stops without it. "
            "Let CancelledError pass, after `finally` or `except` has cleaned up",
            self._call.name,
        )
        if self._task is not None:
            self._greenlet.abandon()
            self._task.cancel()

    async def _end(self, tokens: AccessTokens) -> None:
        self.access.leave_context(tokens)
        self._engine.streams.links.discard(self)
        self._task = None
        self.offload.close()
        self._greenlets.give_back(self._greenlet)
        self._gone = self._gone or reasons.OVER
        # It holds the environ, whose wsgi.input holds this. Left to the garbage collector, such cycles took a
        # quarter of the CPU at 1,000 connections.
        del self._call
        if isinstance(self._body, ReadAhead):
            await self._body.stop(reasons.GRACE)

    # For the call

    def read(self) -> bytes:
        """Wait for more of the body; b"" at its end.

        Raises:
            ClientDisconnected: the rest will not come.
        """
        if not isinstance(self._body, ReadAhead):
            self._raise_if_gone()
        try:
            return self._await_for_link((self._body or self._read_ahead()).next())
        except ClientDisconnected:
            self.access.is_told = True
            raise

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part; wait while the client is behind.

        Raises:
            ClientDisconnected: the client has left, or the host has given the request up.
        """
        self._await_for_link(self.send_from_loop(head, data, more))

    async def send_from_loop(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part, as `send` does, from a coroutine."""
        self._raise_if_gone()
        if data or head is not None or not more:
            try:
                await self._host.send(head, data, more)
            except ClientDisconnected:
                self._leave(reasons.LEFT)
            except Exception as error:  # noqa: BLE001  # `serve` raises it to the host, which failed
                self._fail(error)
        if more:
            streams = self._engine.streams
            if self._host.is_open and self not in streams.links:
                if self._body is not self._host:
                    self._read_ahead().start_soon()
                streams.links.add(self)
                if streams.are_ending:
                    self.end()
            self._greenlet.steps += 1
            if self._greenlet.steps >= PARTS_PER_TURN:
                await asyncio.sleep(0)
        self._raise_if_gone()

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        """Have the host send a file, if it can."""
        prepared = self._host.prepare_file(file, size)
        if prepared is None:
            return False
        self._raise_if_gone()
        try:
            self._await_for_link(self._host.send_file(head, prepared))
        except ClientDisconnected:
            self._leave(reasons.LEFT)
        except Exception as error:  # noqa: BLE001  # as in `send_from_loop`
            self._fail(error)
        self._raise_if_gone()
        return True

    # For the app

    def await_for_app(self, awaitable: Awaitable[_T]) -> _T:
        """Await something of the app's; cancel it if the client leaves meanwhile, or has left."""
        outer, self._waits_for_app = self._waits_for_app, True
        if self._gone is not None and not self.access.is_told:
            self.access.is_told = True
            self._greenlet.interrupt_next(True)
        try:
            return self._greenlet.wait(awaitable)
        except asyncio.CancelledError as error:
            self.access.explain(error)
            raise
        finally:
            self._waits_for_app = outer
            self._greenlet.interrupt_next(False)

    def run_in_thread(self, function: Callable[[], _T]) -> _T:
        """Have a worker thread call a function that might block; wait for it."""
        return self._wait_undisturbed(self.offload.call(function))

    # Inside

    def _run(self) -> None:
        """Make the call, in the greenlet."""
        call = self._call
        try:
            chunks = self._within_app(call.start, self)
            if not self.answers_on_loop:
                engine = self._engine
                body = _EndOfClient(self._body or self._read_ahead())
                carrier = Carrier(_Rest(call, chunks), self._host, engine, body)
                engine.pool.submit(carrier.link)
                self._within_app(self._greenlet.wait, carrier.serve())
            elif isinstance(chunks, LoopIterable):
                self._within_app(self._finish_on_loop, chunks)
            else:
                self._within_app(call.finish, chunks, self)
        except BaseException as error:  # noqa: BLE001  # as in Call.run
            call.fail(error, self)
        finally:
            call.report()

    def _finish_on_loop(self, chunks: LoopIterable) -> None:
        """Send what the app has returned, and close it, as `Call.finish` does."""
        call = self._call
        try:
            self.await_for_app(self._send_each(chunks.begin_on_loop(self)))
            if call.response.state is not State.COMPLETE:
                call.end(self)
        finally:
            call.close(chunks)

    async def _send_each(self, parts: AsyncIterator[str | bytes]) -> None:
        """Send parts that come from the loop, in one coroutine: a third cheaper than one for each part."""
        response = self._call.response
        async for chunk in parts:
            data = chunk.encode() if isinstance(chunk, str) else chunk
            part = response.chunk(data)
            if part is not None:
                await self.send_from_loop(*part)
            elif data:
                return
            else:
                await self.send_from_loop(None, data, True)

    def _within_app(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call the app; if the host's cancellation comes out of it, make `ClientDisconnected` its cause."""
        try:
            return function(*args, **kwargs)
        except (asyncio.CancelledError, GeneratorExit, GreenletExit) as error:
            task = self._task
            if not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling():
                if isinstance(error, asyncio.CancelledError):
                    self._failure = asyncio.CancelledError(reasons.CANCELLED)
                self._gone = self._gone or reasons.CANCELLED
                error.__cause__ = ClientDisconnected(self._gone)
            raise

    def _await_for_link(self, awaitable: Awaitable[_T]) -> _T:
        """Await something of the host's, from the greenlet or from a thread of the app's."""
        if self.access.is_here() and self._greenlet.is_current:
            return self._wait_undisturbed(awaitable)
        try:
            return self.access.run_from_thread(awaitable)
        except asyncio.CancelledError:
            raise ClientDisconnected(self._gone or reasons.OVER) from None

    def _wait_undisturbed(self, awaitable: Awaitable[_T]) -> _T:
        """Await something that goes on when the client leaves."""
        outer, self._waits_for_app = self._waits_for_app, False
        try:
            return self._greenlet.wait(awaitable)
        finally:
            self._waits_for_app = outer

    def _read_ahead(self) -> ReadAhead:
        if not isinstance(self._body, ReadAhead):
            engine = self._engine
            self._body = ReadAhead(self._host, engine.buffer_size, engine.mailbox.loop, self._on_end)
        return self._body

    def _listen_later(self) -> None:
        self._read_ahead().start_later(_LISTEN_AFTER)

    def _on_end(self, error: Exception | None) -> None:
        if error is None:
            self._leave(reasons.LEFT)
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._leave(reasons.HOST_FAILED)

    def _leave(self, reason: str) -> None:
        """Note that nobody is left to talk to; cancel what the app waits for."""
        if self._gone is None:
            self._gone = reason
            self.access.leave(reason)
            if self._waits_for_app and not self.access.is_told:
                self.access.is_told = True
                self._greenlet.interrupt()

    def _raise_if_gone(self) -> None:
        if self._gone is not None:
            self.access.is_told = True
            raise ClientDisconnected(self._gone)


class GreenletLoopAccess(LoopAccess):
    """A `LoopAccess` for a call in a greenlet: code that runs there waits there."""

    @override
    def run(self, awaitable: Awaitable[_T]) -> _T:
        link = current_greenlet_link()
        return self.run_from_thread(awaitable) if link is None else link.await_for_app(awaitable)


def current_greenlet_link() -> GreenletLink | None:
    """Return the link in whose greenlet the calling code runs; None outside one.

    Worker threads do not ask greenlet: on a free-threaded Python, greenlet 3.5 crashes the process when a
    thread ends that has asked for its current greenlet.
    """
    access = CURRENT_LOOP.get(None)
    if not isinstance(access, GreenletLoopAccess) or not access.is_here():
        return None
    current = getcurrent()
    return current.link if isinstance(current, _LinkGreenlet) else None

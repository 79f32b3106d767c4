"""The link between a call in a greenlet and its ASGI host, both on the event loop.

Where the call has to wait, for the host or for an `async def` view, the host's task awaits, and the loop
serves others. No thread is held. What might block is done in the worker threads: a function that is not
async as an `Errand`, and a response that plain code produces by a `ThreadLink`, which takes over from there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, ParamSpec, TypeVar, cast

from greenlet import GreenletExit, getcurrent

from bridge.asgi.call_facts import call_of
from bridge.asgi.events import has_more, is_event_stream
from bridge.asgi.pieces import in_good_sizes
from bridge.asgi.receiver import Receiver
from bridge.core.call import Link, request_name
from bridge.errors import ClientDisconnected
from bridge.runners import reasons
from bridge.runners.context import CallContext, context_of_task
from bridge.runners.errands import Errand, OneThread
from bridge.runners.greenlets import CallGreenlet
from bridge.runners.loop_access import CURRENT_LOOP, AccessTokens, LoopAccess
from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.thread_link import ThreadLink
from bridge.runners.threads import WorkerPool
from bridge.types import (
    HTTPReceive,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
    HTTPSend,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)

__all__ = ["GreenletLink", "GreenletLoopAccess", "Greenlets", "current_greenlet_link"]

logger = logging.getLogger("bridge")

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Seconds until a view that is waiting hears that its client has left. To listen takes a task, a tenth of what
# a short request costs, and most views have answered by then. Streams listen from their beginning.
_DEAF = 0.1

# Parts of a response that may leave without the loop's having had a turn. A response that never waits, sent
# to a host that never makes it wait, would stop all others, and nobody would hear that its client has left.
_BREATH = 16

# Idle greenlets that are kept, 17 KB each.
_MAX_IDLE = 256


class _LinkGreenlet(CallGreenlet):
    """A greenlet that knows for whom it runs."""

    __slots__ = ("link",)
    link: "GreenletLink | None"


class Greenlets:
    """The greenlets of one event loop, at work and idle."""

    __slots__ = ("_busy", "_idle", "_none_busy")

    def __init__(self) -> None:
        self._busy: set[_LinkGreenlet] = set()
        self._idle: list[_LinkGreenlet] = []
        self._none_busy: asyncio.Event | None = None  # made by who waits for it

    def take(self, link: "GreenletLink") -> _LinkGreenlet:
        """One that is idle, or a new one."""
        greenlet = self._idle.pop() if self._idle else _LinkGreenlet()
        greenlet.link = link
        self._busy.add(greenlet)
        return greenlet

    def give_back(self, greenlet: _LinkGreenlet) -> None:
        """Keep one that has finished for the next call; or not, if there are enough."""
        greenlet.link = None
        self._busy.discard(greenlet)
        if greenlet.is_idle and len(self._idle) < _MAX_IDLE:
            self._idle.append(greenlet)
        if self._none_busy is not None and not self._busy:
            self._none_busy.set()

    @property
    def are_busy(self) -> bool:
        """Whether any is at work."""
        return bool(self._busy)

    def step_of(self, task: "asyncio.Task[Any]") -> float | None:
        """When a task that serves a call has gone on with that, by `time.monotonic()`; in any thread."""
        for greenlet in list(self._busy):
            link = greenlet.link
            if link is not None and link.is_served_by(task):
                return greenlet.resumed_at
        return None

    def link_of(self, task: "asyncio.Task[Any]") -> "GreenletLink | None":
        """The link whose call runs in a task, or has begun it; may be asked in any thread."""
        access = context_of_task(task).get(CURRENT_LOOP)
        for greenlet in list(self._busy):
            link = greenlet.link
            if link is not None and link.access is access:
                return link
        return None

    async def close(self, patience: float) -> None:
        """Wait for calls that the host has given up, `patience` seconds at most; abandon those that go on."""
        if self._busy:
            self._none_busy = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._none_busy.wait()
            for greenlet in self._busy:
                if greenlet.link is not None:
                    greenlet.link.abandon()
        self._idle.clear()


class GreenletLink:
    """A call of a WSGI app that is made in a greenlet.

    Args:
        app: the WSGI application to call.
        greenlets: those of the running loop.
        scope: the request's ASGI scope.
        state: the lifespan state of the app.
        receive: the host's `receive`.
        send: the host's `send`.
        mailbox: that of the running loop.
        pool: whose workers do what might block.
        streams: where the link is to be found while it streams.
        buffer_size: how many bytes of the request's body may be received ahead of the app.
    """

    __slots__ = (
        "_app",
        "_buffer_size",
        "_complete",
        "_errands",
        "_gone",
        "_greenlet",
        "_greenlets",
        "_handle",
        "_headers",
        "_host_failure",
        "_is_cancelled",
        "_is_streaming",
        "_mailbox",
        "_open",
        "_pool",
        "_receiver",
        "_send",
        "_sent_since",
        "_state",
        "_streams",
        "_task",
        "_waits",
        "_waits_for_app",
        "access",
        "answers_on_loop",
        "has_blocked",
        "scope",
        "thread",
    )

    def __init__(
        self,
        app: WSGIApplication,
        greenlets: Greenlets,
        scope: HTTPScope,
        state: Mapping[str, Any],
        receive: HTTPReceive,
        send: HTTPSend,
        *,
        mailbox: Mailbox,
        pool: WorkerPool,
        streams: Streams,
        buffer_size: int,
    ) -> None:
        self._app = app
        self._greenlets = greenlets
        self.scope = scope
        self._state = state
        self._send = send
        self.access = GreenletLoopAccess(mailbox.loop)
        self._mailbox = mailbox
        self._pool = pool
        self._streams = streams
        self._buffer_size = buffer_size
        self._receiver = Receiver(receive, buffer_size, self._on_end)
        self.answers_on_loop = False
        """Whether iterating over the app's response does not block the loop; else a thread does it."""
        self.has_blocked = False
        """Whether the loop was held by it, and somebody has said so."""
        self.thread: OneThread | None = None
        """The thread for plain code, if that has to be one; else it is any of the pool's."""

        self._errands: CallContext | None = None  # for the next of them, if there was one before
        self._task: asyncio.Task[Any] | None = None
        self._gone: str | None = None  # why there is nobody left to talk to
        self._waits_for_app = False  # the task waits for something of the app's, which may be cancelled
        self._is_cancelled = False  # the task, by the host
        self._open = False  # the response has begun, and has not ended
        self._sent_since = 0  # parts of it, without having waited
        self._waits = 0
        self._is_streaming = False  # it has been open for an event at least
        self._complete = False
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._host_failure: Exception | None = None
        self._handle: asyncio.Handle | None = None

    # For the host

    async def serve(self) -> None:
        """Make the call.

        Raises:
            ApplicationError: the response was cut short.
            Exception: what the host's `send` or `receive` raised.
        """
        self._task = asyncio.current_task()
        tokens = self.access.enter()
        self._greenlet = self._greenlets.take(self)
        try:
            await self._greenlet.drive(self._make_call, self._listen_later)
        except GeneratorExit:  # the loop is closed, and nothing can be awaited any more
            raise
        except BaseException:
            await self._end(tokens)
            raise
        await self._end(tokens)
        if self._is_cancelled:
            raise asyncio.CancelledError(reasons.CANCELLED)
        if self._gone is reasons.STOPPING and self._open:
            await self._send_end()
        failure, self._host_failure = self._host_failure, None
        try:
            if failure is not None and not self._complete:
                raise failure
        finally:
            del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    def end(self) -> None:
        """Bring the response to its end, if it is an open stream of server-sent events, which has none."""
        if self._open and self._gone is None and is_event_stream(self._headers):
            self._leave(reasons.STOPPING)

    def is_served_by(self, task: "asyncio.Task[Any]") -> bool:
        """Whether it is this task that makes the call."""
        return self._task is task

    def abandon(self) -> None:
        """Give up a call that goes on though the host has cancelled it, and the server has stopped."""
        logger.error(
            "%s: the async view goes on after it was cancelled; the server stops without it. "
            "Let CancelledError pass, after `finally` or `except` has cleaned up",
            request_name(self.scope),
        )
        if self._task is not None:
            self._greenlet.abandon()
            self._task.cancel()

    async def _end(self, tokens: AccessTokens) -> None:
        self.access.leave_context(tokens)
        if self._is_streaming:
            self._streams.links.discard(self)
        if self._handle is not None:
            self._handle.cancel()
            # It holds this, and all of the request with it: left to the garbage collector, they took a
            # quarter of the processor at 1,000 connections.
            self._handle = None
        self._task = None
        if self._errands is not None:
            self._errands.carry_in()  # the app has unset what holds the request, which holds this
            self._errands = None
        self._greenlets.give_back(self._greenlet)
        if not self._receiver.stop():
            await self._receiver.stopped(reasons.LAST_MOMENT)

    # For the call

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        """Send events; wait while the host does.

        Raises:
            ClientDisconnected: the client has left, or the host has given the request up.
        """
        self._await_for_link(self.send_from_loop(events))

    async def send_from_loop(self, events: Sequence[HTTPResponseEvent]) -> None:
        """See `send`."""
        self._raise_if_gone()
        if events:
            await self._send_events(events)
            self._raise_if_gone()

    @property
    def on_loop(self) -> "GreenletLink":
        """This link: see `Link`."""
        return self

    def receive(self) -> HTTPRequestSideEvent:
        """Wait for the host's next event.

        Raises:
            ClientDisconnected: there is none to come.
        """
        try:
            return self._await_for_link(self._receiver.next_event())
        except ClientDisconnected:
            self.access.is_told = True
            raise

    def answer(self, produce: Callable[[Link], None]) -> None:
        """Have the response produced: here, if that does not block, and else in a worker thread."""
        if self.answers_on_loop:
            self._within_app(produce, self)
            return
        link = ThreadLink(
            produce,
            self._receiver.next_event,
            self._send,
            mailbox=self._mailbox,
            pool=self._pool,
            streams=self._streams,
            buffer_size=self._buffer_size,
        )
        self._pool.submit(link)
        try:
            self._within_app(self._greenlet.wait, link.serve())
        finally:
            self._complete = link.is_complete

    # For the app

    def await_for_app(self, awaitable: Awaitable[_T]) -> _T:
        """Await something of the app's; it is cancelled if the client leaves meanwhile, or has left."""
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
        """Call a function that might block in a worker thread, and wait for it."""
        outer, self._waits_for_app = self._waits_for_app, False
        context, self._errands = self._errands or CallContext(Context()), None
        errand = Errand(function, self._mailbox, context)
        try:
            return cast(_T, self._greenlet.wait(errand.done_by(self.thread or self._pool)))
        finally:
            self._waits_for_app = outer
            if errand.is_done:  # else the host has given the call up, and a thread is still in that context
                self._errands = context

    def _make_call(self) -> None:
        call_of(self._call_app, self.scope, self._state)(self)

    def _call_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._within_app(self._app, environ, start_response)

    def _within_app(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call the app; mark a cancellation by the host that leaves it as no failure of the app's."""
        try:
            return function(*args, **kwargs)
        except (asyncio.CancelledError, GeneratorExit, GreenletExit) as error:
            task = self._task
            if not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling():
                self._is_cancelled = isinstance(error, asyncio.CancelledError)
                self._gone = self._gone or reasons.CANCELLED
                error.__cause__ = ClientDisconnected(self._gone)
            raise

    # Inside

    def _await_for_link(self, awaitable: Awaitable[_T]) -> _T:
        """Await something of the host's, from wherever the app wants it."""
        if self._greenlet.is_current:
            outer, self._waits_for_app = self._waits_for_app, False
            try:
                return self._greenlet.wait(awaitable)
            finally:
                self._waits_for_app = outer
        return self.access.run_from_thread(awaitable)

    async def _send_events(self, events: Sequence[HTTPResponseEvent]) -> None:
        for event in in_good_sizes(events, copied=self._mailbox.transports_copy):
            try:
                await self._send(event)
            except OSError as error:
                if isinstance(error, TimeoutError) or event["type"] == "http.response.pathsend":
                    self._fail(error)  # not the client's doing: a middleware's, or a file's that is not there
                else:
                    self._leave(reasons.LEFT)  # the ASGI spec lets `send` say so
                return
            except Exception as error:  # noqa: BLE001  # raised to the host, whose `send` has failed
                self._fail(error)
                return
            self._note_sent(event)
            if self._open and self._is_out_of_breath():
                await asyncio.sleep(0)

    async def _send_end(self) -> None:
        self._open = False
        with suppress(OSError):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _note_sent(self, event: HTTPResponseEvent) -> None:
        if event["type"] == "http.response.start":
            self._headers = event["headers"]
            self._open = True
            return
        self._open = has_more(event)
        self._complete = not self._open
        if self._open and not self._is_streaming:
            self._is_streaming = True
            self._listen()
            self._streams.links.add(self)
            if self._streams.are_ending:
                self.end()

    def _is_out_of_breath(self) -> bool:
        """Whether many parts have been sent, and the call has waited for nothing in between."""
        if self._waits != self._greenlet.waits:
            self._waits = self._greenlet.waits
            self._sent_since = 0
        self._sent_since += 1
        return self._sent_since >= _BREATH

    def _listen_later(self) -> None:
        if self._handle is None:
            self._handle = self._mailbox.loop.call_later(_DEAF, self._listen)

    def _listen(self) -> None:
        """Have the receiver started, after all that can go on now has done so, and may need it no more.

        On a loop that is behind, most views are ready to go on by the time that this is called.
        """
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._mailbox.loop.call_soon(self._receiver.start)

    def _on_end(self, error: Exception | None) -> None:
        if error is None:
            self._leave(reasons.LEFT)
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._host_failure is None:
            self._host_failure = error
        self._leave(reasons.HOST_FAILED)

    def _leave(self, reason: str) -> None:
        """There is nobody to talk to any more: cancel what the app is waiting for."""
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
    """How the code of calls that run in greenlets gets at the loop: by waiting in the greenlet."""

    def run(self, awaitable: Awaitable[_T]) -> _T:
        """See `LoopAccess.run`."""
        link = current_greenlet_link()
        return self.run_from_thread(awaitable) if link is None else link.await_for_app(awaitable)


def current_greenlet_link() -> GreenletLink | None:
    """The link in whose greenlet the code that asks is running, if it is in one."""
    current = getcurrent()
    return current.link if isinstance(current, _LinkGreenlet) else None

"""The event loop's side of a call in a worker thread: the half that is the same for every host."""

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING

from bridge.core.link import Head, Link
from bridge.errors import BridgeError, Overloaded
from bridge.runners import reasons
from bridge.runners.context import CallContext
from bridge.runners.engine import Engine, is_event_stream
from bridge.runners.loop_access import LoopAccess
from bridge.runners.thread_link import ThreadLink, Work
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool

__all__ = ["ThreadCall", "submit"]

# Seconds after which a stream no longer counts as a request being worked on.
_LONG_STREAM = 1.0


def submit(
    link: ThreadLink, queue: ThreadQueue, loop: asyncio.AbstractEventLoop
) -> asyncio.TimerHandle | None:
    """Have a thread make a call.

    Returns:
        None; or, if the call has to wait for a thread, the timer that refuses it: its failure is an
        `Overloaded` then.

    Raises:
        Overloaded: too many wait already.
    """
    call_soon = None if queue.wakes_at_once else loop.call_soon
    if queue.pool.submit(link, queue.length, call_soon) and queue.seconds is not None:
        return loop.call_later(queue.seconds, _give_up, link, queue.pool)
    return None


def _give_up(link: ThreadLink, pool: WorkerPool) -> None:
    if pool.withdraw(link):
        link.refuse(Overloaded("no thread took the request in time"))


class ThreadCall:
    """Half of a class; the other half knows the host, and defines what has no body here.

    It is the work of its link, whose work it runs in a context, and the link's `LoopSide`.
    """

    if not TYPE_CHECKING:  # mypy would miss the attributes, for which the other half has slots
        __slots__ = ()

    link: ThreadLink
    _access: LoopAccess
    _context: Context | CallContext  # of the work
    _engine: Engine
    _is_posted: bool  # the mailbox has it
    _stage: str  # "ending": a stream has to end; "given up": nobody waits for its app any longer
    _timer: asyncio.TimerHandle | None  # of `_move_off`
    _work: Work

    def wake(self) -> None:
        """Look for work left by the worker; called by the mailbox."""
        raise NotImplementedError

    @property
    def open_head(self) -> Head | None:
        """The head of the response, if that is open: the head was sent, and the last part was not."""
        raise NotImplementedError

    # The work, in the worker's thread

    @property
    def name(self) -> str:
        """The request, for a log line."""
        return self._work.name

    def run(self, link: Link) -> None:
        """Do the work in the context of the call."""
        self._context.run(self._work.run, link)

    def drop(self) -> None:
        """Let go of the work, in the context of the call."""
        self._context.run(self._work.drop)

    # `LoopSide`

    def post(self) -> None:
        """See `LoopSide.post`."""
        mailbox = self._engine.mailbox
        if not self._is_posted or mailbox.loop.is_closed():
            self._is_posted = True
            mailbox.post(self)

    def before_part(self) -> None:
        """See `LoopSide.before_part`."""

    def before_wait(self) -> None:
        """See `LoopSide.before_wait`."""
        if self._access.is_here():
            raise BridgeError(
                "plain code on the event loop read the request's body, or wrote the response, which would "
                "stop all others; in an async view, use Flask's own request"
            )

    def before_disconnect(self) -> None:
        """See `LoopSide.before_disconnect`."""
        self._access.is_told = True

    # Streams

    def end(self) -> None:
        """Bring the response to its end, if it is an open stream of server-sent events, which has none.

        The client sees it end at once. The app has `GRACE` seconds to end, too: between two events, a
        generator may wait for hours.
        """
        if self.link.gone is None and is_event_stream(self.open_head):
            self._stage = "ending"
            self._leave(reasons.STOPPING)
            self._engine.mailbox.loop.call_later(reasons.GRACE, self._give_up)
            self.wake()

    def _give_up(self) -> None:
        self._stage = "given up"
        self.wake()

    def _leave(self, reason: str) -> None:
        self.link.leave(reason)
        self._access.leave(reason)

    def _count_seconds(self) -> bool:
        """Begin to count seconds to `_move_off`, as the response streams: for events, none.

        Returns:
            Whether they were not counted before.
        """
        if self._timer is not None:
            return False
        self._engine.streams.links.add(self)
        seconds = 0 if is_event_stream(self.open_head) else _LONG_STREAM
        self._timer = self._engine.mailbox.loop.call_later(seconds, self._move_off)
        return True

    def _stop_counting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._engine.streams.links.discard(self)

    def _move_off(self) -> None:
        worker = self.link.worker
        if worker is not None and not self._engine.pool.move_off(worker, self.link):
            # Too many streams are off the count already; perhaps there is room later.
            self._timer = self._engine.mailbox.loop.call_later(_LONG_STREAM, self._move_off)

    def send_file(self, file: object) -> None:
        """See `LoopSide.send_file`: by itself, the loop has sent the file."""

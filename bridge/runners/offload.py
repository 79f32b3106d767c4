"""Worker threads for the plain functions of a call on the event loop, which could block it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from bridge.runners.context import CallContext
from bridge.runners.mailbox import Mailbox
from bridge.runners.threads import Job, Worker

__all__ = ["Offload", "OneThread", "Pool"]

_T = TypeVar("_T")


class Pool(Protocol):
    """Threads that run jobs."""

    def submit(self, job: Job) -> object:
        """Have a thread run the job."""


class OneThread:
    """A worker thread that runs all jobs of one call, until `end`; the jobs may keep something in it."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    @property
    def name(self) -> str:
        """Empty, as it does not know the request."""
        return ""

    def submit(self, job: Job) -> None:
        """Have the thread run the job, after earlier ones."""
        self._jobs.put(job)

    def end(self) -> None:
        """Give the thread back once it has run all jobs."""
        self._jobs.put(None)

    def run(self, worker: Worker) -> None:
        """Run the jobs, in the thread."""
        while (job := self._jobs.get()) is not None:
            job.run(worker)
            del job  # or the thread would hold its memory until the next one


class Offload:
    """Has worker threads call the functions of one call, one after the other, in one context.

    Args:
        pool: the threads.
        mailbox: that of the running loop.
    """

    __slots__ = ("_context", "_mailbox", "pool")

    def __init__(self, pool: Pool, mailbox: Mailbox) -> None:
        self.pool = pool
        self._mailbox = mailbox
        self._context: CallContext | None = None  # for the next function, if there was one before

    async def call(self, function: Callable[[], _T]) -> _T:
        """Have a thread call a function, and return its result. Context variables go there and back.

        Raises:
            BaseException: what the function raised.
        """
        context, self._context = self._context or CallContext(Context()), None
        offloaded = _Offloaded(function, self._mailbox, context)
        try:
            result: _T = await offloaded.done_by(self.pool)
            return result
        finally:
            if offloaded.is_done:  # else the host has given the call up, and a thread still uses the context
                self._context = context

    def close(self) -> None:
        """Drop from the shared context what the app has unset, the request above all."""
        if self._context is not None:
            self._context.carry_in()
            self._context = None


class _Offloaded:
    """A function that a worker thread calls once."""

    name = ""  # the greenlet that waits knows the request's

    def __init__(self, function: Callable[[], object], mailbox: Mailbox, context: CallContext) -> None:
        self._function = function
        self._mailbox = mailbox
        self._context = context
        self._done: asyncio.Future[None] = mailbox.loop.create_future()
        self._result: Any = None
        self._failure: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether the function has been called, and no thread is busy with it."""
        return self._done.done() and not self._done.cancelled()

    async def done_by(self, pool: Pool) -> Any:
        self._context.carry_in()
        pool.submit(self)
        await self._done
        self._context.carry_back()
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
            return self._result
        finally:
            del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    def run(self, worker: Worker) -> None:
        """Call the function, in the thread."""
        try:
            self._result = self._context.context.run(self._function)
        except BaseException as error:  # noqa: BLE001  # `done_by` raises it
            self._failure = error
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._mailbox.post(self)

    def wake(self) -> None:
        """Let `done_by` go on; the mailbox calls it on the loop."""
        if not self._done.done():
            self._done.set_result(None)

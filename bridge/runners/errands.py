"""What a call on the event loop has to have done by a worker thread, so that it does not block the loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from bridge.runners.context import CallContext
from bridge.runners.mailbox import Mailbox
from bridge.runners.threads import Job, Worker

__all__ = ["Errand", "OneThread", "Pool"]


class Pool(Protocol):
    """Who does errands."""

    def submit(self, job: Job) -> object:
        """Have a thread run the job."""


class OneThread:
    """A worker thread that does all errands of one call, which may keep something in it, until `end`."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Have the thread run the job, after those before it."""
        self._jobs.put(job)

    def end(self) -> None:
        """Give the thread back, when it has run them all."""
        self._jobs.put(None)

    def run(self, worker: Worker) -> None:
        """Run the jobs, in the thread."""
        while (job := self._jobs.get()) is not None:
            job.run(worker)
            del job  # or its memory would stay until the next one


class Errand:
    """One function call in a worker thread; context variables go there and back.

    Args:
        function: called without arguments.
        mailbox: that of the running loop.
        context: that of the call's errands, none of which is being done.
    """

    def __init__(self, function: Callable[[], object], mailbox: Mailbox, context: CallContext) -> None:
        self._function = function
        self._mailbox = mailbox
        self._context = context
        self._done: asyncio.Future[None] = mailbox.loop.create_future()
        self._result: object = None
        self._failure: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether the function has been called, and no thread is busy with it."""
        return self._done.done() and not self._done.cancelled()

    async def done_by(self, pool: Pool) -> object:
        """Have a thread of the pool do it; wait, and return what the function has returned.

        Raises:
            BaseException: what the function raised.
        """
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
            self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting
            self._mailbox.post(self)

    def _call(self) -> None:
        self._result = self._function()

    def wake(self) -> None:
        """Let who waits go on; called by the mailbox, on the loop."""
        if not self._done.done():
            self._done.set_result(None)

"""Plain code that waits without holding a thread: a greenlet on the event loop.

A greenlet is a second stack that one thread switches to and from. `CallGreenlet` runs a function on one, on
the event loop's thread. Where the function has to wait, it awaits: the task that runs the greenlet gets what
the awaitable yields, and suspends with it, as it would with a coroutine of its own.

    task (a coroutine)                       greenlet (plain code)
      await greenlet.drive()
        switch ─────────────────────────────►  function() … wait(awaitable)
                                                 awaitable.send(None) yields a future
        yield future  ◄───────────────────────   switch back, with the future
      (the loop serves others; the future is done)
        switch ─────────────────────────────►    awaitable.send(None) … returns 7
                                               wait() returns 7

So a coroutine awaited by `wait` runs *inside* the greenlet, and plain code that it calls can wait in turn.
SQLAlchemy's asyncio support has the same idea, but awaits coroutines outside.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from time import monotonic
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

__all__ = ["CallGreenlet"]

_T = TypeVar("_T")

_FINISHED: Any = object()

_current: Callable[[], Any] = getcurrent


class CallGreenlet(greenlet):
    """Runs functions that may `wait`, one after the other, each for the task that awaits `drive()`.

    It is reused, as a new one costs 12 us, most of it for the memory of its stack.
    """

    __slots__ = (
        "_awaited",
        "_failure",
        "_function",
        "_interrupts_next",
        "_is_abandoned",
        "resumed_at",
        "steps",
    )

    def __init__(self) -> None:
        super().__init__(_run_all)
        self.steps = 0
        """Steps of the function since it last waited; the function's code counts them."""
        self.resumed_at = 0.0
        """When it last went on, by `time.monotonic()`."""
        self._function: Callable[[], object] | None = None
        self._failure: BaseException | None = None
        self._awaited: object = None  # the task waits for it on behalf of the function
        self._interrupts_next = False
        self._is_abandoned = False

    @property
    def is_current(self) -> bool:
        """Whether the calling code runs in this greenlet."""
        return getcurrent() is self

    @property
    def is_idle(self) -> bool:
        """Whether it has run a function to its end, and can run another."""
        return self._awaited is _FINISHED

    @types.coroutine
    def drive(
        self, function: Callable[[], object], on_wait: Callable[[], object] | None = None
    ) -> Generator[Any, Any, None]:
        """Run a function to its end, in the context of the task that awaits this.

        Args:
            function: called without arguments.
            on_wait: called when the function waits for the first time.

        Raises:
            CancelledError: the task was cancelled after the function was abandoned.
            BaseException: what the function raised.
        """
        self.parent = task_greenlet = getcurrent()
        # The same context, not a copy: the host sees what the app sets, and the other way round.
        self.gr_context = task_greenlet.gr_context
        self._function = function
        self._interrupts_next = False
        self.resumed_at = monotonic()
        self._awaited = self.switch()
        if on_wait is not None and self._awaited is not _FINISHED:
            on_wait()
        while self._awaited is not _FINISHED:
            self.steps = 0
            try:
                if self._interrupts_next:
                    self._raise_interrupt()
                try:
                    value = yield self._awaited
                finally:
                    self.resumed_at = monotonic()
                if self._interrupts_next:
                    self._raise_interrupt()
            except GeneratorExit as error:  # the loop is closed, and runs nothing any more
                self._awaited = self.throw(error)
                raise
            except BaseException as error:  # such as a cancellation; the function gets it where it waits
                if self._is_abandoned:
                    raise
                self._awaited = self.throw(error)
            else:
                self._awaited = self.switch(value)
        self.gr_context = None
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    def _run(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        try:
            function()
        except GreenletExit:  # nobody holds this any more
            raise
        except BaseException as error:  # noqa: BLE001  # drive() raises it
            self._failure = error

    def interrupt(self) -> None:
        """Raise CancelledError where the function waits now; for another task or a callback on the loop.

        It cancels what the function waits for, not the task, which is the host's.
        """
        if not (isinstance(self._awaited, asyncio.Future) and self._awaited.cancel()):
            self._interrupts_next = (
                True  # the wait is over; the function gets the error instead of the result
            )

    def abandon(self) -> None:
        """Leave the function where it waits: the next cancellation ends the task instead."""
        self._is_abandoned = True

    def interrupt_next(self, is_to: bool) -> None:
        """Decide whether to raise CancelledError where the function waits next."""
        self._interrupts_next = is_to

    def _raise_interrupt(self) -> None:
        self._interrupts_next = False
        if isinstance(self._awaited, asyncio.Future):
            self._awaited.cancel()
        raise asyncio.CancelledError

    def wait(self, awaitable: Awaitable[_T]) -> _T:
        """Await, from plain code that this greenlet runs; other tasks run meanwhile.

        Raises:
            BaseException: what the awaitable raised, such as a cancellation of the task.
        """
        steps: Any = awaitable if isinstance(awaitable, types.CoroutineType) else awaitable.__await__()
        resume = getattr(steps, "send", None)
        if resume is None:  # a bare iterator, which takes no values
            resume = lambda value: next(steps)  # noqa: E731  # shorter than a function, and as clear
        try:
            yielded = resume(None)
            while True:
                try:
                    value = self.parent.switch(yielded)  # type: ignore[union-attr]  # it is driven
                except BaseException as error:  # noqa: BLE001  # drive() throws it, for the awaitable
                    yielded = _throw(steps, error)
                else:
                    yielded = resume(value)
        except StopIteration as end:
            result: _T = end.value
            return result


def _run_all() -> None:
    """Run a greenlet's functions; hold no reference to it while it is idle, so that it ends when dropped.

    The garbage collector does not look into the stacks of greenlets, and so could not end it.
    """
    while True:
        _current()._run()
        _current().parent.switch(_FINISHED)


def _throw(steps: Any, error: BaseException) -> Any:
    """Raise an error where the awaitable waits, or here if it takes none, as a bare iterator."""
    throw = getattr(steps, "throw", None)
    try:
        if throw is None:
            raise error
        return throw(error)
    finally:
        del error  # or it would hold this frame, which holds it, until the garbage collector comes

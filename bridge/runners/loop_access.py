"""`run_on_loop`: gives plain code inside a call access to the host's event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from bridge.errors import BridgeError, ClientDisconnected
from bridge.runners.context import (
    CallContext,
    OwnThread,
    own_thread_for_plain_code,
    thread_sensitive_context,
)

if TYPE_CHECKING:
    from asgiref.sync import ThreadSensitiveContext

__all__ = ["CURRENT_LOOP", "AccessTokens", "LoopAccess", "run_on_loop"]

_T = TypeVar("_T")

_leaving = threading.Lock()

AccessTokens: TypeAlias = "tuple[Token[LoopAccess], OwnThread, Token[ThreadSensitiveContext]]"
"""What `LoopAccess.enter` returns, for `leave_context`."""


class LoopAccess:
    """The access of one call's code to its host's event loop, from other threads.

    When the client leaves, it cancels what the code waits for there. It tells the app once; what the app
    awaits to clean up runs undisturbed.

    The loop calls `enter`, `leave_context` and `leave`. One lock for all calls, `_leaving`, guards `_left`
    and `_own`, which another thread may set; few clients leave.

    Args:
        loop: the host's.
    """

    __slots__ = ("_left", "_own", "_tasks", "is_told", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_told = False
        """Whether an exception has told the app that its client left, or need not tell it now."""
        self._left: str | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._own: asyncio.Task[Any] | None = None  # the task on a loop of the call's own

    def enter(self) -> AccessTokens:
        """Give access to all code in the current context and its copies; for the task that serves a call."""
        return CURRENT_LOOP.set(self), *own_thread_for_plain_code()

    def leave_context(self, tokens: AccessTokens) -> None:
        """Undo `enter`."""
        current, own, sensitive = tokens
        own.end()
        CURRENT_LOOP.reset(current)
        sensitive.var.reset(sensitive)

    def run(self, awaitable: Awaitable[_T]) -> _T:
        """Await on the loop, and wait here.

        Raises:
            BridgeError: this is the loop's own thread, or the loop is closed.
            BaseException: what the awaitable raised.
        """
        return self.run_from_thread(awaitable)

    def run_from_thread(self, awaitable: Awaitable[_T]) -> _T:
        """Await on the loop in a task, and wait here; context variables go there and back.

        Raises:
            BridgeError: this is the loop's own thread, or the loop is closed.
            BaseException: what the awaitable raised.
        """
        copy = copy_context()
        own = None
        if thread_sensitive_context() not in copy:  # else the call is on the loop
            own, _ = copy.run(own_thread_for_plain_code)
        context = CallContext(copy)
        try:
            done = self.begin(_awaited(awaitable), context)
        except BridgeError:
            _dispose(awaitable)
            raise
        try:
            return done.result()
        finally:
            context.carry_back()
            _dispose(awaitable)  # the task may have been cancelled before it began
            if own is not None:
                own.end()

    def begin(
        self, coroutine: Coroutine[Any, Any, _T], context: CallContext
    ) -> "concurrent.futures.Future[_T]":
        """Run a coroutine in a task on the loop, in a context; for other threads.

        Raises:
            BridgeError: this is the loop's own thread, or the loop is closed.
        """
        if self.is_here():
            coroutine.close()
            raise BridgeError(
                "run_on_loop() was called on the event loop itself, in a task of its own, which it would "
                "block; use `await` there"
            )
        done: concurrent.futures.Future[_T] = concurrent.futures.Future()
        try:
            self.loop.call_soon_threadsafe(self._start, coroutine, context, done)
        except RuntimeError:
            coroutine.close()
            raise BridgeError("run_on_loop() was called after the server's event loop was closed") from None
        return done

    def run_here(self, runner: asyncio.Runner, awaitable: Awaitable[_T]) -> _T:
        """Await on the runner's loop, in this thread.

        Raises:
            BaseException: what the awaitable raised.
        """
        try:
            return runner.run(self._watched(awaitable))
        except asyncio.CancelledError as error:
            self.explain(error)
            raise
        finally:
            self._own = None

    async def _watched(self, awaitable: Awaitable[_T]) -> _T:
        task = asyncio.current_task()
        with _leaving:
            self._own = task
            has_left = self._left is not None
        if has_left and not self.is_told and task is not None:
            self.is_told = True
            task.cancel()
        return await awaitable

    def leave(self, reason: str) -> None:
        """Cancel what the app waits for, or what it waits for next: its client has left."""
        with _leaving:
            self._left = reason
            own = self._own
        if self.is_told or not (self._tasks or own):
            return
        self.is_told = True
        for task in list(self._tasks or ()):
            task.cancel()
        if own is not None:
            with suppress(RuntimeError):  # the task has ended, and its loop is closed
                own.get_loop().call_soon_threadsafe(own.cancel)

    def explain(self, error: asyncio.CancelledError) -> None:
        """Make the client's leaving the cause of a cancellation, if it has left."""
        if self._left is not None:
            error.__cause__ = ClientDisconnected(self._left)

    def shielded(self, function: Callable[[], _T]) -> _T:
        """Call a function that cleans up, and do not tell it that the client has left."""
        outer, self.is_told = self.is_told, True
        try:
            return function()
        finally:
            self.is_told = outer

    def _start(
        self,
        coroutine: Coroutine[Any, Any, _T],
        context: CallContext,
        done: "concurrent.futures.Future[_T]",
    ) -> None:
        task = self.loop.create_task(coroutine, context=context.context)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._hand_over(task, done))
        if self._left is not None:
            self.leave(self._left)

    def _hand_over(self, task: asyncio.Task[_T], done: "concurrent.futures.Future[_T]") -> None:
        """Pass the task's outcome to the thread."""
        if self._tasks is not None:
            self._tasks.discard(task)
        if task.cancelled():
            error = asyncio.CancelledError()
            self.explain(error)
            done.set_exception(error)
        elif (failure := task.exception()) is not None:
            done.set_exception(failure)
        else:
            done.set_result(task.result())

    def is_here(self) -> bool:
        """Whether the calling code runs on the loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False


CURRENT_LOOP: ContextVar[LoopAccess] = ContextVar("bridge.loop")
"""Every call sets it in its context."""


def run_on_loop(awaitable: Awaitable[_T]) -> _T:
    """Await something on the server's event loop from plain code in a request, and return its result.

    A plain view, a `before_request`, a template or a library can so use what belongs to the loop, such as an
    httpx client or a database pool from the app's lifespan. A worker thread waits meanwhile. Context
    variables go there and back.

    Args:
        awaitable: a coroutine, or another awaitable.

    Raises:
        BridgeError: the caller is not inside a request that Bridge serves, or is a task on the loop.
        BaseException: what the awaitable raised.
    """
    access = CURRENT_LOOP.get(None)
    if access is None:
        _dispose(awaitable)
        raise BridgeError(
            "run_on_loop() was called outside a request that Bridge serves, so there is no server's event "
            "loop to run on; in a thread of your own, start it with contextvars.copy_context().run, and in "
            "a script or a test use asyncio.run()"
        )
    return access.run(awaitable)


def _dispose(awaitable: object) -> None:
    """Close a coroutine that nobody will await, or Python would warn."""
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


async def _awaited(awaitable: Awaitable[_T]) -> _T:
    return await awaitable

"""The event loop of a process whose server has none, in a daemon thread; the first request starts it.

There is one per process, for all ASGI apps in it, as an app's clients and locks belong to one loop. A forked
process starts its own: threads do not survive a fork, and the parent goes on using its loop.
"""

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bridge.errors import BridgeError
from bridge.free_threading import inherits_nothing
from bridge.monkey_patching import describe_monkey_patching
from bridge.runners.mailbox import Mailbox

__all__ = ["BackgroundLoop", "background_loop", "join_background_loop", "leave_background_loop", "starting"]

_T = TypeVar("_T")

# Threads that never run are a mistake in the server's settings, such as uWSGI without --enable-threads.
_START_SECONDS = 10.0

# The end of the process waits so long for the loop once all its tasks are cancelled.
_STOP_SECONDS = 2.0


class BackgroundLoop:
    """An event loop that runs in a daemon thread.

    Raises:
        BridgeError: gevent or eventlet has replaced this process's threads, or the thread does not run.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.mailbox = Mailbox(self.loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(
            target=self._run, name="bridge-loop", daemon=True, **inherits_nothing()
        )

    def start(self) -> None:
        """Start the thread, and wait until the loop runs."""
        patched = describe_monkey_patching()
        if patched is not None:
            raise BridgeError(patched)
        runs = threading.Event()
        self.loop.call_soon(runs.set)
        self._thread.start()
        if not runs.wait(_START_SECONDS):
            raise BridgeError(
                f"the thread of the event loop did not run within {_START_SECONDS:g} s; does the server let "
                "Python run threads? uWSGI needs --enable-threads"
            )

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the loop, from another thread, and wait for its result.

        Raises:
            BridgeError: this is the loop's own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise BridgeError(
                "an ASGI app called a WSGI app that waits for the same event loop; call it in a thread: "
                "await asyncio.to_thread(...)"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def create_task(
        self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context | None = None
    ) -> "asyncio.Task[None]":
        """Make a task of a coroutine, on the loop's thread; it is held until it is done."""
        task = self.loop.create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """Cancel what still runs on the loop, and end it and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=_STOP_SECONDS))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


class _Process:
    """What belongs to this process alone; a fork begins anew."""

    def __init__(self) -> None:
        self.starting = threading.Lock()
        self.loop: BackgroundLoop | None = None
        self.users: dict[Callable[[], None], None] = {}
        self.left: list[BackgroundLoop | None] = []

    def forget(self) -> None:
        # Kept, and not closed: closing would unregister what the parent's loop waits for, in the epoll that
        # both processes share.
        self.left.append(self.loop)
        self.loop = None
        self.users = {}
        self.starting = threading.Lock()  # another thread may have held it at the fork

    def end(self) -> None:
        for leave in reversed(list(self.users)):
            leave()


_process = _Process()
os.register_at_fork(after_in_child=_process.forget)
atexit.register(_process.end)


def starting() -> threading.Lock:
    """The lock that this process holds while an app starts, or ends."""
    return _process.starting


def background_loop() -> BackgroundLoop | None:
    """The loop of this process; None while nobody uses it."""
    return _process.loop


def join_background_loop(leave: Callable[[], None]) -> BackgroundLoop:
    """Return the loop of this process, started if need be. The caller holds `starting()`.

    Args:
        leave: called at the end of the process; it must come to `leave_background_loop`.

    Raises:
        BridgeError: see `BackgroundLoop.start`.
    """
    if _process.loop is None:
        loop = BackgroundLoop()
        loop.start()
        _process.loop = loop
    _process.users[leave] = None
    return _process.loop


def leave_background_loop(leave: Callable[[], None]) -> None:
    """End the use of the loop, which ends with the last. The caller holds `starting()`."""
    _process.users.pop(leave, None)
    if not _process.users and _process.loop is not None:
        loop, _process.loop = _process.loop, None
        loop.stop()

"""`--preload`: the supervisor loads the app, and forks workers, which share its memory."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bridge.free_threading import stack_of
from bridge.loading import AppError
from bridge.monkey_patching import describe_monkey_patching
from bridge.server.processes.ending import end_after, flush_output

__all__ = ["Fork", "forkable"]


class Fork:
    """A process forked from this one, with the interface of `multiprocessing.Process`.

    It ends as others do: it calls the functions of `atexit`, also those from before the fork. It has none of
    the server's handlers of signals. `multiprocessing` does not know it, and so shows the app what it would
    show without a server.

    Args:
        run: the function that it runs.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self.pid: int | None = None
        self.exitcode: int | None = None
        self._run = run

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: the system has no process, file or memory for it.
        """
        self.sentinel, end = multiprocessing.Pipe(duplex=False)  # its end closes the other end
        flush_output()  # or both would write what is buffered
        self.pid = os.fork()
        if not self.pid:
            end_after(self._run)
        end.close()

    def is_alive(self) -> bool:
        """Whether it runs."""
        self._wait(os.WNOHANG)
        return self.exitcode is None

    def join(self) -> None:
        """Wait for its end."""
        self._wait(0)
        self.sentinel.close()

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        if self.pid and self.is_alive():
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> None:
        if self.pid and self.exitcode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.exitcode = os.waitstatus_to_exitcode(status)


@contextmanager
def forkable() -> Iterator[None]:
    """Check that a block, which loads an app, leaves a process that can be forked.

    Raises:
        AppError: the app has started threads or processes, or made an event loop. Or gevent or eventlet have
            replaced modules that the supervisor needs.
    """
    threads_before = set(sys._current_frames())
    yield
    patching = describe_monkey_patching()
    if patching is not None:
        raise AppError(f"--preload has the supervisor load the app, and {patching}")
    gc.collect()  # an event loop that nobody holds does not count
    found = [
        *(
            _describe(ident)
            for ident in sys._current_frames()  # also threads that `threading` does not know
            if ident not in threads_before
        ),
        *(f"process {child.name} [{child.pid}]" for child in multiprocessing.active_children()),
        *(
            f"event loop {each!r}"
            for each in gc.get_objects()
            if issubclass(type(each), AbstractEventLoop) and not each.is_closed()
        ),
    ]
    if found:
        raise AppError(
            "--preload forks the workers when the app is loaded, and they could not use what it has started "
            f"by then: {'; '.join(found)}; start that where a worker serves, as in the app's lifespan or its "
            "first request, or leave --preload out"
        )


def _describe(ident: int) -> str:
    """Return the name of a thread, and the function that it began with."""
    thread = next((each for each in threading.enumerate() if each.ident == ident), None)
    name = f"thread {thread.name!r}" if thread is not None else "a thread of _thread"
    for place in stack_of(ident):
        if place.filename != threading.__file__:
            return f"{name} of {place.qualname} ({place.filename}:{place.lineno})"
    code = getattr(thread.function, "__code__", None) if isinstance(thread, threading.Timer) else None
    return (
        name if code is None else f"{name} of {code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"
    )

"""The end of a process that has served: an orderly one, in bounded time.

Python waits for all threads but daemons, and then calls the functions of `atexit`, where an exporter of
traces sends its last spans, for as long as they take. A thread bounds that, and says what held the process.
"""

import atexit
import logging
import math
import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Mapping
from enum import Enum
from multiprocessing import active_children
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TypeAlias

from bridge.runners.threads import describe

__all__ = ["LEAST", "Ending", "end_after", "flush_output", "forget_after_fork"]

logger = logging.getLogger("bridge")

LEAST = 2.0
"""Seconds that threads, and then the functions of `atexit`, always have. Sentry waits as long there."""

# Seconds between two attempts to interrupt the main thread, and seconds until the last of them.
_PAUSE = 0.5
_ATTEMPTS = 3.0


class _Stage(Enum):
    SERVING = "serving"
    STOPPING = "stopping"
    STOPPED = "stopped"  # Python waits for threads, or the event loop does
    EXITING = "exiting"  # the functions of `atexit` are called


class _Overdue(SystemExit):
    """Raised in the main thread, where it waits for something that has taken too long.

    asyncio and multiprocessing let it through, and the exit code with it.
    """


class Ending:
    """Bounds the end of this process; a context manager around all that the server does, in the main thread.

    SIGTERM raises KeyboardInterrupt in the block until the server handles it, as Ctrl-C does. After the block
    it is ignored, and Ctrl-C leaves the process `LEAST` seconds: nothing disturbs the functions of `atexit`.
    The exit code is the same whether the process has ended by itself or was held.

    Args:
        terminated: the exit code after SIGTERM.
    """

    def __init__(self, *, terminated: int = 0) -> None:
        self.was_terminated = False
        """Whether SIGTERM was what has ended it."""
        self._terminated = terminated
        self._exit_code = 0
        self._stage = _Stage.SERVING
        self._is_overdue = False
        self._main_thread = 0
        self._is_watched = False
        # For the thread; a signal's handler may put a message while another is being put.
        self._messages: SimpleQueue[tuple[_Stage | None, float]] = SimpleQueue()

    def __enter__(self) -> Self:
        self._main_thread = threading.get_ident()
        forget_after_fork(self._terminate)
        forget_after_fork(self._handle_late)
        signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch()
        self._exit_code = self._code_after(error)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_late)
        if self._stage is not _Stage.STOPPED:  # it has failed, or was ended while it started
            self._enter_stage(_Stage.STOPPED, LEAST)
        atexit.register(self._enter_stage, _Stage.EXITING, LEAST)  # the last one is called first

    def watch(self) -> None:
        """Start the thread, once the app is loaded; the end of the block does so if nobody has.

        Not later: no thread can start in a handler of signals, or at the end of Python. Not sooner: an app
        that has gevent patch the threads cannot be imported beside another thread. It is a thread even then.
        """
        if not self._is_watched:
            self._is_watched = True
            start_new_thread(self._watch, ())

    def stop(self, seconds: float) -> None:
        """Give the server, and its event loop, so many seconds to end; any thread may call this."""
        if self._stage in (_Stage.SERVING, _Stage.STOPPING):
            self._enter_stage(_Stage.STOPPING, seconds)

    def stopped(self, seconds: float) -> None:
        """Give all threads so many seconds to end: the server has ended."""
        self._enter_stage(_Stage.STOPPED, seconds)

    def note(self, number: int) -> None:
        """Take note of a signal; each handler of SIGTERM calls this, in the main thread.

        Raises:
            SystemExit: the main thread has waited too long.
        """
        if self._is_overdue and self._stage is not _Stage.EXITING:
            _hide_from_unraisable_hook()
            raise _Overdue(self._exit_code or self._code_after(None))
        if number == signal.SIGINT and self._stage in (_Stage.STOPPED, _Stage.EXITING):
            self._messages.put((None, LEAST))
        if number == signal.SIGTERM:
            self.was_terminated = True

    # Handlers of signals, in the main thread

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.note(number)
        if isinstance(sys.exception(), KeyboardInterrupt):
            return  # the process is ending: the supervisor's signal follows a terminal's Ctrl-C
        if self._stage is not _Stage.STOPPED:  # else uvicorn has obeyed, and raised the signal again
            raise KeyboardInterrupt

    def _handle_late(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT or self._is_overdue:
            self.note(number)

    def _enter_stage(self, stage: _Stage, seconds: float) -> None:
        self._stage = stage
        self._messages.put((stage, seconds))

    def _code_after(self, error: BaseException | None) -> int:
        if self.was_terminated:
            return self._terminated
        if isinstance(error, SystemExit):
            return _code_of(error)
        return 0 if error is None or isinstance(error, KeyboardInterrupt) else 1

    # The thread

    def _watch(self) -> None:
        stage = _Stage.SERVING
        since = time.monotonic()
        deadline = attempts_end = math.inf
        while True:
            try:
                left = max(0.0, deadline - time.monotonic())
                new, seconds = self._messages.get(timeout=left if left < threading.TIMEOUT_MAX else None)
            except Empty:
                pass
            else:
                now = time.monotonic()
                if new is None:  # Ctrl-C
                    deadline = min(deadline, now + seconds)
                    continue
                # The functions have the time that the threads have left, too.
                is_rest = new is _Stage.EXITING and not self._is_overdue
                deadline = max(deadline, now + seconds) if is_rest else now + seconds
                if new is not stage:
                    stage, since, self._is_overdue = new, now, False
                continue
            now = time.monotonic()
            if stage is _Stage.EXITING:
                self._end(
                    f"a function of atexit has not returned in {now - since:.2g} s: {_describe_main_thread()}"
                )
            if not self._is_overdue:
                self._is_overdue = True
                attempts_end = now + _ATTEMPTS
                logger.error("%s", _overdue(stage, now - since))
            elif now > attempts_end:
                self._end(f"the main thread does not go on: {_describe_main_thread()}")
            signal.pthread_kill(self._main_thread, signal.SIGTERM)
            deadline = now + _PAUSE

    def _end(self, why: str) -> None:
        logger.error("ending the process, as %s", why)
        _exit_at_once(self._exit_code)


def end_after(run: Callable[[], None]) -> NoReturn:
    """Run a forked process, and end it as Python ends others; its callers' code never runs.

    Args:
        run: the function that the process runs. Functions of `atexit` from before the fork are called after
            it, which `multiprocessing` leaves out.
    """
    code = 0
    try:
        for step in (run, threading._shutdown):  # type: ignore[attr-defined]  # Python's own, not public
            try:
                step()
            except SystemExit as error:
                code = _code_of(error)
            except BaseException:  # noqa: BLE001  # nobody else would catch it
                code = 1
                sys.excepthook(*sys.exc_info())
        atexit._run_exitfuncs()
    finally:
        _exit_at_once(code)


def _exit_at_once(code: int) -> NoReturn:
    flush_output()
    os._exit(code)


def flush_output() -> None:
    """Write out what has been printed, if somebody reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # nobody reads it, or it is closed


def _code_of(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else int(error.code is not None)


def _overdue(stage: _Stage, seconds: float) -> str:
    if stage is _Stage.STOPPING:
        return (
            f"the server, with the app's lifespan, has not stopped in {seconds:.2g} s; "
            f"ending it: {_describe_main_thread()}"
        )
    main = threading.main_thread()
    waited_for = [each for each in threading.enumerate() if not each.daemon and each is not main]
    held = "\n".join(map(describe, waited_for))
    if not held:
        return (
            f"the main thread still waits {seconds:.2g} s after the server, and is made to go on: "
            f"{_describe_main_thread()}"
        )
    return (
        f"the process ends without threads that have not ended in {seconds:.2g} s after the server (end them "
        f"with the app's lifespan, or make them daemons): {held}"
    )


def _describe_main_thread() -> str:
    """Describe where it is, and the child processes, for one of which it may wait."""
    children = " and ".join(f"{child.name} [{child.pid}]" for child in active_children())
    return describe(threading.main_thread()) + (f"\nwith the child processes {children}" if children else "")


def _hide_from_unraisable_hook() -> None:
    """Keep Python from reporting `_Overdue`, raised while it waits for threads: that is in the log."""
    others: Callable[[Any], object] = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, _Overdue):
            others(unraisable)

    sys.unraisablehook = hook


class _SignalsOfForks(threading.local):
    """Gives a forked child, the app's or a worker, Python's own handlers of signals.

    The server's handlers only note a signal, so that nobody could end the child. Signals are blocked during a
    fork: one that came before the child's handlers are set would be lost.
    """

    before: set[signal.Signals] | set[int]

    def hold(self) -> None:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULTS)

    def go_on(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)

    def forget(self) -> None:
        for number, default in _DEFAULTS.items():
            if signal.getsignal(number) in _forgotten:
                signal.signal(number, default)
                signal.set_wakeup_fd(-1)  # or the server's loop would wake
        self.go_on()


_DEFAULTS: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
_Handler: TypeAlias = Callable[[int, FrameType | None], object]
_forgotten: list[_Handler] = []
_signals_of_forks = _SignalsOfForks()
os.register_at_fork(
    before=_signals_of_forks.hold,
    after_in_parent=_signals_of_forks.go_on,
    after_in_child=_signals_of_forks.forget,
)


def forget_after_fork(handler: _Handler, instead: Mapping[signal.Signals, Any] | None = None) -> None:
    """Keep a handler of signals from forked children, which have Python's own for SIGTERM and SIGINT.

    Args:
        handler: the handler.
        instead: the handlers that a child has for other signals.
    """
    for number, other in (instead or {}).items():
        _DEFAULTS.setdefault(number, other)
    _forgotten.append(handler)

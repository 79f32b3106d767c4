"""Finds code that blocks the event loop, and names it."""

import asyncio
import gc
import logging
import os
import sys
import sysconfig
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bridge.free_threading import Place, has_gil, inherits_nothing, stack_of

__all__ = ["NOT_THE_APPS", "BlockingWatch", "Suspects"]

logger = logging.getLogger("bridge")

# How often the watch looks at the loop within the threshold.
_TICKS = 5

# Seconds after which an unneeded watch ends.
_IDLE = 1.0

# The innermost frames say what blocks.
_SHOWN = 6

# The generation whose collections may take long.
_OLDEST = 2

# A thread that has had a processor for less of the time may have wanted one all the time.
_AT_WORK = 0.25

_BRIDGE = os.path.dirname(__file__) + os.sep
_INSTALLED = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))
_STANDARD_LIBRARY = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
NOT_THE_APPS = (_BRIDGE, *_INSTALLED, *_STANDARD_LIBRARY)
"""Folders whose code is not the app's: Bridge, installed packages, the standard library."""

# The functions that run a loop: the loop has called whatever they call.
_RUNNING = {
    (function.__code__.co_filename, function.__name__)
    for function in (asyncio.Runner.run, asyncio.BaseEventLoop.run_forever)
}


_SuspectT = TypeVar("_SuspectT")


class Suspects(Protocol[_SuspectT]):
    """The calls that may block a loop. The thread that watches asks them."""

    @property
    def is_busy(self) -> bool:
        """Whether any call runs on the loop."""

    def step_of(self, task: "asyncio.Task[Any]") -> float | None:
        """Return when the current step of a task began, by `time.monotonic()`; None if that is unknown."""

    def suspect_of(self, task: "asyncio.Task[Any]") -> _SuspectT | None:
        """Return the call to which a task belongs, if any."""

    def blame(self, suspect: _SuspectT, threshold: float, place: str, stack: str) -> None:
        """Report a call that has blocked the loop.

        Args:
            suspect: the call.
            threshold: for how many seconds at least.
            place: where in the code.
            stack: the innermost calls there, in lines.
        """


class BlockingWatch:
    """Warns of code that holds an event loop for too long, and names the place; begins with `start`.

    A thread looks several times within the threshold at the loop's current task and step, and pings the loop.
    It warns if the ping stays unanswered and the step the same. (A loop with many short steps also answers
    late, but nobody is to blame.)

    The thread takes 0.1 % of a CPU for a threshold of 0.1 s, and nothing of a request's time. It ends after a
    second without anything to watch.

    Args:
        loop: the running loop.
        threshold: how many seconds a callback or a step of a coroutine may take.
        suspects: the calls that may be at fault; None to blame any code.
        is_always_needed: whether to watch also while no suspect is busy.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threshold: float,
        suspects: Suspects[Any] | None = None,
        *,
        is_always_needed: bool = True,
    ) -> None:
        self.loop = loop
        self.suspects = suspects
        self._threshold = threshold
        self._is_always_needed = is_always_needed
        self.ended = threading.Event()
        """Ends the watch when it is set; the event holds nothing of what is watched."""
        self._has_answered = True
        self.is_awake = False
        """Whether its thread runs."""

    def start(self) -> None:
        """Begin, in the loop's thread."""
        self.is_awake = True
        clock = _Clock(threading.current_thread(), self._threshold / _TICKS)
        thread = threading.Thread(
            target=self._watch,
            args=(clock,),
            name="bridge-blocking-watch",
            daemon=True,
            **inherits_nothing(),
        )
        thread.start()

    def stop(self) -> None:
        """End; may be called from any thread, and twice."""
        self.ended.set()

    def _watch(self, clock: "_Clock") -> None:
        gc.callbacks.append(clock.note_collection)
        try:
            self._watch_by(clock)
        finally:
            self.is_awake = False
            gc.callbacks.remove(clock.note_collection)

    def _watch_by(self, clock: "_Clock") -> None:
        step: object = None
        since = worked = 0.0  # of this step
        needed = 0.0
        is_told = False
        while not self.ended.wait(clock.tick):
            clock.advance()
            task = asyncio.current_task(self.loop)
            began = None if task is None or self.suspects is None else self.suspects.step_of(task)
            current = _place_of_step(clock.watched) if task is None else (task, began)
            if current != step or (began is None and self._has_answered):
                step, is_told = current, False
                since, worked = clock.time, clock.worked
                if began is not None:  # the step began before this look
                    since -= min(clock.now - began, clock.last)
                    worked -= min(clock.now - began, clock.last_worked)
            if not is_told and clock.time - since >= self._threshold:
                has_worked = clock.worked - worked >= _AT_WORK * self._threshold
                if has_worked or not _wants_to_run(clock.watched):
                    is_told = True
                    self._tell(task, clock.watched)
            if not self._has_answered:
                continue
            if self._is_always_needed or (self.suspects is not None and self.suspects.is_busy):
                needed = clock.time
                self._has_answered = False
                try:
                    self.loop.call_soon_threadsafe(self._answer)
                except RuntimeError:  # the loop is closed
                    return
            elif clock.time - needed > _IDLE:
                return

    def _answer(self) -> None:
        self._has_answered = True

    def _tell(self, task: "asyncio.Task[Any] | None", watched: threading.Thread) -> None:
        # Both first: the loop may go on meanwhile.
        suspect = None if task is None or self.suspects is None else self.suspects.suspect_of(task)
        places = stack_of(watched.ident)
        place = _place(places)
        own = [each for each in places if not each.filename.startswith((*NOT_THE_APPS, "<"))]
        stack = "".join(traceback.format_list((own or places)[-_SHOWN:])).rstrip()
        if self.suspects is not None and suspect is not None:
            self.suspects.blame(suspect, self._threshold, place, stack)
            return
        if not places or _is_nobodys(places):
            return  # other threads kept the interpreter; no code on the loop held it
        logger.warning(
            "the event loop has been blocked for over %g s by %s; await something that does not block, "
            "or call it with `await asyncio.to_thread(...)`\n%s",
            self._threshold,
            place,
            stack,
        )


def _place_of_step(thread: threading.Thread) -> object:
    """Return what identifies the current step of a loop that runs no task: the place in the code.

    Without the global interpreter lock, nothing does: see `stack_of`.
    """
    if not has_gil():
        return None
    frame = sys._current_frames().get(thread.ident or 0)
    return None if frame is None else (id(frame), frame.f_lasti)


class _Clock:
    """A clock that stands still while no code is at fault.

    That is during a full garbage collection, and while neither the thread that watches nor the watched one
    had a processor: the machine was busy, or asleep.

    Args:
        watched: the watched thread.
        tick: the seconds between two calls of `advance`.
    """

    def __init__(self, watched: threading.Thread, tick: float) -> None:
        self.tick = tick
        self.now = time.monotonic()
        """The time of the last `advance`, by `time.monotonic()`."""
        self.time = 0.0
        """Seconds that count."""
        self.last = 0.0
        """The seconds that the last `advance` has added to `time`."""
        self.worked = _seconds_at_work(watched)
        """Seconds for which the watched thread has had a processor."""
        self.last_worked = 0.0
        """Those of them between the last two calls of `advance`."""
        self.watched = watched
        self._collecting_since: float | None = None
        self._collected = 0.0  # seconds that `advance` has yet to subtract

    def advance(self) -> None:
        """Add the time since the last call."""
        now, worked = time.monotonic(), _seconds_at_work(self.watched)
        passed, self.last_worked = now - self.now, worked - self.worked
        if passed > 1.5 * self.tick:
            passed = min(passed, max(self.tick, self.last_worked))
        collected, self._collected = self._collected, 0.0
        self.last = max(passed - collected, 0.0)
        self.time += self.last
        self.now, self.worked = now, worked

    def note_collection(self, phase: str, info: dict[str, Any]) -> None:
        """Note the seconds of a full garbage collection; one of `gc.callbacks`."""
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            self._collecting_since = time.monotonic()
        elif self._collecting_since is not None:
            self._collected += time.monotonic() - self._collecting_since
            self._collecting_since = None


def _is_nobodys(places: list[Place]) -> bool:
    """Whether the loop runs only asyncio's code, such as its selector, or Bridge's, such as a thread's start.

    For a loop written in C, that is also so for whatever has started it.
    """
    for place in reversed(places):
        file = place.filename
        if not file.startswith(_STANDARD_LIBRARY) or file.startswith(_INSTALLED):
            return file.startswith(_BRIDGE)
        if (file, place.name) in _RUNNING:
            return True
    return False


def _place(places: list[Place]) -> str:
    """Return the innermost line of the app's own code; of any code, if the app has none there."""
    if not places:
        return "a place that is not known"
    shown = next(
        (each for each in reversed(places) if not each.filename.startswith((*NOT_THE_APPS, "<"))), places[-1]
    )
    return f"{shown.qualname}, {shown.filename}:{shown.lineno}"


def _seconds_at_work(thread: threading.Thread) -> float:
    """Return for how many seconds a thread has had a processor; 0 where the system does not say."""
    if sys.platform != "linux" or thread.native_id is None:
        return 0.0
    # As pthread_getcpuclockid(3) computes it, which crashes for a thread that has ended.
    clock = (~thread.native_id << 3) | 6
    try:
        return time.clock_gettime(clock)
    except OSError:  # the thread has ended
        return 0.0


def _wants_to_run(thread: threading.Thread) -> bool:
    """Whether a thread is ready to run but has no processor (proc_pid_stat(5)); False if unknown."""
    try:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "R"

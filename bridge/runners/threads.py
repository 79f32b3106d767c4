"""The worker threads: they run the calls, up to so many at once.

Threads are started only when there is work and nobody idle. A call that streams for long is moved off the
count, up to a limit of its own, so that open streams never keep short requests waiting.

Waking is the costly part: every thread that is awake competes for the interpreter. So at most one thread is
on its way to the queue at any time; when it arrives and finds more work than its own, it wakes the next. And
an event loop wakes an idle thread once it has read what has come, not in the middle of that: the two would
take the interpreter from each other for each request (3.2 futex calls of a bare callable, against 0.5).

More threads help only while those at work wait for something. Once the process uses all the time of a
processor, forty threads that each release the interpreter take two to three times the time of one (a query of
SQLite's: 1,840 us instead of 780). Then the thread that took the last job takes the next one, too; another
thread takes it only if no job was taken for `_STUCK` seconds. Without a global interpreter lock, none is held
back.
"""

import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

from bridge.errors import Overloaded
from bridge.free_threading import has_gil, inherits_nothing, stack_of

__all__ = ["Job", "Load", "Worker", "WorkerPool", "WorkerThread", "describe"]

logger = logging.getLogger("bridge")

# Seconds without a job taken after which the last taker counts as one who waits.
_STUCK = 0.002

# Seconds between two looks at the load, and the share of that time from which it is full, and below which it
# is not.
_INTERVAL = 0.02
_FULL = 0.95
_NOT_FULL = 0.85

# Seconds for which no thread is held back, after that has left time over.
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0


# The innermost frames say where a thread waits.
_SHOWN = 6


class _Process:
    """Identifies this process: a forked child gets another object, and none of its parent's threads.

    Comparing the two costs nothing, where `os.getpid()` is a system call for every request.
    """

    current: object = object()

    @classmethod
    def after_fork(cls) -> None:
        cls.current = object()


if not hasattr(os, "register_at_fork"):
    raise ImportError(
        "Bridge runs on POSIX systems, such as Linux and macOS, and this is none; on Windows, use WSL or a "
        "container"
    )
os.register_at_fork(after_in_child=_Process.after_fork)


class Job(Protocol):
    """Something a worker runs once."""

    @property
    def name(self) -> str:
        """The request that it is a part of, for a log line; empty if it is not known."""

    def run(self, worker: "Worker") -> None:
        """Do the work; must not raise."""


class WorkerThread(threading.Thread):
    """A thread that can say what it is busy with.

    Args:
        worker: the worker that runs in it.
        name: its name.
    """

    def __init__(self, worker: "Worker", name: str) -> None:
        super().__init__(name=name, daemon=True, **inherits_nothing())
        self._worker: Worker | None = worker

    def run(self) -> None:
        """Have the worker work until it has to end."""
        if self._worker is not None:
            self._worker.work()
        self._worker = None  # it holds this

    @property
    def request(self) -> str:
        """The request that the thread is busy with, for a log line; empty if there is none."""
        worker = self._worker
        job = None if worker is None else worker.job
        return "" if job is None else job.name


class Worker:
    """One thread of a pool."""

    def __init__(self, pool: "WorkerPool", number: int) -> None:
        self.job: Job | None = None
        self.counted = True
        self._pool = pool
        # The thread acquires it when it has nothing to do; releasing it wakes the thread.
        self._sleep = threading.Lock()
        self._sleep.acquire()
        self.thread = WorkerThread(self, f"bridge-{number}")

    def wake(self) -> None:
        """Let the thread look for work."""
        self._sleep.release()

    def work(self) -> None:
        """Run the pool's jobs, in the thread, until there are enough threads without this one."""
        pool = self._pool
        arriving = True
        while True:
            job = pool.take(self, arriving)
            if job is not None:
                arriving = False
                job.run(self)
                del job  # or the last request's memory stays with an idle thread
            elif pool.leave(self):
                return
            else:
                arriving = self._sleep.acquire(timeout=pool.patience(self))


class Load:
    """Whether the process uses all the time of a processor, measured every `_INTERVAL` seconds at most.

    A load that waits a lot leaves time over as soon as threads are held back. They are not held back again
    for a while then, and each time for longer.

    Args:
        used: seconds of processor time that the process has used.
    """

    __slots__ = ("_full_since", "_is_full", "_looked", "_next", "_not_before", "_pause", "_used", "_was_used")

    def __init__(self, used: Callable[[], float] = time.process_time) -> None:
        self._used = used
        self._is_full = False
        self._looked = self._was_used = self._next = 0.0
        self._full_since = self._not_before = 0.0
        self._pause = _SHORTEST_PAUSE

    def is_full(self, now: float) -> bool:
        """Whether more threads would only compete; `now` is from `time.monotonic()`."""
        if now >= self._next:
            self._look(now)
        return self._is_full

    def _look(self, now: float) -> None:
        used = self._used()
        share = (used - self._was_used) / (now - self._looked)
        self._looked, self._was_used, self._next = now, used, now + _INTERVAL
        if self._is_full and share < _NOT_FULL:
            self._is_full = False
            has_lasted = now - self._full_since > self._pause
            self._pause = _SHORTEST_PAUSE if has_lasted else min(2 * self._pause, _LONGEST_PAUSE)
            self._not_before = now + self._pause
        elif not self._is_full and share > _FULL and now >= self._not_before:
            self._is_full = True
            self._full_since = now


class _Turns:
    """Whose turn it is to take a job; guarded by the pool's lock.

    Args:
        load: tells when more threads do not help.
    """

    __slots__ = ("_load", "_taken", "standby", "taker")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._taken = 0.0
        self.taker: Worker | None = None
        """The worker that took the last job."""
        self.standby: Worker | None = None
        """The worker without a job that looks every `_STUCK` seconds whether jobs are taken."""

    def take(self, worker: Worker, now: float) -> bool:
        """Whether a worker takes the next job; if not, it leaves that to the last taker."""
        if self._load.is_full(now) and worker is not self.taker and now - self._taken < _STUCK:
            return False
        self.taker = worker
        self._taken = now
        return True

    @property
    def are_watched(self) -> bool:
        """Whether nobody need be woken: the taker comes back, or the standby notices that it does not."""
        return self.standby is not None and self.taker is not None and self.taker.job is not None


class WorkerPool:
    """Up to `threads` threads for ordinary calls, and up to `streams` more for calls that stream.

    Args:
        threads: how many calls may run at once.
        streams: how many calls, beyond those, may be moved off the count.
        idle: how many threads are kept when they have nothing to do; None for all. Starting a thread costs a
            long call little.
        load: tells when more threads do not help; by default, the load of this process.

    Any thread may call it. The lock guards the queue, the counts, and each worker's `job` and `counted`; no
    job runs under it. A pool belongs to the process that made it: see `is_usable`.
    """

    def __init__(
        self, threads: int, streams: int, *, idle: int | None = None, load: Load | None = None
    ) -> None:
        self._max_counted = threads
        self._max_idle = threads if idle is None else idle
        self._max_streaming = streams
        self._process = _Process.current
        # Reentrant, as the garbage collector may close the pool in the middle of anything.
        self._lock = threading.RLock()
        self._jobs: deque[Job] = deque()
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._counted = 0
        self._started = 0
        # On its way to the queue: a "thread"; or the "loop", which will wake one; or nobody.
        self._coming: Literal["thread", "loop", ""] = ""
        # Without the global interpreter lock, threads run at once: no load is too full for one more.
        self._turns = _Turns(load or Load(time.process_time if has_gil() else float))
        self._closing = False
        self._on_empty: Callable[[], object] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether jobs can be given to it: not closed, and its threads not left behind by a fork."""
        return not self._closing and self._process is _Process.current

    @property
    def busy(self) -> int:
        """How many of its threads are at work."""
        return len(self.busy_threads)

    @property
    def busy_threads(self) -> list[threading.Thread]:
        """Its threads that are at work."""
        with self._lock:
            return [worker.thread for worker in self._workers if worker.job is not None]

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def submit(
        self,
        job: Job,
        room: int | None = None,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> bool:
        """Have a thread run the job, now or when one is free.

        Args:
            job: what to run.
            room: how many jobs may wait once all threads are busy; None for any number.
            call_soon: the running loop's, which then wakes an idle thread in its next step, for all jobs of
                this one. Not for a job that code on the loop may wait for. By default, one is woken at once.

        Returns:
            Whether the job has to wait.

        Raises:
            Overloaded: it would have to, and there is no room.
            RuntimeError: the system refuses to start even the first thread.
        """
        with self._lock:
            resting = len(self._idle) + (self._coming == "thread") + (self._turns.standby is not None)
            free = self._max_counted - self._counted + resting
            waits = len(self._jobs) >= free
            if waits and room is not None and len(self._jobs) - free >= room:
                raise Overloaded(f"all threads are busy; requests that wait for one: {room}")
            self._jobs.append(job)
            if call_soon is None and self._coming == "loop":
                self._coming = ""  # this job cannot wait for that
            later = call_soon if self._idle and not self._coming else None
            if later is not None:
                self._coming = "loop"
            worker = self._next_worker()
        if later is not None:
            later(self._rouse_next)
        elif worker is not None:
            self._rouse(worker, job)
        return waits

    def withdraw(self, job: Job) -> bool:
        """Take a job back, if no thread has taken it yet; returns whether that was so."""
        with self._lock:
            try:
                self._jobs.remove(job)
            except ValueError:
                return False
        return True

    def take(self, worker: Worker, arriving: bool) -> Job | None:
        """Give a worker its next job, if there is one; `arriving` says that it was woken for that."""
        following = None
        now = time.monotonic()
        with self._lock:
            if not worker.counted:
                self._count_again(worker)
            if arriving:
                self._coming = ""
            if self._turns.standby is worker:
                self._turns.standby = None
            if self._jobs and worker.counted and (self._closing or self._turns.take(worker, now)):
                worker.job = job = self._jobs.popleft()
                if self._jobs and not self._coming:
                    following = self._next_worker()
            else:
                worker.job = job = None
                if not self._closing and worker.counted:
                    self._rest(worker)
        if following is not None:
            self._rouse(following, None)
        return job

    def patience(self, worker: Worker) -> float:
        """Seconds that a worker without a job sleeps at most, if nobody wakes it; -1 for ever."""
        return _STUCK if self._turns.standby is worker else -1

    def leave(self, worker: Worker) -> bool:
        """Whether a worker without a job has to end: the pool is closing, or has enough threads."""
        with self._lock:
            if worker.counted and not self._closing:
                return False
            self._workers.discard(worker)
            self._counted -= worker.counted
            if self._turns.taker is worker:
                self._turns.taker = None
            on_empty = None if self._workers or not self._closing else self._on_empty
        if on_empty is not None:
            on_empty()
        return True

    def move_off(self, worker: Worker, job: Job) -> bool:
        """Stop counting a worker that is busy with `job`, so that another can take its place.

        Returns:
            Whether it was moved: not if it has finished the job, or if there are too many such already.
        """
        with self._lock:
            if worker.job is not job or not worker.counted:
                return False
            if len(self._workers) - self._counted >= self._max_streaming:
                return False
            worker.counted = False
            self._counted -= 1
            following = self._next_worker()
        if following is not None:
            self._rouse(following, None)
        return True

    def close(self, on_empty: Callable[[], object]) -> frozenset[threading.Thread]:
        """Let every thread end when it has nothing left to do.

        Args:
            on_empty: called once when the last thread is about to end, in that thread, or right away.

        Returns:
            The threads there were.
        """
        if self._process is not _Process.current:
            return frozenset()  # a fork has left the threads behind, and the lock in whatever state it was
        with self._lock:
            self._closing = True
            self._on_empty = on_empty
            idle, self._idle = self._idle, []
            threads = frozenset(worker.thread for worker in self._workers)
        for worker in idle:
            worker.wake()
        if not threads:
            on_empty()
        return threads

    def _next_worker(self) -> Worker | None:
        """The worker to wake or start for the queue, if any, and if nobody is coming; the lock is held."""
        if not self._jobs or self._coming:
            return None
        if self._turns.are_watched:
            return None
        if self._idle:
            worker = self._idle.pop()
        elif self._counted < self._max_counted:
            self._started += 1
            self._counted += 1
            worker = Worker(self, self._started)
            self._workers.add(worker)
        else:
            return None
        self._coming = "thread"
        return worker

    def _rouse_next(self) -> None:
        """Wake an idle worker for what was submitted, if no other has taken all of it."""
        with self._lock:
            if self._coming == "loop":
                self._coming = ""
            worker = self._next_worker()
        if worker is not None:
            self._rouse(worker, None)

    def _rouse(self, worker: Worker, job: Job | None) -> None:
        """Wake a worker, or start it if it is new."""
        if worker.thread.ident is not None:
            worker.wake()
            return
        try:
            worker.thread.start()
        except RuntimeError as error:
            if not self._can_do_without(worker, job):
                raise
            logger.warning("cannot start one more worker thread, going on without it: %s", error)

    def _can_do_without(self, worker: Worker, job: Job | None) -> bool:
        """Forget a thread that the system would not start; False if that leaves nobody for the job."""
        with self._lock:
            self._coming = ""
            self._workers.discard(worker)
            self._counted -= 1
            if self._workers or job is None:
                return True
            self._jobs.remove(job)
            return False

    def _rest(self, worker: Worker) -> None:
        """Have a worker stand by, keep it idle, or let it end; the lock is held."""
        if self._jobs and self._turns.standby is None:
            self._turns.standby = worker
            return
        if len(self._idle) < self._max_idle:
            self._idle.append(worker)
        else:
            worker.counted = False
            self._counted -= 1

    def _count_again(self, worker: Worker) -> None:
        """Count a worker whose stream has ended, if there is room; the lock is held."""
        if self._counted < self._max_counted:
            worker.counted = True
            self._counted += 1


def describe(thread: threading.Thread) -> str:
    """Return the thread's name, its request, and its place in the code, in several lines."""
    stack = "".join(traceback.format_list(stack_of(thread.ident)[-_SHOWN:])).rstrip()
    request = thread.request if isinstance(thread, WorkerThread) else ""
    return f"{thread.name}{f' ({request})' if request else ''}\n{stack}"

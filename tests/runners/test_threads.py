"""The worker threads: when they are started, whom they wait for, and how they end."""

import gc
import math
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from bridge import WSGIToASGI
from bridge.errors import Overloaded
from bridge.runners.threads import Load, Worker, WorkerPool
from tests.asgi_host import ScriptedHost, http_scope
from tests.server.command import wait_until


class Job:
    """Work that ends when it is told to, or at once."""

    name = ""

    def __init__(self, go_on: threading.Event | None = None) -> None:
        self.started = threading.Event()
        self.ended = threading.Event()
        self.go_on = go_on
        self.worker: Worker | None = None

    def run(self, worker: Worker) -> None:
        self.worker = worker
        self.started.set()
        if self.go_on is not None:
            self.go_on.wait()
        self.ended.set()


class Pool:
    """A pool that is closed at the end of a block, with the jobs it was given let go."""

    def __init__(self, threads: int, streams: int = 0, load: Load | None = None) -> None:
        self.pool = WorkerPool(threads, streams, load=load)
        self.go_on = threading.Event()
        self.empty = threading.Event()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.pool.close(self.empty.set)
        assert self.empty.wait(10)

    def submit(self, *, waits: bool = False) -> Job:
        job = Job(self.go_on if waits else None)
        self.pool.submit(job)
        return job


def worker_threads() -> int:
    return sum(thread.name.startswith("bridge-") for thread in threading.enumerate())


def test_nothing_is_started_before_there_is_work() -> None:
    with Pool(4) as pool:
        assert worker_threads() == 0
        assert pool.submit().ended.wait(10)
        assert worker_threads() == 1


def test_a_thread_is_started_only_when_none_is_idle() -> None:
    with Pool(4) as pool:
        for _ in range(50):
            assert pool.submit().ended.wait(10)
        # One, or two if a job came in the moment between the end of the last and the thread's rest.
        assert worker_threads() <= 2


def test_as_many_run_at_once_as_there_are_threads_and_the_rest_in_turn() -> None:
    with Pool(3) as pool:
        running = [pool.submit(waits=True) for _ in range(3)]
        assert all(job.started.wait(10) for job in running)
        queued = [pool.submit() for _ in range(5)]
        assert worker_threads() == 3
        assert not any(job.started.is_set() for job in queued)
        pool.go_on.set()
        assert all(job.ended.wait(10) for job in queued)


def test_a_burst_of_work_wakes_every_thread_it_needs() -> None:
    with Pool(20) as pool:
        for _ in range(3):
            pool.go_on.clear()
            jobs = [pool.submit(waits=True) for _ in range(20)]
            assert all(job.started.wait(10) for job in jobs)
            pool.go_on.set()
            assert all(job.ended.wait(10) for job in jobs)
        assert worker_threads() == 20


def test_an_event_loop_wakes_an_idle_thread_once_for_all_that_it_submits_in_one_step() -> None:
    step: list[Callable[[], None]] = []
    pool = WorkerPool(1, 0)
    first = Job()
    assert not pool.submit(first, None, step.append), "a thread is free"
    assert first.ended.wait(10), "no thread was idle, so one was started at once"
    wait_until(lambda: pool.busy == 0, "an idle thread")
    jobs = [Job() for _ in range(3)]
    assert [pool.submit(job, None, step.append) for job in jobs] == [False, True, True]
    assert not any(job.started.is_set() for job in jobs)
    assert len(step) == 1
    step.pop()()
    assert all(job.ended.wait(10) for job in jobs)
    wait_until(lambda: pool.busy == 0, "an idle thread")
    pool.submit(early := Job(), None, step.append)
    pool.submit(urgent := Job())
    assert early.ended.wait(10)
    assert urgent.ended.wait(10), "code on the loop may wait for it, so it does not wait for the loop"
    wait_until(lambda: pool.busy == 0, "an idle thread")
    step.pop()()
    pool.submit(last := Job(), None, step.append)
    assert len(step) == 1
    empty = threading.Event()
    pool.close(empty.set)  # wakes the threads, too, and they end what there is
    assert last.ended.wait(10)
    assert empty.wait(10)
    step.pop()()  # finds nothing left


def test_a_stream_that_is_moved_off_makes_room_for_a_queued_job() -> None:
    with Pool(1, streams=1) as pool:
        stream = pool.submit(waits=True)
        assert stream.started.wait(10)
        queued = pool.submit()
        assert stream.worker is not None
        assert pool.pool.move_off(stream.worker, stream)
        assert queued.ended.wait(10)
        assert not pool.pool.move_off(stream.worker, stream), "it is moved off already"


def test_no_more_streams_are_moved_off_than_allowed() -> None:
    with Pool(2, streams=1) as pool:
        first, second = pool.submit(waits=True), pool.submit(waits=True)
        assert first.started.wait(10)
        assert second.started.wait(10)
        assert first.worker is not None
        assert second.worker is not None
        assert pool.pool.move_off(first.worker, first)
        assert not pool.pool.move_off(second.worker, second)


def test_a_job_that_has_ended_is_not_moved_off() -> None:
    with Pool(1, streams=5) as pool:
        ended = pool.submit()
        assert ended.ended.wait(10)
        other = pool.submit(waits=True)
        assert other.started.wait(10)
        assert ended.worker is not None
        assert not pool.pool.move_off(ended.worker, ended)


def test_the_thread_of_an_ended_stream_ends_when_its_place_is_taken() -> None:
    with Pool(1, streams=1) as pool:
        stream = Job(threading.Event())
        pool.pool.submit(stream)
        assert stream.started.wait(10)
        assert stream.worker is not None
        assert stream.go_on is not None
        assert pool.pool.move_off(stream.worker, stream)
        assert pool.submit(waits=True).started.wait(10)
        stream.go_on.set()
        stream.worker.thread.join(10)
        assert not stream.worker.thread.is_alive()
        assert worker_threads() == 1


def test_a_pool_whose_only_thread_has_been_moved_off_serves_after_the_stream() -> None:
    with Pool(1, streams=20) as pool:
        for _ in range(20):
            stream = Job(threading.Event())
            pool.pool.submit(stream)
            assert stream.started.wait(10)
            assert stream.worker is not None
            assert stream.go_on is not None
            assert pool.pool.move_off(stream.worker, stream)
            stream.go_on.set()
            assert pool.submit().ended.wait(10)


def full_load() -> Load:
    """That of a process that uses two processors from the beginning of time."""
    return Load(lambda: 2 * time.monotonic())


def test_a_full_load_is_left_to_the_thread_that_is_at_work() -> None:
    with Pool(8, load=full_load()) as pool:
        jobs = [pool.submit(waits=True) for _ in range(8)]
        assert all(job.started.wait(10) for job in jobs), "whoever waits, does not keep the others"
        more = [pool.submit() for _ in range(500)]
        pool.go_on.set()
        assert all(job.ended.wait(10) for job in more)
        # Another one may take a job if the first was kept from it for two milliseconds.
        takers = Counter(job.worker for job in more)
        assert takers.most_common(1)[0][1] > 100


def test_a_thread_that_waits_under_a_full_load_is_replaced() -> None:
    with Pool(2, load=full_load()) as pool:
        for _ in range(20):
            waiting = Job(threading.Event())
            pool.pool.submit(waiting)
            assert waiting.started.wait(10)
            assert [job for job in [pool.submit() for _ in range(5)] if not job.ended.wait(10)] == []
            assert waiting.go_on is not None
            waiting.go_on.set()


def test_threads_that_are_held_back_count_as_free() -> None:
    with Pool(3, load=full_load()) as pool:
        jobs = [Job(pool.go_on) for _ in range(5)]
        assert [pool.pool.submit(job, 2) for job in jobs] == [False, False, False, True, True]
        with pytest.raises(Overloaded):
            pool.pool.submit(Job(), 2)


# Seconds of the clock and of the processor, and whether the load is full then.
LOADS = {
    "idle": [(1.0, 0.1, False), (2.0, 0.2, False)],
    "busy from the first": [(1.0, 0.99, True), (2.0, 1.98, True)],
    "nearly": [(1.0, 0.9, False), (2.0, 1.8, False)],
    "it stays full while little is left over": [(1.0, 1.0, True), (2.0, 1.9, True), (3.0, 2.7, False)],
    "not looked at for every job": [(1.0, 1.0, True), (1.01, 1.0, True), (1.03, 1.0, False)],
    "after time was left over, not at once again": [
        (1.0, 1.0, True),
        (1.02, 1.0, False),
        (1.1, 1.1, False),
        (1.3, 1.3, True),
    ],
    "and each time later": [
        (1.0, 1.0, True),
        (1.02, 1.0, False),
        (1.3, 1.3, True),
        (1.32, 1.3, False),
        (1.7, 1.7, False),
        (1.75, 1.75, True),
    ],
    "unless it has been full for longer": [
        (1.0, 1.0, True),
        (1.02, 1.0, False),
        (1.3, 1.3, True),
        (9.0, 9.0, True),
        (9.02, 9.0, False),
        (9.2, 9.2, True),
    ],
}


@pytest.mark.parametrize("looks", LOADS.values(), ids=LOADS)
def test_when_a_load_is_full(looks: list[tuple[float, float, bool]]) -> None:
    used = [0.0]
    load = Load(lambda: used[0])
    seen = []
    for now, used[0], _ in looks:
        seen.append(load.is_full(now))
    assert seen == [is_full for _, _, is_full in looks]


def test_closing_lets_busy_threads_finish_and_the_queue_run_empty() -> None:
    pool = Pool(1)
    with pool:
        busy = pool.submit(waits=True)
        assert busy.started.wait(10)
        queued = pool.submit()
        threads = pool.pool.close(pool.empty.set)
        assert not pool.pool.is_usable
        assert len(threads) == 1
        assert not pool.empty.is_set()
        pool.go_on.set()
        assert pool.empty.wait(10)
        assert queued.ended.is_set()


def test_an_empty_pool_closes_at_once() -> None:
    closed = threading.Event()
    assert WorkerPool(1, 0).close(closed.set) == frozenset()
    assert closed.is_set()


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]


async def get(adapter: WSGIToASGI) -> bytes:
    host = ScriptedHost()
    await adapter(http_scope(), host.receive, host.send)
    return host.body


async def test_the_threads_end_with_the_lifespan_and_come_again_with_the_next() -> None:
    adapter = WSGIToASGI(hello)
    for _ in range(2):
        async with adapter.lifespan_context():
            assert await get(adapter) == b"Hello"
            assert worker_threads() == 1
        assert worker_threads() == 0


async def test_a_thousand_lifespans_leave_nothing_behind() -> None:
    """A host like Mangum runs one for each request."""
    adapter = WSGIToASGI(hello)
    pools: list[weakref.ref[WorkerPool]] = []
    for _ in range(1000):
        async with adapter.lifespan_context():
            assert await get(adapter) == b"Hello"
            pools.append(weakref.ref(adapter.engine_of_running_loop({}).pool))
    gc.collect()
    assert not any(pool() for pool in pools)


def test_a_pool_that_is_closed_in_the_middle_of_its_own_work() -> None:
    """As the garbage collector may do, in whichever thread it comes."""
    with Pool(1) as pool:
        closed = threading.Event()
        with pool.pool._lock:
            pool.pool.close(closed.set)
        assert closed.is_set()


async def test_the_threads_end_when_nobody_holds_the_adapter() -> None:
    adapter = WSGIToASGI(hello)
    assert await get(adapter) == b"Hello"
    gone = weakref.ref(adapter)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("bridge-")]
    del adapter
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


async def test_an_adapter_is_pickled_without_its_threads() -> None:
    adapter = WSGIToASGI(hello, threads=3, streams=4, buffer_size=5)
    async with adapter.lifespan_context():
        assert await get(adapter) == b"Hello"
        copy = pickle.loads(pickle.dumps(adapter))
    assert (copy.app, copy.threads, copy.streams, copy.buffer_size) == (hello, 3, 4, 5)
    async with copy.lifespan_context():
        assert await get(copy) == b"Hello"


def test_a_forked_child_has_threads_of_its_own() -> None:
    """In a process of its own: a fork of the test runner would be its twin."""
    program = """
import asyncio, os
from tests.runners.test_threads import WSGIToASGI, get, hello
adapter = WSGIToASGI(hello)
assert asyncio.run(get(adapter)) == b"Hello"
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(get(adapter)) == b"Hello" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(get(adapter)) == b"Hello"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=15, cwd=os.getcwd())


def test_a_thread_that_cannot_be_started() -> None:
    """In a process of its own, where a limit on memory leaves no room for a thread's stack."""
    program = """
import resource, threading
from bridge.runners.threads import WorkerPool
from tests.runners.test_threads import Job
pool = WorkerPool(2, 0)
go_on = threading.Event()
first = Job(go_on)
pool.submit(first)
first.started.wait()
threading.stack_size(512 * 2**20)
size = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + 64 * 2**20,) * 2)
second = Job()
pool.submit(second)     # does without a second thread
go_on.set()
second.ended.wait()
alone = WorkerPool(1, 0)
try:
    alone.submit(Job())
except RuntimeError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=15, capture_output=True, text=True)
    assert done.stdout.startswith("refused: can't start new thread"), done.stderr
    assert "cannot start one more worker thread" in done.stderr


def with_argument(name: str, value: Any) -> Callable[[], WSGIToASGI]:
    return lambda: WSGIToASGI(hello, **{name: value})


BAD_ARGUMENTS: list[tuple[Callable[[], WSGIToASGI], type[Exception], str]] = [
    (with_argument("threads", "3"), TypeError, "threads must be an integer, got '3'"),
    (with_argument("threads", 2.5), TypeError, "threads must be an integer, got 2.5"),
    (with_argument("threads", True), TypeError, "threads must be an integer, got True"),
    (with_argument("websockets", None), TypeError, "websockets must be an integer, got None"),
    (with_argument("queue_length", 1.0), TypeError, "queue_length must be an integer, got 1.0"),
    (with_argument("queue_timeout", "1"), TypeError, "queue_timeout must be a number of seconds, got '1'"),
    (with_argument("queue_timeout", -1), ValueError, "queue_timeout must be at least 0, got -1"),
    (with_argument("blocking_threshold", False), TypeError, "blocking_threshold must be a number of seconds"),
    (with_argument("graceful_timeout", None), TypeError, "graceful_timeout must be a number of seconds"),
    (with_argument("graceful_timeout", math.nan), ValueError, "graceful_timeout must be at least 0, got nan"),
    (with_argument("lifespan", 5), TypeError, "lifespan must be a function that returns an async context"),
    (with_argument("async_views", "both"), ValueError, "async_views must be .*, got 'both'"),
    (lambda: WSGIToASGI(Flask), TypeError, "is a class: give it an object of that class"),  # type: ignore[arg-type]  # the point
    (lambda: WSGIToASGI(hello, threads=0), ValueError, "threads must be at least 1, got 0"),
    (lambda: WSGIToASGI(hello, streams=-1), ValueError, "streams must be at least 0, got -1"),
    (lambda: WSGIToASGI(hello, buffer_size=0), ValueError, "buffer_size must be at least 1, got 0"),
    (lambda: WSGIToASGI("app"), TypeError, "'app' is not callable"),  # type: ignore[arg-type]  # the point
    (lambda: WSGIToASGI(WSGIToASGI(hello)), TypeError, "an ASGI application"),  # type: ignore[arg-type]  # too
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_ARGUMENTS, ids=[row[2] for row in BAD_ARGUMENTS])
def test_arguments_that_make_no_sense(
    make: Callable[[], WSGIToASGI], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()

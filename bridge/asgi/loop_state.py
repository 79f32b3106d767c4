"""What an adapter keeps for one event loop."""

import asyncio
import logging
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from bridge.blocking import BlockingWatch, Suspects
from bridge.runners.engine import Engine, Streams
from bridge.runners.mailbox import Mailbox
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool, describe

__all__ = ["EngineSettings", "LoopState"]

logger = logging.getLogger("bridge")


class EngineSettings(NamedTuple):
    """What makes the engines of a loop; see `WSGIToASGI`."""

    threads: int
    streams: int
    websockets: int
    queue_length: int | None
    queue_timeout: float | None
    buffer_size: int


class LoopState:
    """The engines, the open streams, and the lifespan of one adapter on one event loop.

    A process may run several loops, each in its thread, as granian's workers do on a free-threaded Python. To
    an adapter, each of them is what a worker process is elsewhere: nothing here is shared between two. The
    loop's thread alone changes it; others may look at `engine`.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.streams = Streams()
        self.is_entered = False
        """Whether its lifespan runs."""
        self.lifespan_state: dict[str, Any] = {}
        self.engine: Engine | None = None
        """For requests; None while there are no threads."""
        self.websocket_engine: Engine | None = None
        """For websockets that a library serves."""
        self._finalizer: weakref.finalize[..., LoopState] | None = None
        self._watch: BlockingWatch | None = None
        self._watch_finalizer: weakref.finalize[..., LoopState] | None = None

    def make_engines(self, settings: EngineSettings) -> Engine:
        """Make the engines, with new threads: there are none, or a fork has left them behind."""
        self._forget_engines()
        pools = WorkerPool(settings.threads, settings.streams), WorkerPool(settings.websockets, 0, idle=0)
        self._finalizer = weakref.finalize(self, _close_all, pools)
        self._finalizer.atexit = False  # the threads are daemons, and end with the process
        mailbox = Mailbox(self.loop)
        queue = ThreadQueue(pools[0], settings.queue_length, settings.queue_timeout)
        self.engine = engine = Engine(queue, mailbox, self.streams, settings.buffer_size)
        queue = ThreadQueue(pools[1], 0, None, "`websockets` is how many may be open at once")
        self.websocket_engine = Engine(queue, mailbox, self.streams, settings.buffer_size)
        return engine

    async def close_pools(self, patience: float) -> None:
        """End the worker threads; wait for busy ones, at most `patience` seconds in all."""
        end = self.loop.time() + patience
        for pool in self._forget_engines():
            if pool.is_usable:
                await _close_pool(pool, end)

    def watch(self, threshold: float, suspects: Suspects[Any] | None, *, is_always_needed: bool) -> None:
        """Watch for code that blocks the loop; see `BlockingWatch`."""
        watch = self._watch
        if watch is not None and watch.is_awake and watch.suspects is suspects:
            return
        self.end_watch()
        self._watch = watch = BlockingWatch(self.loop, threshold, suspects, is_always_needed=is_always_needed)
        watch.start()
        self._watch_finalizer = weakref.finalize(self, watch.ended.set)
        self._watch_finalizer.atexit = False  # its thread is a daemon

    def end_watch(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._watch_finalizer is not None:
            self._watch_finalizer.detach()

    def _forget_engines(self) -> list[WorkerPool]:
        engines = self.engine, self.websocket_engine
        self.engine = self.websocket_engine = None
        if self._finalizer is not None:
            self._finalizer.detach()
        return [engine.pool for engine in engines if engine is not None]


async def _close_pool(pool: WorkerPool, end: float) -> None:
    loop = asyncio.get_running_loop()
    empty = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(empty.set)

    threads = pool.close(tell)
    try:
        async with asyncio.timeout_at(end):
            await empty.wait()
    except TimeoutError:
        for busy in pool.busy_threads:
            logger.warning(
                "going on without a thread that is busy with a request given up: %s", describe(busy)
            )
        return
    for thread in threads:
        thread.join()  # it is about to return


def _close_all(pools: Iterable[WorkerPool]) -> None:
    for pool in pools:
        pool.close(lambda: None)

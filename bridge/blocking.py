"""Finds code that blocks the event loop, and says where it is."""

import asyncio
import logging
import sys
import threading
import traceback
from types import FrameType, TracebackType

__all__ = ["BlockingWatch"]

logger = logging.getLogger("bridge")


class BlockingWatch:
    """Warns of what holds an event loop for too long, with the place in the code; a context manager.

    A thread asks the loop for a sign of life, and looks at what its thread is doing if none comes in time.
    That costs a wake-up of both for every `threshold` seconds, so it is for development.

    Args:
        loop: the running loop; the context is entered on it.
        threshold: how many seconds a callback or a step of a coroutine may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self._loop = loop
        self._threshold = threshold
        self._beaten = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> "BlockingWatch":
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="bridge-blocking-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beaten.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._threshold):
            self._beaten.clear()
            if self._ended.is_set():
                return  # set meanwhile, and what would wake this thread may just have been cleared
            try:
                self._loop.call_soon_threadsafe(self._beaten.set)
            except RuntimeError:
                return  # the loop is closed
            if not self._beaten.wait(self._threshold):
                self._warn()
                self._beaten.wait()  # one warning is enough for one stay

    def _warn(self) -> None:
        frame = sys._current_frames().get(self._watched)
        if frame is not None:
            logger.warning(
                "the event loop has been blocked for over %g s by %s; await something that does not block, "
                "or call it with `await asyncio.to_thread(...)`\n%s",
                self._threshold,
                _place(frame),
                "".join(traceback.format_stack(frame, limit=6)).rstrip(),
            )


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}"

"""Describe what an abandoned thread is doing, from its stack; free until asked."""

import sys
import threading
import traceback

from bridge.runners.threads import WorkerThread

__all__ = ["describe"]

# The innermost frames say where the thread waits.
_SHOWN = 6


def describe(thread: threading.Thread) -> str:
    """Return the thread's name, its request, and its place in the code, in several lines."""
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame, limit=_SHOWN)).rstrip() if frame is not None else ""
    request = thread.request if isinstance(thread, WorkerThread) else ""
    return f"{thread.name}{f' ({request})' if request else ''}\n{stack}"

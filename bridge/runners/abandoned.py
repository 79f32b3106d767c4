"""Describe a thread that nobody waits for any longer, by its stack: free until somebody asks."""

import sys
import threading
import traceback

from bridge.runners.threads import WorkerThread

__all__ = ["describe"]

# Frames; the innermost ones say where it waits.
_SHOWN = 6


def describe(thread: threading.Thread) -> str:
    """Return its name, its request, and its place in the code, in several lines."""
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame, limit=_SHOWN)).rstrip() if frame is not None else ""
    request = thread.request if isinstance(thread, WorkerThread) else ""
    return f"{thread.name}{f' ({request})' if request else ''}\n{stack}"

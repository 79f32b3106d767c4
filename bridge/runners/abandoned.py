"""What a thread is at that nobody waits for any longer: told from its stack, so that calls pay nothing."""

import sys
import threading
import traceback

from bridge.core.call import request_name, run_call

__all__ = ["describe"]

# Frames; the innermost ones say where it waits.
_SHOWN = 6


def describe(thread: threading.Thread) -> str:
    """Its name, the request, and where in the code it is, in several lines."""
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame, limit=_SHOWN)).rstrip() if frame is not None else ""
    request = ""
    while frame is not None:
        if frame.f_code is run_call.__code__:
            request = f" ({request_name(frame.f_locals['view'])})"
        frame = frame.f_back
    return f"{thread.name}{request}\n{stack}"

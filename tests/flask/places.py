"""Where code runs: on the event loop, or in a thread."""

import asyncio
import threading
from typing import Literal, TypeAlias

Place: TypeAlias = Literal["loop", "thread"]


def place() -> Place:
    """Where the code that asks runs; the tests' loop is in the main thread."""
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

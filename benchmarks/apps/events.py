"""When the server-sent events of a stream are due, and how one is written."""

import time
from collections.abc import Iterator

__all__ = ["due_times", "event_text"]


def due_times(interval: float) -> Iterator[float]:
    """The fixed schedule of a stream: now, then every `interval` seconds, by `time.monotonic`.

    A server that is late with one event is not forgiven for it by the next being late as well.
    """
    due = time.monotonic()
    while True:
        yield due
        due += interval


def event_text(due: float) -> str:
    """An event that tells its client when it was due; all processes of a machine have the same such clock."""
    return f"data: {due!r}\n\n"

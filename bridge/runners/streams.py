"""The open long responses and websockets; a stopping server ends them."""

import logging
from typing import Protocol

from bridge.core.link import Head

__all__ = ["Streams", "is_event_stream"]

logger = logging.getLogger("bridge")


class _Stream(Protocol):
    def end(self) -> None: ...


class Streams:
    """The long responses that are open, and the websockets."""

    def __init__(self) -> None:
        self.links: set[_Stream] = set()
        self.are_ending = False

    def end(self) -> None:
        """End those that have no end of their own; later ones look at `are_ending`.

        One that cannot be ended does not keep the others, and the server behind them, from ending.
        """
        if not self.are_ending:
            self.are_ending = True
            for link in list(self.links):
                try:
                    link.end()
                except Exception:
                    logger.exception("a stream could not be ended")


def is_event_stream(head: Head | None) -> bool:
    """Whether a response with this head is a stream of server-sent events without an end."""
    if head is None:
        return False
    fields = dict(head.headers)
    is_events = fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")
    return is_events and b"content-length" not in fields

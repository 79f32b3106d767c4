"""The things that the calls of one app share on one event loop; a stopping server ends their streams."""

import logging
from typing import Protocol

from bridge.core.link import Head
from bridge.runners.mailbox import Mailbox
from bridge.runners.thread_queue import ThreadQueue

__all__ = ["Engine", "Streams", "is_event_stream"]

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


class Engine:
    """The threads of an app's calls on one loop, the mailbox that wakes it, and the open streams.

    Args:
        queue: the way to the threads.
        mailbox: that of the event loop.
        streams: the streams that are ended when the server stops.
        buffer_size: how many bytes a client may be behind, and how many bytes of a body may be read ahead.
    """

    __slots__ = ("buffer_size", "mailbox", "pool", "queue", "streams")

    def __init__(self, queue: ThreadQueue, mailbox: Mailbox, streams: Streams, buffer_size: int) -> None:
        self.queue = queue
        self.pool = queue.pool
        self.mailbox = mailbox
        self.streams = streams
        self.buffer_size = buffer_size

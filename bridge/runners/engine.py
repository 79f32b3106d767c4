"""The things that the calls of one app share on one event loop."""

from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.thread_queue import ThreadQueue

__all__ = ["Engine"]


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

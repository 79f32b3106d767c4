"""A request that a worker thread serves: what the thread leaves is written when the mailbox wakes the loop.

There is no task, no future and no scope. The rules are those of `runners.thread_link`: the worker calls
`run`, `drop` and the methods of `LoopSide`, everything else is called on the event loop.
"""

import asyncio
import logging
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from bridge.core.link import Head
from bridge.errors import ApplicationError, Overloaded
from bridge.http.exchange import Exchange
from bridge.http.serving import Serving
from bridge.http.socket_file import SocketFile
from bridge.runners import reasons
from bridge.runners.engine import Engine
from bridge.runners.host import PART_COST
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess
from bridge.runners.thread_call import ThreadCall, submit
from bridge.runners.thread_link import PreparedFile, ThreadLink, Work
from bridge.types import override

if TYPE_CHECKING:
    from bridge.http.connection import Connection

__all__ = ["ThreadServing"]

logger = logging.getLogger("bridge")


class ThreadServing(Serving, ThreadCall):
    """See `Serving`, and `ThreadCall`.

    Args:
        connection: as for `Serving`.
        exchange: as for `Serving`.
        work: the call.
        engine: its threads.
    """

    __slots__ = (
        "_access",
        "_context",
        "_engine",
        "_file",
        "_is_posted",
        "_queue_timer",
        "_stage",
        "_timer",
        "_work",
        "link",
    )

    _context: Context

    def __init__(self, connection: "Connection", exchange: Exchange, work: Work, engine: Engine) -> None:
        super().__init__(connection, exchange)
        self._work = work
        self._engine = engine
        # A copy, in which only the worker runs: hooks use the other.
        self._context = exchange.context.copy()
        self._access = LoopAccess(engine.mailbox.loop)
        self._context.run(CURRENT_LOOP.set, self._access)
        self._is_posted = False
        self._stage = ""
        self._timer = None
        self._queue_timer: asyncio.TimerHandle | None = None
        self._file: SocketFile | None = None  # that a thread is sending
        self.link = ThreadLink(self, self, engine.buffer_size)

    @override
    def start(self) -> None:
        self._server.tasks.add(self)
        self.exchange.serving = self
        engine = self._engine
        try:
            self._queue_timer = submit(self.link, engine.queue, engine.mailbox.loop)
        except (Overloaded, RuntimeError) as error:  # the latter: the system starts no thread
            self.link.refuse(error)
            self.wake()

    @property
    @override
    def has_room(self) -> bool:
        return self.link.has_room

    @override
    def feed(self, data: bytes) -> None:
        self._expects_continue = False
        self.exchange.received += len(data)
        self.link.feed(data)

    @override
    def resume(self) -> None:
        self.wake()

    @override
    def leave(self, reason: str) -> None:
        super().leave(reason)
        self._leave(reason)
        if self._file is not None:
            self._file.abort()
        if self.link.is_finished:
            self.wake()  # it has been looked at while the client was behind

    @property
    @override
    def writes_by_itself(self) -> bool:
        return self._file is not None

    def wake(self) -> None:
        """Do what the worker has left to be done; must not raise, see `Wakeable`."""
        self._is_posted = False
        try:
            self._look()
        except Exception:
            logger.exception("%s: the response could not be sent", self.name)
            self.cut_connection()
            self._leave(reasons.HOST_FAILED)

    def _look(self) -> None:
        link, connection = self.link, self.connection
        if connection is not None and connection.outlet.is_behind and self._stage == "":
            # `resume` looks again; the worker waits meanwhile, if it has left much. The client may read
            # nothing before it has sent its whole body, so that goes on.
            if link.has_room:
                connection.go_on_reading()
            return
        parts, is_finished = link.take()
        if parts and connection is not None:
            self._write(parts)
        if self._stage == "ending" and self.connection is not None:
            self.send_part(None, b"", False)
        if is_finished:
            self.exchange.context = self._context  # so that hooks have what the app has set
        if is_finished or self._stage == "given up":
            self._end()
        elif connection is not None and self.connection is not None:
            if link.wants_body is not None:
                self.send_continue()
            if link.has_room:
                connection.go_on_reading()

    def _write(self, parts: list[tuple[Head | None, bytes | PreparedFile, bool]]) -> None:
        head, data, more = parts[0]
        if isinstance(data, PreparedFile):
            assert head is not None, "a file is a whole response"
            self._send_file(head, cast(SocketFile, data.file))
            return
        if len(parts) > 1:
            # Parts that have piled up leave as one. A file comes alone.
            data = b"".join(cast("list[bytes]", [part[1] for part in parts]))
            more = parts[-1][2]
        self.send_part(head, data, more)
        if more:
            self.link.sent(len(data) + PART_COST * len(parts))
            self._count_seconds()
            if self._engine.streams.are_ending:
                self.end()

    def _end(self) -> None:
        """The worker has ended, or nobody waits for it any longer."""
        link = self.link
        if self._queue_timer is not None:
            self._queue_timer.cancel()
            self._queue_timer = None
        self._stop_counting()
        failure, link.failure = link.failure, None  # its traceback leads here
        if self.connection is not None:
            if isinstance(failure, Overloaded) and self.exchange.head is None:
                self.send_part(*self._engine.queue.refusal(self.exchange.request.method))
            elif self._file is not None and failure is None:
                self.file_sent(self._file.size)
            else:
                if failure is not None and not isinstance(failure, ApplicationError):
                    logger.error("%s: the call failed", self.exchange.request.method, exc_info=failure)
                self.fail()
        del failure
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.exchange.received:
            self.exchange.received -= link.unread
        self.finish()

    # `LoopSide`

    @property
    @override
    def open_head(self) -> Head | None:
        return self.exchange.head if self.connection is not None else None

    @property
    def reads_ahead(self) -> bool:
        """See `LoopSide.reads_ahead`: the body comes by itself, unless the client waits for a 100."""
        return not self._expects_continue

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """See `Host.prepare_file`; with TLS, files go in blocks."""
        connection = self.connection
        return SocketFile(file, size) if connection is not None and connection.plain_socket else None

    @override
    def send_file(self, file: object) -> None:
        assert isinstance(file, SocketFile)
        file.send()

    def _send_file(self, head: Head, file: SocketFile) -> None:
        """Have the worker send the file, as soon as all before it is out."""
        connection = self.connection
        assert connection is not None
        assert connection.plain_socket is not None
        if not any(name == b"content-length" for name, _ in head.headers):
            head = head._replace(headers=[*head.headers, (b"content-length", b"%d" % file.size)])
        file.head = self.begin(head)
        file.open(connection.plain_socket)
        self._file = file
        self._count_seconds()
        connection.outlet.when_empty(partial(self.link.sent, PART_COST))

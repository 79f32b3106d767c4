"""A request that a task on the event loop serves."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, BinaryIO

from bridge.core.link import Head
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.http.exchange import Exchange
from bridge.http.serving import Serving
from bridge.runners import reasons
from bridge.runners.host import PART_COST
from bridge.types import override

if TYPE_CHECKING:
    from bridge.http.connection import Connection

__all__ = ["LoopServing"]

logger = logging.getLogger("bridge")

# Bytes of the body kept for the app; the client has to wait with the rest.
_BUFFER_SIZE = 65536


class LoopServing(Serving):
    """See `Serving`; it is the `Host` of a call in a greenlet (`runners.host`).

    Args:
        connection: as for `Serving`.
        exchange: as for `Serving`.
    """

    __slots__ = (
        "_gone",
        "_pieces",
        "_size",
        "_task",
        "_tell",
        "_waiters",
        "body_has_come",
        "serve",
    )

    def __init__(self, connection: "Connection", exchange: Exchange) -> None:
        super().__init__(connection, exchange)
        self._task: asyncio.Task[None] | None = None
        self._tell: Callable[[], object] | None = None
        # A list, as most bodies are one piece: a deque would cost each stream 0.6 KB.
        self._pieces: list[bytes] = []
        self._size = 0
        self._gone: str | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.body_has_come = False
        """Whether the end of the body has come, taken or not."""
        self.serve: Callable[[], Coroutine[Any, Any, None]] | None = None
        """Makes the coroutine that `start` runs in a task; a stopping server that has waited cancels it."""

    # For the connection

    @override
    def start(self) -> None:
        assert self.serve is not None
        self._server.tasks.add(self)
        self.exchange.serving = self
        serve, self.serve = self.serve, None  # it may hold this
        self._task = self._server.loop.create_task(serve(), context=self.exchange.context)
        self._task.add_done_callback(self._on_done, context=self.exchange.context)

    @property
    @override
    def has_room(self) -> bool:
        return self._size < _BUFFER_SIZE

    @override
    def feed(self, data: bytes) -> None:
        self._expects_continue = False
        if data:
            self._pieces.append(data)
            self._size += len(data) + PART_COST
        else:
            self.body_has_come = True
        self.wake()

    @override
    def leave(self, reason: str) -> None:
        connection = self.connection
        super().leave(reason)
        if connection is not None:
            connection.outlet.wake()
        if self._gone is None:
            self._gone = reason
            self.wake()
            tell, self._tell = self._tell, None
            if tell is not None:
                tell()

    @override
    def cut(self, answer: Any) -> None:
        task = self._task
        super().cut(answer)
        if task is not None:
            task.cancel()

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        self._tell = None
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, ApplicationError):
            self._log(failure)
        elif failure is not None:
            logger.debug("%s", failure)  # it is in the log, with its traceback
        elif self.connection is not None and not task.cancelled():
            self._log_missing()
        del failure
        if self.connection is not None:
            self.fail()
        self.finish()

    def _log(self, failure: BaseException) -> None:
        logger.error("the call failed", exc_info=failure)

    def _log_missing(self) -> None:
        pass  # the call of a WSGI app has logged why there is no response

    # `Host`

    @property
    def body_is_over(self) -> bool:
        """Whether all of the body has come, and was taken."""
        return self.body_has_come and not self._pieces

    @property
    def head(self) -> Head | None:
        """The response's head, once it has been sent."""
        return self.exchange.head

    @property
    def is_open(self) -> bool:
        """Whether the head has been sent, and the last part has not."""
        return self.connection is not None and self.exchange.head is not None

    async def next(self) -> bytes:
        """More of the body; b"" at its end. Any task may ask.

        Raises:
            ClientDisconnected: the client left before the end.
        """
        while not self._pieces:
            if self.body_has_come:
                return b""
            if self._gone is not None:
                raise ClientDisconnected(self._gone)
            self.send_continue()
            await self.change()
        data = self._pieces.pop(0)
        was_full = not self.has_room
        self._size -= len(data) + PART_COST
        self.exchange.received += len(data)
        if was_full and self.has_room and self.connection is not None:
            self.connection.go_on_reading()
        return data

    async def left(self) -> bool:
        """Wait for the client to leave."""
        while self._gone is None:
            await self.change()
        return True

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        """Have a function called when the client leaves."""
        self._tell = tell
        return True

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the response; waits while the client is behind.

        Raises:
            ClientDisconnected: the client has left.
        """
        while (connection := self.connection) is not None and connection.outlet.is_behind:
            await connection.outlet.drain()
        if self.connection is None:
            raise ClientDisconnected(self._gone or reasons.OVER)
        self.send_part(head, data, more)

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """None: a worker thread reads the file, in blocks."""
        return None

    async def send_file(self, head: Head, file: object) -> None:
        """Never called, as no file is prepared."""
        raise AssertionError("no file was prepared")

    # Inside

    async def change(self) -> None:
        """Wait until something changes."""
        waiter = self._server.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Wake everything that waits in `change`, to look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

"""The way out of a connection: writes, and tells whether the client is behind."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable

__all__ = ["Outlet"]

# Bytes that a transport is given at once, if it copies what the socket does not take.
_SLICE = 262144


class Outlet:
    """Writes to one transport, on the event loop.

    Args:
        transport: the connection.
        loop: the running loop.
    """

    __slots__ = (
        "_backlog",
        "_copies",
        "_loop",
        "_on_empty",
        "_transport",
        "_waiters",
        "has_written",
        "is_behind",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        # asyncio's transports copy what is left up to Python 3.11, 10 MiB in one piece for half a second;
        # later ones, and uvloop's, hold on to the bytes.
        self._copies = sys.version_info < (3, 12) and isinstance(loop, asyncio.BaseEventLoop)
        self.is_behind = False
        """Whether the client has more to take than the transport likes to keep; the connection sets it."""
        self._backlog: deque[memoryview] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self._on_empty: Callable[[], object] | None = None
        self.has_written = False
        """Whether something was written since this was set to False."""

    def write(self, data: bytes) -> None:
        """Write, after all that was written before."""
        self.has_written = True
        if self._backlog:
            self._backlog.append(memoryview(data))
        elif self._copies and len(data) > _SLICE:
            view = memoryview(data)
            self._backlog = deque(view[at : at + _SLICE] for at in range(0, len(data), _SLICE))
            self._go_on()
        else:
            self._transport.write(data)

    def when_empty(self, tell: Callable[[], object]) -> None:
        """Call a function when all that was written is out, or when nothing can be written any more."""
        transport = self._transport
        self._on_empty = tell
        transport.set_write_buffer_limits(0)  # to be told of that
        if not transport.get_write_buffer_size() and not self._backlog:
            self._tell_empty()

    def resume(self) -> None:
        """The client has caught up, but for what has not been given to the transport."""
        self.is_behind = False
        if self._backlog:
            self._go_on()
        if not self.is_behind:
            self._tell_empty()
            self.wake()

    def flush(self) -> None:
        """Give all to the transport, before it changes hands or closes."""
        backlog, self._backlog = self._backlog, None
        for view in backlog or ():
            self._transport.write(view)

    def close(self) -> None:
        """Wake everything that waits: nothing more can be written."""
        self.is_behind = False
        self._backlog = None
        self._tell_empty()
        self.wake()

    async def drain(self) -> None:
        """Wait until the client has caught up, or is gone, or `wake` is called for another reason."""
        if self.is_behind:
            waiter = self._loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter

    def _go_on(self) -> None:
        backlog = self._backlog
        while backlog and not self.is_behind:
            self._transport.write(backlog.popleft())
        self.is_behind = self.is_behind or bool(backlog)

    def _tell_empty(self) -> None:
        tell, self._on_empty = self._on_empty, None
        if tell is not None:
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()
            tell()

    def wake(self) -> None:
        """Wake everything that waits in `drain`, to look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

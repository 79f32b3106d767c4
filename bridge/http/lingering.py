"""The end of a connection after its last answer: the client gets time to read it.

A socket that is closed with bytes unread is reset, and the client, or a proxy, loses the answer that it has
not read. So the server closes its own direction, and throws away what still comes, until the client closes,
too (RFC 9112, 9.6).
"""

import asyncio
from contextlib import suppress
from typing import Any

from bridge.types import override

__all__ = ["Lingering"]

# Seconds without a byte, seconds in all, and bytes in all, after which the client has had its time.
_LONGEST_PAUSE = 2.0
_LONGEST = 10.0
_MOST_BYTES = 256 * 1024 * 1024


class Lingering(asyncio.Protocol):
    """Ends one connection; takes over from its HTTP protocol.

    Args:
        transport: the connection; all that is to be sent has been given to it.
        connections: those that the server waits for when it stops. This one is there only until the client's
            kernel has the answer.
        lingering: those that it does not wait for.
    """

    def __init__(
        self, transport: asyncio.Transport, *, connections: set[Any], lingering: set["Lingering"]
    ) -> None:
        self._transport = transport
        self._connections = connections
        self._lingering = lingering
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._size = 0
        self._end = 0.0
        self._last_data = 0.0

    def begin(self) -> None:
        """Take the connection over."""
        transport = self._transport
        self._connections.add(self)
        transport.set_protocol(self)
        if transport.can_write_eof():
            with suppress(OSError):  # the client has reset the connection, as is read next
                transport.write_eof()
        transport.set_write_buffer_limits(0)  # to be told when all of it has been sent
        if not transport.get_write_buffer_size():
            self._wait_for_client()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # Called by the server

    def shutdown(self) -> None:
        """The server stops: it waits until the answer has been sent, as for every other."""

    # Called by the transport

    @override
    def resume_writing(self) -> None:
        if self._timer is None:
            self._wait_for_client()

    def data_received(self, data: bytes) -> None:
        """Throw it away."""
        self._size += len(data)
        self._last_data = self._loop.time()
        if self._size > _MOST_BYTES:
            self._transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connections.discard(self)
        self._lingering.discard(self)

    def _wait_for_client(self) -> None:
        self._connections.discard(self)
        self._lingering.add(self)
        self._last_data = self._loop.time()
        self._end = self._last_data + _LONGEST
        self._timer = self._loop.call_later(_LONGEST_PAUSE, self._look)

    def _look(self) -> None:
        """Not at every read: close the connection if it is time, or else look again when it may be."""
        left = min(self._last_data + _LONGEST_PAUSE, self._end) - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._transport.close()

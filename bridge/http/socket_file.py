"""A file that a worker thread sends by the kernel (sendfile), past the event loop's transport."""

import os
import select
import socket
from contextlib import suppress
from typing import BinaryIO

from bridge.errors import ApplicationError, ClientDisconnected
from bridge.runners import reasons

__all__ = ["SocketFile"]

# Bytes that the kernel is asked to send at once.
_MOST = 1 << 30

# The head leaves together with the first bytes of the file, where the system can.
_MORE_COMES = getattr(socket, "MSG_MORE", 0)


class SocketFile:
    """A response whose body is a file, on a plain socket.

    The loop encodes the head, and waits until all before it is out. Then the worker sends head and file, and
    the loop writes nothing meanwhile. Nothing is copied, and the loop is not woken for each block: neither
    asyncio nor uvloop has a `sendfile` that is both.

    Args:
        file: the file, from its position.
        size: how many bytes of it.
    """

    __slots__ = ("_file", "_socket", "head", "size")

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._socket: socket.socket | None = None
        self.size = size
        self.head = b""
        """The response's head in bytes; the loop sets it."""

    def open(self, connection: socket.socket) -> None:
        """Duplicate the client's socket, which does not block; the caller must `close`."""
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))

    def send(self) -> None:
        """Send all of it; in the worker's thread.

        Raises:
            ClientDisconnected: the client has left, or `abort` was called.
            ApplicationError: the file became shorter meanwhile.
        """
        connection = self._socket
        assert connection is not None, "it is open"
        try:
            self._send_head(connection)
            self._send_body(connection)
        except (ConnectionError, TimeoutError) as error:
            raise ClientDisconnected(reasons.LEFT) from error

    def abort(self) -> None:
        """Have `send` end, in whatever thread it is: the connection is over."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the duplicate; `send` has returned, or was not called."""
        if self._socket is not None:
            self._socket.close()

    def _send_head(self, connection: socket.socket) -> None:
        left = memoryview(self.head)
        while left:
            try:
                left = left[connection.send(left, _MORE_COMES) :]
            except BlockingIOError:
                _wait_for_room(connection)

    def _send_body(self, connection: socket.socket) -> None:
        source, target = self._file.fileno(), connection.fileno()
        at = self._file.tell()
        end = at + self.size
        while at < end:
            try:
                count = os.sendfile(target, source, at, min(end - at, _MOST))
            except BlockingIOError:
                _wait_for_room(connection)
                continue
            if not count:
                raise ApplicationError(f"a file became {end - at} bytes shorter while it was sent")
            at += count


def _wait_for_room(connection: socket.socket) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    poll.poll()

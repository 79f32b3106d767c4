"""The connection of a websocket's client, as a library for WSGI servers has it: a blocking socket."""

import errno
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from bridge.server.websocket_frames import FrameWatch, close_frame

__all__ = ["ClientSocket"]

# What the methods below do it by: `super()` would take 0.2 µs each.
_send = socket.socket.send
_recv = socket.socket.recv

_END_OF_HEAD = b"\r\n\r\n"
_TOO_BIG = 1009

# That the client is gone, beside what is a ConnectionError: it is silent, or cannot be reached; or another
# thread of the library has heard that in `recv()`, and closed the socket meanwhile.
_GONE = {
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
    errno.EBADF,
}

_UNWATCHED = (
    "detach",
    "dup",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "sendfile",
    "sendmsg",
    "sendto",
)


class ClientSocket(socket.socket):
    """A blocking socket, once it is open; what goes through it is watched, frame by frame.

    So the server can close the websocket (RFC 6455, 5.5.1): between two frames of the library's, and with
    nothing after it. And it can see to the size of messages, which the library may have no limit for.

    Args:
        fileno: a duplicate of the connection's descriptor, which is this one's to close.
        handshake: called with the head of the library's 101, in its thread; returns when the client has had
            its own, and the socket is open, or else False if the client is gone.
        on_closed: called, in any thread, when it is closed.
        max_message: bytes that a message of the client may have; None for any number.

    A library that uses it closes it, in a thread that may still be in `recv()` or `select()` when the call
    has ended. So it is closed when nobody has it any more, without a warning.
    """

    def __init__(
        self,
        fileno: int,
        handshake: Callable[[bytes], bool],
        on_closed: Callable[[], object],
        max_message: int | None,
    ) -> None:
        super().__init__(fileno=fileno)
        self._handshake: Callable[[bytes], bool] | None = handshake
        self._head = bytearray()  # of the library's 101
        self._on_closed: Callable[[], object] | None = on_closed
        self._sending = threading.Lock()
        self._sent = FrameWatch()
        self._received = FrameWatch(max_message)
        self._early = b""
        self._closing: bytes | None = None  # a Close that is to be sent

    @property
    def has_heard_close(self) -> bool:
        """Whether the client has sent a Close, or its end of the connection."""
        return self._received.has_closed

    @property
    def has_said_close(self) -> bool:
        """Whether the client has been sent a Close."""
        return self._sent.has_closed

    @property
    def unsent_close(self) -> bytes:
        """The Close that was to be sent, and was not, as the library has closed this socket before."""
        return self._closing if self._closing is not None and not self.has_said_close else b""

    def open(self, early: bytes) -> None:
        """Begin, on the loop: the client has its 101.

        Args:
            early: what it has sent without waiting for that.
        """
        self._early = early
        self._handshake = None
        self.setblocking(True)

    def say_close(self, code: int, reason: str = "") -> None:
        """Close the websocket from outside, as soon as the library is between two frames; does not wait."""
        if self._closing is None:
            self._closing = close_frame(code, reason)
        self._close_if_possible()

    def end(self) -> None:
        """End the connection; whoever waits in `recv()` or `send()` has an end of it."""
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def discard(self, data: bytes) -> None:
        """The client has sent this, and nobody will read it."""
        self._received.feed(data)

    # What libraries call

    def send(self, data: Any, flags: int = 0) -> int:
        """See `socket.socket`."""
        view = data if type(data) is bytes else memoryview(data).cast("B")
        if self._handshake is not None:
            self._take_handshake(bytes(view))
            return len(view)
        with self._sending:
            if self._sent.has_closed:
                return len(view)  # after a Close there is nothing to say
            try:
                count = _send(self, view, flags)
            except OSError as error:
                if not (isinstance(error, ConnectionError) or error.errno in _GONE):
                    raise
                count = len(view)  # the library hears that from its `recv()`
                self._sent.has_closed = True
            self._sent.feed(view if count == len(view) else view[:count])
        if self._closing is not None:
            self._close_if_possible()
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See `socket.socket`."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view, flags) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See `socket.socket`; for a message that is too large, a Close with 1009 takes its place."""
        if self._early:
            data = self._early[:size]
            if not flags & socket.MSG_PEEK:
                self._early = self._early[size:]
        else:
            data = _recv(self, size, flags)
        if (flags and flags & socket.MSG_PEEK) or not size:
            return data
        if not data:
            self._received.has_closed = True
        self._received.feed(data)
        if not self._received.is_too_big:
            return data
        self.say_close(_TOO_BIG)
        return close_frame(_TOO_BIG, is_masked=True)[:size]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """See `socket.socket`."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """See `socket.socket`."""
        super().close()
        if self.fileno() == -1 and self._on_closed is not None:
            tell, self._on_closed = self._on_closed, None
            tell()

    def __del__(self) -> None:
        self.close()

    def _take_handshake(self, data: bytes) -> None:
        assert self._handshake is not None
        self._head += data
        head, end, rest = bytes(self._head).partition(_END_OF_HEAD)
        if end:
            if not self._handshake(head + end):
                self._handshake = None
                self._sent.has_closed = True
                self.end()
            if rest:
                self.sendall(rest)

    def _close_if_possible(self) -> None:
        if self._sending.acquire(blocking=False):  # else the thread that is sending does it
            try:
                self._send_close()
            finally:
                self._sending.release()

    def _send_close(self) -> None:
        """Send the Close that is to be sent, if it is the time for it; this thread has the lock."""
        can_be_sent = self._sent.is_between_frames and self.fileno() != -1
        if self._closing is not None and can_be_sent and not self._sent.has_closed:
            self._sent.has_closed = True
            # With a timeout of the library's, Python waits for room even so.
            if not self.gettimeout() or self._has_room():
                with suppress(OSError):  # the connection is gone, or its buffer full: it ends without
                    _send(self, self._closing, socket.MSG_DONTWAIT)

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self, select.POLLOUT)
        return bool(poll.poll(0))


def _absent(name: str) -> Callable[..., NoReturn]:
    """A method in the place of one by which bytes would go by unseen."""

    def refuse(self: ClientSocket, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(
            f"{name}() on the socket of a websocket: `bridge serve` watches what goes through it, by send(), "
            "sendall(), recv(), recv_into() and makefile(); with --ws wsproto a library gets one end of a "
            "pair, which has all methods"
        )

    return refuse


for _name in _UNWATCHED:
    setattr(ClientSocket, _name, _absent(_name))

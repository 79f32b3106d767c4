"""The connection of a websocket's client, as a library for WSGI servers has it: a blocking socket."""

import errno
import re
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn

from bridge.server.websocket_frames import FrameWatch, close_frame

__all__ = ["ClientSocket"]

# What the methods below do it by: `super()` would take 0.2 µs each.
_send = socket.socket.send
_recv = socket.socket.recv

# The head of a library's answer, as far as it is looked at; one that does not end soon is none.
_END_OF_HEAD = b"\r\n\r\n"
_LONGEST_HEAD = 65536
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[ \r]")

_SWITCHING_PROTOCOLS = int(HTTPStatus.SWITCHING_PROTOCOLS)  # an enum's comparison takes longer

# RFC 6455, 7.4.1
_TOO_BIG = 1009
_INTERNAL_ERROR = 1011

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

_UNWATCHED = "detach dup recvfrom recvfrom_into recvmsg recvmsg_into sendfile sendmsg sendto"


class ClientSocket(socket.socket):
    """A blocking socket; what goes through it behind the library's 101 is watched, frame by frame.

    So the server can close the websocket (RFC 6455, 5.5.1): between two frames of the library's, and with
    nothing after it. And it can see to the size of messages, which the library may have no limit for.

    Args:
        fileno: a duplicate of the connection's descriptor, which is this one's to close.
        early: what the client has sent behind its handshake.
        max_message: bytes that a message of the client may have; None for any number.
        on_answer: called with the status, in any thread, when the library has written the head of an answer.
        on_closed: called, in any thread, when it is closed, with what the client has yet to be sent.

    A library that uses it closes it, in a thread that may still be in `recv()` or `select()` when the call
    has ended. So it is closed when nobody has it any more, without a warning.
    """

    def __init__(
        self,
        fileno: int,
        early: bytes,
        max_message: int | None,
        on_answer: Callable[[int], object],
        on_closed: Callable[[bytes], object],
    ) -> None:
        super().__init__(fileno=fileno)
        self.setblocking(True)
        self.has_begun = False
        """Whether the library has written something."""
        self.status: int | None = None
        """That of the library's answer, when its head has been written; 500 if it has none."""
        self._on_answer = on_answer
        self._on_closed: Callable[[bytes], object] | None = on_closed
        self._sending = threading.Lock()
        self._head = b""  # of the library's answer, until it is whole
        self._sent = FrameWatch()
        self._received = FrameWatch(max_message)
        self._early = early
        self._is_withdrawn = False
        self._closing: bytes | None = None  # a Close that is to be sent

    def withdraw(self) -> bool:
        """Take the connection from the library, if it has written nothing, and never will; does not wait."""
        if not self._sending.acquire(blocking=False):
            return False  # it is writing
        try:
            if not self.has_begun:
                self._is_withdrawn = self._sent.has_closed = True
            return self._is_withdrawn
        finally:
            self._sending.release()

    def say_close(self, code: int, reason: str = "") -> None:
        """Close the websocket from outside, as soon as the library is between two frames; does not wait."""
        if self._closing is None:
            self._closing = close_frame(code, reason)
        self._close_if_possible()

    # What libraries call

    def send(self, data: Any, flags: int = 0) -> int:
        """See `socket.socket`."""
        view = data if type(data) is bytes else memoryview(data).cast("B")
        with self._sending:
            if self._sent.has_closed:
                return len(view)  # after a Close there is nothing to say
            self.has_begun = True
            try:
                count = _send(self, view, flags)
            except OSError as error:
                if not (isinstance(error, ConnectionError) or error.errno in _GONE):
                    raise
                count = len(view)  # the library hears that from its `recv()`
                self._sent.has_closed = True
            sent = view if count == len(view) else view[:count]
            if self.status == _SWITCHING_PROTOCOLS:
                self._sent.feed(sent)
            elif self.status is None:
                self._read_head(bytes(sent))
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
        elif self._is_withdrawn:
            return b""
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
            tell(self._unsent())

    def __del__(self) -> None:
        self.close()

    def _unsent(self) -> bytes:
        """The Close that was not sent before the library has closed this socket."""
        if self.status != _SWITCHING_PROTOCOLS or self._sent.has_closed or not self._sent.is_between_frames:
            return b""
        return close_frame(_INTERNAL_ERROR) if self._closing is None else self._closing

    def _read_head(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(_END_OF_HEAD)
        if end or len(self._head) > _LONGEST_HEAD:
            found = _STATUS.match(head)
            self.status = 500 if found is None else int(found[1])
            self._head = b""
            self._sent.feed(rest)
            self._on_answer(self.status)

    def _close_if_possible(self) -> None:
        if self._sending.acquire(blocking=False):  # else the thread that is sending does it
            try:
                self._send_close()
            finally:
                self._sending.release()

    def _send_close(self) -> None:
        """Send the Close that is to be sent, if it is the time for it; this thread has the lock."""
        is_open = self.status == _SWITCHING_PROTOCOLS and self.fileno() != -1
        can_be_sent = is_open and self._sent.is_between_frames
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


for _name in _UNWATCHED.split():
    setattr(ClientSocket, _name, _absent(_name))

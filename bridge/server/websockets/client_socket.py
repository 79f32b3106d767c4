"""The connection of a websocket's client, for a library for WSGI servers: a blocking socket."""

import errno
import re
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn

from bridge.server.websockets.frames import FrameWatch, close_frame
from bridge.types import override

__all__ = ["ClientSocket"]

# The methods below call these directly: `super()` would take 0.2 µs each.
_send = socket.socket.send
_recv = socket.socket.recv

# The head of a library's answer; one that does not end soon is none.
_END_OF_HEAD = b"\r\n\r\n"
_LONGEST_HEAD = 65536
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[ \r]")

_SWITCHING_PROTOCOLS = int(HTTPStatus.SWITCHING_PROTOCOLS)  # an enum's comparison takes longer

# RFC 6455, 7.4.1
_TOO_BIG = 1009
_INTERNAL_ERROR = 1011

# Errors besides ConnectionError that mean that the client is gone: it is silent, or cannot be reached; or
# another thread of the library has learnt that in `recv()`, and closed the socket meanwhile.
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
    """A blocking socket that follows the frames after the library's 101.

    So the server can close the websocket (RFC 6455, 5.5.1): between two frames of the library's, and with
    nothing after it. And it can limit the size of messages, as the library may not.

    A library closes it in a thread that may still be in `recv()` or `select()` when the call has ended. So it
    closes itself when nobody holds it any more, without a warning.

    Args:
        fileno: a duplicate of the connection's descriptor, which this closes.
        early: the bytes that the client has sent behind its handshake.
        max_message: bytes that a message of the client may have; None for any number.
        on_answer: called with the status, in any thread, when the library has written the head of an answer.
        on_closed: called, in any thread, when it is closed, with the bytes that the client still has to get.
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
        """The status of the library's answer, once its head is written; 500 if the head has none."""
        self._on_answer = on_answer
        self._on_closed: Callable[[bytes], object] | None = on_closed
        self._sending = threading.Lock()
        self._head = b""  # of the library's answer, until it is whole
        self._sent = FrameWatch()
        self._received = FrameWatch(max_message)
        self._early = early
        self._is_withdrawn = False
        self._closing: bytes | None = None  # a Close to send

    def withdraw(self) -> bool:
        """Take the connection from the library for good, if it has written nothing; does not wait."""
        if not self._sending.acquire(blocking=False):
            return False  # it is writing
        try:
            if not self.has_begun:
                self._is_withdrawn = self._sent.has_closed = True
            return self._is_withdrawn
        finally:
            self._sending.release()

    def send_close_soon(self, code: int) -> None:
        """Close the websocket as soon as the library is between two frames; does not wait."""
        if self._closing is None:
            self._closing = close_frame(code)
        self._close_if_possible()

    # What libraries call

    @override
    def send(self, data: Any, flags: int = 0) -> int:
        view = data if type(data) is bytes else memoryview(data).cast("B")
        with self._sending:
            if self._sent.has_closed:
                return len(view)  # nothing follows a Close
            self.has_begun = True
            try:
                count = _send(self, view, flags)
            except OSError as error:
                if not (isinstance(error, ConnectionError) or error.errno in _GONE):
                    raise
                count = len(view)  # the library learns it from its `recv()`
                self._sent.has_closed = True
            sent = view if count == len(view) else view[:count]
            if self.status == _SWITCHING_PROTOCOLS:
                self._sent.feed(sent)
            elif self.status is None:
                self._read_head(bytes(sent))
        if self._closing is not None:
            self._close_if_possible()
        return count

    @override
    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view, flags) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See `socket.socket`; a Close with 1009 replaces a message that is too large."""
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
        self.send_close_soon(_TOO_BIG)
        return close_frame(_TOO_BIG, is_masked=True)[:size]

    @override
    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        super().close()
        if self.fileno() == -1 and self._on_closed is not None:
            tell, self._on_closed = self._on_closed, None
            unsent = b""  # the Close that was not sent before the library has closed this socket
            is_open = self.status == _SWITCHING_PROTOCOLS and not self._sent.has_closed
            if is_open and self._sent.is_between_frames:
                unsent = close_frame(_INTERNAL_ERROR) if self._closing is None else self._closing
            tell(unsent)

    def __del__(self) -> None:
        self.close()

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
        if self._sending.acquire(blocking=False):  # else the thread that sends does it
            try:
                self._send_close()
            finally:
                self._sending.release()

    def _send_close(self) -> None:
        """Send the Close, if there is one and it may follow now; this thread has the lock."""
        is_open = self.status == _SWITCHING_PROTOCOLS and self.fileno() != -1
        can_be_sent = is_open and self._sent.is_between_frames
        if self._closing is not None and can_be_sent and not self._sent.has_closed:
            self._sent.has_closed = True
            poll = select.poll()
            poll.register(self, select.POLLOUT)
            # Python waits for room in spite of MSG_DONTWAIT if the library has set a timeout.
            if not self.gettimeout() or poll.poll(0):
                with suppress(OSError):  # the connection is gone, or its buffer full: it ends without
                    _send(self, self._closing, socket.MSG_DONTWAIT)


def _absent(name: str) -> Callable[..., NoReturn]:
    """Return a method that refuses: by this one bytes would pass unseen."""

    def refuse(self: ClientSocket, *args: object, **options: object) -> NoReturn:
        raise NotImplementedError(
            f"{name}() on the socket of a websocket: `bridge serve` watches what goes through it, by send(), "
            "sendall(), recv(), recv_into() and makefile(); with --ws wsproto a library gets one end of a "
            "pair, which has all methods"
        )

    return refuse


for _name in _UNWATCHED.split():
    setattr(ClientSocket, _name, _absent(_name))

"""`wsgi.input`: the request body as a file, over a link. Pure but for the link.

PEP 3333 ("Input and Error Streams") asks for `read`, `readline`, `readlines` and iteration; the rest of
`io.BufferedIOBase` comes with it, with the results `io.BytesIO` would give. At most one event is held: what
the app has not read stays with the host, which can then make the client wait.
"""

import io
import tempfile
import weakref
from collections.abc import Callable
from typing import TypeAlias

from bridge.errors import ClientDisconnected
from bridge.types import HTTPRequestEvent, HTTPRequestSideEvent

__all__ = ["RequestBody"]

# Bytes of a body that `receive_all` keeps in memory.
_IN_MEMORY = 1048576

_WritableBuffer: TypeAlias = bytearray | memoryview


class RequestBody(io.BufferedIOBase):
    """A file that asks `receive` for the next event when it has nothing left to give.

    Args:
        receive: returns the next ASGI event, waiting for it; called no more once the body has ended.

    Raises:
        ClientDisconnected: from any reading method, if the client leaves before the end of the body.
    """

    def __init__(self, receive: Callable[[], HTTPRequestSideEvent]) -> None:
        self._receive = receive
        self._chunk = b""
        self._position = 0
        self._complete = False

    def readable(self) -> bool:
        """Whether this is a file to read: yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the body; all of it if `size` is None or < 0."""
        if size is None or size < 0:
            return b"".join(self._take_all())
        if size <= len(self._chunk) - self._position and not self.closed:
            return self._take(size)
        parts = []
        while size and self._fill():
            parts.append(self._view(size))  # joined, so that each byte is copied once, not twice
            size -= len(parts[-1])
        return b"".join(parts)

    def read1(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes with at most one wait: what is there, else the next event's bytes."""
        if size == 0 or not self._fill():
            return b""
        return self._take(len(self._chunk) if size is None or size < 0 else size)

    def readinto(self, buffer: "_WritableBuffer", /) -> int:  # type: ignore[override]  # Buffer is 3.12's
        """Fill `buffer` and return how many bytes it holds now, fewer than its size only at the end."""
        return self._copy_into(buffer, self.read)

    def readinto1(self, buffer: "_WritableBuffer", /) -> int:  # type: ignore[override]  # Buffer is 3.12's
        """Like `readinto`, with at most one wait."""
        return self._copy_into(buffer, self.read1)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return one line with its newline, at most `size` bytes of it; the last may have none."""
        limit = -1 if size is None else size
        parts = []
        while limit != 0 and self._fill():
            newline = self._chunk.find(b"\n", self._position)
            length = (newline + 1 if newline >= 0 else len(self._chunk)) - self._position
            if limit > 0:
                length = min(length, limit)
                limit -= length
            part = self._take(length)
            parts.append(part)
            if part.endswith(b"\n"):
                break
        return b"".join(parts)

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return the lines up to the one with which their total size reaches `hint`; all if None or <= 0."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _take(self, size: int) -> bytes:
        """Take up to `size` bytes of the event at hand."""
        start = self._position
        self._position = min(start + size, len(self._chunk))
        if start == 0 and self._position == len(self._chunk):
            return self._chunk
        return self._chunk[start : self._position]

    def _view(self, size: int) -> memoryview:
        """The same, without a copy."""
        start = self._position
        self._position = min(start + size, len(self._chunk))
        return memoryview(self._chunk)[start : self._position]

    def _take_all(self) -> list[bytes]:
        parts = []
        while self._fill():
            parts.append(self._take(len(self._chunk)))
        return parts

    def _copy_into(self, buffer: "_WritableBuffer", read: Callable[[int], bytes]) -> int:
        view = memoryview(buffer).cast("B")
        data = read(len(view))
        view[: len(data)] = data
        return len(data)

    def _fill(self) -> bool:
        """Have at least one byte at hand, waiting for it if need be; False at the end of the body."""
        if self.closed:
            raise ValueError("I/O operation on closed file: the app has closed wsgi.input")
        while self._position == len(self._chunk):
            if self._complete:
                return False
            self._next_event()
        return True

    def receive_all(self) -> None:
        """Receive what is to come, into a file beyond 1 MiB, so that to read it waits for nobody.

        For code that must not wait where it reads: plain code in a coroutine on the event loop.
        """
        if not self._complete:
            # Closed with this, as nobody need read it.
            spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # see above
            weakref.finalize(self, spool.close)
            self._receive_into(spool)

    def _receive_into(self, spool: "tempfile.SpooledTemporaryFile[bytes]") -> None:
        spool.write(self._chunk[self._position :])
        while not self._complete:
            self._next_event()
            spool.write(self._chunk)
        size = spool.tell()
        spool.seek(0)

        def receive() -> HTTPRequestEvent:
            data = spool.read(_IN_MEMORY)
            return {"type": "http.request", "body": data, "more_body": spool.tell() < size}

        self._receive = receive
        self._chunk, self._position, self._complete = b"", 0, False

    def _next_event(self) -> None:
        event = self._receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnected("the client left before it had sent the whole request body")
        self._chunk = event.get("body", b"")
        self._position = 0
        self._complete = not event.get("more_body", False)

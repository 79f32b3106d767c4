"""`wsgi.input`: the request body as a file, over a link. Pure but for that, and `receive_all`'s own file.

PEP 3333 ("Input and Error Streams") asks for `read`, `readline`, `readlines` and iteration; the rest of what
`io.BufferedIOBase` has for reading comes with it, with the results `io.BytesIO` would give. A body
holds one piece at most: what the app has not read stays with the host, which can then make the client wait.
"""

import io
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self, TypeAlias

__all__ = ["RequestBody"]

# Bytes of a body that `receive_all` keeps in memory.
_IN_MEMORY = 1048576

_WritableBuffer: TypeAlias = bytearray | memoryview


class RequestBody:
    """A file that asks a link for the next piece when it has nothing left to give.

    Args:
        read: returns more of the body, waiting for it, and b"" at its end, however often it is called.

    Raises:
        ClientDisconnected: from any reading method, if the client leaves before the end of the body.

    It has no base, as the finaliser of `io.IOBase` costs each request 0.5 us; `isinstance` still takes it for
    an `io.BufferedIOBase`.
    """

    __slots__ = ("__weakref__", "_chunk", "_position", "_read", "closed")

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._chunk = b""
        self._position = 0
        self.closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the body; all of it if `size` is None or < 0."""
        left = -1 if size is None else size
        part = self.read1(left)
        if not part or len(part) == left:
            return part
        parts = []
        while part:
            parts.append(part)
            left -= len(part)  # a negative size stays negative: no limit
            part = self.read1(left)
        return b"".join(parts)

    def read1(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes with one wait at most: of the piece at hand, else of the next."""
        if size == 0 or not self._fill():
            return b""
        chunk, start = self._chunk, self._position
        end = len(chunk) if size is None or size < 0 else min(start + size, len(chunk))
        self._position = end
        return chunk[start:end]  # the chunk itself, if that is all of it

    def readinto(self, buffer: _WritableBuffer, /) -> int:
        """Fill `buffer` and return how many bytes it holds now, fewer than its size only at the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._fill():
            filled += self._copy_into(view[filled:])
        return filled

    def readinto1(self, buffer: _WritableBuffer, /) -> int:
        """Like `readinto`, with at most one wait."""
        view = memoryview(buffer).cast("B")
        return self._copy_into(view) if len(view) and self._fill() else 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return one line with its newline, at most `size` bytes of it; the last may have none."""
        left = -1 if size is None else size
        parts: list[bytes] = []
        while left and self._fill():
            start = self._position
            end = self._chunk.find(b"\n", start) + 1 or len(self._chunk)
            if 0 < left < end - start:
                end = start + left
            part = self._chunk[start:end]
            self._position = end
            if not parts and part.endswith(b"\n"):
                return part
            parts.append(part)
            left -= len(part)
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

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readable(self) -> bool:
        """Whether this is a file to read: yes."""
        return True

    def writable(self) -> bool:
        """Whether this is a file to write: no. Nor can it be sought, and it is no terminal."""
        return False

    seekable = isatty = writable

    def fileno(self, *arguments: Any) -> int:
        """Raise, as `seek`, `tell` and the others do: the body can only be read.

        Raises:
            io.UnsupportedOperation: always.
        """
        raise io.UnsupportedOperation("wsgi.input can be read, and no more")

    seek = tell = truncate = write = writelines = detach = fileno

    def flush(self) -> None:
        """Do nothing, as there is nothing to write."""

    def close(self) -> None:
        """Make all reading fail from here on."""
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def receive_all(self) -> None:
        """Receive the rest of the body, into a file beyond 1 MiB; reading waits for nobody from then on.

        Plain code in a coroutine on the event loop would otherwise block the loop when it reads.
        """
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # the finaliser closes it
        weakref.finalize(self, spool.close)
        spool.write(self._chunk[self._position :])
        self._chunk, self._position = b"", 0
        while piece := self._read():
            spool.write(piece)
        spool.seek(0)
        self._read = partial(spool.read, _IN_MEMORY)

    def _copy_into(self, view: memoryview) -> int:
        """Copy from the piece at hand; return how many bytes were copied."""
        start = self._position
        size = min(len(view), len(self._chunk) - start)
        view[:size] = memoryview(self._chunk)[start : start + size]
        self._position = start + size
        return size

    def _fill(self) -> bool:
        """Have at least one byte at hand, waiting for it if need be; False at the end of the body."""
        if self.closed:
            raise ValueError("I/O operation on closed file: the app has closed wsgi.input")
        if self._position == len(self._chunk):
            self._chunk, self._position = b"", 0  # first, so that nothing is read twice after an error
            self._chunk = self._read()
        return self._chunk != b""


io.BufferedIOBase.register(RequestBody)

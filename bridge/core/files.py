"""`wsgi.file_wrapper`: a file as a response body (PEP 3333, "Optional Platform-Specific File Handling")."""

import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

__all__ = ["FileWrapper"]

# Werkzeug asks for 8 KiB, which PEP 3333 calls a suggestion. Each block costs a step through the link, at
# which the thread may wait for the client: 10 MiB in blocks of 64 KiB took 34 ms of CPU time, in blocks of
# 256 KiB 16 ms, and larger ones were no faster.
_SMALLEST_BLOCK = 262144


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class _Seekable(Protocol):
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


class FileWrapper:
    """An iterator over a file's blocks that a call recognises as a file when the app returns it.

    It is its own iterator, and can be sought if the file can: middleware, and Werkzeug to answer a Range,
    wrap what `iter()` gives them, and close and seek that.

    Args:
        file: anything with `read(size)`; its `close()`, if it has one, is called at the end.
        block_size: a suggestion, in bytes.
    """

    def __init__(self, file: _Readable, block_size: int = 8192) -> None:
        self.file = file
        self.block_size = max(block_size, _SMALLEST_BLOCK)
        self.left: int | None = None
        """How many bytes of the file are left to give at most; None for all."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        left = self.left
        block = self.file.read(self.block_size if left is None else min(self.block_size, left))
        if not block:
            raise StopIteration
        if left is not None:
            self.left = left - len(block)
        return block

    def seekable(self) -> bool:
        """Whether `seek` and `tell` can be used."""
        seekable = getattr(self.file, "seekable", None)
        return seekable is not None and bool(seekable())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to another place in the file, and return which it is."""
        return cast(_Seekable, self.file).seek(offset, whence)

    def tell(self) -> int:
        """The place in the file at which the next block begins."""
        return cast(_Seekable, self.file).tell()

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.file, "close", None)
        if close is not None:
            close()

    @property
    def sendable(self) -> tuple[BinaryIO, int] | None:
        """The file and how many bytes are left in it, if a host could read the same bytes by its descriptor.

        It could if the file is a regular one and open. A GzipFile, or a class of the app's, has a descriptor,
        too, but gives other bytes than are on the disk.
        """
        file = self.file
        raw = file.raw if type(file) is io.BufferedReader else file
        if type(raw) is not io.FileIO:
            return None
        opened = cast(BinaryIO, file)
        try:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            size = status.st_size - opened.tell()
            if self.left is not None:
                size = min(size, self.left)
        except (OSError, ValueError):
            return None  # closed, or not made for seeking
        return (opened, size) if size > 0 else None  # files in /proc report no size but have bytes

"""`wsgi.file_wrapper`: blocks of a file, or the file itself, where a host may send that instead."""

import gc
import gzip
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import pytest
from flask import Flask, send_file
from flask import Response as FlaskResponse

from bridge.core.call import Call
from bridge.core.files import FileWrapper
from bridge.core.link import Head
from bridge.errors import ApplicationError
from bridge.types import WSGIApplication, WSGIEnvironment
from tests.core.links import ListLink, Reply, app_of, of_length, wsgi_environ

CONTENT = b"the bytes of a file"
ERROR = b"Internal Server Error"


class Asked(io.BytesIO):
    """A file that notes how many bytes it was asked for, each time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)


class Bare:
    """A file of the least kind: it has `read` and nothing else."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file on the disk."""
    found = tmp_path / "file"
    found.write_bytes(CONTENT)
    return found


# PEP 3333, "Optional Platform-Specific File Handling": the block size is a suggestion.
@pytest.mark.parametrize(
    ("size", "block_size", "asked"),
    [
        pytest.param(0, 8192, [262144], id="empty file"),
        pytest.param(262144, 8192, [262144, 262144], id="Werkzeug's blocks are too small"),
        pytest.param(262145, 8192, [262144, 262144, 262144], id="a block and a byte"),
        pytest.param(524288, 524288, [524288, 524288], id="large blocks as asked for"),
        pytest.param(1, 0, [262144, 262144], id="no block size to speak of"),
        pytest.param(1, -1, [262144, 262144], id="negative block size"),
    ],
)
def test_blocks(size: int, block_size: int, asked: list[int]) -> None:
    file = Asked(b"x" * size)
    assert b"".join(FileWrapper(file, block_size)) == b"x" * size
    assert file.sizes == asked


def test_block_size_has_a_default() -> None:
    assert list(FileWrapper(io.BytesIO(CONTENT))) == [CONTENT]


def test_close_closes_the_file() -> None:
    file = io.BytesIO()
    FileWrapper(file).close()
    assert file.closed


def test_file_without_close() -> None:
    """PEP 3333 asks for `close` only if the file has one."""
    wrapper = FileWrapper(Bare(CONTENT))
    assert list(wrapper) == [CONTENT]
    wrapper.close()


def test_it_is_its_own_iterator() -> None:
    """Werkzeug closes what `iter()` gave it, and nothing else."""
    wrapper = FileWrapper(io.BytesIO(CONTENT))
    assert iter(wrapper) is wrapper


def test_seek() -> None:
    """Werkzeug answers a Range with it, and need not read what comes before."""
    wrapper = FileWrapper(io.BytesIO(CONTENT))
    assert wrapper.seekable()
    assert wrapper.seek(4) == wrapper.tell() == 4
    assert list(wrapper) == [CONTENT[4:]]
    assert wrapper.seek(-4, os.SEEK_END) == len(CONTENT) - 4


class Unseekable(io.BytesIO):
    """A file like a pipe."""

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("file", [Bare(CONTENT), Unseekable(CONTENT)], ids=["no method", "says no"])
def test_file_that_cannot_be_sought(file: IO[bytes]) -> None:
    assert not FileWrapper(file).seekable()


# Where a host that reads the descriptor would get the bytes that the app means.


def rewound(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.read(3)
    file.seek(0)
    return file


def read_from(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.read(1)
    return file


def deleted(path: Path) -> IO[bytes]:
    file = path.open("rb")
    path.unlink()
    return file


def by_descriptor(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY), "rb")


SENDABLE: list[tuple[str, Callable[[Path], Any], int]] = [
    # id, file, how many bytes are left in it
    ("a file", lambda path: path.open("rb"), len(CONTENT)),
    ("without a buffer", lambda path: path.open("rb", buffering=0), len(CONTENT)),
    ("by a name of bytes", lambda path: io.BufferedReader(io.FileIO(os.fsencode(path))), len(CONTENT)),
    ("by a name of str", lambda path: io.BufferedReader(io.FileIO(str(path))), len(CONTENT)),
    ("rewound", rewound, len(CONTENT)),
    # The buffer holds the whole file by then: what counts is the place that the app knows.
    ("read from already", read_from, len(CONTENT) - 1),
    ("deleted", deleted, len(CONTENT)),
    ("opened by a descriptor", by_descriptor, len(CONTENT)),
]


@pytest.mark.parametrize(("opened", "size"), [pytest.param(*case, id=name) for name, *case in SENDABLE])
def test_host_may_send_the_file(path: Path, opened: Callable[[Path], Any], size: int) -> None:
    with opened(path) as file:
        assert FileWrapper(file).sendable == (file, size)


# Where it would get others, or none.


def closed(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.close()
    return file


def compressed(path: Path) -> IO[bytes]:
    path.write_bytes(gzip.compress(CONTENT))
    return cast(IO[bytes], gzip.open(path, "rb"))


def compressed_and_buffered(path: Path) -> IO[bytes]:
    return io.BufferedReader(cast(io.RawIOBase, compressed(path)))


def past_its_end(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.seek(1000)
    return file


def a_pipe(path: Path) -> IO[bytes]:
    reads, writes = os.pipe()
    os.close(writes)
    return open(reads, "rb")


UNSENDABLE: list[tuple[str, Callable[[Path], Any]]] = [
    ("in memory", lambda _: io.BytesIO(CONTENT)),
    ("not in the standard library", lambda _: Bare(CONTENT)),
    ("open for writing, too", lambda path: path.open("r+b")),
    ("compressed", compressed),
    ("compressed, in a buffer", compressed_and_buffered),
    ("closed", closed),
    ("a device", lambda _: io.FileIO("/dev/null")),
    ("a pipe", a_pipe),
    ("sought past its end", past_its_end),
    # The kernel makes these bytes when they are read, and says that there are none.
    ("made while it is read", lambda _: io.FileIO("/proc/self/status")),
]


@pytest.mark.parametrize("opened", [pytest.param(opened, id=name) for name, opened in UNSENDABLE])
def test_host_may_not_send_the_file(path: Path, opened: Callable[[Path], Any]) -> None:
    wrapper = FileWrapper(opened(path))
    try:
        assert wrapper.sendable is None
    finally:
        wrapper.close()


# In a call


# Which files the call offers to its link, and what the client gets whether or not the link takes it.
CALLS: list[tuple[str, Callable[[Any], WSGIApplication], str, bool, int, bytes]] = [
    # id, app, method, whether it is offered, status, body
    ("whole", app_of, "GET", True, 200, CONTENT),
    ("with a status of its own", lambda file: app_of(file, status="404 No"), "GET", True, 404, CONTENT),
    ("of its own length", lambda file: app_of(file, of_length(len(CONTENT))), "GET", True, 200, CONTENT),
    ("a part of it", lambda file: app_of(file, of_length(9)), "GET", False, 200, CONTENT[:9]),
    ("less than declared", lambda file: app_of(file, of_length(99)), "GET", False, 200, CONTENT),
    ("HEAD", app_of, "HEAD", False, 200, b""),
    ("204", lambda file: app_of(file, status="204 No Content"), "GET", False, 204, b""),
    ("304", lambda file: app_of(file, status="304 Not Modified"), "GET", False, 304, b""),
    ("after write()", lambda file: app_of(file, written=b"<"), "GET", False, 200, b"<" + CONTENT),
    ("no start_response", lambda file: app_of(file, status=None), "GET", False, 500, ERROR),
]


@pytest.mark.parametrize(
    ("app", "method", "is_offered", "status", "body"),
    [pytest.param(*case, id=name) for name, *case in CALLS],
)
@pytest.mark.parametrize("sends_files", [True, False], ids=["link sends files", "link does not"])
def test_call(
    path: Path,
    app: Callable[[Any], WSGIApplication],
    method: str,
    is_offered: bool,
    status: int,
    body: bytes,
    sends_files: bool,
) -> None:
    link = ListLink(sends_files=sends_files)
    file = path.open("rb")
    with suppress(ApplicationError):  # less than was declared
        Call(app(file), wsgi_environ(method=method)).run(link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.body) == (status, body)
    assert reply.is_complete is (reply.header(b"content-length") != b"99")
    assert link.offered == ([len(CONTENT)] if is_offered else [])
    assert file.closed


@pytest.mark.parametrize("sends_files", [True, False], ids=["link sends files", "link does not"])
def test_file_that_the_app_has_read_from(path: Path, sends_files: bool) -> None:
    """The body is what is left of it."""
    link = ListLink(sends_files=sends_files)
    Call(app_of(read_from(path), of_length(len(CONTENT) - 1)), wsgi_environ()).run(link)
    reply = Reply.of(link.parts)
    assert (reply.body, reply.is_complete) == (CONTENT[1:], True)
    assert link.offered == [len(CONTENT) - 1]


def test_file_that_no_host_could_send(path: Path) -> None:
    link = ListLink(sends_files=True)
    Call(app_of(compressed(path)), wsgi_environ()).run(link)
    assert Reply.of(link.parts).body == CONTENT
    assert link.offered == []


def test_sent_file_goes_with_the_app_s_head(path: Path) -> None:
    link = ListLink(sends_files=True)
    Call(app_of(path.open("rb"), ("X-A", "1"), status="299 Foo"), wsgi_environ()).run(link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.reason, reply.headers) == (299, b"Foo", [(b"x-a", b"1")])


@pytest.mark.parametrize("sends_files", [True, False], ids=["link sends files", "link does not"])
def test_file_is_closed_when_the_client_left(
    path: Path, sends_files: bool, caplog: pytest.LogCaptureFixture
) -> None:
    file = path.open("rb")
    link = ListLink(sends_files=sends_files, leaves_after=0)
    Call(app_of(file), wsgi_environ()).run(link)
    assert file.closed
    assert link.parts == []
    assert caplog.records == []


class FailingFiles(ListLink):
    """A link that sends the head of a file, and then cannot read it."""

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        self.parts.append((head, b"the", True))
        raise OSError("input/output error")


def test_file_that_fails_while_it_is_sent_is_cut(path: Path) -> None:
    """As a block that fails is: a second head would be taken for the file's bytes."""
    link = FailingFiles()
    with pytest.raises(ApplicationError, match="response cut short"):
        Call(app_of(path.open("rb")), wsgi_environ()).run(link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.body, reply.is_complete) == (200, b"the", False)


def flask_app(path: Path) -> Flask:
    app = Flask(__name__)

    @app.get("/file")
    def file() -> FlaskResponse:
        return send_file(path, mimetype="text/plain", conditional=True)

    return app


@pytest.mark.parametrize(
    ("environ", "status", "is_offered", "body"),
    [
        pytest.param(wsgi_environ(b"/file"), 200, True, CONTENT, id="whole"),
        pytest.param(wsgi_environ(b"/file", method="HEAD"), 200, False, b"", id="HEAD"),
        pytest.param(
            wsgi_environ(b"/file", headers=[(b"range", b"bytes=4-8")]), 206, False, b"bytes", id="range"
        ),
    ],
)
@pytest.mark.parametrize("sends_files", [True, False], ids=["link sends files", "link does not"])
def test_flask_send_file(
    path: Path, environ: WSGIEnvironment, status: int, is_offered: bool, body: bytes, sends_files: bool
) -> None:
    """Flask hands its files to `wsgi.file_wrapper`."""
    link = ListLink(sends_files=sends_files)
    Call(flask_app(path).wsgi_app, environ.copy()).run(link)
    gc.collect()  # a file that was left open warns here, which is an error
    reply = Reply.of(link.parts)
    assert (reply.status, reply.body) == (status, body)
    assert link.offered == ([len(CONTENT)] if is_offered else [])
    assert reply.header(b"content-length") == str(5 if status == 206 else len(CONTENT)).encode()


@pytest.mark.parametrize(
    ("left", "given"), [(0, b""), (3, b"cde"), (4, b"cdef"), (9, b"cdef"), (None, b"cdef")]
)
def test_a_part_of_a_file(tmp_path: Path, left: int | None, given: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        wrapper.seek(2)
        wrapper.left = left
        assert wrapper.sendable == ((file, len(given)) if given else None)
        assert b"".join(wrapper) == given

"""`wsgi.file_wrapper`: blocks of a file, or, where the host offers it and nothing would differ, its path."""

import gc
import gzip
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

import pytest
from flask import Flask, send_file
from flask import Response as FlaskResponse

from bridge.core.call import run_call
from bridge.core.files import FileWrapper
from bridge.core.response import Response
from bridge.types import HTTPScope, StartResponse, WSGIApplication, WSGIEnvironment
from tests.core.links import ListLink, Reply, body_events, http_scope

CONTENT = b"the bytes of a file"
OFFERED: dict[str, dict[object, object]] = {"http.response.pathsend": {}}


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


def response(method: str = "GET", status: str = "200 OK", length: int | None = None) -> Response:
    started = Response(method)
    started.start(status, [] if length is None else [("Content-Length", str(length))])
    return started


def written_to() -> Response:
    started = response()
    started.chunk(b"begun")
    return started


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


# Where the path stands for the file, by the ASGI extension "Path Send".
SENDABLE: list[tuple[str, Callable[[Path], Any], Callable[[], Response]]] = [
    ("a file", lambda path: path.open("rb"), response),
    ("without a buffer", lambda path: path.open("rb", buffering=0), response),
    ("by a name of bytes", lambda path: io.BufferedReader(io.FileIO(os.fsencode(path))), response),
    ("by a name of str", lambda path: io.BufferedReader(io.FileIO(str(path))), response),
    ("of the length that was declared", lambda path: path.open("rb"), lambda: response(length=len(CONTENT))),
    ("with a status of its own", lambda path: path.open("rb"), lambda: response(status="404 Not Found")),
    ("rewound", lambda path: rewound(path.open("rb")), response),
]


def rewound(file: IO[bytes]) -> IO[bytes]:
    file.read(3)
    file.seek(0)
    return file


@pytest.mark.parametrize(("opened", "started"), [pytest.param(*case, id=name) for name, *case in SENDABLE])
def test_host_may_send_the_file(
    path: Path, opened: Callable[[Path], Any], started: Callable[[], Response]
) -> None:
    with opened(path) as file:
        assert FileWrapper(file).sendable_path(http_scope(extensions=OFFERED), started()) == str(path)


def test_relative_name_becomes_absolute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ASGI extension asks for an absolute path."""
    monkeypatch.chdir(path.parent)
    with open("file", "rb") as file:
        assert FileWrapper(file).sendable_path(http_scope(extensions=OFFERED), response()) == str(path)


# Where the path would not be the same: the app's bytes must be read.


def read_from(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.read(1)
    return file


def closed(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.close()
    return file


def deleted(path: Path) -> IO[bytes]:
    file = path.open("rb")
    path.unlink()
    return file


def replaced(path: Path) -> IO[bytes]:
    file = path.open("rb")
    other = path.with_name("other")
    other.write_bytes(CONTENT)
    other.replace(path)
    return file


def compressed(path: Path) -> IO[bytes]:
    path.write_bytes(gzip.compress(CONTENT))
    return cast(IO[bytes], gzip.open(path, "rb"))


def compressed_and_buffered(path: Path) -> IO[bytes]:
    return io.BufferedReader(cast(io.RawIOBase, compressed(path)))


def by_descriptor(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY), "rb")


def plain(path: Path) -> IO[bytes]:
    return path.open("rb")


UNSENDABLE: list[tuple[str, Callable[[Path], Any], dict[str, Any], Callable[[], Response]]] = [
    # id, file, what is changed in the scope, response
    ("not offered", plain, {"extensions": {}}, response),
    ("no extensions", plain, {"extensions": None}, response),
    ("HEAD", plain, {}, lambda: response(method="HEAD")),
    ("304", plain, {}, lambda: response(status="304 Not Modified")),
    ("start_response not called", plain, {}, lambda: Response("GET")),
    ("headers are out", plain, {}, written_to),
    ("shorter than declared", plain, {}, lambda: response(length=len(CONTENT) + 1)),
    ("longer than declared", plain, {}, lambda: response(length=len(CONTENT) - 1)),
    ("in memory", lambda _: io.BytesIO(CONTENT), {}, response),
    ("not in the standard library", lambda _: Bare(CONTENT), {}, response),
    ("open for writing, too", lambda path: path.open("r+b"), {}, response),
    ("compressed", compressed, {}, response),
    ("compressed, in a buffer", compressed_and_buffered, {}, response),
    ("read from already", read_from, {}, response),
    ("closed", closed, {}, response),
    ("deleted", deleted, {}, response),
    ("replaced by another of its name", replaced, {}, response),
    ("opened by a descriptor", by_descriptor, {}, response),
    ("a device", lambda _: io.FileIO("/dev/null"), {}, response),
]


@pytest.mark.parametrize(
    ("opened", "changes", "started"), [pytest.param(*case, id=name) for name, *case in UNSENDABLE]
)
def test_host_may_not_send_the_file(
    path: Path, opened: Callable[[Path], Any], changes: dict[str, Any], started: Callable[[], Response]
) -> None:
    wrapper = FileWrapper(opened(path))
    scope = http_scope(**{"extensions": OFFERED, **changes})
    try:
        assert wrapper.sendable_path(scope, started()) is None
    finally:
        wrapper.close()


def test_scope_without_extensions(path: Path) -> None:
    scope = http_scope()
    del scope["extensions"]  # type: ignore[misc]  # the ASGI spec lets a host leave it out
    with path.open("rb") as file:
        assert FileWrapper(file).sendable_path(scope, response()) is None


def test_same_name_in_another_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name means another file after the process has changed its directory."""
    other = path.parent / "directory"
    other.mkdir()
    (other / "file").write_bytes(b"a secret, of them")
    monkeypatch.chdir(path.parent)
    with open("file", "rb") as file:
        monkeypatch.chdir(other)
        assert FileWrapper(file).sendable_path(http_scope(extensions=OFFERED), response()) is None


# In a call


def app_of(file: IO[bytes], headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 8192)
        return wrapped

    return app


@pytest.mark.parametrize(
    ("scope", "headers", "sent", "body"),
    [
        pytest.param(http_scope(extensions=OFFERED), [], True, b"", id="offered"),
        pytest.param(http_scope(), [], False, CONTENT, id="not offered"),
        pytest.param(
            http_scope(extensions=OFFERED), [("Content-Length", "9")], False, CONTENT[:9], id="a part of it"
        ),
        pytest.param(http_scope(extensions=OFFERED, method="HEAD"), [], False, b"", id="HEAD"),
    ],
)
def test_call(path: Path, scope: HTTPScope, headers: list[tuple[str, str]], sent: bool, body: bytes) -> None:
    link = ListLink()
    file = path.open("rb")
    run_call(app_of(file, headers), scope, {}, link)
    reply = Reply.of(link.sent)
    assert (reply.status, reply.is_complete) == (200, True)
    assert (reply.path, reply.body) == (str(path) if sent else None, body)
    assert file.closed


def test_file_is_closed_when_the_client_left(path: Path) -> None:
    file = path.open("rb")
    run_call(app_of(file, []), http_scope(extensions=OFFERED), {}, ListLink(leaves_after=0))
    assert file.closed


def flask_app(path: Path) -> Flask:
    app = Flask(__name__)

    @app.get("/file")
    def file() -> FlaskResponse:
        return send_file(path, mimetype="text/plain", conditional=True)

    return app


@pytest.mark.parametrize(
    ("changes", "status", "sent", "body"),
    [
        pytest.param({}, 200, True, b"", id="whole"),
        pytest.param({"extensions": {}}, 200, False, CONTENT, id="whole, not offered"),
        pytest.param({"method": "HEAD"}, 200, False, b"", id="HEAD"),
        pytest.param({"headers": [(b"range", b"bytes=4-8")]}, 206, False, b"bytes", id="range"),
    ],
)
def test_flask_send_file(path: Path, changes: dict[str, Any], status: int, sent: bool, body: bytes) -> None:
    """Flask hands its files to `wsgi.file_wrapper`."""
    link = ListLink(body_events(b""))
    scope = http_scope(b"/file", **{"extensions": OFFERED, **changes})
    run_call(flask_app(path).wsgi_app, scope, {}, link)
    gc.collect()  # a file that was left open warns here, which is an error
    reply = Reply.of(link.sent)
    assert (reply.status, reply.path, reply.body) == (status, str(path) if sent else None, body)
    assert reply.header(b"content-length") == str(5 if status == 206 else len(CONTENT)).encode()

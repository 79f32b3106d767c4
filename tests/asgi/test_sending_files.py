"""Files that the app returns, where the host offers to send them by their path, and where it does not."""

import asyncio
import gc
import gzip
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import pytest
from flask import Flask, send_file
from flask import Response as FlaskResponse

from bridge import WSGIToASGI
from bridge.errors import ApplicationError
from bridge.types import HTTPScope, WSGIApplication
from tests.asgi_host import ScriptedHost, body_event, http_scope
from tests.core.links import Reply, app_of, of_length

CONTENT = b"the bytes of a file"
OFFERED: dict[str, dict[object, object]] = {"http.response.pathsend": {}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file on the disk."""
    found = tmp_path / "file"
    found.write_bytes(CONTENT)
    return found


class Bare:
    """A file of the least kind: it has `read` and nothing else."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


async def answer(app: WSGIApplication, scope: HTTPScope) -> Reply:
    """What the host is told to send, and whether that was all."""
    host = ScriptedHost([body_event()])
    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():
        with suppress(ApplicationError):  # a response that is cut short
            await adapter(scope, host.receive, host.send)
    return Reply.of_events(host.sent)


# Where the path stands for the file, by the ASGI extension "Path Send".


def rewound(path: Path) -> IO[bytes]:
    file = path.open("rb")
    file.read(3)
    file.seek(0)
    return file


def plain(path: Path) -> IO[bytes]:
    return path.open("rb")


SENT: list[tuple[str, Callable[[Path], Any], Callable[[Any], WSGIApplication], int]] = [
    # id, file, app, status
    ("a file", plain, app_of, 200),
    ("without a buffer", lambda path: path.open("rb", buffering=0), app_of, 200),
    ("by a name of bytes", lambda path: io.BufferedReader(io.FileIO(os.fsencode(path))), app_of, 200),
    ("by a name of str", lambda path: io.BufferedReader(io.FileIO(str(path))), app_of, 200),
    ("of the length declared", plain, lambda file: app_of(file, of_length(len(CONTENT))), 200),
    ("with a status of its own", plain, lambda file: app_of(file, status="404 Not Found"), 404),
    ("rewound", rewound, app_of, 200),
]


@pytest.mark.parametrize(("opened", "app", "status"), [pytest.param(*case, id=name) for name, *case in SENT])
async def test_host_is_told_the_path(
    path: Path, opened: Callable[[Path], Any], app: Callable[[Any], WSGIApplication], status: int
) -> None:
    file = opened(path)
    reply = await answer(app(file), http_scope(extensions=OFFERED))
    assert (reply.status, reply.path, reply.chunks) == (status, str(path), ())
    assert file.closed


async def test_relative_name_becomes_absolute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ASGI extension asks for an absolute path."""
    monkeypatch.chdir(path.parent)
    reply = await answer(app_of(open("file", "rb")), http_scope(extensions=OFFERED))  # noqa: SIM115, ASYNC230  # the call closes it
    assert reply.path == str(path)


# Where the path would not be the same, or nobody has asked for it: the app's bytes are read.


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
    other.write_bytes(b"of another file")
    other.replace(path)
    return file


def compressed(path: Path) -> IO[bytes]:
    path.write_bytes(gzip.compress(CONTENT))
    return cast(IO[bytes], gzip.open(path, "rb"))


def compressed_and_buffered(path: Path) -> IO[bytes]:
    return io.BufferedReader(cast(io.RawIOBase, compressed(path)))


def by_descriptor(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY), "rb")


ERROR = b"Internal Server Error"

READ: list[
    tuple[str, Callable[[Path], Any], dict[str, Any], Callable[[Any], WSGIApplication], int, bytes]
] = [
    # id, file, what is changed in the scope, app, status, body
    ("not offered", plain, {"extensions": {}}, app_of, 200, CONTENT),
    ("no extensions", plain, {"extensions": None}, app_of, 200, CONTENT),
    ("HEAD", plain, {"method": "HEAD"}, app_of, 200, b""),
    ("304", plain, {}, lambda file: app_of(file, status="304 Not Modified"), 304, b""),
    ("start_response not called", plain, {}, lambda file: app_of(file, status=None), 500, ERROR),
    ("headers are out", plain, {}, lambda file: app_of(file, written=b"<"), 200, b"<" + CONTENT),
    ("shorter than declared", plain, {}, lambda file: app_of(file, of_length(99)), 200, CONTENT),
    ("longer than declared", plain, {}, lambda file: app_of(file, of_length(9)), 200, CONTENT[:9]),
    ("in memory", lambda _: io.BytesIO(CONTENT), {}, app_of, 200, CONTENT),
    ("not in the standard library", lambda _: Bare(CONTENT), {}, app_of, 200, CONTENT),
    ("open for writing, too", lambda path: path.open("r+b"), {}, app_of, 200, CONTENT),
    ("compressed", compressed, {}, app_of, 200, CONTENT),
    ("compressed, in a buffer", compressed_and_buffered, {}, app_of, 200, CONTENT),
    ("read from already", read_from, {}, app_of, 200, CONTENT[1:]),
    ("closed", closed, {}, app_of, 500, ERROR),
    ("deleted", deleted, {}, app_of, 200, CONTENT),
    ("replaced by another of its name", replaced, {}, app_of, 200, CONTENT),
    ("opened by a descriptor", by_descriptor, {}, app_of, 200, CONTENT),
    ("a device", lambda _: io.FileIO("/dev/null"), {}, app_of, 200, b""),
]


@pytest.mark.parametrize(
    ("opened", "changes", "app", "status", "body"), [pytest.param(*case, id=name) for name, *case in READ]
)
async def test_host_gets_the_bytes(
    path: Path,
    opened: Callable[[Path], Any],
    changes: dict[str, Any],
    app: Callable[[Any], WSGIApplication],
    status: int,
    body: bytes,
) -> None:
    file = opened(path)
    reply = await answer(app(file), http_scope(**{"extensions": OFFERED, **changes}))
    assert (reply.status, reply.path, reply.body) == (status, None, body)
    assert reply.is_complete is (reply.header(b"content-length") != b"99")
    assert getattr(file, "closed", True)


async def test_scope_without_extensions(path: Path) -> None:
    scope = http_scope()
    del scope["extensions"]  # type: ignore[misc]  # the ASGI spec lets a host leave it out
    assert (await answer(app_of(plain(path)), scope)).body == CONTENT


async def test_same_name_in_another_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name means another file after the process has changed its directory."""
    other = path.parent / "directory"
    other.mkdir()
    (other / "file").write_bytes(b"a secret, of them")
    monkeypatch.chdir(path.parent)
    file = open("file", "rb")  # noqa: SIM115, ASYNC230  # the call closes it
    monkeypatch.chdir(other)
    reply = await answer(app_of(file), http_scope(extensions=OFFERED))
    assert (reply.path, reply.body) == (None, CONTENT)


async def test_file_is_closed_when_the_client_left(path: Path) -> None:
    file = path.open("rb")

    async def lose(event: Any) -> None:
        raise OSError("nobody is there")

    host = ScriptedHost([body_event()], lose)
    adapter = WSGIToASGI(app_of(file), threads=1)
    async with adapter.lifespan_context():
        await asyncio.gather(
            adapter(http_scope(extensions=OFFERED), host.receive, host.send), return_exceptions=True
        )
    assert file.closed
    assert host.sent == []


def flask_app(path: Path) -> Flask:
    app = Flask(__name__)

    @app.get("/")
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
async def test_flask_send_file(
    path: Path, changes: dict[str, Any], status: int, sent: bool, body: bytes
) -> None:
    """Flask hands its files to `wsgi.file_wrapper`."""
    reply = await answer(flask_app(path).wsgi_app, http_scope(**{"extensions": OFFERED, **changes}))
    gc.collect()  # a file that was left open warns here, which is an error
    assert (reply.status, reply.path, reply.body) == (status, str(path) if sent else None, body)
    assert reply.header(b"content-length") == str(5 if status == 206 else len(CONTENT)).encode()

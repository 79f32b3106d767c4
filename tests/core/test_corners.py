"""Corners of a call: what comes twice, too late, from elsewhere, or in another order than is usual."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest

from bridge.core.body import RequestBody
from bridge.core.call import Call
from bridge.core.files import FileWrapper
from bridge.core.link import Head
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import StartResponse, WSGIEnvironment
from tests.core.links import ListLink, Reply, wsgi_environ


class Failure(Exception):
    """What an app of these tests fails with."""


class FailingFiles(ListLink):
    """A link that sends the head of a file, and then cannot read it."""

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        self.parts.append((head, b"the", True))
        raise OSError("input/output error")


def test_file_that_fails_while_it_is_sent_is_cut(tmp_path: Path) -> None:
    """As a block that fails is: a second head would be taken for the file's bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"the bytes of a file")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](path.open("rb"))
        return wrapped

    link = FailingFiles()
    with suppress(ApplicationError):
        Call(app, wsgi_environ()).run(link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.body, reply.is_complete) == (200, b"the", False)


def past_its_end(path: Path) -> BinaryIO:
    file = path.open("rb")
    file.seek(1000)
    return file


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param(past_its_end, id="sought past its end"),
        # The kernel makes these bytes when they are read, and says that there are none.
        pytest.param(lambda _: io.FileIO("/proc/self/status"), id="made while it is read"),
    ],
)
def test_file_whose_size_says_nothing_is_not_sent_whole(
    tmp_path: Path, opened: Callable[[Path], BinaryIO]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the bytes of a file")
    with opened(path) as file:
        assert FileWrapper(file).sendable is None


def test_second_failure_sends_no_second_answer() -> None:
    """A driver that closes after it has answered may have close() fail, too."""
    link = ListLink()
    call = Call(lambda environ, start_response: [], wsgi_environ())
    call.fail(Failure("in the body"), link)
    call.fail(Failure("in close()"), link)
    assert Reply.of(link.parts).status == 500


def test_write_after_the_500_sends_nothing() -> None:
    """As of a thread of the app's that has got the callable."""
    link = ListLink()
    kept: list[Callable[[bytes], object]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        kept.append(start_response("200 OK", []))
        raise Failure

    Call(app, wsgi_environ()).run(link)
    with suppress(ApplicationError):
        kept[0](b"late")
    assert Reply.of(link.parts).status == 500


class Counting(ListLink):
    """A link that counts how often it is used after the end of the response."""

    late = 0

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        self.late += bool(self.parts) and not self.parts[-1][2]
        super().send(head, data, more)


@pytest.mark.parametrize(("method", "length"), [("HEAD", "9"), ("GET", "1")])
def test_empty_chunk_after_the_end_is_not_sent(method: str, length: str) -> None:
    """There is nothing to ask the link for by then, and "more to follow" would not be true."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", length)])
        yield b"a"
        yield b""

    link = Counting()
    Call(app, wsgi_environ(method=method)).run(link)
    assert Reply.of(link.parts).is_complete
    assert link.late == 0


def test_nothing_is_read_after_a_gap() -> None:
    """What a failed `receive_all` has received is not to be taken for what comes next."""
    body = RequestBody(ListLink([b"abc", b"def"], leaves_early=True).read)
    with pytest.raises(ClientDisconnected):
        body.receive_all()
    read = b""
    with suppress(ClientDisconnected):
        read = body.read(3)
    assert read in (b"", b"abc")

"""Responses on real servers: streamed, stalled, cut off, and left by their clients."""

import hashlib
import threading
from collections.abc import Iterable, Iterator

import h11
import httpx
import pytest

from bridge import WSGIToASGI
from bridge.types import StartResponse, WSGIEnvironment
from tests.end_to_end.raw import RawClient, complaints
from tests.hosts import Host

PLAIN = [("Content-Type", "text/plain")]
MIB = 1024 * 1024


def _hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    return [b"hello"]


# Clients that leave


class Endless:
    """An app whose body has no end but `close()`; also of events that come seldom."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()
        self.may_tick = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hello":
            return _hello(environ, start_response)
        start_response("200 OK", PLAIN)
        return self.ticks() if environ["PATH_INFO"] == "/ticks" else self.torrent()

    def torrent(self) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            self.has_ended.set()

    def ticks(self) -> Iterator[bytes]:
        try:
            yield b"tick"
            self.may_tick.wait()
            while True:
                yield b"tick"
        finally:
            self.has_ended.set()


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    "doing", ["reading", "reading nothing", "waiting for the next event"], ids=lambda doing: doing
)
def test_a_client_that_leaves_ends_the_app(
    host: Host, doing: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Endless()
    with host(WSGIToASGI(app, threads=1)) as server:
        with RawClient(server) as client:
            client.get(b"/ticks" if doing == "waiting for the next event" else b"/torrent")
            client.receive_until(b"tick" if doing == "waiting for the next event" else b"\r\n\r\n")
            if doing == "reading":
                for _ in range(100):
                    assert client.receive()
            client.vanish(how)
        app.may_tick.set()
        assert app.has_ended.wait(10)
        with RawClient(server) as client:
            client.get(b"/hello")
            assert client.answer().body == b"hello"
    assert complaints(caplog) == []


# Clients that take their time

PIECE = bytes(range(256)) * 256
PIECES = 800  # 50 MiB of them
DIGEST = hashlib.sha256(PIECE * PIECES).hexdigest()


class Download:
    """50 MiB in pieces, and how many bytes of it have been produced."""

    def __init__(self) -> None:
        self.produced = 0
        self.has_ended = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        headers = [("Content-Length", str(PIECES * len(PIECE)))] if environ["PATH_INFO"] == "/length" else []
        start_response("200 OK", headers)
        for _ in range(PIECES):
            self.produced += len(PIECE)
            yield PIECE
        self.has_ended.set()


@pytest.mark.parametrize("path", ["/chunked", "/length"])
def test_a_large_download_arrives_intact(host: Host, path: str) -> None:
    digest = hashlib.sha256()
    with host(WSGIToASGI(Download())) as server, httpx.stream("GET", server.url + path) as response:
        for chunk in response.iter_raw():
            digest.update(chunk)
    assert digest.hexdigest() == DIGEST


def test_a_client_that_stops_reading_holds_the_app_back(host: Host) -> None:
    app = Download()
    with host(WSGIToASGI(app)) as server, RawClient(server, receive_buffer=65536) as client:
        client.get()
        client.put_back(client.receive())
        assert not app.has_ended.wait(0.5)  # that it waits can only be seen by waiting
        assert app.produced < 12 * MIB  # the kernel's buffers, on both sides, at their largest
        answer = client.answer()
        assert hashlib.sha256(answer.body).hexdigest() == DIGEST
    assert app.has_ended.is_set()


# Apps that fail


@pytest.mark.parametrize("exception", [LookupError, SystemExit, KeyboardInterrupt, StopIteration])
def test_an_app_that_fails_at_once_is_answered_with_500(
    host: Host, exception: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hello":
            return _hello(environ, start_response)
        raise exception

    with host(WSGIToASGI(app, threads=1)) as server, RawClient(server) as client:
        for _ in range(2):  # on the same connection, and in the same thread
            client.get(b"/fails")
            answer = client.answer()
            assert (answer.status, answer.body) == (500, b"Internal Server Error")
            client.get(b"/hello")
            assert client.answer().body == b"hello"
    expected = f"GET /fails: the app raised {exception.__name__} before its headers were out; answering 500"
    assert complaints(caplog) == [expected] * 2


class Failing:
    """An app that fails in the middle of its body, as soon as the client has got its beginning."""

    def __init__(self) -> None:
        self.may_fail = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        if environ["PATH_INFO"] == "/hello":
            yield from _hello(environ, start_response)
            return
        headers = [("Content-Length", "100")] if environ["PATH_INFO"].startswith("/length") else []
        start_response("200 OK", [*PLAIN, *headers])
        yield b"the first half"
        self.may_fail.wait()
        if environ["PATH_INFO"].endswith("raises"):
            raise LookupError("in the middle")


@pytest.mark.parametrize("target", [b"/chunked-raises", b"/length-raises", b"/length-too-short"])
def test_a_body_that_fails_in_the_middle_is_cut(
    host: Host, target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = Failing()
    with host(WSGIToASGI(app, threads=1)) as server:
        with RawClient(server) as client:
            client.get(target)
            head = client.receive_until(b"the first half")
            app.may_fail.set()
            rest = client.receive_all()
            assert rest in (b"", b"\r\n")  # no "0\r\n\r\n", which would make it whole
            client.put_back(head + rest)
            with pytest.raises(h11.RemoteProtocolError):
                client.answer()
        with RawClient(server) as client:
            client.get(b"/hello")
            assert client.answer().body == b"hello"
    [line] = [record.getMessage() for record in caplog.records if record.name == "bridge"]
    assert line.startswith(f"GET {target.decode()}: the app")
    assert "cutting the connection" in line


def _crlf(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/hello":
        return _hello(environ, start_response)
    start_response("200 OK", [("Location", "/\r\nSet-Cookie: admin=1")])
    return [b"hello"]


def test_a_header_with_crlf_is_a_clean_500(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Elsewhere the connection is dropped without an answer; here it even goes on."""
    with host(WSGIToASGI(_crlf)) as server, RawClient(server) as client:
        client.get()
        answer = client.answer()
        client.get(b"/hello")
        assert client.answer().body == b"hello"
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert b"set-cookie" not in answer.headers
    assert "'Location' has a control character" in caplog.text

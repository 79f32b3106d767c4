"""Request bodies on real servers: waited for, chunked, half sent, large."""

import hashlib
import threading
from collections.abc import Iterable, Iterator

import flask
import httpx
import pytest

from bridge import WSGIToASGI
from bridge.errors import ClientDisconnected
from bridge.types import StartResponse, WSGIEnvironment
from tests.end_to_end.raw import RawClient, complaints
from tests.hosts import Host

PLAIN = [("Content-Type", "text/plain")]

EXPECTING = b"POST %b HTTP/1.1\r\nHost: testserver\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"


class Expecting:
    """An app that reads its body when it is told to, or refuses it, or answers slowly without reading."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/read":
                self.may_go_on.wait()
                body = environ["wsgi.input"].read()
                start_response("200 OK", PLAIN)
                return [b"got ", body]
            case "/refuse":
                start_response("413 Content Too Large", PLAIN)
                return [b"too large"]
            case _:
                start_response("200 OK", PLAIN)
                return self.stream()

    def stream(self) -> Iterator[bytes]:
        yield b"one, "
        self.may_go_on.wait()
        yield b"two"


def test_100_continue_is_sent_when_the_app_reads(host: Host) -> None:
    app = Expecting()
    with host(WSGIToASGI(app)) as server, RawClient(server) as client:
        client.send(EXPECTING % b"/read")
        # hypercorn sends it when it has the headers, whatever the app does: H11Protocol._handle_events.
        assert client.is_silent() == (host.name != "hypercorn")
        app.may_go_on.set()
        first = client.receive()
        assert first.startswith(b"HTTP/1.1 100 ")
        client.send(b"body")
        answer = client.answer()
    assert (answer.status, answer.body) == (200, b"got body")


@pytest.mark.parametrize(
    ("target", "expected"),
    [(b"/refuse", (413, b"too large")), (b"/stream", (200, b"one, two"))],
    ids=["an app that refuses", "an app that streams"],
)
def test_100_continue_is_not_sent_for_an_app_that_does_not_read(
    host: Host, target: bytes, expected: tuple[int, bytes]
) -> None:
    """Neither is it when the adapter listens for a disconnect, by the same call, during a stream."""
    app = Expecting()
    with host(WSGIToASGI(app)) as server, RawClient(server) as client:
        client.send(EXPECTING % target)
        if target == b"/stream":
            client.put_back(client.receive_until(b"one, "))
            app.may_go_on.set()
        answer = client.answer()
    assert (answer.status, answer.body) == expected
    # hypercorn has sent it before it called the app: see above.
    assert answer.informational == ((100,) if host.name == "hypercorn" else ())


def _flask() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.post("/")
    def echo() -> bytes:
        return flask.request.data

    return app


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"4\r\nbody\r\n", b"0\r\n\r\n"], id="whole chunks"),
        pytest.param([b"4\r\nbo", b"dy\r", b"\n0\r", b"\n\r\n"], id="chunks in pieces"),
        pytest.param([b"1\r\nb\r\n", b"3;x=y\r\nody\r\n", b"0\r\n\r\n"], id="with an extension"),
    ],
)
def test_a_chunked_upload_reaches_flask(host: Host, chunks: list[bytes]) -> None:
    with host(WSGIToASGI(_flask())) as server, RawClient(server) as client:
        for _ in range(2):  # on the same connection
            client.send(b"POST / HTTP/1.1\r\nHost: testserver\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in chunks:
                client.send(chunk)
            assert client.answer().body == b"body"


class Reading:
    """An app that reads its whole body, and keeps how that went."""

    def __init__(self) -> None:
        self.is_reading = threading.Event()
        self.outcomes: list[object] = []
        self.has_ended = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/":
            try:
                self.outcomes.append(environ["wsgi.input"].read(4))
                self.is_reading.set()
                self.outcomes.append(environ["wsgi.input"].read())
            except ClientDisconnected as error:
                self.outcomes.append(type(error))
                raise
            finally:
                self.has_ended.set()
        start_response("200 OK", PLAIN)
        return [b"hello"]


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_client_that_leaves_in_the_middle_of_its_body(
    host: Host, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Reading()
    with host(WSGIToASGI(app, threads=1)) as server:
        with RawClient(server) as client:
            client.post(body=b"half of it", length=20)
            assert app.is_reading.wait(10)
            client.vanish(how)
        assert app.has_ended.wait(10)
        with RawClient(server) as client:
            client.get(b"/hello")
            assert client.answer().body == b"hello"
    assert app.outcomes == [b"half", ClientDisconnected]
    assert complaints(caplog) == []


def test_a_client_that_leaves_flask_in_the_middle_of_its_body(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """No view takes half for whole, and no error is logged: it is nobody's but the client's."""
    outcomes: list[object] = []
    is_called = threading.Event()
    has_ended = threading.Event()
    app = flask.Flask(__name__)

    @app.post("/")
    def echo() -> bytes:
        is_called.set()
        outcomes.append(flask.request.get_data())
        return b""

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        has_ended.set()

    with host(WSGIToASGI(app)) as server:
        with RawClient(server) as client:
            client.post(body=b"half of it", length=20)
            assert is_called.wait(10)
        assert has_ended.wait(10)
    assert outcomes == []
    assert complaints(caplog) == []


PIECE = bytes(range(256)) * 256
PIECES = 800  # 50 MiB of them
DIGEST = hashlib.sha256(PIECE * PIECES).hexdigest()


def _digest(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    digest = hashlib.sha256()
    while data := environ["wsgi.input"].read(100_000):
        digest.update(data)
    start_response("200 OK", PLAIN)
    return [digest.hexdigest().encode()]


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "with its length"])
def test_a_large_upload_arrives_intact(host: Host, is_chunked: bool) -> None:
    headers = {} if is_chunked else {"Content-Length": str(len(PIECE) * PIECES)}
    with host(WSGIToASGI(_digest)) as server, httpx.Client(base_url=server.url) as client:
        response = client.post("/", content=(PIECE for _ in range(PIECES)), headers=headers)
    assert response.text == DIGEST


def test_an_app_that_does_not_read_holds_the_client_back(host: Host) -> None:
    """An upload that nobody reads stays with the client, but for what the sockets and the hosts hold."""
    may_read = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read(1)
        may_read.wait()
        return _digest(environ, start_response)

    body = PIECE * PIECES
    with host(WSGIToASGI(app)) as server, RawClient(server) as client:
        client.post(length=len(body))
        sent = client.send_until_held_back(body)
        assert sent < 20 * 1024 * 1024  # the kernel's buffers, on both sides, at their largest
        may_read.set()
        client.send(body[sent:])
        assert client.answer().body == hashlib.sha256(body[1:]).hexdigest().encode()

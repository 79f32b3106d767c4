"""How answers are framed, and how connections end, over real sockets."""

import asyncio
import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from bridge import WSGIToASGI, __version__
from bridge.http.exchange import Exchange, Hook
from bridge.http.limits import Limits
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.hosts import Host, RunningHost
from tests.http.test_protocol import HOST, request, statuses
from tests.server.command import Serving
from tests.server.wire import http_server
from tests.sockets import read_to_the_end, read_until


@pytest.fixture(params=["asyncio", "uvloop"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host("uvicorn", request.param)


@contextlib.contextmanager
def served(host: Host, app: Any) -> Iterator[RunningHost]:
    with host(app, http=http_server(Limits()), lifespan="off") as running:
        yield running


@contextlib.contextmanager
def served_in_threads(host: Host, app: WSGIApplication, *hooks: Hook) -> Iterator[RunningHost]:
    adapter = WSGIToASGI(app)
    with host(adapter, http=http_server(Limits(), adapter, hooks), lifespan="on") as running:
        yield running


# Framing


async def framed(scope: Any, receive: Any, send: Any) -> None:
    """Answers as its path says."""
    status, headers = 200, []
    if scope["path"] == "/length":
        headers = [(b"Content-Length", b"6")]
    elif scope["path"] == "/chunked":  # which is not the app's to say
        headers = [(b"Transfer-Encoding", b"chunked")]
    elif scope["path"] == "/close":
        headers = [(b"Content-Length", b"6"), (b"Connection", b"close")]
    elif scope["path"] in ("/204", "/304"):
        status = int(scope["path"][1:])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if status == 200:
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


KEEP = "Connection: keep-alive"
CLOSE = "Connection: close"

# What is sent → the fields that say how it is framed, the body as it is on the wire, whether it goes on.
ANSWERS: dict[str, tuple[bytes, list[bytes], bytes, bool]] = {
    "1.1, a stream": (
        request(HOST, line="GET / HTTP/1.1"),
        [b"transfer-encoding: chunked"],
        b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
        True,
    ),
    "1.1, a stream, the app says chunked": (
        request(HOST, line="GET /chunked HTTP/1.1"),
        [b"transfer-encoding: chunked"],
        b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
        True,
    ),
    "1.1, a length": (
        request(HOST, line="GET /length HTTP/1.1"),
        [b"content-length: 6"],
        b"onetwo",
        True,
    ),
    "1.1, a length, the client closes": (
        request(HOST, CLOSE, line="GET /length HTTP/1.1"),
        [b"connection: close", b"content-length: 6"],
        b"onetwo",
        False,
    ),
    "1.1, a length, the app closes": (
        request(HOST, line="GET /close HTTP/1.1"),
        [b"connection: close", b"content-length: 6"],
        b"onetwo",
        False,
    ),
    # RFC 9112, 6.1: never chunked
    "1.0, a stream": (request(line="GET / HTTP/1.0"), [b"connection: close"], b"onetwo", False),
    "1.0, a stream, kept alive": (
        request(KEEP, line="GET / HTTP/1.0"),
        [b"connection: close"],
        b"onetwo",
        False,
    ),
    "1.0, a stream, the app says chunked": (
        request(KEEP, line="GET /chunked HTTP/1.0"),
        [b"connection: close"],
        b"onetwo",
        False,
    ),
    # RFC 9112, 9.3
    "1.0, a length": (
        request(line="GET /length HTTP/1.0"),
        [b"connection: close", b"content-length: 6"],
        b"onetwo",
        False,
    ),
    "1.0, a length, kept alive": (
        request(KEEP, line="GET /length HTTP/1.0"),
        [b"connection: keep-alive", b"content-length: 6"],
        b"onetwo",
        True,
    ),
    "1.0, a length, kept alive, the app closes": (
        request(KEEP, line="GET /close HTTP/1.0"),
        [b"connection: close", b"content-length: 6"],
        b"onetwo",
        False,
    ),
    # Without a body, whatever else there is
    "1.1, HEAD": (request(HOST, line="HEAD / HTTP/1.1"), [], b"", True),
    "1.1, HEAD, a length": (request(HOST, line="HEAD /length HTTP/1.1"), [b"content-length: 6"], b"", True),
    "1.0, HEAD, kept alive": (
        request(KEEP, line="HEAD / HTTP/1.0"),
        [b"connection: keep-alive"],
        b"",
        True,
    ),
    "1.1, 204": (request(HOST, line="GET /204 HTTP/1.1"), [], b"", True),
    "1.1, 304": (request(HOST, line="GET /304 HTTP/1.1"), [], b"", True),
    "1.0, 204, kept alive": (
        request(KEEP, line="GET /204 HTTP/1.0"),
        [b"connection: keep-alive"],
        b"",
        True,
    ),
    "1.0, 204": (request(line="GET /204 HTTP/1.0"), [b"connection: close"], b"", False),
}


@pytest.mark.parametrize(("sent", "fields", "body", "goes_on"), ANSWERS.values(), ids=ANSWERS)
def test_answers(host: Host, sent: bytes, fields: list[bytes], body: bytes, goes_on: bool) -> None:
    last = request(HOST, CLOSE, line="GET /204 HTTP/1.1")
    with served(host, framed) as running, running.connect() as connection:
        connection.sendall(sent)
        received = read_until(connection, b"\r\n\r\n" + body)
        if goes_on:
            connection.sendall(last)
        received += read_to_the_end(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")[1:]
    framing = (b"content-length", b"transfer-encoding", b"connection", b"keep-alive")
    assert sorted(line for line in lines if line.startswith(framing)) == sorted(fields)
    assert rest[: len(body)] == body
    assert statuses(rest[len(body) :]) == ([204] if goes_on else [])


# Expect: 100-continue


class Expected:
    """Answers 200 when it has read the body, or 413 at once; and writes down the bodies it has read."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = 413
        if scope["path"] == "/read":
            status = 200
            body, more = b"", True
            while more:
                event = await receive()
                body += event["body"]
                more = event["more_body"]
            self.bodies.append(body)
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})


EXPECT = "Expect: 100-continue"
BODY = "Content-Length: 5"

# A head, with or without its body → the answers until the next request is sent, and whether that is read.
EXPECTATIONS: dict[str, tuple[bytes, list[int], bool]] = {
    "it is read": (request(HOST, EXPECT, BODY, line="POST /read HTTP/1.1"), [100, 200], True),
    "it is read, and has come": (
        request(HOST, EXPECT, BODY, line="POST /read HTTP/1.1", body=b"hello"),
        [200],
        True,
    ),
    "it is not read": (request(HOST, EXPECT, BODY, line="POST / HTTP/1.1"), [413], False),
    "it is not read, chunked": (
        request(HOST, EXPECT, "Transfer-Encoding: chunked", line="POST / HTTP/1.1"),
        [413],
        False,
    ),
    "it is not read, and has come": (
        request(HOST, EXPECT, BODY, line="POST / HTTP/1.1", body=b"hello"),
        [413],
        True,
    ),
    "there is none": (request(HOST, EXPECT, line="POST / HTTP/1.1"), [413], True),
    "there is none, and that is read": (request(HOST, EXPECT, line="POST /read HTTP/1.1"), [200], True),
    "it is not expected": (request(HOST, BODY, line="POST / HTTP/1.1", body=b"hello"), [413], True),
    # RFC 9110, 10.1.1: of HTTP/1.0 it is ignored; the client sends its body unasked
    "HTTP/1.0": (
        request(EXPECT, BODY, KEEP, line="POST /read HTTP/1.0", body=b"hello"),
        [200],
        True,
    ),
}


@pytest.mark.parametrize(("sent", "answers", "goes_on"), EXPECTATIONS.values(), ids=EXPECTATIONS)
def test_expectations(host: Host, sent: bytes, answers: list[int], goes_on: bool) -> None:
    """What follows is never taken for a body that was not asked for."""
    app = Expected()
    following = request(HOST, CLOSE, BODY, line="POST /read HTTP/1.1", body=b"other")
    with served(host, app) as running, running.connect() as connection:
        connection.sendall(sent)
        received = b""
        for answer in answers:
            received += read_until(connection, b"\r\n\r\n")
            if answer == 100:
                connection.sendall(b"hello")
        connection.sendall(following)
        received += read_to_the_end(connection)
    assert statuses(received) == answers + [200] * goes_on
    read = [b"hello" if b"hello" in sent or 100 in answers else b""] if 200 in answers else []
    assert app.bodies == read + [b"other"] * goes_on
    assert (b"connection: close" in received.partition(b"HTTP/1.1 200 OK\r\n")[0]) == (not goes_on)


async def reads_late(scope: Any, receive: Any, send: Any) -> None:
    """Begins its response, and reads the request's body then."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
    event = await receive()
    await send({"type": "http.response.body", "body": event.get("body", b"")})


def reads_late_in_a_thread(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """The same, as plain code."""
    start_response("200 OK", [])
    yield b"begun "
    yield environ["wsgi.input"].read()


LATE_READERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "async": (served, reads_late),
    "thread": (served_in_threads, reads_late_in_a_thread),
}


@pytest.mark.parametrize(("serve", "app"), LATE_READERS.values(), ids=LATE_READERS)
def test_nothing_is_asked_for_within_a_response(host: Host, serve: Callable[..., Any], app: Any) -> None:
    """A 100 in the middle of a body is a part of it, or breaks its framing."""
    sent = request(HOST, EXPECT, BODY, line="POST / HTTP/1.1")
    with serve(host, app) as running, running.connect() as connection:
        connection.sendall(sent)
        received = read_until(connection, b"begun ")
        connection.sendall(b"hello")
        received += read_to_the_end(connection)
    assert statuses(received) == [200]
    assert received.endswith(b"6\r\nbegun \r\n5\r\nhello\r\n0\r\n\r\n")


class Endless:
    """An ASGI app that sends until it is over, and looks at nothing else."""

    is_over = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            self.is_over = True
            await framed(scope | {"path": "/chunked"}, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not self.is_over:
            await send({"type": "http.response.body", "body": b"more", "more_body": True})


def test_an_app_that_sends_on_to_nobody_does_not_stop_the_others(host: Host) -> None:
    with served(host, Endless()) as running:
        with running.connect() as connection:
            connection.sendall(request(HOST))
            read_until(connection, b"more")
        with running.connect() as connection:
            connection.sendall(request(HOST, CLOSE, line="GET /other HTTP/1.1"))
            assert statuses(read_to_the_end(connection)) == [200]


class Ends(Hook):
    """Counts the exchanges that are over."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, exchange: Exchange) -> None:
        self.count += 1


async def fails_in_its_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    raise ValueError("in the middle")


def test_a_response_that_is_cut_ends_once(host: Host) -> None:
    """Also when its connection ends after it."""
    ends = Ends()
    http = http_server(Limits(), hooks=[ends])
    with host(fails_in_its_body, http=http, lifespan="off") as running, running.connect() as connection:
        connection.sendall(request(HOST))
        assert read_to_the_end(connection).endswith(b"begun\r\n")
    assert ends.count == 1


_VISITOR: ContextVar[bytes] = ContextVar("visitor", default=b"nobody")


async def greets(scope: Any, receive: Any, send: Any) -> None:
    before = _VISITOR.get()
    _VISITOR.set(b"somebody")
    headers = [(b"content-length", b"%d" % len(before))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": before})


def greets_in_a_thread(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    before = _VISITOR.get()
    _VISITOR.set(b"somebody")
    start_response("200 OK", [])
    return [before]


GREETERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "async": (served, greets),
    "thread": (served_in_threads, greets_in_a_thread),
}


@pytest.mark.parametrize(("serve", "app"), GREETERS.values(), ids=GREETERS)
def test_no_request_sees_the_context_of_the_one_before(
    host: Host, serve: Callable[..., Any], app: Any
) -> None:
    """Nor those that are sent at once, the second of which begins where the first ends."""
    with serve(host, app) as running, running.connect() as connection:
        connection.sendall(request(HOST) * 3 + request(HOST, CLOSE))
        received = read_to_the_end(connection)
    assert received.count(b"nobody") == 4


# The end of a connection

MEGABYTE = 1024 * 1024


async def too_large(scope: Any, receive: Any, send: Any) -> None:
    """Answers before it has read anything, and closes the connection."""
    headers = [(b"content-length", b"9"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b"too large"})


async def too_large_and_fails(scope: Any, receive: Any, send: Any) -> None:
    """As frameworks do that answer an error, and raise it again for the server's log."""
    await too_large(scope, receive, send)
    raise ValueError("after the answer")


UPLOADS = {
    "the app closes": (too_large, request(HOST, f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.1")),
    "the app fails": (
        too_large_and_fails,
        request(HOST, f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.1"),
    ),
    "the client closes": (
        too_large,
        request(HOST, CLOSE, f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.1"),
    ),
    "HTTP/1.0": (too_large, request(f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.0")),
}


@pytest.mark.parametrize(("app", "head"), UPLOADS.values(), ids=UPLOADS)
def test_an_answer_to_an_upload_that_nobody_reads(host: Host, app: Any, head: bytes) -> None:
    """It comes to a client that reads only when it has sent everything."""
    with served(host, app) as running, running.connect() as connection:
        connection.sendall(head)
        for _ in range(20):
            connection.sendall(bytes(MEGABYTE))
        answer = read_to_the_end(connection)
    assert statuses(answer) == [413]
    assert answer.endswith(b"\r\n\r\ntoo large")


def test_requests_behind_the_last_answer_do_not_reset_it(host: Host) -> None:
    """Those of a client that sends several at once, and does not know that the first is the last."""
    with served(host, too_large) as running, running.connect() as connection:
        connection.sendall(request(HOST) * 3)
        read_until(connection, b"too large")
        for _ in range(3):
            connection.sendall(request(HOST))
        assert connection.recv(1) == b""


async def large_stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(20):
        await send({"type": "http.response.body", "body": bytes(MEGABYTE), "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})


def test_a_client_that_sends_no_more_and_is_slow(host: Host) -> None:
    """Nothing can be written while it is behind: that says nothing of whether it has left."""
    with served(host, large_stream) as running, running.connect() as connection:
        connection.sendall(request(HOST))
        read_until(connection, b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(1.5)  # it reads nothing for longer than a silent client is waited for
        assert read_to_the_end(connection).endswith(b"end\r\n0\r\n\r\n")


def answers_and_reads(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """Sends more than is on its way, and reads the request's body then."""
    start_response("200 OK", [])
    yield bytes(10 * MEGABYTE)
    size = 0
    while part := environ["wsgi.input"].read(65536):
        size += len(part)
    yield b"%d bytes" % size


def test_a_client_that_reads_when_it_has_sent_everything(host: Host) -> None:
    """The thread takes the body meanwhile, though the client is behind with the response."""
    head = request(HOST, CLOSE, f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.1")
    with served_in_threads(host, answers_and_reads) as running, running.connect() as connection:
        connection.sendall(head)
        for _ in range(20):
            connection.sendall(bytes(MEGABYTE))
        answer = read_to_the_end(connection)
    assert answer.endswith(b"\r\n%d bytes\r\n0\r\n\r\n" % (20 * MEGABYTE))


def test_an_answer_larger_than_what_is_on_its_way(host: Host) -> None:
    """The client's time begins when it has all of it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % size), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    size = 8 * MEGABYTE
    head = request(HOST, f"Content-Length: {20 * MEGABYTE}", line="POST / HTTP/1.1")
    with served(host, app) as running, running.connect() as connection:
        connection.sendall(head)
        assert connection.recv(1) == b"H"
        time.sleep(3)  # longer than it may pause with the answer in its hands
        received = read_to_the_end(connection)
    assert received.endswith(bytes(size))


def send_for(seconds: float, connection: socket.socket, data: bytes, *, pause: float = 0.0) -> None:
    """Send it again and again."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        connection.sendall(data)
        time.sleep(pause)


def test_a_client_that_sends_without_end(host: Host) -> None:
    head = request(HOST, "Transfer-Encoding: chunked", line="POST / HTTP/1.1")
    chunk = b"100000\r\n" + bytes(MEGABYTE) + b"\r\n"
    with served(host, too_large) as running, running.connect() as connection:
        connection.sendall(head)
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            send_for(60, connection, chunk)
        assert time.monotonic() - begun < 40


def test_a_client_that_drips_without_end() -> None:
    head = request(HOST, "Transfer-Encoding: chunked", line="POST / HTTP/1.1")
    with served(Host("uvicorn", "uvloop"), too_large) as running, running.connect() as connection:
        connection.sendall(head)
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            send_for(60, connection, b"x", pause=0.1)
        assert 5 < time.monotonic() - begun < 40


def test_a_client_that_leaves_its_side_open(host: Host) -> None:
    """The connection is closed all the same: then what the client sends is reset."""
    with served(host, too_large) as running, running.connect() as connection:
        connection.sendall(request(HOST))
        assert statuses(read_to_the_end(connection)) == [413]
        time.sleep(3)  # longer than it may pause
        with pytest.raises(ConnectionError):
            send_for(5, connection, b"x", pause=0.05)


class Begins:
    """An ASGI app that begins its response, and ends it when it is told to."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while not self.may_end.is_set():  # noqa: ASYNC110  # the test, in another thread, sets it
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"ended"})


@pytest.mark.parametrize("body", [b"", b"half"], ids=["whole", "half a body"])
def test_a_server_that_stops_does_not_keep_a_connection_whose_answer_had_begun(
    host: Host, body: bytes
) -> None:
    """It had not said that it is the last one; the connection is closed before its time is up."""
    app = Begins()
    sent = request(HOST, f"Content-Length: {len(body) * 2}", line="POST / HTTP/1.1", body=body)
    options = {"http": http_server(Limits()), "lifespan": "off", "timeout_keep_alive": 60}
    with host(app, **options) as running, running.connect() as idle, running.connect() as connection:
        connection.sendall(sent)
        read_until(connection, b"begun\r\n")
        running.begin_to_stop()
        assert idle.recv(1) == b""  # the server has begun to stop
        app.may_end.set()
        connection.settimeout(3)
        assert read_to_the_end(connection).endswith(b"ended\r\n0\r\n\r\n")


def test_a_server_that_stops_does_not_wait_for_clients_that_have_their_answer() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.1):
                connection.sendall(b"x")

    limit = ("--limit-request-body", "10")
    with Serving("shop:app", "--port", "0", *limit) as serving, serving.connect() as connection:
        connection.sendall(request(HOST, "Content-Length: 100000", line="POST /size HTTP/1.1"))
        received = read_until(connection, b"\r\n\r\n")
        assert statuses(received) == [413]
        dripping = threading.Thread(target=drip, args=[connection])
        dripping.start()
        try:
            begun = time.monotonic()
            serving.signal(signal.SIGTERM)
            assert serving.finish() == 0
            assert time.monotonic() - begun < 5
        finally:
            stop.set()
            dripping.join()


# What an app hears, and what is said of it


_TUTORIAL = """
from flask import Flask, Response, request

app = Flask(__name__)

@app.get("/events")
def events():
    headers = {"Connection": "keep-alive", "Keep-Alive": "timeout=5"}
    return Response((f"data: {number}" for number in range(3)), mimetype="text/event-stream", headers=headers)

@app.get("/server")
def server():
    return request.environ["SERVER_SOFTWARE"]
"""


def test_an_app_after_a_tutorial(tmp_path: Path) -> None:
    (tmp_path / "tutorial.py").write_text(_TUTORIAL)
    with Serving("tutorial:app", "--port", "0", "--log-level", "debug", cwd=tmp_path) as serving:
        for _ in range(3):
            answer = serving.get("/events")
            assert answer.text == "data: 0data: 1data: 2"
            assert answer.headers["Keep-Alive"] is None
        assert serving.get("/server").text == f"bridge/{__version__}"
        with serving.connect() as connection:
            connection.sendall(request(HOST, CLOSE, line="OPTIONS * HTTP/1.1"))
            assert statuses(read_to_the_end(connection)) == [404]  # of Flask, not a redirect to its root
        serving.signal(signal.SIGTERM)
        assert serving.finish() == 0
    told = re.findall(r"^(\w+): .*removed the app's header '([a-z-]+)'", serving.stderr, re.MULTILINE)
    assert sorted(told) == [("DEBUG", "connection"), ("DEBUG", "keep-alive")]

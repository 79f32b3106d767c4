"""`bridge.server.protocol` over real sockets: what is let through, what is refused, and what the app sees."""

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.http.limits import Limits
from tests.hosts import Host
from tests.server.wire import http_server
from tests.sockets import read_to_the_end, read_until

UVICORN = Host("uvicorn", "uvloop")

LIMITS = Limits(
    request_line=200,
    header_count=8,
    header_size=300,
    head_size=1000,
    body_size=10_000,
    first_byte=0.3,
    head_time=0.3,
    body_pause=0.3,
)


class App:
    """An ASGI app that says how large the body was, and writes down what it saw."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.disconnects = 0
        self.answers_first = False
        self.waits = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.scopes.append(scope)
        if self.answers_first:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"first", "more_body": False})
            return
        size, more = 0, True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.disconnects += 1
                return
            size += len(event["body"])
            more = event["more_body"]
        await asyncio.sleep(self.waits)
        body = b"%d" % size
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


@contextmanager
def served(app: App, limits: Limits = LIMITS) -> Iterator[Callable[[], socket.socket]]:
    """A function that connects to the app, served with these limits."""
    protocol = http_server(limits)
    with UVICORN(app, http=protocol, lifespan="off") as host:
        yield host.connect


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def request(*fields: str, line: str = "GET / HTTP/1.1", body: bytes = b"") -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1") + body


HOST = "Host: example.org"
CHUNKED = "Transfer-Encoding: chunked"

# One of each place that refuses; all shapes that are refused: `test_http_letter`.
REQUESTS: dict[str, tuple[bytes, int]] = {
    "a request": (request(HOST, "Connection: close"), 200),
    "without a Host": (request(), 400),
    "without a Host in HTTP/1.0": (request(line="GET / HTTP/1.0"), 200),
    "a long request line": (request(HOST, line=f"GET /{'x' * 200} HTTP/1.1"), 414),
    "many header fields": (request(HOST, *["A: b"] * 8), 431),
    "a large header field": (request(HOST, "A: " + "x" * 300), 431),
    "header fields that are large in all": (request(HOST, *["A: " + "x" * 200] * 5), 431),
    "a space before the colon": (request(HOST, "A : b"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "a body that is too large": (request(HOST, "Content-Length: 10001", line="POST / HTTP/1.1"), 413),
}


@pytest.mark.parametrize(("sent", "status"), REQUESTS.values(), ids=REQUESTS)
def test_requests(sent: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(sent)
        answers = read_to_the_end(connection)
    assert statuses(answers) == [status]
    assert len(app.scopes) == (status == 200)
    refused = [record for record in caplog.records if record.name == "bridge"]
    assert len(refused) == (status != 200)
    if status != 200:
        assert b"connection: close" in answers
        assert f"127.0.0.1: {status}. " in refused[0].getMessage()


def test_a_request_of_the_right_size_byte_by_byte() -> None:
    app = App()
    sent = request(HOST, "Content-Length: 5", line="POST / HTTP/1.1", body=b"12345")
    with served(app) as connect, connect() as connection:
        for at in range(len(sent)):
            connection.sendall(sent[at : at + 1])
        assert read_until(connection, b"\r\n\r\n5").endswith(b"5")


# Heads that never end


ENDLESS = {
    "a request line": (b"GET /", b"x" * 1000, 414),
    "a header field": (b"GET / HTTP/1.1\r\nA: ", b"x" * 1000, 431),
    "header fields": (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 100, 431),
}


@pytest.mark.parametrize(("begin", "more", "status"), ENDLESS.values(), ids=ENDLESS)
def test_heads_without_an_end(begin: bytes, more: bytes, status: int) -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(begin)
        for _ in range(20):
            connection.sendall(more)
        assert statuses(read_to_the_end(connection)) == [status]
    assert not app.scopes


# Chunked bodies


def chunks(*parts: bytes, trailers: bytes = b"") -> bytes:
    encoded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return encoded + b"0\r\n" + trailers + b"\r\n"


POST = request(HOST, CHUNKED, line="POST / HTTP/1.1")


def test_trailers_do_not_become_headers() -> None:
    """RFC 9110, 6.5.1. In one read with the head they would be in the scope before the app looks."""
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(POST + chunks(b"hello", trailers=b"X-Forwarded-For: 10.0.0.1\r\n"))
        assert read_until(connection, b"\r\n\r\n5").endswith(b"5")
    (scope,) = app.scopes
    assert [name for name, _ in scope["headers"]] == [b"host", b"transfer-encoding"]


BODIES = {
    "as large as it may be": (chunks(b"x" * 5000, b"x" * 5000), 200),
    "one byte larger": (chunks(b"x" * 5000, b"x" * 5001), 413),
    "trailers without an end": (b"1\r\nx\r\n0\r\n" + b"A: b\r\n" * 1000, 431),
    "a trailer without an end": (b"1\r\nx\r\n0\r\nA: " + b"b" * 3000, 431),
    "an extension without an end": (b"1\r\nx\r\n1;" + b"b" * 3000, 431),
    "a chunk size that is no number": (b"x\r\n", 400),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_chunked_bodies(body: bytes, status: int) -> None:
    """The app has begun by then; it hears of a disconnect, and the client gets the server's answer."""
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(POST)
        time.sleep(0.05)  # for the head and the body not to be one read
        for at in range(0, len(body), 700):
            connection.sendall(body[at : at + 700])
            time.sleep(0.01)  # one read may hold as much as there is
        connection.settimeout(5)
        if status == 200:
            assert read_until(connection, b"\r\n\r\n10000").endswith(b"10000")
        else:
            assert statuses(read_to_the_end(connection)) == [status]
    assert app.disconnects == (status != 200)


def test_an_answer_that_has_begun_is_cut_not_answered_twice() -> None:
    app = App()
    app.answers_first = True
    with served(app) as connect, connect() as connection:
        connection.sendall(POST)
        first = connection.recv(65536)
        connection.sendall(chunks(*[b"x" * 1000] * 20))
        assert statuses(first + read_to_the_end(connection)) == [200]


# Pipelined requests


def test_an_earlier_request_is_answered_before_the_connection_ends() -> None:
    app = App()
    app.waits = 0.1
    with served(app) as connect, connect() as connection:
        connection.sendall(request(HOST) + request("Host: a/b"))
        answers = read_to_the_end(connection)
    assert statuses(answers) == [200, 400]
    assert len(app.scopes) == 1


def test_two_requests_at_once() -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(request(HOST) + request(HOST, "Connection: close"))
        assert statuses(read_to_the_end(connection)) == [200, 200]


async def large_and_small(scope: Any, receive: Any, send: Any) -> None:
    """Answers a GET with more than is on its way, and a POST before its body is there."""
    body = b"x" * (16 << 20 if scope["method"] == "GET" else 2)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def test_an_app_that_waits_for_a_slow_client_hears_of_a_refusal() -> None:
    """The answer before is not read, so it cannot send; and then what it answers is refused."""
    begun, ended = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            begun.set()
        await large_and_small(scope, receive, send)
        if scope["method"] == "POST":
            ended.set()

    with UVICORN(app, http=http_server(Limits()), lifespan="off") as host, host.connect() as connection:
        connection.sendall(request(HOST) + POST)
        assert begun.wait(10)
        connection.sendall(b"no chunk\r\n")
        assert ended.wait(10)
        assert statuses(read_to_the_end(connection)) == [200, 400]


# How many at once


def test_requests_are_limited_and_idle_connections_are_not() -> None:
    app = App()
    app.waits = 1.0
    protocol = http_server(Limits())
    with (
        UVICORN(app, http=protocol, lifespan="off", limit_concurrency=1) as host,
        host.connect() as kept,
        host.connect() as idle,
        host.connect() as busy,
    ):
        kept.sendall(request(HOST))
        assert statuses(read_until(kept, b"\r\n\r\n0")) == [200]
        time.sleep(0.1)  # its task ends after its answer
        busy.sendall(request(HOST))
        time.sleep(0.1)
        idle.sendall(request(HOST))
        refused = read_to_the_end(idle)
        assert statuses(refused) == [503]
        assert b"retry-after: 1" in refused
        assert statuses(read_until(busy, b"\r\n\r\n0")) == [200]


# Deadlines


SLOW = {
    "nothing at all": b"",
    "a part of the request line": b"GET / HT",
    "a part of the head": b"GET / HTTP/1.1\r\nHost: exam",
    "a part of the body": request(HOST, "Content-Length: 100", line="POST / HTTP/1.1", body=b"x"),
    "a part of a chunked body": POST + b"5\r\nhel",
    "a second request that is not whole": request(HOST) + b"GET / HTTP/1.1\r\n",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_clients_that_stop_sending(sent: bytes) -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(sent)
        before = time.monotonic()
        answers = read_to_the_end(connection)
    assert statuses(answers)[-1] == 408
    assert 0.2 < time.monotonic() - before < 5


def test_a_head_that_drips_is_not_waited_for() -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.settimeout(0.02)
        before = time.monotonic()
        received = b""
        for byte in request(HOST, "A: " + "x" * 200):
            connection.sendall(bytes([byte]))
            try:
                received = connection.recv(65536)
                break
            except TimeoutError:
                continue
    assert statuses(received) == [408]
    assert time.monotonic() - before < 2


def test_a_body_that_keeps_coming_is_waited_for() -> None:
    """The deadline is for a pause, not for the whole: an upload may take as long as it takes."""
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(request(HOST, "Content-Length: 8", line="POST / HTTP/1.1"))
        for _ in range(8):
            time.sleep(0.1)
            connection.sendall(b"x")
        assert read_until(connection, b"\r\n\r\n8").endswith(b"8")


def test_an_app_that_takes_long_is_waited_for() -> None:
    app = App()
    app.waits = 0.8
    with served(app) as connect, connect() as connection:
        connection.sendall(request(HOST))
        assert read_until(connection, b"\r\n\r\n0").endswith(b"0")


def test_of_a_client_s_request_only_method_and_path_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with served(App()) as connect, connect() as connection:
        connection.sendall(request("Host: sec\x1b[31mret/", line="GET /a%1B%0Apath?secret HTTP/1.1"))
        assert statuses(read_to_the_end(connection)) == [400]
    logged = "".join(record.getMessage() for record in caplog.records if record.name == "bridge")
    assert r"refused GET /a\x1b\npath from 127.0.0.1: 400. " in logged
    assert "sec" not in logged


def test_a_handshake_that_nobody_serves_is_a_request_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    handshake = request(HOST, "Connection: Upgrade, close", "Upgrade: websocket")
    with (
        UVICORN(app, http=http_server(Limits()), lifespan="off", ws="none") as host,
        host.connect() as connection,
    ):
        connection.sendall(handshake)
        assert statuses(read_to_the_end(connection)) == [200]
    assert caplog.text.count("asks for a websocket, and none are served") == 1

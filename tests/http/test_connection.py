"""What our own HTTP does with a connection that others do not: for WSGI and ASGI apps, on both loops."""

import asyncio
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

from bridge import WSGIToASGI
from bridge.http.exchange import Exchange, Hook
from tests.hosts import Host
from tests.server.wire import Asked, exchange, http_server
from tests.sockets import read_to_the_end, read_until

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
LOOPS = [Host("uvicorn", "asyncio"), Host("uvicorn", "uvloop")]
SIZE = 5_000_001


def wsgi_app(path: Path) -> flask.Flask:
    app = flask.Flask("app")
    app.add_url_rule("/plain", "plain", lambda: "plain")
    app.add_url_rule("/stream", "stream", lambda: flask.Response(str(n) for n in range(5)))
    app.add_url_rule("/reason", "reason", lambda: flask.Response("", "299 Just so"))
    app.add_url_rule("/file", "file", lambda: flask.send_file(path, "application/x-a", conditional=True))

    @app.get("/async")
    async def on_the_loop() -> str:
        await asyncio.sleep(0.1)
        return "async"

    return app


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(params=LOOPS, ids=lambda host: host.loop)
def connected(request: pytest.FixtureRequest, file: Path) -> Iterator[socket.socket]:
    adapter = WSGIToASGI(wsgi_app(file))
    with (
        request.param(adapter, http=http_server(adapter=adapter)) as running,
        running.connect() as connection,
    ):
        yield connection


@pytest.mark.parametrize(
    ("paths", "ends"),
    [
        ([b"plain"], [b"plain"]),
        ([b"async"], [b"async"]),
        ([b"stream"], [b"0\r\n\r\n"]),
        ([b"async", b"plain", b"async"], [b"async", b"plain", b"async"]),
    ],
)
def test_a_client_that_closes_its_direction_is_answered(
    connected: socket.socket, paths: list[bytes], ends: list[bytes]
) -> None:
    connected.sendall(b"".join(GET % path for path in paths))
    connected.shutdown(socket.SHUT_WR)
    answers = read_to_the_end(connected).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == len(ends)
    for answer, end in zip(answers, ends, strict=True):
        assert answer.endswith(end)


def test_a_request_that_is_not_whole_when_its_client_closes_its_direction(connected: socket.socket) -> None:
    """RFC 9112, 8."""
    connected.sendall(b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Len")
    connected.shutdown(socket.SHUT_WR)
    assert read_to_the_end(connected).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", LOOPS, ids=lambda host: host.loop)
def test_a_client_that_has_left_is_noticed(host: Host) -> None:
    begun, left = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    with host(app, http=http_server(), lifespan="off") as running:
        with running.connect() as connection:
            connection.sendall(GET % b"")
            assert begun.wait(10)
        assert left.wait(10)


def test_the_reason_phrase_is_the_app_s(connected: socket.socket) -> None:
    connected.sendall(GET % b"reason")
    assert read_until(connected, b"\r\n\r\n").startswith(b"HTTP/1.1 299 Just so\r\n")


def test_a_file_and_the_request_behind_it(connected: socket.socket, file: Path) -> None:
    connected.sendall(GET % b"file" + GET % b"plain")
    connected.shutdown(socket.SHUT_WR)
    head, _, rest = read_to_the_end(connected).partition(b"\r\n\r\n")
    assert b"content-length: %d" % SIZE in head
    assert rest[:SIZE] == file.read_bytes()
    assert rest[SIZE:].startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\nplain")


@pytest.mark.parametrize(("given", "first", "last"), [("0-9", 0, 9), ("4000000-", 4_000_000, SIZE - 1)])
def test_a_part_of_a_file(connected: socket.socket, file: Path, given: str, first: int, last: int) -> None:
    """RFC 9110, 14."""
    connected.sendall(f"GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes={given}\r\n\r\n".encode())
    connected.shutdown(socket.SHUT_WR)
    head, _, body = read_to_the_end(connected).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 ")
    assert b"content-range: bytes %d-%d/%d" % (first, last, SIZE) in head
    assert body == file.read_bytes()[first : last + 1]


def test_a_client_that_leaves_a_file(connected: socket.socket) -> None:
    connected.sendall(GET % b"file")
    assert connected.recv(10) == b"HTTP/1.1 2"
    connected.close()  # the fixture's host ends, so the thread does, too


@pytest.mark.parametrize("host", LOOPS, ids=lambda host: host.loop)
def test_an_app_that_never_waits_leaves_others_their_turn(host: Host) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["path"] == "/endless" and not is_served.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})
        is_served.set()

    is_served = threading.Event()
    with (
        host(app, http=http_server(), lifespan="off") as running,
        running.connect() as endless,
        running.connect() as other,
    ):
        endless.sendall(GET % b"endless")
        other.sendall(GET % b"")
        assert read_until(other, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert is_served.wait(10)


class Broken(Hook):
    """Fails for one path."""

    def on_request(self, exchange: Exchange) -> None:
        """See `Hook`."""
        if exchange.request.path == b"/broken":
            raise LookupError("on purpose")


async def test_a_hook_that_fails_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """Also behind another request, where nobody else would answer."""
    app = Asked()
    wire = await exchange(app, [GET % b"first" + GET % b"broken" + GET % b"last"], hooks=[Broken()])
    assert re.findall(rb"HTTP/1\.1 (\d+)", wire.sent) == [b"200", b"500", b"200"]
    assert [path for _, path, _ in app.requests] == ["/first", "/last"]
    assert "LookupError: on purpose" in caplog.text

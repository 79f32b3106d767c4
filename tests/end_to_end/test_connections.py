"""Connections to real servers: kept, pipelined, many at once, and open when the server stops."""

import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.types import StartResponse, WSGIEnvironment
from tests.end_to_end.raw import RawClient
from tests.hosts import Host

PLAIN = [("Content-Type", "text/plain")]


def _echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    return [environ["PATH_INFO"].encode("latin-1"), b" ", environ["wsgi.input"].read()]


def _stream_echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield environ["PATH_INFO"].encode("latin-1")
    while data := environ["wsgi.input"].read(3):
        yield b" " + data


def test_a_hundred_requests_on_one_connection(host: Host) -> None:
    with host(WSGIToASGI(_echo)) as server, RawClient(server) as client:
        for number in range(100):
            if number % 2:
                client.post(b"/%d" % number, body=b"body %d" % number)
                expected = b"/%d body %d" % (number, number)
            else:
                client.get(b"/%d" % number)
                expected = b"/%d " % number
            assert client.answer().body == expected


@pytest.mark.parametrize("app", [_echo, _stream_echo])
def test_pipelined_requests_are_answered_in_order(host: Host, app: Any) -> None:
    """Several requests in one packet: some with a body, none of which is another's."""
    post = b"POST /%d HTTP/1.1\r\nHost: testserver\r\nContent-Length: 3\r\n\r\n%03d"
    get = b"GET /%d HTTP/1.1\r\nHost: testserver\r\n\r\n"
    requests = [post % (number, number) if number % 3 else get % number for number in range(10)]
    with host(WSGIToASGI(app)) as server, RawClient(server) as client:
        client.send(b"".join(requests))
        bodies = [client.answer().body.rstrip() for _ in requests]
    assert bodies == [
        b"/%d %03d" % (number, number) if number % 3 else b"/%d" % number for number in range(10)
    ]


def test_many_clients_at_once_are_not_mixed_up(host: Host) -> None:
    def ask(number: int) -> list[int]:
        wrong = []
        with RawClient(server) as client:
            for request in range(number, number + 4):
                body = b"%d," % request * (request * 7 % 5000)
                client.post(b"/%d" % request, body=body)
                if client.answer().body != b"/%d %b" % (request, body):
                    wrong.append(request)
        return wrong

    with host(WSGIToASGI(_echo, threads=20)) as server, ThreadPoolExecutor(200) as clients:
        assert list(clients.map(ask, range(200))) == [[]] * 200


class InFlight:
    """An app with a response that is under way, and one that is not."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.log: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/stream":
            return self.stream(start_response)
        return _echo(environ, start_response)

    def stream(self, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"one, "
        self.may_go_on.wait()
        yield b"two, "
        yield b"three"
        self.log.append("the response is complete")

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        self.log.append("start")
        yield
        self.log.append("stop")


def test_a_server_that_stops_finishes_what_is_under_way(host: Host) -> None:
    app = InFlight()
    adapter = WSGIToASGI(app, lifespan=app.lifespan)
    with host(adapter) as server, RawClient(server) as idle, RawClient(server) as client:
        idle.get()
        assert idle.answer().status == 200
        client.get(b"/stream")
        client.put_back(client.receive())
        server.begin_to_stop()
        assert idle.receive() == b""  # both hosts first close the connections that do nothing
        app.may_go_on.set()
        assert client.answer().body == b"one, two, three"
    assert app.log == ["start", "the response is complete", "stop"]

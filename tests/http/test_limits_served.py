"""The limits and deadlines of `bridge serve` itself, from options to sockets, on one and two workers."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.http.test_protocol import ENDLESS, HOST, REQUESTS, SLOW, request, statuses
from tests.server.command import Serving
from tests.server.steady import SteadyClients
from tests.sockets import read_to_the_end

# Nobody reads what it writes while the clients are at work; at some length it would have to wait.
QUIET = ("--port", "0", "--no-access-log")

DRIPS = "a head that drips"

LIMITS = {
    "--limit-request-line": "200",
    "--limit-request-fields": "8",
    "--limit-request-field-size": "300",
    "--limit-request-head": "1000",
    "--limit-request-body": "10000",
    "--timeout-first-byte": "1",
    "--timeout-request-head": "1",
    "--timeout-request-body": "1",
}


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"], scope="module")
def serving(request: pytest.FixtureRequest) -> Iterator[Serving]:
    typed = [text for option in LIMITS.items() for text in option]
    with Serving("shop:app", *QUIET, "--workers", str(request.param), *typed) as serving:
        serving.wait_for("Application startup complete", times=request.param)
        yield serving


@pytest.mark.parametrize(("sent", "status"), REQUESTS.values(), ids=REQUESTS)
def test_requests(serving: Serving, sent: bytes, status: int) -> None:
    with serving.connect() as connection:
        connection.sendall(sent)
        assert statuses(read_to_the_end(connection)) == [status]
    if status != 200:
        serving.wait_for(rf"refused (a request|[A-Z]+ \S+) from 127\.0\.0\.1: {status}\. ")


@pytest.mark.parametrize(("begin", "more", "status"), ENDLESS.values(), ids=ENDLESS)
def test_heads_without_an_end(serving: Serving, begin: bytes, more: bytes, status: int) -> None:
    with serving.connect() as connection:
        connection.sendall(begin + more * 3)
        assert statuses(read_to_the_end(connection)) == [status]


def test_a_chunked_body_is_counted_as_it_arrives(serving: Serving) -> None:
    with serving.connect() as connection:
        connection.sendall(request(HOST, "Transfer-Encoding: chunked", line="POST /size HTTP/1.1"))
        connection.sendall((b"400\r\n" + b"x" * 1024 + b"\r\n") * 10)  # and it has not ended
        assert statuses(read_to_the_end(connection)) == [413]


def test_slow_clients_are_closed_in_time_and_fast_ones_served(serving: Serving) -> None:
    with SteadyClients(serving, number=4, keep_alive=True) as clients:
        begun = time.monotonic()
        with contextlib.ExitStack() as stack:
            slow = {what: stack.enter_context(serving.connect()) for what in (*SLOW, DRIPS)}
            for what, sent in SLOW.items():
                slow[what].sendall(sent.replace(b"POST / ", b"POST /size "))
            answers = {DRIPS: drip(slow[DRIPS])} | {what: read_to_the_end(slow[what]) for what in SLOW}
        took = time.monotonic() - begun
        clients.wait_for_more()
    assert {what: statuses(answer)[-1:] for what, answer in answers.items()} == {what: [408] for what in slow}
    assert 0.9 < took < 8
    assert clients.failed == []


def drip(connection: socket.socket) -> bytes:
    """Send a head byte by byte until there is an answer."""
    connection.settimeout(0.05)
    for byte in request(HOST, "A: " + "x" * 200):
        connection.sendall(bytes([byte]))
        try:
            return connection.recv(65536)
        except TimeoutError:
            continue
    raise AssertionError("it was read to its end")

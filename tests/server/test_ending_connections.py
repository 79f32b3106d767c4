"""A server's end with a connection that cannot be ended in good order: the others have theirs."""

import contextlib
import re
import signal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bridge.runners.streams import Streams
from tests.server.command import Serving

OPTIONS = (
    "--port",
    "0",
    "--interface",
    "asgi",
    "--http",
    "stubborn:Connection",
    "--ws",
    "stubborn:WebSocket",
)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_a_connection_that_fails_at_the_end(workers: tuple[str, ...]) -> None:
    with Serving("stubborn:app", *OPTIONS, *workers) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(10)]
        ws = stack.enter_context(connect("ws://localhost/", sock=server.connect()))
        busy = [stack.enter_context(server.connection()) for _ in range(5)]
        for connection in busy:
            connection.request("GET", "/")
        server.wait_for_access_log(r"(?s)(begun.*){5}")
        server.signal(signal.SIGTERM)
        assert [connection.getresponse().read() for connection in busy] == [b"done"] * 5
        for each in idle:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=10)
        assert server.finish() == 0
    assert server.stdout.count("the lifespan has ended") == (2 if workers else 1)
    told = re.findall(r"ERROR: +a connection could not be ended in good order, and was cut", server.stderr)
    assert len(told) == 11
    assert server.stderr.count("ZeroDivisionError: an idle connection") == 10
    assert server.stderr.count("ZeroDivisionError: a websocket") == 1


def test_a_stream_that_cannot_be_ended(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    class Link:
        def __init__(self, number: int) -> None:
            self.number = number

        def end(self) -> None:
            if self.number == 1:
                raise ZeroDivisionError
            ended.append(self.number)

    streams = Streams()
    streams.links.update(map(Link, range(3)))
    streams.end()
    assert sorted(ended) == [0, 2]
    assert [record.getMessage() for record in caplog.records] == ["a stream could not be ended"]

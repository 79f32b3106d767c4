"""Async websockets under `bridge serve`."""

import signal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.server.command import Serving


@pytest.mark.parametrize("path", ["/receives", "/waits"])
def test_server_that_stops_goes_away(path: str) -> None:
    with Serving("chatting:app") as serving:
        with connect("ws://localhost" + path, sock=serving.connect(), compression=None) as ws:
            assert ws.recv(timeout=10) == "here"
            serving.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                ws.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        assert serving.finish() == 0

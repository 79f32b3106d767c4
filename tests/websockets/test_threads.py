"""Flask-Sock, simple-websocket and others, unmodified, on a real uvicorn with a real client."""

import asyncio
import contextlib
import http.client
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bridge import WSGIToASGI
from bridge.http.limits import Limits
from tests.hosts import Host, RunningHost
from tests.server.command import Serving, without
from tests.server.wire import http_server
from tests.websockets.apps import socks

APPS = Path(__file__).parent / "apps"


# Where the app has one end of a pair, and where it has the client's connection.
PAIRS = ["websockets-sansio", "wsproto"]
OWN = "the client's connection"
WITH_PAIRS = pytest.mark.parametrize("protocol", PAIRS, indirect=True)


@pytest.fixture(params=[*PAIRS, OWN])
def protocol(request: pytest.FixtureRequest) -> str:
    """uvicorn's two implementations of websockets, and Bridge's HTTP, which gives connections away."""
    return str(request.param)


def options_for(protocol: str, adapter: WSGIToASGI) -> dict[str, Any]:
    """Return uvicorn's options."""
    return {"http": http_server(Limits(), adapter)} if protocol == OWN else {"ws": protocol}


@pytest.fixture
def serve(protocol: str) -> Callable[..., Any]:
    """Serves an app, on each of uvicorn's protocols; one of them on asyncio's own loop."""
    host = Host("uvicorn", "asyncio" if protocol == "wsproto" else "uvloop")

    def served(app: Any = None, **options: Any) -> contextlib.AbstractContextManager[RunningHost]:
        adapter = WSGIToASGI(app or socks.app, **options) if not isinstance(app, WSGIToASGI) else app
        return host(adapter, ws_max_size=50_000_000, **options_for(protocol, adapter))

    return served


@pytest.fixture(autouse=True)
def nothing_told() -> Iterator[None]:
    socks.release.clear()
    yield
    socks.release.set()
    with contextlib.suppress(queue.Empty):
        while True:
            socks.told.get_nowait()


def opened(host: RunningHost, path: str, **options: Any) -> ClientConnection:
    ws: ClientConnection = connect(f"ws://127.0.0.1:{host.port}{path}", max_size=None, **options)
    return ws


def close_of(ws: ClientConnection) -> tuple[int, str]:
    """How the other side closes it."""
    with pytest.raises(ConnectionClosed) as raised:
        ws.recv(timeout=10)
    assert raised.value.rcvd is not None
    return raised.value.rcvd.code, raised.value.rcvd.reason


def refusal_of(host: RunningHost, path: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as raised, opened(host, path):
        pass
    response = raised.value.response
    return response.status_code, bytes(response.body or b"")


def told() -> Any:
    return socks.told.get(timeout=10)


# Messages


def test_messages_go_both_ways(serve: Any) -> None:
    with serve() as host, opened(host, "/echo") as ws:
        for message in ("hi", "", "Grüße €", b"\x00\xff", b"", "x" * 70_000, b"x" * 70_000):
            ws.send(message)
            assert ws.recv(timeout=10) == message


def test_messages_of_5_megabytes(serve: Any) -> None:
    with serve() as host, opened(host, "/echo", compression=None) as ws:
        for large in (os.urandom(5_000_000), "ä" * 2_500_000):
            ws.send(large)
            assert ws.recv(timeout=15) == large


def test_fragments_of_the_client_arrive_as_one(serve: Any) -> None:
    with serve() as host, opened(host, "/echo") as ws:
        ws.send(["Gr", "üß", "e"])
        assert ws.recv(timeout=10) == "Grüße"


def test_fragments_of_the_library(serve: Any, protocol: str) -> None:
    with serve() as host, opened(host, "/by-hand/fragments") as ws:
        parts: tuple[list[Any], list[Any]] = list(ws.recv_streaming()), list(ws.recv_streaming())
        if protocol == OWN:
            assert parts == (["Grüße ", "an ", "alle"], [b"\x00", b"\x01"])  # as the library has sent them
            assert close_of(ws) == (1005, "")
        else:
            assert parts == (["Grüße an alle"], [b"\x00\x01"])
            assert close_of(ws) == (1000, "")


def test_pings_of_the_library_are_answered(serve: Any) -> None:
    with serve() as host, opened(host, "/by-hand/pings") as ws:
        assert ws.recv(timeout=10) == "anybody?"


def test_a_ping_interval_keeps_a_websocket_open(serve: Any) -> None:
    with serve(socks.pinging) as host, opened(host, "/echo") as ws:
        ended = threading.Event()
        assert not ended.wait(0.8)  # three intervals: without a Pong, the library closes after two
        ws.send("still here")
        assert ws.recv(timeout=10) == "still here"


# The handshake


def test_the_handler_sees_the_request(serve: Any) -> None:
    with serve() as host:
        connection = http.client.HTTPConnection("127.0.0.1", host.port)
        with contextlib.closing(connection):
            connection.request("GET", "/login/ann")
            cookie = connection.getresponse().headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": cookie, "X-Token": "t1"}
        with opened(
            host, "/seen/blue?q=a%20b", additional_headers=headers, subprotocols=["chat", "news"]
        ) as ws:
            assert ws.recv(timeout=10) == "blue a b ann t1"
            assert ws.recv(timeout=10) == f"GET http 127.0.0.1 127.0.0.1:{host.port}"
            assert ws.recv(timeout=10) == "None None"


def test_a_subprotocol_is_agreed_on(serve: Any) -> None:
    app = socks.make_app()
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["news"]}
    with serve(app) as host:
        with opened(host, "/echo", subprotocols=["chat", "news"]) as ws:
            assert ws.subprotocol == "news"
        with opened(host, "/echo", subprotocols=["chat"]) as ws:
            assert ws.subprotocol is None


def test_headers_of_the_101_arrive(serve: Any) -> None:
    with serve() as host, opened(host, "/by-hand/pings") as ws:
        assert ws.response is not None
        assert ws.response.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
        assert ws.response.headers["X-Library"] == "by hand"
        assert len(ws.response.headers.get_all("Upgrade")) == 1
        assert len(ws.response.headers.get_all("Sec-WebSocket-Accept")) == 1


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/before/401", 401, b"you shall not pass"),
        ("/before/404", 404, b"you shall not pass"),
        ("/before/200", 200, b"no websocket"),
        ("/before/500", 500, b"Internal Server Error"),
        ("/streamed", 409, b"not now"),
        ("/nowhere", 404, b"Not Found"),
        ("/plain", 400, b"Bad Request"),
    ],
)
def test_an_answer_in_place_of_a_101(serve: Any, path: str, status: int, text: bytes) -> None:
    with serve() as host:
        found, body = refusal_of(host, path)
    assert (found, text in body) == (status, True)


def test_a_plain_request_to_a_websocket_route(serve: Any) -> None:
    with serve() as host:
        connection = http.client.HTTPConnection("127.0.0.1", host.port)
        with contextlib.closing(connection):
            connection.request("GET", "/echo")
            assert connection.getresponse().status == 400


# The end


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4321, "Grüße")])
def test_the_handler_closes(serve: Any, code: int, reason: str) -> None:
    with serve() as host, opened(host, f"/close?code={code}&reason={reason}") as ws:
        assert close_of(ws) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4321, "Grüße")])
def test_the_client_closes(serve: Any, code: int, reason: str) -> None:
    with serve() as host:
        with opened(host, "/wait") as ws:
            ws.recv(timeout=10)
            ws.close(code, reason)
        assert told() == (code, reason)


def test_the_client_vanishes(serve: Any) -> None:
    with serve() as host, opened(host, "/wait") as ws:
        ws.recv(timeout=10)
        ws.socket.shutdown(socket.SHUT_RDWR)
        assert told()[0] in (1005, 1006)


def test_a_handler_returns(serve: Any) -> None:
    with serve() as host, opened(host, "/return") as ws:
        assert close_of(ws) == (1000, "")


@pytest.mark.parametrize("propagate", [False, True])
def test_a_handler_fails(serve: Any, propagate: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = socks.make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = propagate
    with serve(app) as host, opened(host, "/fail") as ws:
        assert ws.recv(timeout=10) == "so far"
        assert close_of(ws) == (1011, "")
    assert "what a handler may raise" in caplog.text


def test_a_handler_that_never_receives(serve: Any) -> None:
    """It is not waited for by its client, and ends when it likes."""
    with serve() as host:
        with opened(host, "/deaf") as ws:
            assert ws.recv(timeout=10) == "waiting"
        socks.release.set()
        assert told() == "released"


def test_a_message_larger_than_the_library_takes(serve: Any) -> None:
    with serve(socks.limited) as host:
        for size in (1001, 5_000_000):
            with opened(host, "/patient", compression=None) as ws:
                with contextlib.suppress(ConnectionClosed):
                    ws.send(bytes(size))
                assert close_of(ws) == (1009, "Message is too big")


@WITH_PAIRS
def test_a_library_that_breaks_the_protocol(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as host, opened(host, "/by-hand/breaks") as ws:
        assert close_of(ws) == (1011, "")
        ((code, reason),) = told()
    assert (code, "utf-8" in reason) == (1007, True)
    assert "/by-hand/breaks: the app's websocket library has broken the protocol (RFC 6455): 'utf-8'" in (
        caplog.text
    )


def test_a_library_that_closes_its_socket_only(serve: Any) -> None:
    """The client gets the close at once, however long the call goes on."""
    with serve() as host, opened(host, "/by-hand/leaves") as ws:
        assert close_of(ws) == (1011, "")
        socks.release.set()


# Backpressure


def test_a_client_that_does_not_read_holds_the_handler_back(serve: Any) -> None:
    with serve() as host, opened(host, "/flood", max_queue=2, compression=None) as ws:
        sent = -1
        with contextlib.suppress(queue.Empty):
            while True:
                sent = socks.told.get(timeout=0.5)
        assert 0 < sent < 500
        for number in range(1000):
            assert ws.recv(timeout=10) == number.to_bytes(4, "big") + bytes(65532)
        assert close_of(ws) == (1000, "")


def test_an_app_that_does_not_read_holds_the_client_back(serve: Any) -> None:
    with serve() as host, opened(host, "/by-hand/does-not-read", compression=None) as ws:
        assert ws.recv(timeout=10) == "accepted"
        sent = 0
        ws.socket.settimeout(0.5)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            while sent < 50_000_000:
                ws.send(bytes(1_000_000))
                sent += 1_000_000
        assert sent < 50_000_000
        socks.release.set()
        assert told() > sent / 2


# Threads


def test_websockets_have_threads_of_their_own(serve: Any) -> None:
    with serve(threads=1, websockets=3) as host, contextlib.ExitStack() as stack:
        threads = {stack.enter_context(opened(host, "/wait")).recv(timeout=10) for _ in range(3)}
        assert len(threads) == 3
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", host.port)) as connection:
            connection.request("GET", "/plain")
            assert connection.getresponse().read() == b"plain"
        assert refusal_of(host, "/wait") == (
            503,
            b"Service Unavailable: the server is busy, try again later.",
        )


def test_no_websockets(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serve(websockets=0) as host:
        assert refusal_of(host, "/echo")[0] == 503
    assert "`websockets` is how many may be open at once" in caplog.text


def test_nothing_is_left_of_80_websockets(serve: Any) -> None:
    with serve() as host:
        with opened(host, "/echo") as ws:
            ws.send("")
            ws.recv(timeout=10)
        wait_until_few(lambda: "bridge" in names())
        before = open_files()
        for number in range(80):
            with opened(host, ("/echo", "/return", "/wait", "/fail")[number % 4]) as ws:
                if number % 3 == 0:
                    with contextlib.suppress(OSError):  # the server was faster
                        ws.socket.shutdown(socket.SHUT_RDWR)
        wait_until_few(lambda: open_files() > before or "bridge" in names())


def names() -> str:
    return " ".join(sorted(thread.name for thread in threading.enumerate()))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_until_few(are_many: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while are_many():
        assert time.monotonic() < deadline, (open_files(), names())
        time.sleep(0.01)


# When the server stops


@WITH_PAIRS
def test_uvicorn_stops(serve: Any) -> None:
    """It closes websockets itself, and handlers get a disconnect."""
    with serve() as host, opened(host, "/wait") as ws:
        ws.recv(timeout=10)
        host.begin_to_stop()
        assert told()[0] == 1012
        assert close_of(ws)[0] == 1012


def test_an_adapter_ends_its_websockets(serve: Any, protocol: str) -> None:
    loops = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    adapter = WSGIToASGI(socks.app, lifespan=lifespan)
    with serve(adapter) as host, opened(host, "/wait") as ws, opened(host, "/deaf") as deaf:
        ws.recv(timeout=10)
        deaf.recv(timeout=10)
        loops[0].call_soon_threadsafe(adapter.end_streams)
        assert close_of(ws) == (1001, "")
        assert told() == (1001, "")
        assert close_of(deaf) == (1001, "")
        socks.release.set()
        assert refusal_of(host, "/wait")[0] == (503 if protocol == OWN else 403)  # one that is late


@WITH_PAIRS
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "two workers"])
def test_bridge_serve_stops(protocol: str, options: tuple[str, ...]) -> None:
    with Serving("socks:app", "--port", "0", "--ws", protocol, *options, cwd=APPS) as serving:
        with connect("ws://localhost/wait", sock=serving.connect()) as ws:
            ws.recv(timeout=10)
            serving.interrupt()
            assert close_of(ws) == (1001, "")
        assert serving.finish() == 0
    assert "Traceback" not in serving.stderr


# What is missing


def test_without_wsproto() -> None:
    """A pair needs it."""
    with Serving("plain:app", "--port", "0", "--http", "h11", cwd=APPS, python=without("wsproto")) as serving:
        with pytest.raises(InvalidStatus) as raised, connect("ws://localhost/", sock=serving.connect()):
            pass
        assert raised.value.response.status_code == 501
        serving.wait_for(
            r"a websocket needs the package wsproto, which is not installed: pip install wsproto"
        )


@pytest.mark.parametrize("mode", ["eventlet", "gevent"])
def test_a_library_for_another_kind_of_server(
    serve: Any, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask(__name__)
    app.extensions["socketio"] = SimpleNamespace(server=SimpleNamespace(async_mode=mode))
    with serve(app) as host:
        assert refusal_of(host, "/socket.io/")[0] == 501
    (message,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR][:1]
    assert message == (
        f'Socket.IO in async_mode="{mode}" needs a server of {mode}\'s own; '
        'here it is SocketIO(app, async_mode="threading")'
    )

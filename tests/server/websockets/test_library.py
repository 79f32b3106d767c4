"""The client's connection in the hands of a library: what the server still sees to."""

import asyncio
import contextlib
import select
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect
from wsproto.events import BytesMessage, TextMessage

from bridge import WSGIToASGI
from bridge.http.limits import Limits
from tests.hosts import Host, RunningHost
from tests.server.command import Serving
from tests.server.wire import http_server
from tests.sockets import read_until
from tests.websockets import autobahn
from tests.websockets.apps import socks
from tests.websockets.hosts import ROOT
from tests.websockets.test_threads import APPS, close_of, opened, told

__all__: list[str] = []

_HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YnJpZGdlIG1hZGUgaXQgdQ==\r\n\r\n"
)
_MAKE_CERTIFICATE = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
_HELLO = b"\x81\x85\x00\x00\x00\x00hello"
_CLOSE = b"\x88\x82\x00\x00\x00\x00" + (1000).to_bytes(2, "big")


@pytest.fixture(autouse=True)
def nothing_told() -> Iterator[None]:
    socks.release.clear()
    yield
    socks.release.set()


@pytest.fixture(params=["asyncio", "uvloop"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host("uvicorn", request.param)


def route(app: Flask) -> Callable[[Callable[[Server], None]], object]:
    """Flask-Sock's decorator, which has no types."""
    decorate: Callable[[Callable[[Server], None]], object] = Sock(app).route("/")
    return decorate


def served(
    host: Host, app: Any = socks.app, **options: Any
) -> contextlib.AbstractContextManager[RunningHost]:
    adapter = WSGIToASGI(app)
    return host(adapter, http=http_server(Limits(), adapter), **options)


def connected(host: RunningHost, path: bytes) -> socket.socket:
    """A client that knows less than the `websockets` package; its handshake has been sent."""
    client = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    client.sendall(_HANDSHAKE % path)
    return client


def test_the_library_has_the_clients_connection(host: Host) -> None:
    app = Flask(__name__)

    @route(app)
    def whose(ws: Server) -> None:
        ws.send(repr(request.environ["werkzeug.socket"].getpeername()))
        ws.receive()

    with served(host, app) as running, opened(running, "/") as ws:
        assert ws.recv(timeout=10) == repr(ws.local_address)
        assert ws.protocol.extensions == []  # the library compresses nothing


def test_a_message_larger_than_the_server_takes(host: Host) -> None:
    with served(host, ws_max_size=1000) as running:
        for sizes in ([1001], [500, 501], [5_000_000]):
            with opened(running, "/wait") as ws:
                ws.recv(timeout=10)
                with contextlib.suppress(ConnectionClosedError):
                    ws.send([bytes(size) for size in sizes])
                assert close_of(ws) == (1009, "")
                assert told() == (1009, "")
        with opened(running, "/echo") as ws:
            for _ in range(3):
                ws.send(bytes(1000))
                assert ws.recv(timeout=10) == bytes(1000)


def test_what_a_client_sends_before_it_was_accepted(host: Host) -> None:
    """It should wait (RFC 6455, 4.1), but nothing of it is lost."""
    app = Flask(__name__)

    @route(app)
    def echo(ws: Server) -> None:
        ws.send(ws.receive())

    @app.before_request
    def hold() -> None:
        socks.told.put("here")
        socks.release.wait(10)

    with served(host, app) as running, connected(running, b"/") as client:
        assert told() == "here"
        client.sendall(_HELLO[:4])
        client.sendall(_HELLO[4:])
        time.sleep(0.1)  # nothing tells that the server has it
        socks.release.set()
        assert read_until(client, b"\x81\x05hello").startswith(b"HTTP/1.1 101 ")


def test_a_client_that_leaves_before_it_was_accepted(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)

    @route(app)
    def never(ws: Server) -> None:
        ws.send("is anybody there?")
        ws.receive()

    @app.before_request
    def hold() -> None:
        socks.told.put("here")
        socks.release.wait(10)

    with served(host, app) as running:
        with connected(running, b"/") as client:
            assert told() == "here"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.1)  # nothing tells that the server knows
        socks.release.set()
    assert caplog.messages == []


@pytest.mark.parametrize("path", [b"/whole", b"/parts"])
def test_a_websocket_behind_an_answer_that_is_not_read(host: Host, path: bytes) -> None:
    """It has its turn when all of that has been sent; nobody else waits for the client meanwhile."""
    app = Flask(__name__)
    route(app)(lambda ws: ws.send("hello"))
    size = 8_000_000

    @app.get("/whole")
    def whole() -> bytes:
        return bytes(size)

    @app.get("/parts")
    def parts() -> Response:
        return Response((bytes(size // 100) for _ in range(100)), headers={"Content-Length": str(size)})

    @app.get("/other")
    def other() -> str:
        return "other"

    with served(host, app) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(10)
        client.connect(("127.0.0.1", running.port))
        client.sendall(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path)
        client.recv(4096, socket.MSG_PEEK)
        client.sendall(_HANDSHAKE % b"/")
        time.sleep(0.2)  # nothing tells that the server has it
        client.recv(4096)
        client.recv(4096)
        with contextlib.closing(HTTPConnection("127.0.0.1", running.port, timeout=5)) as connection:
            connection.request("GET", "/other")
            assert connection.getresponse().read() == b"other"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        received = bytearray()
        while b"\x81\x05hello" not in received[-100:] and (data := client.recv(1 << 20)):
            received += data  # the Close may have come along
        answer, _, _ = received.partition(b"HTTP/1.1 101 ")
        assert len(answer) > size - 8192
        assert answer.strip(b"\0") == b""


@pytest.mark.parametrize("how", ["resets", "ends", "closes"])
def test_a_client_that_leaves(host: Host, how: str) -> None:
    with served(host) as running, connected(running, b"/wait") as client:
        while b"\r\n\r\n\x81" not in client.recv(65536, socket.MSG_PEEK):
            pass
        if how == "resets":
            client.recv(65536)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        elif how == "ends":
            client.shutdown(socket.SHUT_WR)
        else:
            client.sendall(_CLOSE)
        assert told()[0] == (1000 if how == "closes" else 1005)
        if how != "resets":
            while client.recv(65536):  # to its end: the server leaves as well
                pass


def test_a_client_that_does_not_answer_a_close() -> None:
    with served(Host("uvicorn", "uvloop")) as running, connected(running, b"/return") as client:
        client.settimeout(20)
        while client.recv(65536):
            pass


def test_a_server_that_stops_while_a_client_does_not_read() -> None:
    """What the library is sending is cut short, for a Close could not reach the client."""
    typed = ("socks:app", "--port", "0", "--timeout-graceful-shutdown", "1")
    with (
        Serving(*typed, cwd=APPS) as serving,
        connect("ws://localhost/flood", sock=serving.connect(), max_queue=1, close_timeout=0.1) as ws,
    ):
        ws.recv(timeout=10)
        serving.interrupt()
        begun = time.monotonic()
        assert serving.finish() == 0
        assert time.monotonic() - begun < 5


def test_a_server_that_stops_while_an_app_holds_a_handshake() -> None:
    """There is an answer, as to any request that takes too long."""
    typed = ("socks:app", "--port", "0", "--timeout-graceful-shutdown", "1")
    with Serving(*typed, cwd=APPS) as serving, serving.connect() as client:
        client.sendall(_HANDSHAKE % b"/held")
        serving.wait_for("held")
        serving.interrupt()
        received = b""
        while data := client.recv(65536):
            received += data
        assert received.startswith(b"HTTP/1.1 503 ")
        assert received.count(b"HTTP/1.1") == 1
        assert serving.finish() == 0
    assert "Traceback" not in serving.stderr


def test_a_websocket_that_is_accepted_while_the_server_stops(host: Host) -> None:
    app = Flask(__name__)
    route(app)(lambda ws: ws.receive())
    loops = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    @app.before_request
    def hold() -> None:
        socks.told.put("here")
        socks.release.wait(10)

    adapter = WSGIToASGI(app, lifespan=lifespan)
    with (
        host(adapter, http=http_server(Limits(), adapter)) as running,
        connected(running, b"/") as client,
    ):
        assert told() == "here"
        loops[0].call_soon_threadsafe(adapter.end_streams)
        socks.release.set()
        assert read_until(client, b"\x88\x02\x03\xe9").startswith(b"HTTP/1.1 101 ")
        client.sendall(_CLOSE)
        while client.recv(65536):
            pass


def test_the_kernel_looks_after_the_connection(host: Host) -> None:
    app = Flask(__name__)

    @route(app)
    def options(ws: Server) -> None:
        connection = request.environ["werkzeug.socket"]
        level = socket.IPPROTO_TCP
        ws.send(
            repr(
                (
                    connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    connection.getsockopt(level, socket.TCP_KEEPIDLE),
                    connection.getsockopt(level, socket.TCP_KEEPINTVL),
                    connection.getsockopt(level, socket.TCP_USER_TIMEOUT),
                )
            )
        )

    for interval, timeout, expected in (
        (7.0, 5.0, "(1, 7, 5, 12000)"),
        (None, None, "(0, 7200, 75, 0)"),
        (0.0, 5.0, "(0, 7200, 75, 0)"),  # no pings, to uvicorn
        (1e6, 1e6, "(1, 32767, 32767, 2000000000)"),  # the most that Linux takes
        (1e9, 1e9, "(1, 32767, 32767, 2147483647)"),
    ):
        pings = {"ws_ping_interval": interval, "ws_ping_timeout": timeout}
        with served(host, app, **pings) as running, opened(running, "/") as ws:
            assert ws.recv(timeout=10) == expected


def test_a_client_that_does_not_read_is_given_up(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel tells `send()` or `recv()`; either way the library sees a client that has left."""
    app = Flask(__name__)

    @route(app)
    def flood(ws: Server) -> None:
        try:
            while True:
                ws.send(bytes(65536))
        except BaseException as error:
            socks.told.put(type(error))
            raise

    with (
        served(host, app, ws_ping_interval=0.5, ws_ping_timeout=0.5) as running,
        contextlib.ExitStack() as clients,
    ):
        several = [clients.enter_context(connected(running, b"/")) for _ in range(8)]
        assert {told() for _ in several} == {ConnectionClosed}
    assert caplog.messages == []


def test_the_loop_does_not_wait_for_a_library_with_a_timeout(host: Host) -> None:
    """A Close cannot be sent where a client does not read; Python would wait for that, or the timeout."""
    app = Flask(__name__)
    kept: list[socket.socket] = []

    @app.route("/", websocket=True)
    def fill() -> str:
        connection: socket.socket = request.environ["werkzeug.socket"]
        kept.append(connection)
        ws = socks._accepted(connection)
        connection.settimeout(15)
        message = ws.send(BytesMessage(data=bytes(100)))
        while select.select([], [connection], [], 0.2)[1]:
            connection.send(message)
        socks.told.put("full")
        return ""

    @app.get("/other")
    def other() -> str:
        return "other"

    with served(host, app) as running, connected(running, b"/"):
        assert told() == "full"
        time.sleep(0.1)  # nothing tells that the call has ended
        with contextlib.closing(HTTPConnection("127.0.0.1", running.port, timeout=5)) as connection:
            connection.request("GET", "/other")
            assert connection.getresponse().read() == b"other"
        kept.pop().close()


def test_pings_of_the_client_and_its_close_are_the_librarys(host: Host) -> None:
    with served(host) as running, opened(running, "/echo") as ws:
        assert ws.ping("still there?").wait(10)
        ws.close(3000, "enough")


@pytest.mark.parametrize("method", ["recv_into", "makefile", "peek", "nothing"])
def test_other_ways_to_read(host: Host, method: str) -> None:
    app = Flask(__name__)

    @app.route("/", websocket=True)
    def by_hand() -> str:
        connection: socket.socket = request.environ["werkzeug.socket"]
        ws = socks._accepted(connection)
        if method == "makefile":
            with connection.makefile("rb") as file:
                data = file.read(len(_HELLO))
        elif method == "peek":
            assert connection.recv(4, socket.MSG_PEEK) == _HELLO[:4]
            data = connection.recv(len(_HELLO), socket.MSG_WAITALL)
        elif method == "nothing":
            assert connection.recv(0) == b""
            data = connection.recv(100)
        else:
            buffer = bytearray(100)
            data = bytes(buffer[: connection.recv_into(buffer)])
        ws.receive_data(data)
        (message,) = ws.events()
        assert isinstance(message, TextMessage)
        connection.sendall(ws.send(message))
        connection.close()
        return ""

    with served(host, app) as running, connected(running, b"/") as client:
        read_until(client, b"\r\n\r\n")
        client.sendall(_HELLO)
        assert read_until(client, b"\x81\x05hello\x88\x02\x03\xf3")  # 1011: it just leaves


@pytest.mark.parametrize("is_accepted", [True, False])
def test_ways_that_are_not_there(host: Host, is_accepted: bool) -> None:
    """What goes by there would not be seen; before the 101, it would be written in its place."""
    app = Flask(__name__)
    ways = {
        "dup": (),
        "detach": (),
        "sendmsg": ([b"x"],),
        "sendto": (b"x", None),
        "sendfile": (None,),
        "recvfrom": (1,),
        "recvfrom_into": (bytearray(1),),
        "recvmsg": (1,),
        "recvmsg_into": ([bytearray(1)],),
    }

    @app.route("/", websocket=True)
    def by_hand() -> str:
        connection: socket.socket = request.environ["werkzeug.socket"]
        if is_accepted:
            socks._accepted(connection)
        for name, arguments in ways.items():
            with pytest.raises(NotImplementedError) as raised:
                getattr(connection, name)(*arguments)
            socks.told.put(str(raised.value))
        connection.close()
        return ""

    with served(host, app) as running, connected(running, b"/") as client:
        for name in ways:
            assert told().startswith(f"{name}() on the socket of a websocket: ")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 101 " if is_accepted else b"HTTP/1.1 200 ")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_over_tls_there_is_a_pair(tmp_path: Path) -> None:
    """There the connection is not one that a library could read."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [*_MAKE_CERTIFICATE, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    options = ("--port", "0", "--ssl-keyfile", str(key), "--ssl-certfile", str(certificate))
    with (
        Serving("socks:app", *options, cwd=APPS) as serving,
        connect("wss://localhost/echo", sock=serving.connect(), ssl=trusting) as ws,
    ):
        ws.send("hello")
        assert ws.recv(timeout=10) == "hello"


def test_beside_middleware_there_is_a_pair() -> None:
    """An ASGI app with the adapter in it may want to see each message."""
    with (
        Serving("within:app", "--port", "0", cwd=APPS) as serving,
        connect("ws://localhost/echo", sock=serving.connect()) as ws,
    ):
        ws.send("hello")
        assert ws.recv(timeout=10) == "HELLO"


def test_a_library_that_does_not_accept(host: Host) -> None:
    """What it writes is the answer, and the connection ends with it."""
    app = Flask(__name__)

    @app.route("/", websocket=True)
    def refuse() -> str:
        request.environ["werkzeug.socket"].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nno")
        return "dropped"

    with served(host, app) as running, connected(running, b"/") as client:
        received = b""
        while data := client.recv(65536):
            received += data
    assert received == b"HTTP/1.1 400 Bad Request\r\n\r\nno"


@pytest.mark.timeout(180)
@pytest.mark.skipif(not autobahn.is_installed(), reason="not installed: python -m tests.websockets.autobahn")
def test_no_case_of_autobahn_fails(tmp_path: Path) -> None:
    """All bytes are the library's, and what its own failures are is not known: there are none."""
    with Serving(
        "tests.websockets.apps.in_threads:flask", "--port", "0", "--no-access-log", cwd=ROOT
    ) as serving:
        assert autobahn.failures(serving.address.replace("http", "ws") + "/echo", tmp_path) == {}


def test_a_handler_notices_the_end(host: Host) -> None:
    """As on a WSGI server: `ConnectionClosed`, with the client's code and reason."""
    with served(host) as running:
        with opened(running, "/wait") as ws:
            ws.recv(timeout=10)
            ws.close(4000, "had enough")
        assert told() == (4000, "had enough")
    assert issubclass(ConnectionClosed, Exception)


# What comes with a handshake, or behind it


@pytest.mark.parametrize("kind", ["Flask-Sock", "ASGI"])
@pytest.mark.parametrize("where", ["alone", "behind an answer", "after h2c"])
@pytest.mark.parametrize("how", ["in one read", "in two", "byte by byte"])
def test_a_message_with_the_handshake(host: Host, kind: str, where: str, how: str) -> None:
    """The client should wait for its 101 (RFC 6455, 4.1); nothing is lost, or taken for a request, if not."""
    app = Flask(__name__)

    @route(app)
    def echo(ws: Server) -> None:
        ws.send(ws.receive())

    @app.post("/size")
    def size() -> str:
        time.sleep(0.2)  # for what follows to come before the answer
        return f"{len(request.get_data())} bytes"

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await WSGIToASGI(app)(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})

    before = {
        "alone": b"",
        "behind an answer": b"POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345",
        "after h2c": b"POST /size HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 5\r\n\r\n12345",
    }[where]
    sent = before + _HANDSHAKE % b"/" + _HELLO
    adapter = WSGIToASGI(app) if kind == "Flask-Sock" else None
    with (
        host(adapter or plain, http=http_server(Limits(), adapter)) as running,
        running.connect() as client,
    ):
        if how == "in one read":
            client.sendall(sent)
        elif how == "in two":
            client.sendall(sent[: -len(_HELLO)])
            time.sleep(0.1)
            client.sendall(_HELLO)
        else:
            for at in range(len(sent)):
                client.sendall(sent[at : at + 1])
        received = read_until(client, b"\x81\x05hello")
    answer, _, websocket = received.partition(b"HTTP/1.1 101 ")
    assert websocket
    assert (b"\r\n\r\n5 bytes" in answer) == bool(before)

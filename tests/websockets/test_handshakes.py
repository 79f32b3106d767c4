"""Opening handshakes under `bridge serve`: each has an answer, on whatever library websockets are served."""

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bridge.http.websocket_handshake import check_handshake, read_handshake
from tests.server.command import Serving, wait_until
from tests.server.steady import SteadyClients
from tests.sockets import read_to_the_end, read_until
from tests.websockets.test_threads import APPS

# How it is served: uvicorn's libraries, an app that the server does not know, uvicorn's other HTTP.
SERVED = {
    "auto": ("handshakes:app",),
    "middleware": ("handshakes:asgi", "--interface", "asgi"),
    "wsproto": ("handshakes:app", "--ws", "wsproto"),
    "websockets": ("handshakes:app", "--ws", "websockets"),
}
LIMITS = ("--limit-request-fields", "200", "--limit-request-line", "20000")

FIELDS = {
    "Host": "here",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "YnJpZGdlIG1hZGUgaXQgdQ==",
}


def handshake(*more: str, line: str = "GET /async HTTP/1.1", body: bytes = b"", **changes: str) -> bytes:
    """A handshake with more fields, and some of its own changed; an empty one is left out."""
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value), *more, "", ""]
    return "\r\n".join(lines).encode() + body


def serving(served: str) -> Serving:
    app, *options = SERVED[served]
    return Serving(app, "--port", "0", *LIMITS, *options, cwd=APPS)


@pytest.fixture(scope="module", params=SERVED)
def server(request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(request.param) as running:
        yield running


GOOD = {
    "a plain one": handshake(),
    "a cookie of 9 KB": handshake("Cookie: a=" + "x" * 9000),
    "a field of 16 KB": handshake("B: " + "x" * 16000),
    "a long request line": handshake(line=f"GET /async?{'x' * 15000} HTTP/1.1"),
    "many fields": handshake(*["A: b"] * 190),
    "a value in UTF-8": handshake("X-Name: é✓"),
    "an empty body": handshake("Content-Length: 0"),
    "an absolute target": handshake(line="GET http://here/async HTTP/1.1"),
    "names in other cases": handshake(Upgrade="WebSocket", Connection="keep-alive, upgrade"),
    "a subprotocol of 9 KB": handshake("Sec-WebSocket-Protocol: " + "x" * 9000),
    "an empty list of subprotocols": handshake("Sec-WebSocket-Protocol: ,"),
    "compression that cannot be": handshake(
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc"
    ),
    "an extension nobody knows": handshake("Sec-WebSocket-Extensions: x; y=1, z"),
    "a Host without a name": handshake(Host=":80"),
}


@pytest.mark.parametrize("sent", GOOD.values(), ids=GOOD)
def test_accepted(server: Serving, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        answer = read_until(connection, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert answer.count(b"sec-websocket-accept") + answer.count(b"Sec-WebSocket-Accept") == 1


# RFC 6455, 4.2.1 and 4.4.
BAD = {
    "a body": (handshake("Content-Length: 5", body=b"hello"), 400),
    "a body that has not come": (handshake("Content-Length: 5"), 400),
    "a chunked body": (handshake("Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "no key": (handshake(Sec_WebSocket_Key=""), 400),
    "a short key": (handshake(Sec_WebSocket_Key="YnJpZGdl"), 400),
    "a key that is not base64": (handshake(Sec_WebSocket_Key="é" * 12), 400),
    "two keys": (handshake("Sec-WebSocket-Key: " + FIELDS["Sec-WebSocket-Key"]), 400),
    "no version": (handshake(Sec_WebSocket_Version=""), 400),
    "an old version": (handshake(Sec_WebSocket_Version="8"), 426),
    "two versions": (handshake("Sec-WebSocket-Version: 8"), 426),
    "an ill-formed subprotocol": (handshake("Sec-WebSocket-Protocol: a b"), 400),
    "an ill-formed extension": (handshake("Sec-WebSocket-Extensions: a; b=;"), 400),
    "no Host": (handshake(Host=""), 400),
    "too many fields": (handshake(*["A: b"] * 200), 431),
    "too large a field": (handshake("A: " + "x" * 16384), 431),
    "too long a line": (handshake(line=f"GET /{'x' * 20000} HTTP/1.1"), 414),
    "an address that is none": (handshake(line="GET http://:/ HTTP/1.1"), 400),
}


@pytest.mark.parametrize(("sent", "status"), BAD.values(), ids=BAD)
def test_refused(server: Serving, sent: bytes, status: int) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        head = read_to_the_end(connection).split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 %d " % status)
    assert b"connection: close" in head
    is_about_the_version = b"upgrade: websocket" in head and b"connection: close, upgrade" in head
    assert is_about_the_version == (status == 426)
    assert (b"sec-websocket-version: 13" in head) == (sent in (BAD["no version"][0],) or status == 426)


def test_in_http_1_0_nothing_is_upgraded(server: Serving) -> None:
    """RFC 9110, 7.8. The app has a request of the common kind, and the operator a hint."""
    with server.connect() as connection:
        connection.sendall(handshake(line="GET /async HTTP/1.0"))
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 426 ")
    server.wait_for(
        r"a websocket's handshake in HTTP/1\.0 from 127\.0\.0\.1 .*nginx: proxy_http_version 1\.1"
    )


def test_another_method_asks_for_no_websocket(server: Serving) -> None:
    with server.connect() as connection:
        connection.sendall(handshake(line="POST /async HTTP/1.1"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("path", ["/async", "/sock"])
def test_what_the_handler_sees(server: Serving, path: str) -> None:
    """An async websocket, and a library's for WSGI servers."""
    headers = {
        "Cookie": "a=" + "x" * 9000,
        "X-Name": "é✓".encode().decode("latin-1"),
        "A": ",".join("b" * 150),
    }
    with connect(
        f"ws://localhost{path}?q=%C3%A9",
        sock=server.connect(),
        additional_headers=headers,
    ) as ws:
        seen = json.loads(ws.recv(timeout=10))
        assert seen == {
            "url": f"http://localhost{path}?q=é",
            "cookie": "x" * 9000,
            "name": "é✓",
            "fields": 150,
        }
        for message in ("hello", b"\x00" * 70000):
            ws.send(message)
            assert ws.recv(timeout=10) == message


def test_compression_and_subprotocols(server: Serving) -> None:
    with connect(
        "ws://localhost/async",
        sock=server.connect(),
        subprotocols=["one", "two"],  # type: ignore[list-item]  # a NewType of theirs
    ) as ws:
        assert ws.subprotocol == "one"
        assert [extension.name for extension in ws.protocol.extensions] == ["permessage-deflate"]
        ws.recv(timeout=10)
        ws.send("hello" * 1000)
        assert ws.recv(timeout=10) == "hello" * 1000


HELLO = b"\x81\x85\x00\x00\x00\x00hello"
ECHO = b"\x81\x05hello"


@pytest.mark.parametrize("path", ["/async", "/sock"])
@pytest.mark.parametrize("is_apart", [False, True], ids=["in one packet", "in another packet"])
def test_a_message_before_the_101(server: Serving, path: str, is_apart: bool) -> None:
    """The client should wait (RFC 6455, 4.1); what it sends is a message all the same, and nothing else."""
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_apart:
            connection.sendall(handshake(line=f"GET {path} HTTP/1.1"))
            connection.sendall(HELLO)
        else:
            connection.sendall(handshake(line=f"GET {path} HTTP/1.1", body=HELLO))
        received = b""
        while not received.endswith(ECHO):
            part = connection.recv(65536)
            assert part, received
            received += part
    assert received.startswith(b"HTTP/1.1 101 ")


def test_how_much_may_come_before_the_101(server: Serving) -> None:
    """The client is made to wait, before it fills the memory; nothing of what it has sent is lost."""
    most, message = 64 << 20, b"\x82\xfe\x03\xe8" + bytes(4 + 1000)
    data = message * 1000
    with server.connect() as connection:
        connection.sendall(handshake(line="GET /late HTTP/1.1"))
        connection.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < most:
                sent += connection.send(data[sent % len(message) :])
        assert sent < most
        connection.settimeout(10)
        assert server.get("/accept").text == "done"
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        received, wanted = 0, sent // len(message) * (4 + 1000)
        while received < wanted - 65536:  # a part may have come with the head
            part = connection.recv(1 << 20)
            assert part, f"{received} of {wanted} bytes"
            received += len(part)


def test_bytes_behind_a_handshake_are_no_request(server: Serving) -> None:
    with server.connect() as connection:
        connection.sendall(handshake(body=b"GET /yielded HTTP/1.1\r\nHost: here\r\n\r\n"))
        received = read_to_the_end(connection)
    assert received.count(b"HTTP/1.1") == 1


# Responses instead of a 101


DENIALS = {
    "/denied": (401, b"who are you?"),
    "/parts": (401, b"who are you?"),
    "/missing": (404, b""),
}


@pytest.mark.parametrize(("path", "status", "body"), [(path, *rest) for path, rest in DENIALS.items()])
def test_a_response_is_no_error(server: Serving, path: str, status: int, body: bytes) -> None:
    written = len(server.stderr)
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://localhost{path}", sock=server.connect()):
        pass
    response = caught.value.response
    assert response.status_code == status
    assert body in bytes(response.body or b"")
    assert response.headers["Connection"] == "close"
    assert response.headers["Date"]
    with server.connect() as connection:  # the line about this one comes behind all about the other
        connection.sendall(handshake(line=f"GET /nowhere{path} HTTP/1.1"))
        read_to_the_end(connection)
    server.wait_for(f'"WebSocket /nowhere{path}" 404')
    assert f'"WebSocket {path}" {status}' in server.stderr[written:]
    assert "ERROR" not in server.stderr[written:]


def number_of(server: Serving, path: str) -> int:
    return int(server.get(path).text)


def test_an_endless_response_waits_for_its_client(server: Serving) -> None:
    """Without that it would fill the memory; and who reads it, reads as much as he likes."""
    closed, before = number_of(server, "/closed"), number_of(server, "/yielded")
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(handshake(line="GET /endless HTTP/1.1"))
        yielded = [before, number_of(server, "/yielded")]
        while yielded[-1] == before or yielded[-1] != yielded[-2]:
            time.sleep(0.2)  # the app has stopped when it is as far as before
            yielded.append(number_of(server, "/yielded"))
            assert yielded[-1] - before < 64 << 20
        read = 0
        while read < 64 << 20:
            read += len(connection.recv(1 << 20))
        assert number_of(server, "/yielded") - before < 128 << 20
    wait_until(lambda: number_of(server, "/closed") == closed + 1, "the app hears that the client has left")


@pytest.mark.parametrize("path", ["/endless", "/flood"])
def test_it_waits_behind_an_answer_that_is_not_read(server: Serving, path: str) -> None:
    closed, before = number_of(server, "/closed"), number_of(server, "/yielded")
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(
            b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" + handshake(line=f"GET {path} HTTP/1.1")
        )
        for _ in range(10):
            time.sleep(0.1)
            assert number_of(server, "/yielded") - before < 16 << 20
        read = 0
        while read < 32 << 20:  # it goes on when the client does
            read += len(connection.recv(1 << 20))
    wait_until(lambda: number_of(server, "/closed") == closed + 1, "the app hears that the client has left")


def test_a_response_that_breaks_off_is_not_followed_by_another(server: Serving) -> None:
    with server.connect() as connection:
        connection.sendall(handshake(line="GET /broken HTTP/1.1"))
        received = read_to_the_end(connection)
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")


def test_a_response_that_comes_slowly(server: Serving) -> None:
    """Each part reaches the client when it is there; and the app hears when it leaves."""
    closed = number_of(server, "/closed")
    with server.connect() as connection:
        connection.sendall(handshake(line="GET /dripping HTTP/1.1"))
        received = b""
        while received.count(b"drip") < 3:
            received += connection.recv(65536)
    wait_until(lambda: number_of(server, "/closed") == closed + 1, "the app hears that the client has left")


# The end of the server


# With uvicorn's other HTTP the library sees handshakes as they are.
ENDS = {
    **SERVED,
    "h11": ("handshakes:app", "--http", "h11"),
    "h11 and wsproto": (*SERVED["wsproto"], "--http", "h11"),
}


@contextlib.contextmanager
def bad_handshakes(server: Serving) -> Iterator[None]:
    """Clients of all kinds, none of which reads what it gets, and none of which leaves."""
    with contextlib.ExitStack() as stack:
        sent = [each for each, _ in BAD.values()]
        sent += [
            handshake()[:50],
            GOOD["a cookie of 9 KB"],
            handshake(Host="a..b"),
            handshake(line="GET /dripping HTTP/1.1"),
        ]
        for each in sent:
            connection = stack.enter_context(server.connect())
            connection.sendall(each)
        yield


@pytest.mark.parametrize("served", ENDS)
def test_requests_are_answered_and_the_lifespan_ends(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVED, served, ENDS[served])
    with serving(served) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connection()) for _ in range(5)]
        stack.enter_context(bad_handshakes(server))
        for connection in connections:
            connection.request("GET", "/slow")
        server.wait_for_access_log(r"(?s)(begun.*){5}")
        server.signal(signal.SIGTERM)
        assert [connection.getresponse().read() for connection in connections] == [b"done"] * 5
        assert server.finish() == 0
    assert "the lifespan has ended" in server.stdout
    assert "Traceback" not in server.stderr


def test_a_restart_loses_no_request() -> None:
    options = ("--port", "0", "--workers", "2", "--no-access-log")
    with Serving("handshakes:app", *options, cwd=APPS) as server:
        server.wait_for("Application startup complete", times=2)
        with SteadyClients(server, number=4, keep_alive=False) as clients, bad_handshakes(server):
            server.signal(signal.SIGHUP)
            server.wait_for("reloaded: all workers have loaded the app again")
            server.wait_for("Finished server process", times=2)
            clients.wait_for_more()
        assert clients.failed == []
        server.signal(signal.SIGTERM)
        assert server.finish() == 0
    assert "Traceback" not in server.stderr


# uvicorn's other HTTP hands a handshake on as it is


@pytest.mark.parametrize("library", ["websockets-sansio", "wsproto"])
def test_what_only_the_library_has_seen_is_answered(library: str) -> None:
    options = ("--port", "0", "--http", "h11", "--ws", library)
    with Serving("handshakes:app", *options, cwd=APPS) as server:
        for sent in [
            GOOD["a cookie of 9 KB"],
            BAD["a body"][0],
            BAD["a chunked body"][0],
            BAD["an old version"][0],
            handshake(Host="a..b"),
        ]:
            with server.connect() as connection:
                connection.sendall(sent)
                assert re.match(rb"HTTP/1\.1 (101|4\d\d) ", read_until(connection, b"\r\n\r\n"))


# What the library is told


OFFERS = {
    "permessage-deflate": "permessage-deflate",
    "permessage-deflate; client_max_window_bits": "permessage-deflate; client_max_window_bits",
    'Permessage-Deflate ;server_max_window_bits="10"': "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate; server_max_window_bits": "",
    "permessage-deflate; server_max_window_bits=8": "",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10": "",
    "permessage-deflate; server_no_context_takeover=1": "",
    "permessage-deflate; other": "",
    "other, permessage-deflate; other, permessage-deflate": "permessage-deflate",
    "": "",
}


@pytest.mark.parametrize(("offer", "told"), OFFERS.items())
def test_offers_of_compression(offer: str, told: str) -> None:
    """RFC 7692, 7.1: what cannot be met is declined, and the next one looked at."""
    headers = [(name.lower().encode(), value.encode()) for name, value in FIELDS.items()]
    headers.append((b"sec-websocket-extensions", offer.encode()))
    assert check_handshake(headers) is None
    assert read_handshake(headers).compression == told.encode()

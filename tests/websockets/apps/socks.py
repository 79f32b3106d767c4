"""A Flask app with websockets by Flask-Sock, and by hand on the socket in the environ."""

import queue
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from flask import Flask, abort, request, session
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

told: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
"""What handlers have to tell a test that runs the app in its own process."""

release = threading.Event()


def make_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "not secret"
    sock = Sock(app)

    @sock.route("/echo")
    def echo(ws: Server) -> None:
        while True:
            ws.send(ws.receive())

    @sock.route("/seen/<name>")
    def seen(ws: Server, name: str) -> None:
        environ = request.environ
        ws.send(f"{name} {request.args['q']} {session.get('user')} {request.headers['X-Token']}")
        ws.send(f"{request.method} {environ['wsgi.url_scheme']} {request.remote_addr} {request.host}")
        ws.send(f"{ws.subprotocol} {request.headers.get('Sec-WebSocket-Extensions')}")

    @sock.route("/close")
    def close(ws: Server) -> None:
        ws.close(int(request.args["code"]), request.args.get("reason"))

    @sock.route("/return")
    def return_at_once(ws: Server) -> None:
        pass

    @sock.route("/fail")
    def fail(ws: Server) -> None:
        ws.send("so far")
        raise LookupError("what a handler may raise")

    @sock.route("/wait")
    def wait(ws: Server) -> None:
        ws.send(f"{threading.get_ident()}")
        try:
            ws.receive()
        except ConnectionClosed as closed:
            told.put((int(closed.reason), closed.message or ""))

    @sock.route("/patient")
    def patient(ws: Server) -> None:
        # Without a timeout, simple-websocket 1.1 can wait for ever where it closes with 1009 itself: it sets
        # its event first, and what the event is about afterwards.
        while ws.connected:
            ws.receive(timeout=0.05)

    @sock.route("/deaf")
    def deaf(ws: Server) -> None:
        ws.send("waiting")
        release.wait(10)
        told.put("released")

    @sock.route("/flood")
    def flood(ws: Server) -> None:
        for number in range(1000):
            ws.send(number.to_bytes(4, "big") + bytes(65532))
            told.put(number)

    @app.route("/held", websocket=True)
    def held() -> str:
        print("held", file=sys.stderr, flush=True)
        release.wait(10)
        return "late"

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session["user"] = user
        return "welcome"

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.route("/before/<int:status>", websocket=True)
    def before(status: int) -> str:
        if status == 500:
            raise LookupError("before it was accepted")
        if status != 200:
            abort(status, "you shall not pass")
        return "no websocket"

    @app.route("/streamed", websocket=True)
    def streamed() -> tuple[Iterator[str], int]:
        return iter(["not ", "now"]), 409

    @app.route("/by-hand/<what>", websocket=True)
    def by_hand(what: str) -> str:
        connection: socket.socket = request.environ["werkzeug.socket"]
        with connection:
            _BY_HAND[what](connection, _accepted(connection))
        return ""

    return app


def _accepted(connection: socket.socket) -> WSConnection:
    """Another library than simple-websocket: a 101 with headers."""
    ws = WSConnection(ConnectionType.SERVER)
    headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    ws.initiate_upgrade_connection(headers, request.path)
    list(ws.events())
    cookies = [(b"Set-Cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2"), (b"X-Library", b"by hand")]
    connection.sendall(ws.send(AcceptConnection(extra_headers=cookies)))
    return ws


def _fragments(connection: socket.socket, ws: WSConnection) -> None:
    for part, is_last in (("Grüße ", False), ("an ", False), ("alle", True)):
        connection.sendall(ws.send(TextMessage(data=part, message_finished=is_last)))
    connection.sendall(ws.send(BytesMessage(data=b"\x00", message_finished=False)))
    connection.sendall(ws.send(BytesMessage(data=b"\x01")))
    connection.sendall(ws.send(CloseConnection(code=CloseReason.NO_STATUS_RCVD)))


def _pings(connection: socket.socket, ws: WSConnection) -> None:
    connection.sendall(ws.send(Ping(payload=b"anybody?")))
    ws.receive_data(connection.recv(4096))
    (pong,) = ws.events()
    assert isinstance(pong, Pong)
    connection.sendall(ws.send(TextMessage(data=bytes(pong.payload).decode())))


def _breaks(connection: socket.socket, ws: WSConnection) -> None:
    connection.sendall(b"\x81\x01\xff")
    ws.receive_data(connection.recv(4096))
    told.put([(int(event.code), event.reason) for event in ws.events() if isinstance(event, CloseConnection)])
    connection.recv(4096)


def _leaves(connection: socket.socket, ws: WSConnection) -> None:
    connection.close()
    release.wait(10)


def _does_not_read(connection: socket.socket, ws: WSConnection) -> None:
    connection.sendall(ws.send(TextMessage(data="accepted")))
    release.wait(10)
    size = 0
    while data := connection.recv(1 << 20):
        size += len(data)
    told.put(size)


_BY_HAND = {
    "fragments": _fragments,
    "pings": _pings,
    "breaks": _breaks,
    "leaves": _leaves,
    "does-not-read": _does_not_read,
}

app = make_app()

pinging = make_app()
pinging.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 0.25}

limited = make_app()
limited.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": 1000}

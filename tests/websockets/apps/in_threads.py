"""The app of the suite in threads: Flask-Sock as it is, behind the adapter.

The library cannot set a cookie: its 101 has no headers of the app's.
"""

import json
import queue
import threading
from collections import defaultdict

from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server

from bridge import WSGIToASGI

DENIAL = {"WWW-Authenticate": "Basic"}

flask = Flask(__name__)
flask.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["chat"]}
sock = Sock(flask)
app = WSGIToASGI(flask)

ends: "defaultdict[str, queue.SimpleQueue[tuple[int, str]]]" = defaultdict(queue.SimpleQueue)


# Flask-Sock accepts before it calls the handler: what answers otherwise is a view.
@flask.route("/denied", websocket=True)
def denied() -> Response:
    return Response("who are you?", 401, DENIAL)


@flask.route("/denied-in-parts", websocket=True)
def denied_in_parts() -> Response:
    return Response(iter(["who are ", "you?"]), 401, DENIAL)


@flask.route("/fails", websocket=True)
def fails() -> Response:
    raise ZeroDivisionError("before the handshake was answered")


@sock.route("/echo")
def echo(ws: Server) -> None:
    while True:
        ws.send(ws.receive())


@sock.route("/watched/<key>")
def watched(ws: Server, key: str) -> None:
    try:
        while True:
            ws.send(ws.receive())
    except ConnectionClosed as end:
        ends[key].put((int(end.reason), end.message or ""))
        raise


@sock.route("/ended/<key>")
def ended(ws: Server, key: str) -> None:
    ws.send(json.dumps(ends[key].get(timeout=15)))
    echo(ws)


@sock.route("/closes/<int:code>")
def closes(ws: Server, code: int) -> None:
    ws.receive()
    ws.close(code, "as you wish ✓")


@sock.route("/returns")
def returns(ws: Server) -> None:
    ws.send("the last one")


@sock.route("/breaks")
def breaks(ws: Server) -> None:
    ws.receive()
    raise ZeroDivisionError("in the middle")


@sock.route("/headers")
def headers(ws: Server) -> None:
    fields = {name.lower(): value for name, value in request.headers.items()}
    ws.send(json.dumps({"headers": fields, "query": request.query_string.decode()}))
    echo(ws)


@sock.route("/threads")
def threads(ws: Server) -> None:
    """Those of other websockets: of their calls, and of their libraries."""
    own = {threading.current_thread(), ws.thread}
    names = [thread.name for thread in threading.enumerate() if thread not in own]
    ws.send(json.dumps([name for name in names if "bridge" in name or "simple_websocket" in name]))

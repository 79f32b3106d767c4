"""Echoes behind the adapter: an async one, and one of Flask-Sock, as ASGI apps."""

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

from bridge import WSGIToASGI
from bridge.flask import Bridge, WebSocket

_async_flask = Flask(__name__)
_bridge = Bridge(_async_flask)
sock_flask = Flask(__name__)
_sock = Sock(sock_flask)


@_bridge.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@_sock.route("/echo")
def echo_in_a_thread(ws: Server) -> None:
    while True:
        ws.send(ws.receive())


on_loop = WSGIToASGI(_async_flask)
in_thread = WSGIToASGI(sock_flask)

"""A Flask app of websockets within ASGI middleware that has a hand in every message."""

from typing import Any

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

from bridge import WSGIToASGI

_flask = Flask(__name__)
_adapter: Any = WSGIToASGI(_flask)


@Sock(_flask).route("/echo")
def echo(ws: Server) -> None:
    ws.send(ws.receive())


async def app(scope: Any, receive: Any, send: Any) -> None:
    async def send_louder(event: Any) -> None:
        if event["type"] == "websocket.send":
            event = {**event, "text": event["text"].upper()}
        await send(event)

    await _adapter(scope, receive, send_louder)

"""A Flask app with a websocket of Flask-Sock."""

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

__all__ = ["app"]

app = Flask(__name__)
_sock = Sock(app)


@_sock.route("/echo")
def echo(websocket: Server) -> None:
    """Send back whatever comes."""
    while True:
        websocket.send(websocket.receive())

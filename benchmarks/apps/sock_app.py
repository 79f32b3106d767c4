"""A Flask app with a websocket of Flask-Sock."""

from flask import Flask
from flask_sock import Sock  # type: ignore[import-untyped]  # it has no types
from simple_websocket import Server  # type: ignore[import-untyped]  # neither has this

__all__ = ["app"]

app = Flask(__name__)
_sock = Sock(app)


@_sock.route("/echo")  # type: ignore[untyped-decorator]
def echo(websocket: Server) -> None:
    """Send back whatever comes."""
    while True:
        websocket.send(websocket.receive())

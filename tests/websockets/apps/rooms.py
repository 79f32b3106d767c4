"""Flask-SocketIO in threading mode: an echo, rooms, and what becomes known of a client that leaves."""

import queue
from typing import Any

from flask import Flask, request, session
from flask_socketio import SocketIO, emit, join_room, leave_room

left: "queue.SimpleQueue[str]" = queue.SimpleQueue()

app = Flask(__name__)
app.secret_key = "not secret"
# The monitor is a thread without an end, and each client's ping sleeps for an interval after the end of the
# client: tests in the same process would have to call them leaks.
socketio = SocketIO(app, async_mode="threading", monitor_clients=False, ping_interval=0.2)


def _sid() -> str:
    sid: Any = request.sid  # type: ignore[attr-defined]  # Flask-SocketIO puts it there
    return str(sid)


@app.get("/tell/<room>/<text>")
def tell(room: str, text: str) -> str:
    """From outside of any websocket."""
    socketio.emit("told", text, to=room)
    return "told"


@socketio.on("connect")
def on_connect(auth: Any) -> bool | None:
    if auth == "wrong":
        return False
    session["name"] = auth
    return None


@socketio.on("disconnect")
def on_disconnect(reason: str) -> None:
    left.put(session["name"])


@socketio.on("echo")
def on_echo(data: Any) -> Any:
    return data


@socketio.on("join")
def on_join(room: str) -> None:
    join_room(room)
    emit("joined", session["name"], to=room)


@socketio.on("leave")
def on_leave(room: str) -> None:
    leave_room(room)


@socketio.on("say")
def on_say(room: str, text: str) -> None:
    emit("said", f"{session['name']}: {text}", to=room, include_self=False)


@socketio.on("transport")
def on_transport() -> str:
    return str(socketio.server.transport(_sid()))


@socketio.on("kick")
def on_kick() -> None:
    socketio.server.disconnect(_sid())

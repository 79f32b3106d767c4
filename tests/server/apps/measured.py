"""A Flask app with a figure of its own, and requests that last as long as a test wants them to."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, request
from prometheus_client import Counter

app = Flask(__name__)
orders = Counter("shop_orders", "Orders.")


@app.get("/user/<int:number>")
def user(number: int) -> str:
    orders.inc()
    return f"user {number}"


@app.get("/async-user/<name>")
async def async_user(name: str) -> str:
    return name


@app.get("/boom/<name>")
def boom(name: str) -> str:
    raise RuntimeError(name)


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/slow")
def slow() -> str:
    """Takes as long as the other end of the pipe is open."""
    return Path(request.args["pipe"]).read_text()


@app.get("/stream")
def stream() -> Iterator[str]:
    """Sends a part, and the next when the other end of the pipe is closed, again and again."""
    pipe = Path(request.args["pipe"])

    def parts() -> Iterator[str]:
        while True:
            yield "part"
            pipe.read_text()

    return parts()


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app: a websocket that is open for as long as its client wants; or is denied, by its path."""
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/fails":
            raise ZeroDivisionError
        if scope["path"] == "/closed":
            await send({"type": "websocket.close"})
            return
        if scope["path"] == "/denied":
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"who are you?"})
            return
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

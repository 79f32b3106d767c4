"""A Flask app whose every answer follows from the request, so that a wrong one shows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

from flask import Flask, Response, g, request
from flask_sock import Sock
from simple_websocket import Server

from bridge import run_on_loop
from bridge.flask import Bridge, WebSocket, stream

__all__ = ["app"]

app = Flask(__name__)
_bridge = Bridge(app)
_sock = Sock(app)

# Set by each request, and by none before it.
_number: ContextVar[int] = ContextVar("number")


@app.get("/plain/<int:number>")
def plain(number: int) -> str:
    """A view in a thread; says so if it finds another request's variable."""
    found = _number.get(None)
    _number.set(number)
    g.number = number
    return f"plain {g.number}" if found is None else f"of another request: {found}"


@app.post("/echo")
def echo() -> bytes:
    """The request's body."""
    return request.get_data()


@app.get("/parts/<int:number>")
def parts(number: int) -> Response:
    """A stream of a generator."""

    def generate() -> Iterator[str]:
        for part in range(5):
            _number.set(part)
            yield f"{number}.{part} "

    return Response(generate())


@app.get("/loop/<int:number>")
def loop(number: int) -> str:
    """A view in a thread that awaits on the server's loop."""
    _number.set(number)
    return f"loop {run_on_loop(_doubled())}"


async def _doubled() -> int:
    await asyncio.sleep(0)
    return 2 * _number.get()


@app.get("/async/<int:number>")
async def awaits(number: int) -> str:
    """A view on the loop."""
    g.number = number
    await asyncio.sleep(0)
    return f"async {g.number}"


@app.get("/async-parts/<int:number>")
async def async_parts(number: int) -> Response:
    """A stream on the loop."""

    async def generate() -> AsyncIterator[str]:
        for part in range(5):
            await asyncio.sleep(0)
            yield f"{number}.{part} "

    return Response(stream(generate()))


@_sock.route("/library")
def library(websocket: Server) -> None:
    """A websocket in a thread, which sends back whatever comes."""
    while True:
        websocket.send(websocket.receive())


@_bridge.websocket("/handler")
async def handler(websocket: WebSocket) -> None:
    """A websocket on the loop, which sends back whatever comes."""
    async for message in websocket:
        await websocket.send(message)

"""A Flask app for handshakes: what its websockets see of them, and responses instead of a 101."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from flask import Flask, Response, abort, request
from flask_sock import Sock
from simple_websocket import Server

from bridge import WSGIToASGI
from bridge.flask import Bridge, WebSocket, stream

app = Flask(__name__)
bridge = Bridge(app)
sock = Sock(app)

PART = b"x" * 65536

yielded = 0
closed = 0


@bridge.lifespan
@asynccontextmanager
async def lifespan(app: Flask) -> AsyncIterator[None]:
    yield
    print("the lifespan has ended", flush=True)


@bridge.websocket("/async")
async def on_the_loop(ws: WebSocket) -> None:
    await ws.accept(subprotocol=ws.subprotocols[0] if ws.subprotocols else None)
    await ws.send_json(seen())
    async for message in ws:
        await ws.send(message)


late = asyncio.Event()


@bridge.websocket("/late")
async def accepted_late(ws: WebSocket) -> None:
    await late.wait()
    async for message in ws:
        await ws.send(message)


@app.get("/accept")
async def accept() -> str:
    late.set()
    return "done"


@sock.route("/sock")
def in_a_thread(ws: Server) -> None:
    ws.send(app.json.dumps(seen()))
    while True:
        ws.send(ws.receive())


def seen() -> dict[str, Any]:
    """What a handler sees of its handshake; header values as their bytes are in UTF-8."""
    return {
        "url": request.url,
        "cookie": request.cookies.get("a", ""),
        "name": request.headers.get("X-Name", "").encode("latin-1").decode(),
        "fields": len(request.headers.getlist("A")[0].split(",")) if "A" in request.headers else 0,
    }


@app.get("/denied", websocket=True)
def denied() -> Response:
    return Response("who are you?", 401)


@app.get("/missing", websocket=True)
def missing() -> Response:
    abort(404)


@app.get("/parts", websocket=True)
def parts() -> Response:
    return Response(iter(["who are ", "you?"]), 401)


@app.get("/endless", websocket=True)
def endless() -> Response:
    def generate() -> Iterator[bytes]:
        global yielded, closed
        try:
            while True:
                yielded += len(PART)
                yield PART
        finally:
            closed += 1

    return Response(generate())


@bridge.websocket("/flood")
async def flood(ws: WebSocket) -> None:
    global yielded, closed
    await ws.accept()
    try:
        while True:
            yielded += len(PART)
            await ws.send(PART)
            await asyncio.sleep(0)  # others have a turn
    finally:
        closed += 1


@app.get("/large")
def large() -> bytes:
    return PART * 256


@app.get("/broken", websocket=True)
def broken() -> Response:
    def generate() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("it broke off")

    return Response(generate(), 401)


@app.get("/dripping", websocket=True)
def dripping() -> Response:
    async def generate() -> AsyncIterator[bytes]:
        global closed
        try:
            while True:
                yield b"drip"
                await asyncio.sleep(0.01)
        finally:
            closed += 1

    return Response(stream(generate()), mimetype="text/event-stream")


@app.get("/yielded")
def how_much() -> str:
    return str(yielded)


@app.get("/closed")
def how_many() -> str:
    return str(closed)


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/slow")
async def slow() -> str:
    print("begun", flush=True)
    await asyncio.sleep(1)
    return "done"


within = WSGIToASGI(app)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The same behind middleware, so that the server does not know it."""
    await within(scope, receive, send)

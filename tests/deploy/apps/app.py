"""What a proxy in front may spoil: addresses, streams, uploads, and the news that a client has left."""

import asyncio
import time
from collections.abc import AsyncIterator

from flask import Flask, Response, request

from bridge.flask import Bridge, EventSource, WebSocket, stream

app = Flask(__name__)
bridge = Bridge(app)
go_on = asyncio.Event()
left = asyncio.Event()


@app.get("/")
def index() -> dict[str, str | None]:
    return {
        "address": request.remote_addr,
        "url": request.url,
        "request id": request.headers.get("X-Request-ID"),
    }


@app.post("/size")
def size() -> str:
    return str(len(request.get_data()))


@app.post("/upgrade")
def upgrade() -> dict[str, str | int | None]:
    return {
        "Upgrade": request.headers.get("Upgrade"),
        "Connection": request.headers.get("Connection"),
        "size": len(request.get_data()),
    }


@app.post("/refuse")
def refuse() -> tuple[str, int]:
    return "refused, and not read", 413


@bridge.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    await ws.send(await ws.receive())


async def numbers() -> AsyncIterator[str]:
    """One, and two when somebody says so."""
    try:
        yield "1"
        await go_on.wait()
        yield "2"
        await asyncio.Event().wait()
    finally:
        left.set()


async def events() -> AsyncIterator[str]:
    async for number in numbers():
        yield f"data: {number}\n\n"


@app.get("/source")
async def source() -> Response:
    return EventSource(numbers())


@app.get("/events/plain")
async def plain_events() -> Response:
    return Response(stream(events()), mimetype="text/event-stream")


# How much has been produced for a client that does not read, and when the last of it was.
produced = {"bytes": 0, "at": 0.0}


async def flood() -> AsyncIterator[str]:
    for _ in range(2000):
        produced.update(bytes=produced["bytes"] + 65536, at=time.monotonic())
        yield "x" * 65536


@app.get("/flood")
async def flood_of_events() -> Response:
    return EventSource(flood())


@app.get("/events/flood")
async def plain_flood() -> Response:
    return Response(stream(flood()), mimetype="text/event-stream")


@app.get("/produced")
async def how_much() -> dict[str, float]:
    return {"bytes": produced["bytes"], "seconds since": time.monotonic() - produced["at"]}


@app.post("/go-on")
async def say_so() -> str:
    go_on.set()
    return ""


@app.get("/left")
async def wait_until_it_has_left() -> str:
    await left.wait()
    return "it has left"

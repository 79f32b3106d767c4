"""The Flask app with `async def` views."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

from flask import Flask, Response, request

from benchmarks.apps.events import due_times, event_text
from bridge.flask import Bridge, WebSocket, stream

__all__ = ["app"]

app = Flask(__name__)
_bridge = Bridge(app)


@app.get("/")
async def hello() -> str:
    """The shortest request there is, in an async view."""
    return "Hello, World!"


@app.get("/plain")
def plain() -> str:
    """The shortest request there is, in a view that is not async."""
    return "Hello, World!"


@app.get("/sleep")
async def sleep() -> str:
    """A view that waits for 50 ms, as for a database, without keeping the event loop."""
    await asyncio.sleep(0.05)
    return "Hello, World!"


@app.get("/events")
async def events() -> Response:
    """Server-sent events without end."""
    return Response(stream(_events(float(request.args["interval"]))), mimetype="text/event-stream")


async def _events(interval: float) -> AsyncIterator[str]:
    for due in due_times(interval):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield event_text(due)


@_bridge.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Send back whatever comes."""
    async for message in websocket:
        await websocket.send(message)


@app.get("/counts")
async def counts() -> dict[str, int]:
    """How many tasks there are on the loop, and how many threads in the process."""
    return {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}

"""The app with `async def` views once more, ported to Quart."""

import asyncio
import time
from collections.abc import AsyncIterator

from quart import Quart, Response, request, websocket

from benchmarks.apps.events import due_times, event_text

__all__ = ["app"]

app = Quart(__name__)
# An open stream is not to be ended after a minute.
app.config["RESPONSE_TIMEOUT"] = None


@app.get("/")
async def hello() -> str:
    """The shortest request there is."""
    return "Hello, World!"


@app.get("/sleep")
async def sleep() -> str:
    """A view that waits for 50 ms."""
    await asyncio.sleep(0.05)
    return "Hello, World!"


@app.get("/events")
async def events() -> Response:
    """Server-sent events without end."""
    return Response(_events(float(request.args["interval"])), mimetype="text/event-stream")


async def _events(interval: float) -> AsyncIterator[str]:
    for due in due_times(interval):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield event_text(due)


@app.websocket("/echo")
async def echo() -> None:
    """Send back whatever comes."""
    while True:
        await websocket.send(await websocket.receive())

"""The Flask app with `async def` views."""

import asyncio
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from benchmarks.apps.events import due_times, event_text

__all__ = ["app"]

app = Flask(__name__)


@app.get("/")
async def hello() -> str:
    """The shortest request there is, in an async view."""
    return "Hello, World!"


@app.get("/sleep")
async def sleep() -> str:
    """A view that waits for 50 ms, as for a database, without keeping the event loop."""
    await asyncio.sleep(0.05)
    return "Hello, World!"


@app.get("/events")
async def events() -> Response:
    """Server-sent events without end; today's Flask takes a sync generator only, also from an async view."""
    return Response(_events(float(request.args["interval"])), mimetype="text/event-stream")


def _events(interval: float) -> Iterator[str]:
    for due in due_times(interval):
        time.sleep(max(0.0, due - time.monotonic()))
        yield event_text(due)

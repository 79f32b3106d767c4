"""The Flask app that every server is measured with. It has no async view."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, abort, render_template, request, send_file

from benchmarks.apps.database import items
from benchmarks.apps.events import due_times, event_text
from benchmarks.apps.page import rows
from benchmarks.apps.sizes import KIB, MIB
from benchmarks.materials import FILE, material

__all__ = ["app"]

_SMALL_CHUNK = b"s" * KIB
_CHUNK = b"c" * (64 * KIB)
_WHOLE = b"w" * (10 * MIB)

app = Flask(__name__)


class Tally:
    """Counts the generators of `/endless` and what they produce, from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = 0
        self._closed = 0
        self._produced = 0

    def endless(self) -> Iterator[bytes]:
        """Chunks without end, each counted when it is about to leave."""
        with self._lock:
            self._opened += 1
        try:
            while True:
                with self._lock:
                    self._produced += len(_CHUNK)
                yield _CHUNK
        finally:
            with self._lock:
                self._closed += 1

    def counts(self) -> dict[str, int]:
        """The counts so far, and how many Python threads there are."""
        with self._lock:
            return {
                "opened": self._opened,
                "closed": self._closed,
                "produced": self._produced,
                "threads": threading.active_count(),
            }


_tally = Tally()


@app.get("/")
def hello() -> str:
    """The shortest request there is."""
    return "Hello, World!"


@app.get("/json")
def json() -> dict[str, object]:
    """A small JSON document."""
    return {"items": rows(), "page": 1, "pages": 12}


@app.get("/page")
def page() -> str:
    """A Jinja2 template with a table of twenty lines."""
    return render_template("page.html", rows=rows())


@app.get("/query")
def query() -> list[dict[str, object]]:
    """Ten rows of an SQLite table through SQLAlchemy's ORM."""
    return items(first=500, count=10)


@app.get("/sleep")
def sleep() -> str:
    """A view that waits for 50 ms, as for a database, and keeps its thread."""
    time.sleep(0.05)
    return "Hello, World!"


@app.get("/file")
def file() -> Response:
    """A file of 10 MiB."""
    return send_file(material(FILE), mimetype="application/octet-stream")


@app.get("/events")
def events() -> Response:
    """Server-sent events without end."""
    return Response(_events(float(request.args["interval"])), mimetype="text/event-stream")


def _events(interval: float) -> Iterator[str]:
    for due in due_times(interval):
        time.sleep(max(0.0, due - time.monotonic()))
        yield event_text(due)


@app.get("/stream")
def stream() -> Response:
    """100 chunks of 1 KiB from a generator."""
    return Response((_SMALL_CHUNK for _ in range(100)), mimetype="application/octet-stream")


@app.post("/upload")
def upload() -> dict[str, int]:
    """Read the body in pieces of 64 KiB, and hold nothing of it; 400 if it is not as long as announced."""
    received = 0
    while piece := request.stream.read(64 * KIB):
        received += len(piece)
    if received != request.content_length:
        abort(400)
    return {"received": received}


@app.get("/whole/static")
def whole_static() -> Response:
    """10 MiB in one piece, the same object for every request."""
    return Response(_WHOLE, mimetype="application/octet-stream")


@app.get("/whole/fresh")
def whole_fresh() -> Response:
    """10 MiB in one piece, made for this request.

    Of letters, since `bytes(n)` is memory the kernel has not handed out before somebody writes to it.
    """
    return Response(b"f" * (10 * MIB), mimetype="application/octet-stream")


@app.get("/download/<int:size>")
def download(size: int) -> Response:
    """`size` bytes from a generator of 64 KiB chunks."""
    chunks = (_CHUNK[: size - start] for start in range(0, size, len(_CHUNK)))
    return Response(chunks, mimetype="application/octet-stream", headers={"Content-Length": str(size)})


@app.get("/endless")
def endless() -> Response:
    """A body that never ends; it declares 1 TiB, so that what the client reads is not framed as chunks."""
    headers: dict[str, Any] = {"Content-Length": str(1 << 40)}
    return Response(_tally.endless(), mimetype="application/octet-stream", headers=headers)


@app.get("/counts")
def counts() -> dict[str, int]:
    """What `/endless` has done so far."""
    return _tally.counts()

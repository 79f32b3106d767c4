"""The Flask app that every server is measured with."""

import threading
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, abort, request

__all__ = ["app"]

KIB = 1024
MIB = 1024 * KIB

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

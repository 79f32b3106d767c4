"""A Flask app that tells about its surroundings, and whose requests last as long as a test wants them to."""

import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from bridge import WSGIToASGI

app = Flask(__name__)

_together = threading.Barrier(3)
_lock = threading.Lock()
_running = 0
_most = 0


@app.get("/")
def index() -> str:
    return "Hello"


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.post("/size")
def size() -> str:
    return str(len(request.get_data()))


@app.get("/environ")
def environ() -> dict[str, str]:
    return {name: value for name, value in request.environ.items() if isinstance(value, str)}


@app.get("/variable/<name>")
def variable(name: str) -> str:
    return os.environ.get(name, "")


@app.get("/together")
def together() -> str:
    """Answers when three requests are in here at once; says how many there have been at most."""
    global _running, _most
    with _lock:
        _running += 1
        _most = max(_most, _running)
    _together.wait()
    with _lock:
        _running -= 1
    return str(_most)


@app.get("/slow")
def slow() -> str:
    """Takes as long as the other end of the pipe is open; answers what came through it."""
    return Path(request.args["pipe"]).read_text()


@app.get("/stream")
def stream() -> Response:
    """Has no end; leaves a note when it is closed."""
    note = request.args["note"]

    def chunks() -> Iterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                threading.Event().wait(0.02)
        finally:
            _note(note, "closed")

    return Response(chunks(), mimetype=request.args["type"])


def _note(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(f"{text}\n")


@asynccontextmanager
async def lifespan(app: Flask) -> AsyncIterator[None]:
    _note(os.environ["LIFESPAN_NOTE"], "startup")
    yield
    _note(os.environ["LIFESPAN_NOTE"], "shutdown")


with_lifespan = WSGIToASGI(app, lifespan=lifespan)


_within = WSGIToASGI(app)


async def wrapped(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app with the adapter inside; it keeps lifespan to itself, as a mount does."""
    if scope["type"] == "http":
        await _within(scope, receive, send)
    else:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})


def make_app(name: str = "made") -> Flask:
    made = Flask(name)
    made.add_url_rule("/", view_func=lambda: name)
    return made

"""A Flask app with a lifespan, streams, uploads, files and failures, for ASGI hosts of every kind."""

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flask import Flask, Response, request, send_file

from bridge import WSGIToASGI
from bridge.flask import EventSource

flask_app = Flask(__name__)
ended = threading.Event()


@contextlib.asynccontextmanager
async def lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "a pool"}


@flask_app.get("/state")
def state() -> str:
    return str(request.environ["asgi.state"].get("pool"))


@flask_app.get("/path/<path:rest>")
def path(rest: str) -> str:
    return repr(request.environ["PATH_INFO"].encode("latin-1"))


@flask_app.get("/ticks")
def ticks() -> Response:
    def body() -> Iterator[bytes]:
        ended.clear()
        try:
            for number in range(1000):
                yield b"tick %d\n" % number
                time.sleep(0.02)
        finally:
            ended.set()

    return Response(body(), mimetype="text/plain")


@flask_app.get("/events")
async def events() -> EventSource:
    async def body() -> AsyncIterator[str]:
        ended.clear()
        try:
            for number in range(1000):
                yield str(number)
                await asyncio.sleep(0.02)
        finally:
            ended.set()

    return EventSource(body())


@flask_app.get("/ended")
def has_ended() -> str:
    return str(ended.wait(float(request.args["seconds"]) - 0.5))


@flask_app.post("/upload")
def upload() -> dict[str, int]:
    size = pieces = 0
    while data := request.stream.read(65536):
        size += len(data)
        pieces += 1
    return {"size": size, "pieces": pieces}


@flask_app.get("/file")
def file() -> Response:
    return send_file(__file__)


@flask_app.get("/memory")
def memory() -> Response:
    return send_file(io.BytesIO(b"x" * 3_000_000), mimetype="text/plain")


@flask_app.get("/fail")
def fail() -> str:
    raise ZeroDivisionError("before the response")


@flask_app.get("/fail-late")
def fail_late() -> Response:
    def body() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("in the response")

    return Response(body())


@flask_app.get("/cookies")
def cookies() -> Response:
    response = Response("two")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@flask_app.get("/hints")
def hints() -> str:
    request.environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload; as=style")])
    return "hinted"


@flask_app.get("/wait")
async def wait() -> str:
    await asyncio.sleep(0.3)
    return threading.current_thread().name


app = WSGIToASGI(flask_app, threads=4, lifespan=lifespan)

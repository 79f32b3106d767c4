"""A Starlette app with a lifespan, streams, uploads, files and failures, for servers of either kind."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def say(what: str) -> None:
    """Write a line that the test waits for."""
    print(f"app: {what}", file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    say(f"started in {os.getpid()}")
    yield {"pool": "a pool"}
    say(f"stopped in {os.getpid()}")


async def hello(request: Request) -> Response:
    return JSONResponse({"pool": request.state.pool, "path": request.url.path, "query": request.url.query})


async def ticks(request: Request) -> Response:
    """One tick at once, the others as the client asks for them, by requests to `/tick`."""

    async def body() -> AsyncIterator[bytes]:
        number = 0
        try:
            while True:
                yield b"tick %d\n" % number
                number += 1
                await anyio.sleep(0.05)
        finally:
            say("the ticks have ended")

    return StreamingResponse(body(), media_type="text/plain")


async def upload(request: Request) -> Response:
    size = pieces = 0
    async for piece in request.stream():
        size += len(piece)
        pieces += bool(piece)
    return JSONResponse({"size": size, "pieces": pieces})


async def file(request: Request) -> Response:
    return FileResponse(__file__)


async def fail(request: Request) -> Response:
    raise ZeroDivisionError("before the response")


async def fail_late(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("in the response")

    return StreamingResponse(body(), headers={"content-length": "8"})


async def after(request: Request) -> Response:
    return JSONResponse({}, background=BackgroundTask(say, "after the response"))


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", hello),
        Route("/café", hello),
        Route("/ticks", ticks),
        Route("/upload", upload, methods=["POST"]),
        Route("/file", file),
        Route("/fail", fail),
        Route("/fail-late", fail_late),
        Route("/after", after),
    ],
)

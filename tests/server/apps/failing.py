"""Apps that fail, for who debugs them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from flask import Flask, Response, request

from bridge import run_on_loop
from bridge.flask import EventSource, stream

app = Flask(__name__)
debug_while_imported = app.debug, os.environ.get("FLASK_DEBUG")
is_waited_for, is_answered = asyncio.Event(), asyncio.Event()


async def fail(number: int) -> str:
    await asyncio.sleep(0)
    raise ValueError(f"failed with {number}")


async def no_parts(number: int) -> AsyncIterator[str]:
    await asyncio.sleep(0)
    if number:
        raise ValueError(f"failed with {number}")
    yield "never"


@app.before_request
async def hook() -> None:
    number = 1
    await asyncio.sleep(0)
    if request.path == "/hook":
        raise ValueError(f"failed with {number}")


@app.get("/hook")
def hooked() -> str:
    return "never"


@app.get("/plain")
def plain() -> str:
    number = 2
    raise ValueError(f"failed with {number}")


@app.get("/async")
async def in_coroutine() -> str:
    return await fail(3)


@app.get("/on-loop")
def on_loop() -> str:
    return run_on_loop(fail(4))


@app.get("/group")
async def group() -> str:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail(5))
    return "never"


@app.get("/async-stream")
async def async_stream() -> Response:
    return Response(stream(no_parts(6)))


@app.get("/events")
def events() -> Response:
    return EventSource(no_parts(7))


@app.get("/generator")
async def generator() -> Response:
    def parts(number: int) -> Iterator[str]:
        if number:
            raise ValueError(f"failed with {number}")
        yield "never"

    return Response(parts(8))


@app.get("/late")
async def late() -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("too late for a page")

    return Response(stream(parts()))


@app.get("/imported")
def imported() -> list[Any]:
    return [*debug_while_imported, app.debug, app.jinja_env.auto_reload]


@app.get("/together")
async def two_together() -> str:
    """Answers when a second request is here at the same time."""
    if is_waited_for.is_set():
        is_answered.set()
    is_waited_for.set()
    await is_answered.wait()
    return "together"


@app.get("/blocking")
async def blocking() -> str:
    time.sleep(0.3)  # noqa: ASYNC251  # that is what is to be found
    return "done"


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    number = 9
    raise ValueError(f"failed with {number}")

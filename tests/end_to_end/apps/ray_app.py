"""What test_ray.py deploys: a Flask app whose answers say which process, thread and loop made them."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from bridge.flask import Bridge, EventSource

app = Flask(__name__)
bridge = Bridge(app)

# Where the app notes what it has begun: a line each, which no end of a process can lose.
NOTES = Path(os.environ.get("NOTES", os.devnull))


def note(line: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{line}\n")


def is_asked_to(do: str) -> bool:
    return os.path.exists(f"{NOTES}.{do}")


@bridge.lifespan
async def life(app: Any) -> AsyncIterator[dict[str, Any]]:
    if is_asked_to("hang"):
        await asyncio.sleep(3600)
    if is_asked_to("fail"):
        raise LookupError("no database here")
    note(f"started {os.getpid()}")
    yield {"pid": os.getpid(), "loop": id(asyncio.get_running_loop())}
    note(f"ended {os.getpid()}")


@app.get("/")
def plain() -> dict[str, Any]:
    time.sleep(float(request.args.get("seconds", "0")))
    return {
        "pid": os.getpid(),
        "state": bridge.state.pid,
        "thread": threading.current_thread().name,
        "root": request.script_root,
        "path": request.path,
    }


@app.get("/async")
async def on_loop() -> dict[str, Any]:
    return {"same_loop": id(asyncio.get_running_loop()) == bridge.state.loop}


@app.get("/work/<name>")
def work(name: str) -> str:
    note(f"work {name}")
    time.sleep(0.02)
    return str(os.getpid())


@app.get("/lines")
def lines() -> Response:
    def generate() -> Iterator[str]:
        for number in range(3):
            yield f"{number} {time.time()}\n"
            time.sleep(0.3)

    return Response(generate(), mimetype="text/plain")


@app.get("/events")
async def events() -> EventSource:
    async def ticks() -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield {"data": "tick"}
                await asyncio.sleep(0.1)
        finally:
            note("events ended")

    return EventSource(ticks())


@app.post("/upload")
def upload() -> dict[str, int]:
    received = 0
    while piece := request.stream.read(65536):
        received += len(piece)
    return {"received": received}


def is_healthy() -> bool:
    return not is_asked_to(f"be-ill-{os.getpid()}")

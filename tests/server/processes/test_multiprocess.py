"""`wsgi.multiprocess` under `bridge serve`, which knows how many processes there are."""

from pathlib import Path

import pytest

from tests.server.command import Serving

PORT = ("--port", "0")

APP = """
from bridge import WSGIToASGI
from flask import Flask, request

app = Flask(__name__)
adapted = WSGIToASGI(app)


@app.get("/")
def multiprocess():
    return repr(request.environ["wsgi.multiprocess"])


@app.get("/on-the-loop")
async def on_the_loop():
    return multiprocess()


async def mounting(scope, receive, send):
    if scope["type"] == "http":
        await adapted(scope, receive, send)
    else:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""

CASES = [
    # (what is typed, what the app sees)
    (["app:app"], "False"),
    (["app:app", "--reload"], "False"),
    (["app:app", "--debug"], "False"),
    (["app:app", "--lifespan", "off"], "False"),
    (["app:mounting"], "False"),
    (["app:app", "--workers", "2"], "True"),
    (["app:mounting", "--workers", "2"], "True"),
    # One that is replaced goes on until the other serves.
    (["app:app", "--supervise"], "True"),
]


@pytest.mark.parametrize(("typed", "seen"), CASES, ids=[" ".join(typed) for typed, _ in CASES])
def test_the_app_knows_whether_other_processes_serve_it(tmp_path: Path, typed: list[str], seen: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Serving(*typed, *PORT, cwd=tmp_path) as serving:
        assert serving.get("/").text == seen
        assert serving.get("/on-the-loop").text == seen

"""`--reload` and `--debug` do not let requests in flight hold up new code for long."""

import json
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.server.command import Serving, run, wait_until

PORT = ("--port", "0", "--no-access-log")

APP = """
import time
from flask import Flask

app = Flask(__name__)

@app.get("/")
def index():
    return "Hello"
"""

WAITING = {
    "a long poll": "@app.get('/wait')\ndef wait():\n    open('waits', 'w')\n    time.sleep(1000)",
    "a stream": """
@app.get("/wait")
def wait():
    def parts():
        open("waits", "w")
        while True:
            yield "data: tick\\n\\n"
            time.sleep(0.1)
    return app.response_class(parts(), mimetype="text/event-stream")
""",
}


@pytest.mark.parametrize(
    ("typed", "waiting"),
    [*(("--reload", name) for name in WAITING), ("--debug", "a long poll")],
)
def test_a_request_in_flight_does_not_hold_up_new_code(tmp_path: Path, typed: str, waiting: str) -> None:
    file = tmp_path / "app.py"

    def is_served() -> bool:
        if time.time() - file.stat().st_mtime > 5:
            file.write_text(APP.replace("Hello", "new"))  # again, if nobody had begun to watch
        try:
            return server.get("/").text == "new"
        except (OSError, HTTPException):  # from a process that is being replaced
            return False

    file.write_text(APP + WAITING[waiting])
    with Serving("app:app", *PORT, typed, cwd=tmp_path) as server, server.connection() as open:
        assert server.get("/").text == "Hello"
        open.request("GET", "/wait")
        wait_until(lambda: (tmp_path / "waits").exists(), "the request waits")
        file.write_text(APP.replace("Hello", "new"))
        wait_until(is_served, "the change is served, in less than 25 seconds by far")


@pytest.mark.parametrize(
    ("typed", "env", "seconds", "source"),
    [
        ([], {}, 25, "default"),
        (["--workers", "2"], {}, 25, "default"),
        (["--reload"], {}, 1, "default"),
        (["--debug"], {}, 1, "default"),
        ([], {"BRIDGE_RELOAD": "1"}, 1, "default"),
        (["--reload", "--timeout-graceful-shutdown", "25"], {}, 25, "flag"),
        (["--debug"], {"BRIDGE_TIMEOUT_GRACEFUL_SHUTDOWN": "7"}, 7, "BRIDGE_TIMEOUT_GRACEFUL_SHUTDOWN"),
    ],
)
def test_who_waits_for_new_code_has_a_second(
    tmp_path: Path, typed: list[str], env: dict[str, str], seconds: int, source: str
) -> None:
    code, out, _ = run("config", "app:app", "--json", *typed, cwd=tmp_path, env=env)
    assert code == 0
    assert json.loads(out)["timeout-graceful-shutdown"] == {"value": seconds, "source": source}

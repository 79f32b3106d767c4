"""An app finds multiprocessing as it is without a server, however the process that serves it was started."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.command import Serving

PORT = ("--port", "0", "--no-access-log")

MODES = {
    "one process": (),
    "two workers": ("--workers", "2"),
    "two forked workers": ("--workers", "2", "--preload"),
    "reloading": ("--reload",),
}

MULTIPROCESSING = """
import json, multiprocessing, signal, time
from concurrent.futures import ProcessPoolExecutor

def seen():
    context = multiprocessing.get_context("fork")
    child = context.Process(target=time.sleep, args=(1000,))
    child.start()
    child.terminate()
    child.join(10)
    with ProcessPoolExecutor(1) as executor, multiprocessing.Pool(1) as pool:
        found = {
            "before": before,
            "method": multiprocessing.get_start_method(),
            "executor": list(executor.map(abs, [-1, -2])),
            "pool": pool.map(abs, [-3]),
            "terminated": child.exitcode,
        }
    if child.exitcode is None:
        child.kill()
    return json.dumps(found)

before = multiprocessing.get_start_method(allow_none=True)
multiprocessing.set_start_method("spawn")  # fails if it has been chosen
multiprocessing.set_start_method(None, force=True)

def app(environ, start_response):
    start_response("200 OK", [])
    return [seen().encode()]
"""


@pytest.mark.parametrize("typed", MODES.values(), ids=MODES)
def test_multiprocessing_is_as_it_is_without_a_server(tmp_path: Path, typed: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(MULTIPROCESSING)
    plain = subprocess.run(
        [sys.executable, "-c", "import app; print(app.seen())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with Serving("app:app", *PORT, *typed, cwd=tmp_path) as server:
        assert json.loads(server.get("/").text) == json.loads(plain)
    assert json.loads(plain)["terminated"] == -signal.SIGTERM

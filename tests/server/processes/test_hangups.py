"""SIGHUP without a supervisor: logrotate and deploy scripts send it, and so does a terminal that closes."""

import os
import signal
from pathlib import Path
from signal import Signals as Signal

import pytest

from tests.server.command import Serving
from tests.server.test_terminal import Terminal

PORT = ("--port", "0", "--no-access-log")

ADVICE = (
    r"^WARNING: +SIGHUP changes nothing: this one process can load the app anew only by a restart, in which "
    r"requests would be lost. With --supervise, or --workers 2, SIGHUP replaces it; "
)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_one_process_goes_on_and_names_the_cure(pipe: Path) -> None:
    with Serving("shop:app", *PORT) as serving, serving.connection() as slow:
        slow.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w") as writer:
            serving.signal(Signal.SIGHUP)
            serving.wait_for(ADVICE)
            serving.signal(Signal.SIGHUP)
            serving.wait_for(ADVICE, times=2)
            assert serving.get("/").text == "Hello"
            writer.write("done")
        assert slow.getresponse().read() == b"done"
        serving.signal(Signal.SIGTERM)
        assert serving.finish() == 0


def test_a_reloader_reloads(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, flask\napp = flask.Flask(__name__)\n@app.get('/')\ndef pid(): return str(os.getpid())"
    )
    with Serving("app:app", *PORT, "--reload", cwd=tmp_path) as serving:
        old = serving.get("/").text
        serving.signal(Signal.SIGHUP)
        serving.wait_for("^INFO: +Received SIGHUP, reloading.$")
        serving.wait_for("Application startup complete", times=2)
        assert serving.get("/").text != old
        serving.signal(Signal.SIGTERM)
        assert serving.finish() == 0


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        serving = Serving("shop:app", *PORT)
    finally:
        signal.signal(signal.SIGHUP, before)
    with serving:
        serving.signal(Signal.SIGHUP)
        assert serving.get("/").text == "Hello"
        serving.signal(Signal.SIGTERM)
        assert serving.finish() == 0
    assert "SIGHUP" not in serving.stderr


@pytest.mark.parametrize("typed", [(), ("--reload",)])
def test_it_ends_with_its_terminal(typed: tuple[str, ...]) -> None:
    with Terminal("serve", "shop:app", "--port", "0", *typed) as terminal:
        terminal.wait_for("Ctrl-C to stop")
        assert terminal.close() == 0

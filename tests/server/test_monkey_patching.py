"""gevent and eventlet in a server of threads: one warning says what they break, and it is true."""

import importlib.util
import logging
import sys
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge import WSGIToASGI
from bridge.testing import Client
from bridge.types import StartResponse, WSGIEnvironment
from tests.server.command import Serving

PORT = ("--port", "0")

APP = """
{patch}
import time

from flask import Flask

app = Flask(__name__)
app.add_url_rule("/", view_func=lambda: "at once")


@app.get("/waits")
def waits():
    time.sleep(0.01)
    return "waited"


@app.get("/async")
async def a():
    return "async"


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"asgi"}})
"""

THREADS = "has replaced this process's threads by its own"
PARTS = "has replaced queue and subprocess in this process, which fail in threads"

CASES = [
    # (the library, how it patches, what is said of it)
    ("gevent", "from gevent import monkey; monkey.patch_all()", THREADS),
    ("gevent", "from gevent import monkey; monkey.patch_all(thread=False)", PARTS),
    (
        "gevent",
        "from gevent import monkey; monkey.patch_all(thread=False, queue=False, subprocess=False)",
        None,
    ),
    ("gevent", "import gevent.monkey", None),
    ("eventlet", "import eventlet; eventlet.monkey_patch()", THREADS),
    ("eventlet", "import eventlet; eventlet.monkey_patch(thread=False)", None),
    ("eventlet", "import eventlet.patcher", None),
]


@pytest.mark.parametrize(("library", "patch", "said"), CASES, ids=[patch for _, patch, _ in CASES])
@pytest.mark.parametrize("app", ["app", "asgi"])
def test_it_is_said_when_the_server_starts(
    tmp_path: Path, library: str, patch: str, said: str | None, app: str
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    (tmp_path / "app.py").write_text(APP.format(patch=patch))
    with Serving(f"app:{app}", *PORT, cwd=tmp_path) as serving:
        warnings = [line for line in serving.stderr.splitlines() if line.startswith("WARNING")]
        if said is None:
            assert warnings == []
        else:
            (warning,) = warnings
            assert warning.startswith(f"WARNING:  {library} {said}")
        assert serving.get("/").status == 200
        if app == "app" and said != THREADS:
            assert serving.get("/waits").text == "waited"


def test_what_is_said_is_true(tmp_path: Path) -> None:
    """A plain view that waits gets no answer; others do."""
    pytest.importorskip("gevent")
    (tmp_path / "app.py").write_text(APP.format(patch="from gevent import monkey; monkey.patch_all()"))
    with Serving("app:app", *PORT, cwd=tmp_path) as serving, serving.connection() as connection:
        assert connection.sock is not None
        connection.sock.settimeout(2)
        connection.request("GET", "/waits")
        with pytest.raises((TimeoutError, HTTPException)):
            connection.getresponse()
        assert serving.get("/").text == "at once"
        assert serving.get("/async").text == "async"


FAKES = [
    # (a module that is loaded, what the warning of the adapter says)
    ("gevent.monkey", SimpleNamespace(is_module_patched=lambda name: True), "gevent has replaced"),
    ("gevent.monkey", SimpleNamespace(is_module_patched=lambda name: name == "queue"), "replaced queue in"),
    ("gevent.monkey", SimpleNamespace(is_module_patched=lambda name: False), None),
    ("eventlet.patcher", SimpleNamespace(is_monkey_patched=lambda name: True), "eventlet has replaced"),
    ("eventlet.patcher", SimpleNamespace(is_monkey_patched=lambda name: False), None),
]


@pytest.mark.parametrize(("module", "fake", "said"), FAKES)
async def test_the_adapter_says_it_on_other_servers(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: str,
    fake: object,
    said: str | None,
) -> None:
    """With the first request, once."""
    for name in ("gevent.monkey", "eventlet.patcher"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, module, fake)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return [b"answered"]

    with caplog.at_level(logging.WARNING, "bridge"):
        async with Client(WSGIToASGI(app)) as client:
            for _ in range(2):
                assert (await client.get("/")).text == "answered"
    assert [said in record.getMessage() for record in caplog.records if said] == ([True] if said else [])
    assert len(caplog.records) == (1 if said else 0)

"""`--mount`: several apps in one process; what is wrong ends the command with a line."""

import signal
from pathlib import Path

import pytest

from tests.server.command import Serving, run

PORT = ("--port", "0")

FLASK = """
from flask import Flask, request
app = Flask(__name__)
@app.get("/")
def index():
    return f"flask at {request.script_root}"
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if {fails}:
            await send({{"type": "lifespan.startup.failed", "message": "no database"}})
            return
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("lifespan over", flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"asgi at " + scope["root_path"].encode()}})
"""
UNCLEAR = """
import api
class App:
    def __call__(self, *arguments):
        return api.app(*arguments)
app = App()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(FLASK)
    (tmp_path / "api.py").write_text(ASGI.format(fails=False))
    (tmp_path / "failing.py").write_text(ASGI.format(fails=True))
    return tmp_path


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_apps_of_both_kinds_below_their_prefixes(folder: Path, workers: tuple[str, ...]) -> None:
    mounts = ("--mount", "/api=api:app", "--mount", "/old=shop:app")
    with Serving("shop:app", *mounts, *PORT, *workers, cwd=folder) as serving:
        assert serving.get("/").text == "flask at "
        assert serving.get("/api/x").text == "asgi at /api"
        assert serving.get("/old/").text == "flask at /old"
        assert serving.get("/-/health/ready").status == 200
        serving.signal(signal.SIGTERM)
        assert serving.finish() == 0
    shop = "Flask app 'shop:app'"
    described = f"{shop} (1 route and static files), ASGI app 'api:app' at /api, {shop} at /old"
    assert described in serving.stderr
    assert "lifespan over" in serving.stdout


def test_an_app_of_any_arguments_is_what_is_said(folder: Path) -> None:
    (folder / "unclear.py").write_text(UNCLEAR)
    mount = ("--mount", "/shop=shop:app")
    with Serving("unclear:app", "--interface", "asgi", *mount, *PORT, cwd=folder) as serving:
        assert serving.get("/").text == "asgi at "
        assert serving.get("/shop/").text == "flask at /shop"


def test_mounts_alone_need_no_app(folder: Path) -> None:
    (folder / "bridge.toml").write_text('mount = ["/api=api:app"]')
    with Serving(*PORT, cwd=folder) as serving:
        assert serving.get("/api/").text == "asgi at /api"
        assert serving.get("/").status == 404


@pytest.mark.parametrize(
    ("typed", "code", "message"),
    [
        (["--mount", "api=api:app"], 2, "a mount's prefix begins with a slash, as /api does; got 'api'"),
        (["--mount", "/api"], 2, "'/api' is not of the form PREFIX=APP, as in /api=api:app"),
        (["--mount", "/a=api:app", "--mount", "/a/=shop:app"], 2, "two apps are mounted at /a"),
        (["shop:app", "--mount", "/=api:app"], 3, "bridge: --mount /=api:app: shop:app is there already"),
        (["--mount", "/a=nosuch:app"], 3, "bridge: --mount /a=nosuch:app: no module named 'nosuch'"),
        (["--mount", "/a=api:nosuch"], 3, "bridge: --mount /a=api:nosuch: module 'api' has no attribute"),
        (["shop:app", "--mount", "/a=failing:app"], 3, "the app at /a did not start: no database"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, typed: list[str], code: int, message: str) -> None:
    found, _, err = run("serve", *typed, *PORT, cwd=folder)
    assert message in err
    assert found == code

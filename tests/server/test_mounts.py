"""`--mount`: several apps in one process; what is wrong ends the command with a line."""

import json
import re
import signal
from pathlib import Path

import httpx
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


REPORT = """
import contextlib
from flask import Flask, request
from bridge.flask import Bridge
app = Flask(__name__)
bridge = Bridge(app)
@bridge.lifespan
@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"pool": __name__}
@app.get("/<path:rest>")
def report(rest):
    environ = request.environ
    found = [environ[key] for key in ("SCRIPT_NAME", "PATH_INFO", "REQUEST_URI")]
    return [*found, environ["asgi.state"].get("pool"), environ["asgi.scope"]["root_path"]]
"""
PATHS = {
    "/a/x": ["/a", "/x", "/a/x"],
    "/a/b/x?y=1": ["/a/b", "/x", "/a/b/x?y=1"],
    "/a/bx/caf%C3%A9": ["/a", "/bx/caf\xc3\xa9", "/a/bx/caf%C3%A9"],
    "/%61/x": ["/a", "/x", "/%61/x"],
    "/a//x": ["/a", "//x", "/a//x"],
}


@pytest.mark.parametrize("root", ["", "/root"])
def test_wsgi_apps_get_what_they_get_alone(folder: Path, root: str) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(REPORT)
    typed = ("--mount", "/a=one:app", "--mount", "/a/b=two:app", "--root-path", root)
    with Serving(*typed, *PORT, cwd=folder) as serving:
        for path, (script_name, path_info, uri) in PATHS.items():
            for sent in {path, root + path}:  # a proxy leaves the root path, or takes it off
                found = json.loads(serving.get(sent).text)
                state = "two" if script_name == "/a/b" else "one"
                assert found == [
                    *[root + script_name, path_info, root + uri, state],
                    root + script_name,
                ]
        assert serving.get("/").status == serving.get("/ab/x").status == 404


def test_metrics_count_the_threads_and_routes_of_all(folder: Path) -> None:
    typed = ("shop:app", "--mount", "/old=shop:app", "--mount", "/api=api:app", "--metrics-port", "0")
    with Serving(*typed, *PORT, cwd=folder) as serving:
        for path in ("/", "/old/", "/api/"):
            assert serving.get(path).status == 200
        found = re.search(r"metrics at (\S+)", serving.stderr)
        assert found is not None
        figures = httpx.get(found[1]).text
    for route in ("/", "/old/"):
        assert f'bridge_requests_total{{method="GET",route="{route}",status="200"}} 1.0' in figures
    assert "bridge_threads_busy 0.0" in figures
    assert "bridge_thread_wait_seconds_count 2.0" in figures


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
    assert "Traceback" not in err
    assert found == code

"""`--root-path /app`: a proxy may take the prefix off, or leave it there; the app sees the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from bridge.server.options import check_root_path
from tests.server.command import Serving, run

PORT = ("--port", "0")

APP = """
import asyncio
import json

from flask import Flask, redirect, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.flask import Bridge

app = Flask(__name__)
bridge = Bridge(app)


@app.get("/")
@app.get("/sub")
@app.get("/app/inner")
@app.get("/<other>")
def seen(other=None):
    environ = request.environ
    return {
        "script name": environ["SCRIPT_NAME"],
        "path": environ["PATH_INFO"],
        "uri": environ["RAW_URI"],
        "url_for": url_for("folder"),
        "static": url_for("static", filename="style.css"),
        "scope": [environ["asgi.scope"]["root_path"], environ["asgi.scope"]["path"]],
    }


@app.get("/folder/")
def folder():
    return "folder"


@app.get("/elsewhere")
def elsewhere():
    return redirect(url_for("folder"))


@app.get("/on-the-loop")
async def on_the_loop():
    return {"on the loop": asyncio.get_running_loop().is_running(), **seen()}


@bridge.websocket("/socket")
async def socket(ws):
    await ws.send(json.dumps(seen()))


behind = Flask("behind")
behind.wsgi_app = ProxyFix(behind.wsgi_app, x_prefix=1)
behind.add_url_rule("/sub", "folder", view_func=lambda: url_for("folder"))
behind.add_url_rule("/async", "loop", view_func=on_the_loop)


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        told = [scope["root_path"], scope["path"], scope["raw_path"].decode()]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps([scope["root_path"], scope["path"]])})
        await send({"type": "websocket.close"})
    else:
        raise ValueError("no lifespan")
"""

OPTIONS: dict[str, tuple[list[str], dict[str, str]]] = {
    "by its option": (["--root-path", "/app"], {}),
    "with a slash more": (["--root-path", "/app/"], {}),
    "without its slash": (["--root-path", "app"], {}),
    "in gunicorn's variable": ([], {"SCRIPT_NAME": "/app"}),
    "wsproto": (["--root-path", "/app", "--ws", "wsproto"], {}),
    "workers": (["--root-path", "/app", "--workers", "2"], {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root_path")
    (path / "app.py").write_text(APP)
    (path / "static").mkdir()
    (path / "static/style.css").write_text("a {}")
    return path


@pytest.fixture(scope="module", params=OPTIONS)
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Serving]:
    typed, env = OPTIONS[request.param]
    with Serving("app:app", *PORT, *typed, cwd=folder, env=env) as serving:
        yield serving


PATHS = [
    # (what the server is asked for, PATH_INFO)
    ("/sub", "/sub"),  # the proxy has taken the prefix off
    ("/app/sub", "/sub"),  # it has not
    ("/", "/"),
    ("/app/", "/"),
    ("/application", "/application"),  # another path that begins with the same letters
    ("/app/application", "/application"),
    ("/app/app", "/app"),
    ("/app/app/inner", "/app/inner"),
    ("/app/inner", "/inner"),  # by a proxy that takes off one of two, it cannot be told
    ("/caf%C3%A9", "/caf\xc3\xa9"),
    ("/app/caf%C3%A9", "/caf\xc3\xa9"),
    ("/app/%ff", "/\xff"),
    ("/%61pp/sub", "/sub"),
]


@pytest.mark.parametrize(("path", "path_info"), PATHS, ids=[path for path, _ in PATHS])
def test_the_app_sees_the_same(server: Serving, path: str, path_info: str) -> None:
    answer = server.get(path)
    assert answer.status == 200
    seen = json.loads(answer.text)
    assert (seen["script name"], seen["path"]) == ("/app", path_info)
    assert (seen["url_for"], seen["static"]) == ("/app/folder/", "/app/static/style.css")
    below = path if path.startswith(("/app/", "/%61pp/")) else f"/app{path}"
    assert seen["uri"] == below
    server.wait_for_access_log(r'"GET /(app|%61pp)/\S* HTTP/1\.1" 200')


@pytest.mark.parametrize("prefix", ["", "/app"], ids=["taken off", "left"])
def test_everything_is_there(server: Serving, prefix: str) -> None:
    seen = json.loads(server.get(f"{prefix}/on-the-loop").text)
    assert (seen["on the loop"], seen["script name"], seen["path"]) == (True, "/app", "/on-the-loop")
    assert server.get(f"{prefix}/static/style.css").text == "a {}"
    assert server.get(f"{prefix}/elsewhere").headers["Location"] == "/app/folder/"
    assert server.get(f"{prefix}/folder").headers["Location"].endswith("/app/folder/")  # Werkzeug's
    assert server.get(f"{prefix}/-/health/ready").status == 200
    uri = f"ws://localhost{prefix}/socket"
    with connect(uri, sock=server.connect(), proxy=None) as client:
        seen = json.loads(client.recv())
    assert (seen["script name"], seen["path"], seen["url_for"]) == ("/app", "/socket", "/app/folder/")


def test_the_path_itself(server: Serving) -> None:
    """Without its slash it is the app's, whose PATH_INFO is then empty (PEP 3333, "environ Variables")."""
    answer = server.get("/app")
    assert (answer.status, answer.headers["Location"].endswith("/app/")) == (308, True)


def test_a_header_cannot_say_it(server: Serving) -> None:
    """gunicorn takes it from those who it trusts; a header with an underscore is no other one's hyphen."""
    headers = {"SCRIPT_NAME": "/evil", "Script-Name": "/evil"}
    assert json.loads(server.get("/sub", headers).text)["script name"] == "/app"


def test_a_proxy_may_say_it_of_each_request(folder: Path) -> None:
    """To an app that believes it."""
    with Serving("app:behind", *PORT, cwd=folder) as serving:
        for prefix in ("/one", "/two"):
            headers = {"X-Forwarded-Prefix": prefix}
            assert serving.get("/sub", headers).text == f"{prefix}/sub"
            seen = json.loads(serving.get("/async", headers).text)
            assert (seen["on the loop"], seen["script name"]) == (True, prefix)


@pytest.mark.parametrize("prefix", ["", "/app"], ids=["taken off", "left"])
def test_an_asgi_app_sees_the_same(folder: Path, prefix: str) -> None:
    """`path` contains `root_path` (ASGI spec, "HTTP Connection Scope")."""
    with Serving("app:asgi", *PORT, "--root-path", "/app", cwd=folder) as serving:
        assert told(serving, f"{prefix}/a%20b") == ["/app", "/app/a b", "/app/a%20b"]
        with connect(f"ws://localhost{prefix}/socket", sock=serving.connect(), proxy=None) as client:
            assert json.loads(client.recv()) == ["/app", "/app/socket"]


@pytest.mark.parametrize("path", ["/x", "/a%20shop/x"])
def test_a_root_path_with_a_space(folder: Path, path: str) -> None:
    with Serving("app:asgi", *PORT, "--root-path", "/a shop", cwd=folder) as serving:
        assert told(serving, path)[:2] == ["/a shop", "/a shop/x"]


def told(serving: Serving, path: str) -> Any:
    return json.loads(serving.get(path).text)


@pytest.mark.parametrize("typed", ["/", ""])
def test_no_root_path(folder: Path, typed: str) -> None:
    with Serving("app:asgi", *PORT, "--root-path", typed, cwd=folder, env={"SCRIPT_NAME": "/app"}) as serving:
        assert told(serving, "/x") == ["", "/x", "/x"]


RIGHT = {
    "": "",
    "/": "",
    "//": "",
    "/app": "/app",
    "app": "/app",
    "/app/": "/app",
    "/app//": "/app",
    "/app/inner/": "/app/inner",
    "/a shop": "/a shop",
}


@pytest.mark.parametrize(("root_path", "checked"), RIGHT.items())
def test_root_paths_as_asgi_has_them(root_path: str, checked: str) -> None:
    assert check_root_path(root_path) == checked


WRONG = [
    # (the root path, what is said of it)
    ("/caf\xe9", "is not printable ASCII"),
    ("/a\tb", "is not printable ASCII"),
    ("/a%20b", "is not a decoded path: it has one of ? # %"),
    ("/a?b", "is not a decoded path: it has one of ? # %"),
]


@pytest.mark.parametrize(("root_path", "why"), WRONG)
def test_what_is_no_root_path(root_path: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{root_path!r} {why}")):
        check_root_path(root_path)


@pytest.mark.parametrize(("root_path", "why"), WRONG)
def test_a_root_path_that_cannot_be(folder: Path, root_path: str, why: str) -> None:
    code, _, err = run("serve", "app:app", *PORT, "--root-path", root_path, cwd=folder)
    assert code == 2
    assert f"Invalid value for '--root-path': {root_path!r} {why}" in err
    code, _, err = run("serve", "app:app", *PORT, cwd=folder, env={"SCRIPT_NAME": root_path})
    assert code == 2
    assert f"Invalid value for SCRIPT_NAME in the environment: {root_path!r} {why}" in err

"""What Flask apps do every day, on real servers."""

import hashlib
import io
from pathlib import Path
from typing import Any

import flask
import httpx

from bridge import WSGIToASGI
from tests.end_to_end.raw import RawClient
from tests.hosts import Host


def _app(file: Path) -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "for the session"

    @app.get("/")
    def index() -> str:
        return "Hello"

    @app.get("/args")
    def args() -> dict[str, list[str]]:
        return flask.request.args.to_dict(flat=False)

    @app.post("/json")
    def json() -> dict[str, Any]:
        return {"got": flask.request.get_json()}

    @app.post("/form")
    def form() -> dict[str, str]:
        return flask.request.form.to_dict()

    @app.post("/file")
    def upload() -> dict[str, Any]:
        got = flask.request.files["document"]
        return {
            "name": got.filename,
            "digest": hashlib.sha256(got.read()).hexdigest(),
            "note": flask.request.form["note"],
        }

    @app.get("/file")
    def download() -> flask.Response:
        return flask.send_file(file, conditional=True)

    @app.delete("/item")
    def item() -> tuple[str, int]:
        return "", 204

    @app.get("/cached")
    def cached() -> flask.Response:
        response = flask.make_response("a page")
        response.set_etag("v1")
        response.make_conditional(flask.request)
        return response

    @app.get("/moved")
    def moved() -> Any:
        return flask.redirect(flask.url_for("index", _external=True))

    @app.get("/count")
    def count() -> str:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(flask.stream_with_context(flask.request.path for _ in range(3)))

    @app.get("/broken")
    def broken() -> str:
        raise LookupError

    return app


CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()

# name → (method, url, options of httpx, status, body)
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, object]] = {
    "a page": ("GET", "/", {}, 200, b"Hello"),
    "its head": ("HEAD", "/", {}, 200, b""),
    "what does not exist": ("GET", "/nowhere", {}, 404, None),
    "a wrong method": ("POST", "/", {}, 405, None),
    "a query": ("GET", "/args?a=1&a=2&b=caf%C3%A9", {}, 200, {"a": ["1", "2"], "b": ["caf\xe9"]}),
    "JSON": ("POST", "/json", {"json": {"a": [1, None, "\u2603"]}}, 200, {"got": {"a": [1, None, "\u2603"]}}),
    "a form": ("POST", "/form", {"data": {"a": "1", "b": "caf\xe9"}}, 200, {"a": "1", "b": "caf\xe9"}),
    "a file up": (
        "POST",
        "/file",
        {"files": {"document": ("r\xe9sum\xe9.pdf", io.BytesIO(CONTENT))}, "data": {"note": "mine"}},
        200,
        {"name": "r\xe9sum\xe9.pdf", "digest": DIGEST, "note": "mine"},
    ),
    "a file down": ("GET", "/file", {}, 200, CONTENT),
    "a part of it": ("GET", "/file", {"headers": {"Range": "bytes=10-19"}}, 206, CONTENT[10:20]),
    "its last part": ("GET", "/file", {"headers": {"Range": "bytes=-5"}}, 206, CONTENT[-5:]),
    "its head only": ("HEAD", "/file", {}, 200, b""),
    "no content": ("DELETE", "/item", {}, 204, b""),
    "not modified": ("GET", "/cached", {"headers": {"If-None-Match": '"v1"'}}, 304, b""),
    "modified": ("GET", "/cached", {"headers": {"If-None-Match": '"v0"'}}, 200, b"a page"),
    "a redirect": ("GET", "/moved", {}, 302, None),
    "a redirect followed": ("GET", "/moved", {"follow_redirects": True}, 200, b"Hello"),
    "a session": ("GET", "/count", {}, 200, b"1"),
    "the same session": ("GET", "/count", {}, 200, b"2"),
    "a stream": ("GET", "/stream", {}, 200, b"/stream/stream/stream"),
    "a view that fails": ("GET", "/broken", {}, 500, None),
}


def test_every_day_requests(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(CONTENT)
    seen = {}
    with host(WSGIToASGI(_app(file))) as server, httpx.Client(base_url=server.url) as client:
        for name, (method, url, options, _, expected) in REQUESTS.items():
            response = client.request(method, url, **options)
            body = response.json() if isinstance(expected, dict) else response.content
            seen[name] = (response.status_code, None if expected is None else body)
    assert seen == {name: (status, expected) for name, (*_, status, expected) in REQUESTS.items()}


def test_responses_without_a_body_leave_the_connection_in_order(host: Host) -> None:
    """A byte too many after one of them, and the next answer on the connection is unreadable."""
    requests = [
        (b"HEAD", b"/"),
        (b"GET", b"/"),
        (b"DELETE", b"/item"),
        (b"GET", b"/"),
        (b"HEAD", b"/stream"),
        (b"GET", b"/cached"),
        (b"GET", b"/"),
    ]
    with host(WSGIToASGI(_app(Path("nowhere")))) as server, RawClient(server) as client:
        answers = []
        for method, target in requests:
            condition = b'If-None-Match: "v1"\r\n'
            client.send(method + b" " + target + b" HTTP/1.1\r\nHost: testserver\r\n" + condition + b"\r\n")
            answers.append(client.answer(method))
    assert [(answer.status, answer.body) for answer in answers] == [
        (200, b""),
        (200, b"Hello"),
        (204, b""),
        (200, b"Hello"),
        (200, b""),
        (304, b""),
        (200, b"Hello"),
    ]
    assert answers[0].headers[b"content-length"] == b"5"
    assert b"content-length" not in answers[2].headers
    assert b"transfer-encoding" not in answers[2].headers

"""`wsgi.early_hints`, on an ASGI host that has the extension, and on Bridge's own HTTP."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request, stream_with_context

from bridge import WSGIToASGI
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.asgi_host import ScriptedHost, body_event, http_scope
from tests.server.wire import exchange

LINK = "</style.css>; rel=preload; as=style"
OFFERED: dict[str, Any] = {"extensions": {"http.response.early_hint": {}}}


def before(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("Link", LINK), ("X-Other", "1")])
    environ["wsgi.early_hints"]([(b"link", b"</b.js>")])
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]


def after_start_response(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    environ["wsgi.early_hints"]([("Link", LINK), ("X-Other", "1")])
    environ["wsgi.early_hints"]([(b"link", b"</b.js>")])
    return [b"done"]


def after_the_head(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    yield b"do"
    environ["wsgi.early_hints"]([("Link", LINK)])
    yield b"ne"


def only_where_offered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"some" if "wsgi.early_hints" in environ else b"none"]


def flask_app() -> Flask:
    app = Flask(__name__)

    def give() -> None:
        request.environ["wsgi.early_hints"]([("Link", LINK), ("X-Other", "1")])
        request.environ["wsgi.early_hints"]([("Link", "</b.js>")])

    @app.get("/plain")
    def plain() -> str:
        give()
        return "done"

    @app.get("/async")
    async def on_the_loop() -> str:
        give()
        return "done"

    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[str]:
            give()
            yield "done"

        return Response(stream_with_context(body()))

    return app


async def events(app: WSGIApplication, **changes: Any) -> list[Any]:
    host = ScriptedHost([body_event()])
    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():
        await adapter(http_scope(**changes), host.receive, host.send)
    return host.sent


async def sent_by(app: WSGIApplication, path: str = "/", version: str = "1.1") -> str:
    """What Bridge's own HTTP sends."""
    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():
        asked = f"GET {path} HTTP/{version}\r\nHost: a\r\n\r\n".encode()
        return (await exchange(adapter, [asked])).sent.decode()


CASES: dict[str, tuple[Callable[[], WSGIApplication], str]] = {
    "before start_response": (lambda: before, "/"),
    "after start_response": (lambda: after_start_response, "/"),
    "a plain view": (flask_app, "/plain"),
    "an async view": (flask_app, "/async"),
    "a generator": (flask_app, "/stream"),
}


@pytest.mark.parametrize(("make", "path"), CASES.values(), ids=CASES)
async def test_a_host_that_has_the_extension_gets_links_before_the_head(
    make: Callable[[], WSGIApplication], path: str
) -> None:
    first, second, head, *body = await events(make(), path=path, raw_path=path.encode(), **OFFERED)
    assert first == {"type": "http.response.early_hint", "links": [LINK.encode()]}
    assert second == {"type": "http.response.early_hint", "links": [b"</b.js>"]}
    assert head["type"] == "http.response.start"
    assert b"".join(event["body"] for event in body) == b"done"


@pytest.mark.parametrize(("make", "path"), CASES.values(), ids=CASES)
async def test_the_own_server_sends_all_fields_in_a_103(
    make: Callable[[], WSGIApplication], path: str
) -> None:
    sent = await sent_by(make(), path)
    hints = f"HTTP/1.1 103 Early Hints\r\nlink: {LINK}\r\nx-other: 1\r\n\r\n"
    hints += "HTTP/1.1 103 Early Hints\r\nlink: </b.js>\r\n\r\n"
    assert sent.startswith(hints + "HTTP/1.1 200 OK\r\n")
    assert "done" in sent


async def test_none_come_after_the_head() -> None:
    assert [event["type"] for event in await events(after_the_head, **OFFERED)][:2] == [
        "http.response.start",
        "http.response.body",
    ]
    sent = await sent_by(after_the_head)
    assert sent.endswith("\r\n\r\ndone")
    assert "103" not in sent


async def test_the_key_is_missing_where_nobody_can_send_them() -> None:
    assert (await events(only_where_offered))[1]["body"] == b"none"
    assert (await sent_by(only_where_offered)).endswith("some")


async def test_a_client_of_http_10_gets_none() -> None:
    sent = await sent_by(before, version="1.0")
    assert sent.startswith("HTTP/1.1 200 OK\r\n")
    assert "103" not in sent


WRONG: dict[str, tuple[list[Any], str]] = {
    "a line break": ([("Link", "a\r\nSet-Cookie: b=c")], "control character"),
    "a line break in bytes": ([(b"Link", b"a\r\nX: y")], "control character"),
    "a name that is none": ([("Li nk", "a")], "not a str of the characters allowed"),
    "a length": ([("Content-Length", "3")], "early hints hold the header 'content-length'"),
    "a framing": ([("Transfer-Encoding", "chunked")], "early hints hold the header 'transfer-encoding'"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
async def test_fields_are_checked(fields: list[Any], message: str, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.early_hints"](fields)
        raise AssertionError("never reached")

    sent = await events(app, **OFFERED)
    assert [event.get("status") for event in sent] == [500, None]
    assert message in caplog.text


# ASGI apps on the own server


async def answering(order: str, send: Any) -> None:
    """Send events: h for hints, s for the start, b for a part of the body, e for the last one."""
    for each in order:
        await send(
            {
                "h": {"type": "http.response.early_hint", "links": [b"</a.css>"]},
                "s": {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]},
                "b": {"type": "http.response.body", "body": b"1", "more_body": True},
                "e": {"type": "http.response.body", "body": b"1"},
            }[each]
        )


@pytest.mark.parametrize(
    ("order", "version", "found"),
    [
        ("hsbe", "1.1", ["103", "200"]),
        ("hhsbe", "1.1", ["103", "103", "200"]),
        ("shbe", "1.1", ["103", "200"]),  # as the ASGI spec has it
        ("sbhe", "1.1", ["200"]),
        ("hsbe", "1.0", ["200"]),
    ],
)
async def test_an_asgi_app_sends_them(order: str, version: str, found: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        offered = "http.response.early_hint" in (scope.get("extensions") or {})
        assert offered == (version == "1.1")
        await answering(order, send)

    wire = await exchange(app, [f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode()])
    assert re.findall(r"HTTP/1\.1 (\d+)", wire.sent.decode()) == found
    assert wire.sent.count(b"link: </a.css>") == found.count("103")
    assert wire.sent.endswith(b"\r\n\r\n11")


async def test_an_asgi_app_cannot_split_the_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a>\r\nX: y"]})

    wire = await exchange(app, [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert wire.sent.startswith(b"HTTP/1.1 500 ")

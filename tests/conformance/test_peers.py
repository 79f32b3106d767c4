"""What other adapters get wrong, asked of the whole adapter.

Each row says in its id, in those words, what a2wsgi, asgiref, Starlette, uvicorn or hypercorn was seen to do.
This is the table of what one request and its response can show; what takes a host that leaves, stalls, fails
or counts is in `test_peers_at_work`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

import flask
import pytest

from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.conformance.apps import PLAIN, answering, echoing
from tests.conformance.exchange import ask

_CUT = "Handling the Content-Length Header"


@dataclass(frozen=True)
class Row:
    """One request to an app, and what has to come back."""

    wrong_elsewhere: str
    app: WSGIApplication
    target: bytes = b"/"
    body: tuple[bytes, ...] = (b"",)
    scope: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    answer: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    log: str = ""
    """A part of the one line that has to be in the log; empty for a log without any."""


def _read_lines(environ: WSGIEnvironment) -> object:
    body = environ["wsgi.input"]
    return [body.readline(2), body.readline(2), body.readline(1), *body.readlines()]


def _replace_with_exc_info(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    try:
        raise LookupError("found while rendering")
    except LookupError as error:
        traceback = cast(TracebackType, error.__traceback__)
        start_response("503 Service Unavailable", PLAIN, (LookupError, error, traceback))
    return [b"sorry"]


def _start_twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    start_response("404 Not Found", PLAIN)
    return [b"hello"]


def _write(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", PLAIN)
    write(b"wri")
    write(b"tten, ")
    return [b"and returned"]


def _start_inside(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    yield b""
    start_response("418 I'm a teapot", PLAIN)
    yield b"short and stout"


def _never_start(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return []


def _raise_stop_iteration(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise StopIteration


def _flask() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.post("/upload")
    def upload() -> bytes:
        return flask.request.data

    @app.get("/page")
    def page() -> str:
        return "a page"

    @app.delete("/item")
    def item() -> tuple[str, int]:
        return "", 204

    @app.get("/empty")
    def empty() -> str:
        return ""

    return app


FLASK = _flask().wsgi_app

ROWS = [
    Row(
        "Flask gets an empty body for chunked uploads (`wsgi.input_terminated` missing)",
        FLASK,
        target=b"/upload",
        scope={"method": "POST", "headers": [(b"transfer-encoding", b"chunked")]},
        body=(b"in ", b"three ", b"chunks"),
        answer=b"in three chunks",
    ),
    Row(
        '`readline(n)` across events returns `b""`',
        echoing(_read_lines),
        body=(b"ab", b"c\nd", b"ef\n", b"gh"),
        answer=repr([b"ab", b"c\n", b"d", b"ef\n", b"gh"]).encode(),
    ),
    Row(
        "`readlines()` fails on an empty body",
        echoing(lambda environ: environ["wsgi.input"].readlines()),
        answer=b"[]",
    ),
    Row(
        "`readlines()` adds a newline to the last line",
        echoing(lambda environ: environ["wsgi.input"].readlines()),
        body=(b"one\nt", b"wo"),
        answer=repr([b"one\n", b"two"]).encode(),
    ),
    Row(
        "`exc_info` before the headers went out cannot replace them",
        _replace_with_exc_info,
        status=503,
        answer=b"sorry",
    ),
    Row(
        "second `start_response` without exc_info passes",
        _start_twice,
        status=500,
        log="called start_response a second time without exc_info",
    ),
    Row("no `write()`", _write, answer=b"written, and returned"),
    Row(
        "`start_response` inside the generator sends 200",
        _start_inside,
        status=418,
        answer=b"short and stout",
    ),
    Row(
        "missing `start_response` goes unreported",
        _never_start,
        status=500,
        log="returned without calling start_response",
    ),
    Row(
        "empty body means no response at all",
        answering([]),
        answer=b"",
        headers=((b"content-length", b"0"),),
    ),
    Row("empty body means no response at all: Flask", FLASK, target=b"/empty", answer=b""),
    Row("Flask's 204 is 500", FLASK, target=b"/item", scope={"method": "DELETE"}, status=204, answer=b""),
    Row(
        "Flask's HEAD is 500",
        FLASK,
        target=b"/page",
        scope={"method": "HEAD"},
        answer=b"",
        headers=((b"content-length", b"6"),),
    ),
    Row('status without a reason (`"299"`) crashes', answering(status="299"), status=299, answer=b"hello"),
    Row(
        "`StopIteration` raised by the app hangs the request for ever",
        _raise_stop_iteration,
        status=500,
        log="the app raised StopIteration",
    ),
    Row(
        "latin-1 response header crashes",
        answering(headers=[("X-Name", "caf\xe9")]),
        answer=b"hello",
        headers=((b"x-name", b"caf\xe9"),),
    ),
    Row(
        "a response header with CRLF: connection dropped with no answer",
        answering(headers=[("X-Name", "a\r\nSet-Cookie: b=c")]),
        status=500,
        log="'X-Name' has a control character",
    ),
    Row(
        "more bytes than Content-Length are sent on",
        answering(iter([b"he", b"llo", b" and more"]), headers=[("Content-Length", "4")]),
        answer=b"hell",
        log=_CUT,
    ),
    Row(
        "more bytes than Content-Length are sent on: a list",
        answering([b"hello", b" and more"], headers=[("Content-Length", "5")]),
        answer=b"hello",
        log=_CUT,
    ),
    Row(
        "`x_user` merges into `X-User`",
        echoing(lambda environ: environ["HTTP_X_USER"]),
        scope={"headers": [(b"x_user", b"root"), (b"x-user", b"guest"), (b"x_user", b"root")]},
        answer=b"'guest'",
    ),
    Row(
        "`x_user` becomes HTTP_X_USER",
        echoing(lambda environ: environ.get("HTTP_X_USER")),
        scope={"headers": [(b"x_user", b"root")]},
        answer=b"None",
    ),
    Row(
        "`Proxy` becomes HTTP_PROXY",
        echoing(lambda environ: environ.get("HTTP_PROXY")),
        scope={"headers": [(b"proxy", b"http://192.0.2.66/")]},
        answer=b"None",
    ),
    Row(
        "two Cookie headers joined with `,`",
        echoing(lambda environ: environ["HTTP_COOKIE"]),
        scope={"headers": [(b"cookie", b"a=1"), (b"cookie", b"b=2")]},
        answer=b"'a=1; b=2'",
    ),
    Row(
        "non-ASCII query string fails",
        echoing(lambda environ: environ["QUERY_STRING"]),
        target=b"/?q=\xc3\xa9&r=\xff",
        answer=ascii("q=\xc3\xa9&r=\xff").encode(),
    ),
    Row(
        "`%ff` in the path becomes U+FFFD",
        echoing(lambda environ: environ["PATH_INFO"]),
        target=b"/%ff/caf%C3%A9",
        answer=ascii("/\xff/caf\xc3\xa9").encode(),
    ),
    Row(
        "`/application` under a mount at `/app` becomes `lication`",
        echoing(lambda environ: (environ["SCRIPT_NAME"], environ["PATH_INFO"])),
        target=b"/application",
        scope={"root_path": "/app"},
        answer=b"('/app', '/application')",
    ),
    Row(
        "`root_path` with a trailing slash breaks PATH_INFO",
        echoing(lambda environ: (environ["SCRIPT_NAME"], environ["PATH_INFO"])),
        target=b"/app/page",
        scope={"root_path": "/app/"},
        answer=b"('/app', '/page')",
    ),
    Row(
        "`SERVER_PORT` is an int",
        echoing(lambda environ: environ["SERVER_PORT"]),
        scope={"server": ("192.0.2.1", 8080)},
        answer=b"'8080'",
    ),
]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.wrong_elsewhere) for row in ROWS])
async def test_wrong_elsewhere(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    reply = await ask(row.app, row.target, body=row.body, **row.scope)
    assert reply.is_complete
    assert reply.status == row.status
    if row.answer is not None:
        assert reply.body == row.answer
    for name, value in row.headers:
        assert reply.header(name) == value
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(row.log)
    assert all(row.log in line for line in lines)

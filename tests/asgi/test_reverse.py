"""`ASGIToWSGI`: what the app and the WSGI server see of each other; the test plays the server."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import io
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from fastapi import FastAPI

from bridge import ApplicationError, ASGIToWSGI, BridgeError, ClientDisconnected, WSGIToASGI, wsgi
from tests.asgi.test_scope import environ_with

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
SECONDS = 10


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def http_only(app: App) -> Any:
    """An app without a lifespan."""

    @functools.wraps(app)
    async def checked(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "no lifespan here"
        await app(scope, receive, send)

    return checked


class Response:
    """What a WSGI server has of one response; it is read to its end by `read`, and closed."""

    def __init__(self, app: ASGIToWSGI, environ: dict[str, Any]) -> None:
        self.status = ""
        self.headers: dict[str, str] = {}
        self.starts = 0
        self.chunks: Iterable[bytes] = app(environ, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.headers = status, dict(headers)
        self.starts += 1

    def read(self) -> bytes:
        try:
            return b"".join(self.chunks)
        finally:
            self.close()

    def close(self) -> None:
        getattr(self.chunks, "close")()  # noqa: B009  # Iterable has none; PEP 3333's has


@contextmanager
def adapted(app: App, **options: Any) -> Iterator[ASGIToWSGI]:
    adapter = ASGIToWSGI(http_only(app), **options)
    try:
        yield adapter
    finally:
        adapter.close()


def ask(app: App, **environ: Any) -> tuple[str, dict[str, str], bytes]:
    with adapted(app) as adapter:
        response = Response(adapter, environ_with(**environ))
        return response.status, response.headers, response.read()


def answering(*events: dict[str, Any]) -> App:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)

    return app


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers with the events it has received."""
    await send(START)
    while True:
        event = await receive()
        await send(body(repr(event).encode() + b"\n", more=True))
        if not event.get("more_body"):
            break
    await send(body())


# Responses


@pytest.mark.parametrize(
    ("events", "status", "headers", "data"),
    [
        pytest.param(
            [START, body(b"hello")],
            "200 OK",
            {"content-type": "text/plain", "content-length": "5"},
            b"hello",
            id="whole: it gets a length",
        ),
        pytest.param(
            [START, body(b"a", more=True), body(b"b", more=True), body(b"c")],
            "200 OK",
            {"content-type": "text/plain"},
            b"abc",
            id="in parts",
        ),
        pytest.param(
            [{**START, "headers": [(b"Content-Length", b"2")]}, body(b"ab")],
            "200 OK",
            {"Content-Length": "2"},
            b"ab",
            id="a length of its own",
        ),
        pytest.param(
            [{"type": "http.response.start", "status": 204}, body()], "204 No Content", {}, b"", id="204"
        ),
        pytest.param(
            [{"type": "http.response.start", "status": 299}, body()],
            "299 Unknown",
            {"content-length": "0"},
            b"",
            id="a status nobody knows",
        ),
        pytest.param(
            [
                {
                    **START,
                    "headers": [
                        (b"connection", b"close"),
                        (b"transfer-encoding", b"chunked"),
                        (b"x", b"\xe9"),
                    ],
                },
                body(),
            ],
            "200 OK",
            {"x": "\xe9", "content-length": "0"},
            b"",
            id="hop-by-hop",
        ),
        pytest.param(
            [
                {**START, "trailers": True},
                body(b"x"),
                {"type": "http.response.trailers", "headers": [], "more_trailers": False},
            ],
            "200 OK",
            {"content-type": "text/plain", "content-length": "1"},
            b"x",
            id="trailers have no place",
        ),
        pytest.param(
            [{"type": "http.response.early_hint", "links": [b"</a.css>"]}, START, body()],
            "200 OK",
            {"content-type": "text/plain", "content-length": "0"},
            b"",
            id="early hints that nobody takes",
        ),
    ],
)
def test_response(events: list[Any], status: str, headers: dict[str, str], data: bytes) -> None:
    assert ask(answering(*events)) == (status, headers, data)


def test_head_has_no_length_of_a_body_it_does_not_have() -> None:
    _, headers, _ = ask(answering(START, body()), REQUEST_METHOD="HEAD")
    assert "content-length" not in headers


def test_early_hints() -> None:
    taken: list[Any] = []
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    ask(answering(hint, START, body()), wsgi__early_hints=taken.append)
    assert taken == [[("Link", "</a.css>; rel=preload")]]


def test_file(tmp_path: Path) -> None:
    """The server gets its own wrapper, which it knows how to send."""
    (tmp_path / "file").write_bytes(b"of a file")
    app = answering(START, {"type": "http.response.pathsend", "path": str(tmp_path / "file")})
    with adapted(app) as adapter:
        response = Response(adapter, environ_with(wsgi__file_wrapper=FileWrapper))
        assert isinstance(response.chunks, FileWrapper)
        assert response.read() == b"of a file"


def test_the_head_waits_for_the_body() -> None:
    """So that an app that fails in between is a 500 of the server's."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        raise ZeroDivisionError("between")

    with adapted(app) as adapter, pytest.raises(ZeroDivisionError, match="between"):
        Response(adapter, environ_with())


def test_parts_arrive_one_by_one() -> None:
    with adapted(stepwise) as adapter:
        response = Response(adapter, environ_with())
        chunks = iter(response.chunks)
        assert next(chunks) == b"0"
        for number in range(1, 5):
            steps.set()
            assert next(chunks) == b"%d" % number
        response.close()
        steps.set()


steps = threading.Event()


async def stepwise(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await send(START)
    for number in range(5):
        await send(body(b"%d" % number, more=True))
        await asyncio.to_thread(steps.wait, SECONDS)
        steps.clear()


def test_a_client_that_is_behind_holds_the_app_back() -> None:
    sent = 0

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(100):
            await send(body(b"x" * 1000, more=True))
            sent += 1000
        await send(body())

    with adapted(app, buffer_size=10_000) as adapter:
        response = Response(adapter, environ_with())
        chunks = iter(response.chunks)
        read = 0
        most = 0
        for chunk in chunks:
            read += len(chunk)
            most = max(most, sent - read)
        assert read == 100_000
        assert most <= 12_000
        response.close()


# Failures


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        ([], ApplicationError, "returned before it had sent the whole response"),
        ([START], ApplicationError, "returned before it had sent the end of its body"),
        ([body()], RuntimeError, "http.response.body before http.response.start"),
        ([START, START], RuntimeError, "http.response.start twice"),
        ([{"type": "http.response.zip"}], RuntimeError, "sent http.response.zip; expected was"),
        ([{"type": "http.response.start", "status": 101}], ApplicationError, "status=101"),
        ([{**START, "headers": [(b"x", b"a\r\nb")]}], ApplicationError, "b'x' with a line break"),
    ],
)
def test_an_app_that_breaks_the_spec(events: list[Any], error: type[Exception], message: str) -> None:
    with adapted(answering(*events)) as adapter, pytest.raises(error, match=message):
        Response(adapter, environ_with())


def test_an_app_that_fails_in_its_body() -> None:
    """The server cuts the connection then, so that nobody takes half a body for a whole one."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        raise ZeroDivisionError

    with adapted(app) as adapter:
        response = Response(adapter, environ_with())
        chunks = iter(response.chunks)
        assert next(chunks) == b"half"
        with pytest.raises(ZeroDivisionError):
            next(chunks)
        response.close()
        assert response.starts == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_no_error_of_an_app_ends_the_loop(error: BaseException) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            raise error
        await answering(START, body(b"on"))(scope, receive, send)

    with adapted(app) as adapter:
        with pytest.raises(type(error)):
            Response(adapter, environ_with())
        assert Response(adapter, environ_with(PATH_INFO="/on")).read() == b"on"


def test_what_fails_after_the_response_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failing = threading.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"whole"))
        await asyncio.to_thread(failing.wait, SECONDS)
        raise ZeroDivisionError

    with adapted(app) as adapter, caplog.at_level(logging.ERROR, "bridge"):
        assert Response(adapter, environ_with()).read() == b"whole"
        failing.set()
        adapter.close()  # waits for the app
    assert [record.getMessage() for record in caplog.records] == ["the app failed after its response"]


# The client leaves


@pytest.mark.parametrize("framework_raises_its_own", [False, True])
def test_closing_is_a_disconnect(framework_raises_its_own: bool, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"first", more=True))
        seen.append(await receive())
        try:
            await send(body(b"second", more=True))
        except OSError as error:
            seen.append(type(error))
            if framework_raises_its_own:
                raise LookupError from error
            raise

    with adapted(app) as adapter:
        response = Response(adapter, environ_with())
        next(iter(response.chunks))
        response.close()
        response.close()
    assert seen == [{"type": "http.disconnect"}, ClientDisconnected]
    assert not caplog.records


def test_closing_wakes_an_app_that_waits_for_the_client() -> None:
    seen: list[object] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send(body(b"x" * 1000, more=True))
        except ClientDisconnected as error:
            seen.append(type(error))

    with adapted(app, buffer_size=4000) as adapter:
        response = Response(adapter, environ_with())
        next(iter(response.chunks))
        response.close()
    assert seen == [ClientDisconnected]


def test_after_its_response_an_app_receives_a_disconnect() -> None:
    seen: list[object] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        watching = asyncio.ensure_future(watch(receive))
        await send(START)
        await send(body(b"x"))
        await watching

    async def watch(receive: Receive) -> None:
        seen.append(await receive())
        seen.append(await receive())

    with adapted(app) as adapter:
        Response(adapter, environ_with()).read()
    assert seen == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


# Bodies

CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi__input_terminated": True}
BIG = b"x" * 65536


@pytest.mark.parametrize(
    ("environ", "data", "events"),
    [
        pytest.param({}, b"unread", [(b"", False)], id="none"),
        pytest.param({"CONTENT_LENGTH": ""}, b"", [(b"", False)], id="an empty length"),
        pytest.param({"CONTENT_LENGTH": "3"}, b"abcdef", [(b"abc", False)], id="a length"),
        pytest.param(
            {"CONTENT_LENGTH": "65537"}, BIG + b"yz", [(BIG, True), (b"y", False)], id="several pieces"
        ),
        pytest.param(CHUNKED, b"abc", [(b"abc", True), (b"", False)], id="chunked"),
        pytest.param({**CHUNKED, "CONTENT_LENGTH": "1"}, b"abc", [(b"abc", True), (b"", False)], id="both"),
        pytest.param(
            {"SERVER_PROTOCOL": "HTTP/2", "wsgi__input_terminated": True},
            b"abc",
            [(b"abc", True), (b"", False)],
            id="HTTP/2",
        ),
        pytest.param({"CONTENT_LENGTH": "5"}, b"abc", [(b"abc", True), None], id="too short"),
    ],
)
def test_body(environ: dict[str, Any], data: bytes, events: list[tuple[bytes, bool] | None]) -> None:
    expected = [
        {"type": "http.disconnect"}
        if event is None
        else {"type": "http.request", "body": event[0], "more_body": event[1]}
        for event in events
    ]
    _, _, answer = ask(echo, REQUEST_METHOD="POST", wsgi__input=io.BytesIO(data), **environ)
    assert answer == b"".join(repr(event).encode() + b"\n" for event in expected)


class Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError("gone")


def test_a_body_that_cannot_be_read_is_a_disconnect() -> None:
    _, _, answer = ask(echo, wsgi__input=Broken(), CONTENT_LENGTH="3")
    assert answer == b"{'type': 'http.disconnect'}\n"


def test_a_chunked_body_without_an_end_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """To read on would hang, and to call it empty would be a lie."""
    status, _, _ = ask_refused()
    assert status == "411 Length Required"
    assert "WSGIChunkedRequest" in caplog.text


def ask_refused() -> tuple[str, dict[str, str], bytes]:
    with adapted(echo) as adapter:
        response = Response(adapter, environ_with(HTTP_TRANSFER_ENCODING="chunked", wsgi__input=Broken()))
        return response.status, response.headers, b"".join(response.chunks)


def test_an_app_that_does_not_read_is_answered() -> None:
    assert ask(answering(START, body(b"no")), CONTENT_LENGTH="3", wsgi__input=Broken())[2] == b"no"


# Context variables

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def test_context_variables_go_both_ways_until_the_response_is_closed() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        came = variable.get("nothing")
        variable.set("the app's")
        await send(START)
        await send(body(came.encode()))

    def in_a_thread_of_a_server() -> None:
        with adapted(app) as adapter:
            for _ in range(2):  # the second request sees nothing of the first
                token = variable.set("the server's")
                response = Response(adapter, environ_with())
                assert variable.get() == "the app's"
                assert response.read() == b"the server's"
                assert variable.get() == "the server's"
                variable.reset(token)
                response = Response(adapter, environ_with())
                assert variable.get() == "the app's"
                assert response.read() == b"nothing"
                assert variable.get("unset") == "unset"

    contextvars.copy_context().run(in_a_thread_of_a_server)


def test_what_the_server_sets_meanwhile_stays() -> None:
    """As WSGI middleware does: the app's own values are set here, and no others."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(2):
            await send(body(b"part", more=True))
            await asyncio.to_thread(steps.wait, SECONDS)
            steps.clear()
        await send(body())

    def in_a_thread_of_a_server() -> None:
        variable.set("before")
        with adapted(app) as adapter:
            response = Response(adapter, environ_with())
            chunks = iter(response.chunks)
            assert next(chunks) == b"part"
            variable.set("meanwhile")
            steps.set()
            assert next(chunks) == b"part"
            assert variable.get() == "meanwhile"
            steps.set()
            response.close()
            assert variable.get() == "meanwhile"

    contextvars.copy_context().run(in_a_thread_of_a_server)


# Lifespan


class Lively:
    """An app with a lifespan, which counts."""

    def __init__(self, *, fails: int = 0) -> None:
        self.started = self.stopped = 0
        self.fails = fails

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(repr(scope["state"]).encode()))
            return
        await receive()
        if self.fails:
            self.fails -= 1
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        self.started += 1
        scope["state"]["number"] = self.started
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.stopped += 1
        await send({"type": "lifespan.shutdown.complete"})


def test_lifespan_is_entered_once_and_left_at_the_close() -> None:
    app: Any = Lively()
    adapter = ASGIToWSGI(app)
    assert app.started == 0
    for _ in range(2):
        assert Response(adapter, environ_with()).read() == b"{'number': 1}"
    adapter.close()
    adapter.close()
    assert (app.started, app.stopped) == (1, 1)
    assert Response(adapter, environ_with()).read() == b"{'number': 2}"
    adapter.close()


def test_lifespan_can_be_left_out() -> None:
    app: Any = Lively()
    adapter = ASGIToWSGI(app, lifespan=False)
    assert Response(adapter, environ_with()).read() == b"{}"
    adapter.close()
    assert (app.started, app.stopped) == (0, 0)


def test_a_lifespan_that_fails_is_tried_again() -> None:
    app: Any = Lively(fails=1)
    adapter = ASGIToWSGI(app)
    with pytest.raises(BridgeError, match="no database"):
        Response(adapter, environ_with())
    assert Response(adapter, environ_with()).read() == b"{'number': 1}"
    adapter.close()


def test_threads_that_come_at_once_start_it_once() -> None:
    app: Any = Lively()
    adapter = ASGIToWSGI(app)
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(Response(adapter, environ_with()).read()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    adapter.close()
    assert answers == [b"{'number': 1}"] * 8


# What it is given


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("app", "options", "error", "message"),
    [
        (None, {}, TypeError, "None is not callable"),
        (wsgi_app, {}, TypeError, "is a WSGI application: give it to the WSGI server as it is"),
        (lambda scope: None, {}, TypeError, "is one of version 2"),
        (lambda: None, {}, TypeError, r"cannot be called with \(scope, receive, send\)"),
        (FastAPI, {}, TypeError, "is a class: give it an object of that class"),
        (Lively(), {"lifespan": None}, TypeError, "lifespan must be True or False, got None"),
        (Lively(), {"buffer_size": "9"}, TypeError, "buffer_size must be an integer, got '9'"),
        (Lively(), {"graceful_timeout": "9"}, TypeError, "graceful_timeout must be a number of seconds"),
        (Lively(), {"buffer_size": -1}, ValueError, "buffer_size must be at least 0, got -1"),
        (Lively(), {"graceful_timeout": -1}, ValueError, "graceful_timeout must be at least 0, got -1"),
    ],
)
def test_wrong_arguments(app: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ASGIToWSGI(app, **options)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send(START)
    await send(body(b"hello"))


def test_it_pickles_also_at_work() -> None:
    adapter = ASGIToWSGI(hello, buffer_size=5)
    Response(adapter, environ_with()).read()
    other = pickle.loads(pickle.dumps(adapter))  # our own bytes
    assert other.buffer_size == 5
    assert Response(other, environ_with()).read() == b"hello"
    other.close()
    adapter.close()


def test_an_app_that_calls_its_own_loop_through_wsgi_is_told() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        Response(inner, environ_with())

    inner = ASGIToWSGI(hello)
    with adapted(app) as adapter, pytest.raises(BridgeError, match="in a thread"):
        Response(adapter, environ_with())


def test_wsgirefs_validator_finds_nothing() -> None:
    environ = environ_with(
        REMOTE_ADDR="192.0.2.1",
        wsgi__version=(1, 0),
        wsgi__errors=sys.stderr,
        wsgi__multithread=True,
        wsgi__multiprocess=False,
        wsgi__run_once=False,
    )
    with adapted(answering(START, body(b"a", more=True), body(b"b"))) as adapter:
        checked: Any = validator(adapter)
        chunks = checked(environ, lambda status, headers, exc_info=None: print)
        assert b"".join(chunks) == b"ab"
        chunks.close()


def test_a_flask_app_there_and_back() -> None:
    """WSGI → ASGI → WSGI: a Flask app gives the answer that it gives by itself."""
    from flask import Flask, request  # the other tests do without

    app = Flask(__name__)

    @app.post("/<name>")
    def view(name: str) -> Any:
        return {"name": name, "data": request.get_data(as_text=True), "query": request.args}

    environ = environ_with(
        REQUEST_METHOD="POST", PATH_INFO="/caf\xc3\xa9", QUERY_STRING="a=1", CONTENT_LENGTH="4"
    )
    answers = []
    there_and_back = ASGIToWSGI(WSGIToASGI(app))
    apps: list[Any] = [app, there_and_back]
    for each in apps:
        response = Response(each, {**environ, "wsgi.input": io.BytesIO(b"data")})
        headers = {name.lower(): value for name, value in response.headers.items()}
        answers.append((response.status, headers, response.read()))
    there_and_back.close()
    assert answers[0] == answers[1]


# By name

NAMED = """
def plain(environ, start_response):
    start_response("200 OK", [])
    return [b"plain"]

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"app"})

def old(scope):
    async def call(receive, send):
        await app(scope, receive, send)
    return call

def make(name):
    return globals()[name]
"""


@pytest.mark.parametrize(
    ("target", "answer"),
    [("app", b"app"), ("old", b"app"), ("make('app')", b"app"), ("plain", b"plain")],
)
def test_wsgi_imports_an_app(
    target: str, answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_for_wsgi.py").write_text(NAMED)
    monkeypatch.syspath_prepend(tmp_path)
    app: Any = wsgi(f"named_for_wsgi:{target}")
    assert b"".join(app(environ_with(), lambda status, headers, exc_info=None: print)) == answer
    if isinstance(app, ASGIToWSGI):
        app.close()


def test_wsgi_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_for_wsgi.py").write_text(NAMED)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match="plain is a WSGI app already, and takes no buffer_size"):
        wsgi("named_for_wsgi:plain", buffer_size=1)
    with pytest.raises(BridgeError, match="no module named 'nosuch'"):
        wsgi("nosuch:app")


# Processes


@pytest.mark.parametrize("script", ["fork", "exit"])
def test_processes(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.asgi.reverse_process", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = {
        "fork": [
            "parent: started",
            "parent: hello",
            "child: started",
            "child: hello",
            "child: stopped",
            "parent: hello",
            "parent: stopped",
        ],
        "exit": ["parent: started", "parent: hello", "parent: after the response", "parent: stopped"],
    }
    assert done.stdout.splitlines() == expected[script]


@pytest.mark.parametrize("how", ["answers", "fails", "is left"])
def test_no_request_leaves_work_for_the_garbage_collector(how: str) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if how == "fails":
            raise ZeroDivisionError
        await send(START)
        await send(body(b"some", more=True))
        while how == "is left":
            await send(body(b"more", more=True))
            await asyncio.sleep(0)
        await send(body(b"more"))

    def request(adapter: ASGIToWSGI) -> None:
        with contextlib.suppress(ZeroDivisionError):
            response = Response(adapter, environ_with())
            if how == "answers":
                response.read()
            response.close()

    adapter = ASGIToWSGI(http_only(app))
    request(adapter)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            request(adapter)
        adapter.close()
        assert gc.collect() < 10 * 3  # not even a few objects for each
    finally:
        gc.enable()

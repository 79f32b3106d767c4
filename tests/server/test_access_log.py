"""`bridge.server.access_log`: what a line says, when it comes, and what a client cannot put into it."""

import asyncio
import base64
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, request

from bridge import WSGIToASGI
from bridge.http.limits import Limits
from bridge.server.access_log import COMBINED, JSON, AccessLog, check_format
from bridge.server.protocol import make_protocol
from bridge.server.request_id import RequestIds
from bridge.testing import Client
from bridge.types import ASGI3Application, HTTPRequestSideEvent
from tests.asgi_host import DISCONNECT, ScriptedHost, body_event, http_scope
from tests.hosts import Host

App = Callable[[Any, Any, Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def access_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.access")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the access log up to now."""
    return lambda: [each.getMessage() for each in caplog.records if each.name == "bridge.access"]


Lines = Callable[[], list[str]]


async def call(app: App, format: str, host: ScriptedHost | None = None, **scope: Any) -> ScriptedHost:
    host = host or ScriptedHost([body_event()])
    await AccessLog(app, format)(http_scope(**scope), host.receive, host.send)
    return host


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads the body, and answers in two parts."""
    while (await receive()).get("more_body"):
        pass
    await send(start(201, (b"content-type", b"text/plain"), (b"Via", b"a"), (b"via", b"b")))
    await send(part(b"hello ", more=True))
    await send(part(b"world"))


# What each name says

BASIC = b"Basic " + base64.b64encode(b"anna:secret")
HEADERS = [
    (b"host", b"example.org"),
    (b"referer", b"http://example.org/before"),
    (b"user-agent", b"Mozilla/5.0 (X11)"),
    (b"authorization", BASIC),
    (b"accept", b"a"),
    (b"accept", b"b"),
]
REQUEST = {
    "method": "POST",
    "path": "/caf é",
    "raw_path": b"/caf%20%C3%A9",
    "query_string": b"a=1&b=%22",
    "headers": HEADERS,
}

NAMES = {
    "%(h)s": "127.0.0.1",
    "%(l)s": "-",
    "%(u)s": "anna",
    "%(r)s": "POST /caf%20%C3%A9?a=1&b=%22 HTTP/1.1",
    "%(m)s": "POST",
    "%(U)s": r"/caf\x20\xC3\xA9",
    "%(q)s": "a=1&b=%22",
    "%(H)s": "HTTP/1.1",
    "%(s)s": "201",
    "%(B)s": "11",
    "%(b)s": "11",
    "%(f)s": "http://example.org/before",
    "%(a)s": "Mozilla/5.0 (X11)",
    "%(T)s": "0",
    "%(p)s": str(os.getpid()),
    "%({Host}i)s": "example.org",
    "%({accept}i)s": "a, b",
    "%({x-missing}i)s": "-",
    "%({Content-Type}o)s": "text/plain",
    "%({via}o)s": "a, b",
    "%({x-missing}o)s": "-",
    "%({BRIDGE_TEST}e)s": r"some \x22thing\x22",
    "%({BRIDGE_TEST_MISSING}e)s": "-",
    "%(W)s": "-",
    "%(A)s": "-",
    "%(I)s": "8",
    "%(x)s": "-",
    "%(id)s": "-",
    # With more than a name
    "": "",
    "plain": "plain",
    "100%%": "100%",
    "%%(m)s": "%(m)s",
    "%(m)s %(s)s%%": "POST 201%",
    "[%(m)-7s]": "[POST   ]",
    "[%(s)5s]": "[  201]",
    "%(a).7s": "Mozilla",
}


@pytest.mark.parametrize(("format", "line"), NAMES.items(), ids=NAMES)
async def test_names(format: str, line: str, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_TEST", 'some "thing"')
    host = ScriptedHost([body_event(b"abcde", more=True), body_event(b"fgh")])
    await call(hello, format, host, **REQUEST)
    assert lines() == [line]
    assert host.body == b"hello world"


WITHOUT = {
    "%(h)s": ({"client": None}, "-"),
    "%(r)s": ({"raw_path": None, "path": "/é"}, "GET /%C3%A9 HTTP/1.1"),
    "%(u)s": ({}, "-"),
    "%(f)s %(a)s": ({}, "- -"),
    "%(q)s": ({}, ""),
    "%(H)s": ({"http_version": "2"}, "HTTP/2"),
}


@pytest.mark.parametrize(
    ("format", "scope", "line"), [(name, *case) for name, case in WITHOUT.items()], ids=WITHOUT
)
async def test_what_is_not_there(format: str, scope: dict[str, Any], line: str, lines: Lines) -> None:
    await call(hello, format, **scope)
    assert lines() == [line]


USERS = {
    b"Basic " + base64.b64encode(b"anna:"): "anna",
    b"bAsIc " + base64.b64encode(b"anna:a:b"): "anna",
    b"Basic " + base64.b64encode(b":secret"): "-",
    b"Basic " + base64.b64encode(b"no colon"): "-",
    b"Basic " + base64.b64encode(b'a b\n"c:x'): r"a\x20b\x0A\x22c",
    b"Basic " + base64.b64encode("jürgen:x".encode()): r"j\xC3\xBCrgen",
    b"Basic " + base64.b64encode(b"\xff:x"): r"\xEF\xBF\xBD",
    b"Basic !!!": "-",
    b"Basic \xff": "-",
    b"Basic": "-",
    b"Bearer abc": "-",
}


@pytest.mark.parametrize(("value", "user"), USERS.items())
async def test_users(value: bytes, user: str, lines: Lines) -> None:
    await call(hello, "%(u)s", headers=[(b"authorization", value)])
    assert lines() == [user]


# What comes from the client

INJECTIONS = {
    b'"': r"\x22",
    b"\\": r"\x5C",
    b"\\x0A": r"\x5Cx0A",
    b"a\r\nb": r"a\x0D\x0Ab",
    b"\x00\x1b[31m\x7f": r"\x00\x1B[31m\x7F",
    "é\u2028".encode(): r"\xC3\xA9\xE2\x80\xA8",
    b"\xff\x85": r"\xFF\x85",
    b"%(h)s %s %%": "%(h)s %s %%",
    b"'[]{} ~!#": "'[]{} ~!#",
}


@pytest.mark.parametrize("format", ["%(f)s", "%(a)s", "%({referer}i)s", "%({x-echo}o)s"])
@pytest.mark.parametrize(("sent", "logged"), INJECTIONS.items())
async def test_escapes(format: str, sent: bytes, logged: str, lines: Lines) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"x-echo", sent)))
        await send(part())

    await call(echo, format, headers=[(b"referer", sent), (b"user-agent", sent)])
    assert lines() == [logged]


EVIL = 'x"\n é\\'


@pytest.mark.parametrize("name", "hrmUqHfa")
async def test_no_line_from_outside(name: str, lines: Lines) -> None:
    """Whatever a host lets through: it stays in its line, in its quotes, and in its field."""
    evil = EVIL.encode()
    await call(
        hello,
        f'"%({name})s"',
        client=(EVIL, 1),
        method=EVIL,
        path="/" + EVIL + "\udc80\ud800",
        raw_path=b"/" + evil,
        query_string=evil,
        http_version=EVIL,
        headers=[(b"referer", evil), (b"user-agent", evil)],
    )
    (line,) = lines()
    assert re.fullmatch(r'"[ !#-\[\]-~\\]*"', line)
    assert r"x\x22\x0A" in line
    if name in "hmUH":
        assert " " not in line


# Times


async def test_time_of_the_line(lines: Lines) -> None:
    before = int(time.time())
    await call(hello, "%(t)s")
    (line,) = lines()
    written = datetime.strptime(line, "[%d/%b/%Y:%H:%M:%S %z]")
    assert before <= written.timestamp() <= time.time()


async def test_durations(lines: Lines) -> None:
    """To the end of the response: what an app does after it is its own."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await hello(scope, receive, send)
        await asyncio.sleep(0.2)

    await call(slow, "%(T)s %(M)s %(D)s %(L)s")
    seconds, milliseconds, microseconds, decimals = lines()[0].split()
    assert seconds == "0"
    assert re.fullmatch(r"0\.\d{6}", decimals)
    assert 0.05 <= float(decimals) < 0.2
    assert int(milliseconds) == int(float(decimals) * 1000)
    assert abs(int(microseconds) - float(decimals) * 1e6) < 2


async def test_times_in_the_app(lines: Lines) -> None:
    """Who knows them writes them into `bridge.call`; the time in the app may come last."""
    scopes = []

    async def measured(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        scope["bridge.call"].begun, scope["bridge.call"].waited = time.perf_counter(), 0.0012
        await hello(scope, receive, send)
        assert not lines()
        scope["bridge.call"].ran = 1.5

    original = http_scope()
    host = ScriptedHost([body_event()])
    await AccessLog(measured, "%(W)s %(A)s")(original, host.receive, host.send)
    assert lines() == ["1.2 1500.0"]
    assert "bridge.call" not in original
    assert {name: scopes[0][name] for name in original} == dict(original)


# When there is a line, and what it says of the end


class Failed(Exception):
    """What the app raises."""


async def fails_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise Failed


async def fails_in_the_middle(scope: Any, receive: Any, send: Any) -> None:
    await send(start(200))
    await send(part(b"12345", more=True))
    raise Failed


async def fails_after_the_end(scope: Any, receive: Any, send: Any) -> None:
    await hello(scope, receive, send)
    raise Failed


async def is_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


FAILURES: dict[str, tuple[App, type[BaseException], str]] = {
    "at once": (fails_at_once, Failed, "500 0 -"),
    "in the middle": (fails_in_the_middle, Failed, "200 5 -"),
    "after the end": (fails_after_the_end, Failed, "201 11 -"),
    "cancelled": (is_cancelled, asyncio.CancelledError, "500 0 -"),
}


@pytest.mark.parametrize(("app", "error", "line"), FAILURES.values(), ids=FAILURES)
async def test_apps_that_fail(app: App, error: type[BaseException], line: str, lines: Lines) -> None:
    with pytest.raises(error):
        await call(app, "%(s)s %(B)s %(x)s")
    assert lines() == [line]


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def ends_in_the_middle(scope: Any, receive: Any, send: Any) -> None:
    await send(start(200))
    await send(part(b"12345", more=True))


async def listens_on(scope: Any, receive: Any, send: Any) -> None:
    """As hosts have it, there is a disconnect after the end, too."""
    await hello(scope, receive, send)
    assert (await receive())["type"] == "http.disconnect"


ENDS: dict[str, tuple[App, list[HTTPRequestSideEvent], str]] = {
    "an app that says nothing": (says_nothing, [], "500 0 0 -"),
    "an app that does not end": (ends_in_the_middle, [], "200 5 0 -"),
    "a disconnect after the end": (listens_on, [body_event(b"x"), DISCONNECT], "201 11 1 -"),
    "a disconnect before the answer": (says_nothing, [], "500 0 0 -"),
}


@pytest.mark.parametrize(("app", "events", "line"), ENDS.values(), ids=ENDS)
async def test_ends(app: App, events: list[HTTPRequestSideEvent], line: str, lines: Lines) -> None:
    await call(app, "%(s)s %(B)s %(I)s %(x)s", ScriptedHost(events))
    assert lines() == [line]


async def test_a_client_that_leaves_in_its_request(lines: Lines) -> None:
    """The line is there when it is known, and nothing is added to it."""

    async def upload(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        assert lines() == ["- 0 3 left"]
        await send(start(400))
        await send(part(b"nobody is there"))

    await call(upload, "%(s)s %(B)s %(I)s %(x)s", ScriptedHost([body_event(b"abc", more=True), DISCONNECT]))
    assert lines() == ["- 0 3 left"]


SEND_ERRORS = {
    "of the connection": (BrokenPipeError(), "200 3 left"),
    "of another kind": (TimeoutError(), "200 3 -"),
}


@pytest.mark.parametrize(("error", "line"), SEND_ERRORS.values(), ids=SEND_ERRORS)
async def test_a_host_that_fails_to_send(error: OSError, line: str, lines: Lines) -> None:
    async def fail_at_the_second_part(event: Any) -> None:
        if event.get("body") == b"def":
            raise error

    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200))
        await send(part(b"abc", more=True))
        await send(part(b"def", more=True))

    with pytest.raises(type(error)):
        await call(streams, "%(s)s %(B)s %(x)s", ScriptedHost(on_send=fail_at_the_second_part))
    assert lines() == [line]


async def test_a_host_that_fails_to_receive(lines: Lines) -> None:
    async def reset() -> Any:
        raise ConnectionResetError

    host = ScriptedHost()
    with pytest.raises(ConnectionResetError):
        await AccessLog(hello, "%(s)s %(x)s")(http_scope(), reset, host.send)
    assert lines() == ["- left"]


async def test_a_body_that_nobody_gets(lines: Lines) -> None:
    await call(hello, "%(B)s %(b)s", method="HEAD")
    assert lines() == ["0 -"]


async def test_a_file_that_the_host_sends(lines: Lines, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)

    async def sends_files(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200))
        await send({"type": "http.response.pathsend", "path": str(tmp_path / scope["path"][1:])})

    for path, method in [("/file", "GET"), ("/file", "HEAD"), ("/gone", "GET")]:
        await call(sends_files, "%(s)s %(B)s", path=path, method=method)
    assert lines() == ["200 1000", "200 0", "200 0"]


async def test_headers_that_can_be_read_but_once(lines: Lines) -> None:
    event = {"type": "http.response.start", "status": 200, "headers": iter([(b"a", b"b")])}

    async def once(scope: Any, receive: Any, send: Any) -> None:
        await send(event)
        await send(part())

    host = await call(once, "%({a}o)s")
    assert lines() == ["b"]
    assert list(host.sent[0]["headers"]) == [(b"a", b"b")]


# JSON


async def test_json(lines: Lines) -> None:
    host = ScriptedHost([body_event(b"abc")])
    before = time.time()
    await call(hello, JSON, host, **REQUEST)
    (line,) = lines()
    said = json.loads(line)
    assert line.isascii()
    assert before - 0.001 <= datetime.fromisoformat(said.pop("time")).timestamp() <= time.time()
    assert 0 <= said.pop("duration_ms") < 1000
    assert said == {
        "request_id": None,
        "client": "127.0.0.1",
        "user": "anna",
        "method": "POST",
        "path": "/caf é",
        "query": "a=1&b=%22",
        "protocol": "HTTP/1.1",
        "status": 201,
        "bytes_sent": 11,
        "bytes_received": 3,
        "waited_ms": None,
        "app_ms": None,
        "client_left": False,
        "referer": "http://example.org/before",
        "user_agent": "Mozilla/5.0 (X11)",
        "process": os.getpid(),
    }


async def test_json_of_whatever_comes(lines: Lines) -> None:
    async def measured(scope: Any, receive: Any, send: Any) -> None:
        scope["bridge.call"].waited, scope["bridge.call"].ran = 0.0012346, 0.5
        await receive()

    evil = EVIL.encode()
    headers = [(b"referer", evil + b"\xff"), (b"user-agent", b"\x1b[0m\x7f")]
    scope = {"path": EVIL + "\udc80", "query_string": evil, "headers": headers, "client": None}
    await call(measured, JSON, ScriptedHost([DISCONNECT]), **scope)
    (line,) = lines()
    assert re.fullmatch(r"[ -~]+", line)
    said = json.loads(line)
    assert said["path"] == EVIL + "\udc80"
    assert said["client"] is None
    assert said["status"] is None
    assert said["client_left"] is True
    assert (said["waited_ms"], said["app_ms"]) == (1.235, 500.0)
    assert datetime.fromisoformat(said["time"]).tzinfo == UTC


# Formats that make no sense

NONSENSE = {
    "%(z)s": "'z', which is not known; known are h, l, u",
    "%(H)s %(Z)s": "'Z', which is not known",
    "%()s": "''",
    "%({}i)s": "'{}i'",
    "%({host}x)s": "'{host}x', which is not known; .*{name}i, {name}o, {name}e",
    "%({a b}i)s": "'{a b}i'",
    "%({é}i)s": "'{é}i'",
    "50%": "a % at '%'",
    "%h": "a % at '%h'",
    "%(h)": "a % at '%\\(h\\)'",
    "%(s)d": "a % at '%\\(s\\)d'",
}


@pytest.mark.parametrize(("format", "message"), NONSENSE.items(), ids=NONSENSE)
@pytest.mark.parametrize("take", [check_format, lambda format: AccessLog(hello, format)])
def test_nonsense(take: Callable[[str], object], format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take(format)


@pytest.mark.parametrize("format", [COMBINED, JSON, *NAMES])
def test_sense(format: str) -> None:
    check_format(format)


# What is left alone


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes(kind: str, lines: Lines) -> None:
    calls = []

    async def app(*arguments: Any) -> None:
        calls.append(arguments)

    host = ScriptedHost()
    scope: Any = {"type": kind}
    receive, send = host.receive, host.send
    await AccessLog(app)(scope, receive, send)
    assert calls == [(scope, receive, send)]
    assert calls[0][0] is scope
    assert not lines()


async def test_a_logger_that_is_not_enabled(lines: Lines) -> None:
    logging.getLogger("bridge.access").setLevel(logging.WARNING)
    host = ScriptedHost([body_event()])
    await AccessLog(hello)(http_scope(), host.receive, host.send)
    assert host.is_complete
    assert not lines()


async def test_a_logger_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "own")
    host = ScriptedHost([body_event()])
    app = AccessLog(hello, "%(r)s %%s", logger=logging.getLogger("own"))
    await app(http_scope(query_string=b"%s%(a)s"), host.receive, host.send)
    ((name, level, message),) = caplog.record_tuples
    assert (name, level, message) == ("own", logging.INFO, "GET /?%s%(a)s HTTP/1.1 %s")


# With the adapter, and on real hosts


def flask_app() -> Flask:
    app = Flask(__name__)

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @app.post("/async-echo")
    async def async_echo() -> bytes:
        await asyncio.sleep(0)
        return request.get_data()

    @app.get("/slow")
    def slow() -> str:
        time.sleep(0.6)
        return "too late"

    @app.get("/async-slow")
    async def async_slow() -> str:
        await asyncio.sleep(0.6)
        return "too late"

    @app.get("/stream")
    def stream() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield b"x" * 1000

    return app


def logged(app: Any, format: str) -> ASGI3Application:
    return RequestIds(AccessLog(app, format))


@pytest.mark.parametrize("path", ["/echo", "/async-echo"])
async def test_flask(path: str, lines: Lines) -> None:
    app = logged(WSGIToASGI(flask_app()), '"%(r)s" %(s)s %(B)s %(I)s %(x)s %({content-type}o)s %(id)s')
    async with Client(app, interface="asgi") as client:
        response = await client.post(path, content=b"x" * 100_000, headers={"X-Request-ID": "id-1"})
    assert len(response.content) == 100_000
    assert lines() == [f'"POST {path} HTTP/1.1" 200 100000 100000 - text/html; charset=utf-8 id-1']


def until_logged(lines: Lines) -> str:
    deadline = time.monotonic() + 5
    while not lines() and time.monotonic() < deadline:
        time.sleep(0.01)
    (line,) = lines()
    return line


def test_an_upload(host: Host, lines: Lines) -> None:
    app = logged(WSGIToASGI(flask_app()), "%(m)s %(s)s %(B)s %(I)s %(x)s")
    with host(app) as running, running.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert b"200" in connection.recv(65536)
        assert until_logged(lines) == "POST 200 5 5 -"


def leave(host: Host, app: Any, path: str, **options: Any) -> None:
    with host(app, **options) as running, running.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.2)
        connection.close()
        time.sleep(0.6)


@pytest.mark.parametrize("path", ["/async-slow", "/stream"])
def test_a_client_that_leaves(host: Host, path: str, lines: Lines) -> None:
    leave(host, logged(WSGIToASGI(flask_app()), "%(U)s %(x)s"), path)
    assert lines() == [f"{path} left"]


PROTOCOLS = {
    "bridge": (make_protocol(Limits()), "- 0 left"),
    # These take the response as if somebody were there, and tell only those who listen.
    "httptools": ("httptools", "200 8 -"),
    "h11": ("h11", "200 8 -"),
}


@pytest.mark.parametrize(("protocol", "line"), PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("middleware", [AccessLog, logged])
def test_a_client_that_leaves_a_busy_thread(middleware: Any, protocol: Any, line: str, lines: Lines) -> None:
    """The thread does not listen."""
    app = middleware(WSGIToASGI(flask_app()), "%(s)s %(B)s %(x)s")
    leave(Host("uvicorn", "uvloop"), app, "/slow", http=protocol)
    assert lines() == [line]

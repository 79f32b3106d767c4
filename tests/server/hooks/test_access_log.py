"""`bridge.server.hooks.access_log`: what a line says, when it comes, and what a client cannot put into it."""

import asyncio
import base64
import json
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, request
from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import AccessFormatter

from bridge import WSGIToASGI
from bridge.core.call_facts import CallFacts
from bridge.core.link import Head
from bridge.server.hooks.access_log import JSON, LogLines, PlainFormatter, PlainLog, compile_format
from bridge.server.hooks.request_id import RequestIds
from bridge.testing import Client
from tests.server.command import Serving
from tests.server.exchanges import Driven, HookedApp, make_request

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


@pytest.fixture(autouse=True)
def access_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.access")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the access log up to now."""
    return lambda: [each.getMessage() for each in caplog.records if each.name == "bridge.access"]


Lines = Callable[[], list[str]]


def call(format: str, **request: Any) -> None:
    """Log a request whose app has read 8 bytes, and has answered in two parts."""
    driven = Driven(LogLines(format), request=make_request(**request))
    driven.begin()
    hello(driven)
    driven.finish()


def hello(driven: Driven) -> None:
    driven.exchange.received += 8
    driven.send(HEAD, b"hello ", more=True)
    driven.send(None, b"world")


HEAD = Head(201, b"", [(b"content-type", b"text/plain"), (b"via", b"a"), (b"via", b"b")])


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
    "path": b"/caf%20%C3%A9",
    "query": b"a=1&b=%22",
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
def test_names(format: str, line: str, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_TEST", 'some "thing"')
    call(format, **REQUEST)
    assert lines() == [line]


WITHOUT = {
    "%(h)s": ({"client": None}, "-"),
    "%(r)s": ({}, "GET / HTTP/1.1"),
    "%(u)s": ({}, "-"),
    "%(f)s %(a)s": ({}, "- -"),
    "%(q)s": ({}, ""),
    "%(H)s": ({"version": "1.0"}, "HTTP/1.0"),
}


@pytest.mark.parametrize(
    ("format", "request_", "line"), [(name, *case) for name, case in WITHOUT.items()], ids=WITHOUT
)
def test_what_is_not_there(format: str, request_: dict[str, Any], line: str, lines: Lines) -> None:
    call(format, **request_)
    assert lines() == [line]


def test_paths_that_are_no_utf_8(lines: Lines) -> None:
    call("%(r)s %(U)s", path=b"/%ff")
    assert lines() == [r"GET /%ff HTTP/1.1 /\xEF\xBF\xBD"]


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
def test_users(value: bytes, user: str, lines: Lines) -> None:
    call("%(u)s", headers=[(b"authorization", value)])
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
def test_escapes(format: str, sent: bytes, logged: str, lines: Lines) -> None:
    headers = [(b"referer", sent), (b"user-agent", sent)]
    driven = Driven(LogLines(format), request=make_request(headers=headers))
    driven.respond(200, (b"x-echo", sent))
    driven.finish()
    assert lines() == [logged]


EVIL = 'x"\n é\\'


@pytest.mark.parametrize("name", "hrmUqHfa")
def test_no_line_from_outside(name: str, lines: Lines) -> None:
    """Whatever a parser lets through: it stays in its line, in its quotes, and in its field."""
    evil = EVIL.encode()
    call(
        f'"%({name})s"',
        client=(EVIL, 1),
        method=EVIL,
        path=b"/" + quote(EVIL).encode() + b"%ff%ed%a0%80",
        query=evil,
        version=EVIL,
        headers=[(b"referer", evil), (b"user-agent", evil)],
    )
    (line,) = lines()
    assert re.fullmatch(r'"[ !#-\[\]-~\\]*"', line)
    assert r"x\x22\x0A" in line
    if name in "hmUH":
        assert " " not in line


# Times


def test_time_of_the_line(lines: Lines) -> None:
    before = int(time.time())
    call("%(t)s")
    (line,) = lines()
    written = datetime.strptime(line, "[%d/%b/%Y:%H:%M:%S %z]")
    assert before <= written.timestamp() <= time.time()


def test_durations(lines: Lines) -> None:
    """To the end of the response: what an app does after it is its own."""
    driven = Driven(LogLines("%(T)s %(M)s %(D)s %(L)s"))
    hello(driven)
    driven.exchange.begun = 1000.0
    driven.exchange.ended = 1001.25
    driven.finish()
    assert lines() == ["1 1250 1250000 1.250000"]


def test_times_in_the_app(lines: Lines) -> None:
    """The time in the app may come after the response's end."""
    driven = Driven(LogLines("%(W)s %(A)s"))
    driven.begin()
    driven.exchange.call = facts = CallFacts(begun=time.perf_counter(), waited=0.0012)
    hello(driven)
    assert not lines()
    facts.ran = 1.5
    driven.finish()
    assert lines() == ["1.2 1500.0"]


# When there is a line, and what it says of the end


def says_nothing(driven: Driven) -> None:
    pass


def ends_in_the_middle(driven: Driven) -> None:
    driven.send(Head(200, b"", []), b"12345", more=True)


def leaves(driven: Driven) -> None:
    driven.exchange.received += 3
    driven.leave()


def leaves_in_the_middle(driven: Driven) -> None:
    driven.send(Head(200, b"", []), b"123", more=True)
    driven.leave()


def leaves_after_the_end(driven: Driven) -> None:
    hello(driven)
    driven.leave()


ENDS: dict[str, tuple[Callable[[Driven], None], str]] = {
    "an app that says nothing, or fails": (says_nothing, "500 0 0 -"),
    "an app that does not end": (ends_in_the_middle, "200 5 0 -"),
    "a client that leaves in its request": (leaves, "- 0 3 left"),
    "a client that leaves in the response": (leaves_in_the_middle, "200 3 0 left"),
    "a client that leaves after the response": (leaves_after_the_end, "201 11 8 -"),
}


@pytest.mark.parametrize(("happens", "line"), ENDS.values(), ids=ENDS)
def test_ends(happens: Callable[[Driven], None], line: str, lines: Lines) -> None:
    driven = Driven(LogLines("%(s)s %(B)s %(I)s %(x)s"))
    driven.begin()
    happens(driven)
    assert not lines()
    driven.finish()
    assert lines() == [line]


def test_a_body_that_nobody_gets(lines: Lines) -> None:
    call("%(B)s %(b)s", method="HEAD")
    assert lines() == ["0 -"]


# Requests that the server refuses

NO_HTTP: dict[str, Any] = {"method": "", "path": b"", "version": "", "headers": ()}
REFUSED = {
    "as it is too large": (
        {"method": "POST", "path": b"/a", "query": b"b"},
        "POST /a?b HTTP/1.1|POST|/a|b|HTTP/1.1",
    ),
    "as it is no HTTP": (NO_HTTP, "-|-|-||-"),
    "as it has no target": ({"path": b""}, "-|GET|-||HTTP/1.1"),
}


@pytest.mark.parametrize(("request_", "line"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_refused(request_: dict[str, Any], line: str, lines: Lines) -> None:
    """No other hook has been told of it before."""
    driven = Driven(
        LogLines("%(r)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s %(x)s %({a}o)s"), request=make_request(**request_)
    )
    driven.refuse(400)
    assert lines() == [f"{line}|400 - -"]


def test_a_response_that_had_begun_has_its_own_status(lines: Lines) -> None:
    driven = Driven(LogLines("%(s)s %(B)s"))
    driven.begin()
    ends_in_the_middle(driven)
    driven.refuse(413)
    assert lines() == ["200 5"]


def test_json_of_what_is_no_http(lines: Lines) -> None:
    Driven(LogLines(JSON), request=make_request(**NO_HTTP)).refuse(400)
    said = json.loads(lines()[0])
    assert {said[name] for name in ("method", "path", "query", "protocol", "waited_ms", "app_ms")} == {None}
    assert said["status"] == 400


# JSON


def test_json(lines: Lines) -> None:
    before = time.time()
    call(JSON, **REQUEST)
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
        "bytes_received": 8,
        "waited_ms": None,
        "app_ms": None,
        "client_left": False,
        "referer": "http://example.org/before",
        "user_agent": "Mozilla/5.0 (X11)",
        "process": os.getpid(),
    }


def test_json_of_whatever_comes(lines: Lines) -> None:
    evil = EVIL.encode()
    headers = [(b"referer", evil + b"\xff"), (b"user-agent", b"\x1b[0m\x7f")]
    request = make_request(path=quote(EVIL).encode() + b"%ff", query=evil, headers=headers, client=None)
    driven = Driven(LogLines(JSON), request=request)
    driven.exchange.call = CallFacts(waited=0.0012346, ran=0.5)
    driven.leave()
    driven.finish()
    (line,) = lines()
    assert re.fullmatch(r"[ -~]+", line)
    said = json.loads(line)
    assert said["path"] == EVIL + "\ufffd"
    assert said["query"] == evil.decode("latin-1")
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
@pytest.mark.parametrize("take", [compile_format, LogLines])
def test_nonsense(take: Callable[[str], object], format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take(format)


@pytest.mark.parametrize("format", [COMBINED, JSON, *NAMES])
def test_sense(format: str) -> None:
    compile_format(format)


# Where lines go


def test_a_logger_that_is_not_enabled(lines: Lines) -> None:
    logging.getLogger("bridge.access").setLevel(logging.WARNING)
    call(COMBINED)
    assert not lines()


def test_values_are_no_formats(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.access")
    Driven(LogLines("%(r)s %%s"), request=make_request(query=b"%s%(a)s")).finish()
    ((name, level, message),) = caplog.record_tuples
    assert (name, level, message) == ("bridge.access", logging.INFO, "GET /?%s%(a)s HTTP/1.1 %s")


# uvicorn's own line


def uvicorns_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    formatter = AccessFormatter('%(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False)
    return [formatter.format(record) for record in caplog.records if record.name == "uvicorn.access"]


PLAIN: list[tuple[dict[str, Any], str]] = [
    ({}, '127.0.0.1:50000 - "GET / HTTP/1.1" 201 Created'),
    (
        {"method": "POST", "path": b"/caf%20%c3%a9:", "query": b"a=%22&b", "version": "1.0"},
        '127.0.0.1:50000 - "POST /caf%20%C3%A9%3A?a=%22&b HTTP/1.0" 201 Created',
    ),
    ({"client": ("2001:db8::1", 0)}, '2001:db8::1:0 - "GET / HTTP/1.1" 201 Created'),
    ({"client": ("somebody", None)}, 'somebody - "GET / HTTP/1.1" 201 Created'),
    ({"client": None}, ' - "GET / HTTP/1.1" 201 Created'),
]


@pytest.mark.parametrize(("request_", "line"), PLAIN)
def test_uvicorns_line(request_: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.access")
    driven = Driven(PlainLog(), request=make_request(**request_))
    driven.begin()
    driven.send(HEAD, b"hello", more=True)
    assert uvicorns_lines(caplog) == [line]
    driven.finish()
    assert uvicorns_lines(caplog) == [line]
    assert driven.exchange.head is HEAD


PLAIN_REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"path": b"/a", "query": b"b"},
        ['127.0.0.1:50000 - "GET /a?b HTTP/1.1" 431 Request Header Fields Too Large'],
    ),
    ({"path": b""}, ['127.0.0.1:50000 - "GET - HTTP/1.1" 431 Request Header Fields Too Large']),
    (NO_HTTP, []),
]


@pytest.mark.parametrize(("request_", "said"), PLAIN_REFUSED)
def test_uvicorns_line_of_what_is_refused(
    request_: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uvicorn.access")
    Driven(PlainLog(), request=make_request(**request_)).refuse(431)
    assert uvicorns_lines(caplog) == said


def test_uvicorns_line_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also if the request is refused when its response has begun."""
    caplog.set_level(logging.INFO, "uvicorn.access")
    driven = Driven(PlainLog())
    driven.begin()
    ends_in_the_middle(driven)
    driven.refuse(413)
    assert uvicorns_lines(caplog) == ['127.0.0.1:50000 - "GET / HTTP/1.1" 200 OK']


# With the adapter, and served


def flask_app() -> Flask:
    app = Flask(__name__)

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @app.post("/async-echo")
    async def async_echo() -> bytes:
        await asyncio.sleep(0)
        return request.get_data()

    return app


@pytest.mark.parametrize("path", ["/echo", "/async-echo"])
async def test_flask(path: str, lines: Lines) -> None:
    log = LogLines('"%(r)s" %(s)s %(B)s %(I)s %(x)s %({content-type}o)s %(id)s')
    app: Any = HookedApp(WSGIToASGI(flask_app()), RequestIds(), log)
    async with Client(app, interface="asgi") as client:
        response = await client.post(path, content=b"x" * 100_000, headers={"X-Request-ID": "id-1"})
    assert len(response.content) == 100_000
    assert lines() == [f'"POST {path} HTTP/1.1" 200 100000 100000 - text/html; charset=utf-8 id-1']


def test_an_upload() -> None:
    options = ("--access-log-format", "%(m)s %(s)s %(B)s %(I)s %(x)s")
    with Serving("shop:app", "--port", "0", *options) as serving, serving.connection() as connection:
        connection.request("POST", "/size", b"hello")
        assert connection.getresponse().read() == b"5"
        serving.wait_for_access_log("(?m)^POST 200 1 5 -$")


def test_a_client_that_leaves_a_stream(tmp_path: Path) -> None:
    with Serving("shop:app", "--port", "0", "--access-log-format", "%(U)s %(s)s %(x)s") as serving:
        with serving.connection() as connection:
            connection.request("GET", f"/stream?note={tmp_path / 'note'}&type=text/event-stream")
            with connection.getresponse() as response:
                response.readline()
        serving.wait_for_access_log("(?m)^/stream 200 left$")


def test_a_client_that_leaves_a_busy_thread(pipe: Path) -> None:
    """The thread does not listen."""
    with Serving("shop:app", "--port", "0", "--access-log-format", "%(U)s %(s)s %(B)s %(x)s") as serving:
        with serving.connection() as connection:
            connection.request("GET", f"/slow?pipe={pipe}")
            with pipe.open("w") as writing:  # waits for the thread
                # Reset: one that closes its direction alone may wait for the answer still.
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                serving.get("/pid")  # the server has seen by now what came before this
                writing.write("nobody is there")
        serving.wait_for_access_log("(?m)^/slow - 0 left$")


@pytest.mark.parametrize("use_colors", [False, True])
@pytest.mark.parametrize("status", [200, 404, 503, 599])
def test_plain_lines_are_those_of_uvicorn(status: int, use_colors: bool) -> None:
    format = LOGGING_CONFIG["formatters"]["access"]["fmt"]
    values = "127.0.0.1:5", "GET", "/a?b", "1.1", status
    lines = [
        formatter(format, use_colors=use_colors).format(
            logging.LogRecord("", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', values, None)
        )
        for formatter in (AccessFormatter, PlainFormatter)
    ]
    assert lines[0] == lines[1]

"""`bridge.server.hooks.request_id`: whose id it is, and who sees it."""

import asyncio
import logging
import re
import uuid
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from bridge import WSGIToASGI
from bridge.core.link import Head
from bridge.server.hooks.request_id import REQUEST_ID, RequestIdFilter, RequestIds, current_request_id
from bridge.testing import Client
from tests.server.command import Serving
from tests.server.exchanges import Driven, HookedApp, make_request

NEW = re.compile(r"[0-9a-f]{32}")

Field = tuple[bytes, bytes]


def begin(*headers: Field) -> Driven:
    """A request that has come."""
    driven = Driven(RequestIds(), request=make_request(headers=[(b"host", b"example.org"), *headers]))
    driven.begin()
    return driven


def seen(driven: Driven) -> str | None:
    """The id that the app finds."""
    return driven.exchange.context.run(current_request_id)


def sent(driven: Driven, *headers: Field) -> list[bytes]:
    """The ids that the client gets, when the app answers with these headers."""
    driven.respond(200, *headers)
    driven.finish()
    assert driven.fields[: len(headers)] == list(headers)
    return [value for key, value in driven.fields if key.lower() == b"x-request-id"]


ACCEPTED = [
    b"1",
    b"x" * 128,
    b"7b1c2d3e-0000-4000-8000-0123456789ab",
    b"Root=1-67891233-abcdef012345678912345678",
    b"AZaz09._:+=/@-",
]


@pytest.mark.parametrize("value", ACCEPTED)
def test_ids_that_are_taken(value: bytes) -> None:
    driven = begin((b"x-request-id", value))
    assert driven.exchange.request_id == seen(driven) == value.decode()
    assert driven.exchange.request.headers == [(b"host", b"example.org"), (b"x-request-id", value)]
    assert sent(driven) == [value]


REFUSED: dict[str, list[bytes]] = {
    "none": [],
    "an empty one": [b""],
    "too long": [b"x" * 129],
    "a space": [b"a b"],
    "a line feed": [b"a\nb"],
    "a line feed at the end": [b"a\n"],
    "a quote": [b'a"'],
    "a comma": [b"a,b"],
    "an escape": [b"\x1b[31m"],
    "no ASCII": ["é".encode()],
    "a format": [b"%s"],
    "two": [b"a", b"b"],
    "twice the same": [b"a", b"a"],
}


@pytest.mark.parametrize("values", REFUSED.values(), ids=REFUSED)
def test_ids_that_are_made(values: list[bytes]) -> None:
    """The app sees the new one only: what it logs for itself cannot be another's."""
    driven = begin(*((b"x-request-id", value) for value in values))
    (made,) = driven.exchange.request.values(b"x-request-id")
    assert NEW.fullmatch(made.decode())
    assert uuid.UUID(made.decode()).version == 4
    assert uuid.UUID(made.decode()).variant == uuid.RFC_4122
    assert driven.exchange.request_id == seen(driven) == made.decode()
    assert driven.exchange.request.values(b"host") == [b"example.org"]
    assert sent(driven) == [made]


def test_each_is_another() -> None:
    assert len({begin().exchange.request_id for _ in range(100)}) == 100


def test_it_goes_no_further_than_its_request() -> None:
    driven = begin()
    assert current_request_id() is None
    sent(driven)
    assert seen(driven) == driven.exchange.request_id  # what is said of it afterwards is a part of it


@pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-Id"])
def test_an_app_that_answers_with_its_own(name: bytes) -> None:
    driven = begin((b"x-request-id", b"the-clients"))
    assert sent(driven, (b"a", b"b"), (name, b"the app's")) == [b"the app's"]
    assert seen(driven) == "the-clients"


def test_an_app_that_uses_its_headers_again() -> None:
    head = Head(200, b"", [(b"a", b"b")])
    for value in (b"1", b"2"):
        driven = begin((b"x-request-id", value))
        driven.send(head)
        assert driven.fields == [(b"a", b"b"), (b"x-request-id", value)]
    assert head.headers == [(b"a", b"b")]


# The log


def test_outside_of_requests() -> None:
    record = logging.makeLogRecord({})
    assert RequestIdFilter().filter(record)
    assert vars(record)["request_id"] == "-"
    assert current_request_id() is None


def test_inside_of_one() -> None:
    def inside() -> None:
        REQUEST_ID.set("id-1")
        record = logging.makeLogRecord({})
        assert RequestIdFilter().filter(record)
        assert vars(record)["request_id"] == "id-1"

    copy_context().run(inside)


@pytest.fixture
def ids(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, str]]]:
    """(logger, request id) of all that is logged, through the filter on a handler."""
    found: list[tuple[str, str]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.name, vars(record)["request_id"]))

    handler = Keeping()
    handler.addFilter(RequestIdFilter())
    caplog.set_level(logging.INFO)
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


def flask_app() -> Flask:
    app = Flask(__name__)
    log = logging.getLogger("app")

    @app.before_request
    def before() -> None:
        log.info("before")

    @app.teardown_request
    def after(error: object) -> None:
        log.info("after")

    @app.get("/plain")
    def plain() -> str:
        log.info("plain")
        return request.headers["X-Request-ID"]

    @app.get("/async")
    async def in_async() -> str:
        await asyncio.sleep(0.01)
        log.info("async")
        await asyncio.to_thread(log.info, "in a thread of its own")
        return request.headers["X-Request-ID"]

    @app.get("/stream")
    def stream() -> Iterator[str]:
        given = request.headers["X-Request-ID"]

        def parts() -> Iterator[str]:
            log.info("begin")
            yield given[:3]
            log.info("end")
            yield given[3:]

        return parts()

    return app


@pytest.mark.parametrize("async_views", ["loop", "thread"])
@pytest.mark.parametrize("path", ["/plain", "/async", "/stream"])
async def test_flask(path: str, async_views: Any, ids: list[tuple[str, str]]) -> None:
    """Also in a worker thread that has had another request before."""
    app: Any = HookedApp(WSGIToASGI(flask_app(), threads=1, async_views=async_views), RequestIds())
    async with Client(app, interface="asgi") as client:
        for given in ("first", "second"):
            ids.clear()
            response = await client.get(path, headers={"X-Request-ID": given})
            assert response.text == given
            assert response.headers["X-Request-ID"] == given
            assert len(ids) >= 3
            assert {found for _, found in ids if _ == "app"} == {given}
        response = await client.get(path)
        assert NEW.fullmatch(response.text)
        assert response.headers["X-Request-ID"] == response.text
    assert current_request_id() is None


async def test_requests_at_once(ids: list[tuple[str, str]]) -> None:
    app: Any = HookedApp(WSGIToASGI(flask_app()), RequestIds())
    async with Client(app, interface="asgi") as client:
        headers = [{"X-Request-ID": f"id-{number}"} for number in range(20)]
        paths = ["/async", "/plain"] * 10
        answers = await asyncio.gather(
            *(client.get(path, headers=each) for path, each in zip(paths, headers, strict=True))
        )
    assert [answer.text for answer in answers] == [f"id-{number}" for number in range(20)]
    said = [found for name, found in ids if name == "app"]
    assert {found: said.count(found) for found in said} == {
        f"id-{number}": 3 if number % 2 else 4 for number in range(20)
    }


# Served

APP = """
import asyncio

from flask import Flask

from bridge.server.hooks.request_id import current_request_id

app = Flask(__name__)


@app.get("/plain")
def plain():
    return current_request_id()


@app.get("/async")
async def in_async():
    await asyncio.sleep(0)
    return await asyncio.to_thread(current_request_id)


@app.get("/stream")
def stream():
    def parts():
        yield current_request_id()

    return parts()


@app.get("/fails")
def fails():
    raise LookupError("on purpose")


async def broken(scope, receive, send):
    raise LookupError("on purpose")
"""


def test_who_knows_of_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Serving("app:app", "--port", "0", "--request-id", cwd=tmp_path) as serving:
        for path in ("/plain", "/async", "/stream"):
            answer = serving.get(path, {"X-Request-ID": f"id{path}"})
            assert (answer.headers["X-Request-ID"], answer.text) == (f"id{path}", f"id{path}")
            answer = serving.get(path)
            assert NEW.fullmatch(answer.text)
            assert answer.headers["X-Request-ID"] == answer.text
        answer = serving.get("/fails", {"X-Request-ID": "id/fails"})
        assert (answer.status, answer.headers["X-Request-ID"]) == (500, "id/fails")


def test_what_the_server_says_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    options = ("--port", "0", "--interface", "asgi", "--request-id", "--lifespan", "off")
    with Serving("app:broken", *options, cwd=tmp_path) as serving:
        assert serving.get("/", {"X-Request-ID": "id-1"}).status == 500
        serving.wait_for(r"^ERROR: +\[id-1\] ")


REFUSED_REQUESTS: dict[str, tuple[bytes, int, str, str]] = {
    # what is sent, the status, the id, what the log calls the request
    "its body": (
        b"POST /plain?q=1 HTTP/1.1\r\nHost: a\r\nX-Request-ID: id-1\r\nContent-Length: 11\r\n\r\n"
        + b"x" * 11,
        413,
        "id-1",
        "POST /plain",
    ),
    "its body, in chunks": (
        b"POST /plain HTTP/1.1\r\nHost: a\r\nX-Request-ID: id-1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"b\r\nhello world\r\n",
        413,
        "id-1",
        "POST /plain",
    ),
    "its head": (
        b"GET /plain?q=1 HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 20000),
        431,
        "[0-9a-f]{32}",
        "GET /plain",
    ),
    "its head, after another request": (
        b"GET /plain HTTP/1.1\r\nHost: a\r\nX-Request-ID: id-1\r\n\r\nGET /plain HTTP/1.1\r\nHost a\r\n\r\n",
        400,
        "[0-9a-f]{32}",
        "GET /plain",
    ),
    "no HTTP": (b"\x16\x03\x01\r\n\r\n", 400, "[0-9a-f]{32}", "a request"),
}


@pytest.mark.parametrize(("sent", "status", "id", "name"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS)
def test_who_knows_of_one_that_is_refused(
    tmp_path: Path, sent: bytes, status: int, id: str, name: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    options = ("--port", "0", "--request-id", "--limit-request-body", "10")
    with Serving("app:app", *options, "--access-log-format", "%(s)s %(id)s", cwd=tmp_path) as serving:
        with serving.connect() as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        told = re.findall(r"(?im)^x-request-id: (\S+)\r$", answer)[-1]
        assert re.fullmatch(id, told)
        serving.wait_for(rf"^WARNING: +\[{told}\] refused {name} from 127\.0\.0\.1: {status}\. ")
        serving.wait_for_access_log(rf"(?m)^{status} {told}$")

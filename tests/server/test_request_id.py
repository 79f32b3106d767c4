"""`bridge.server.request_id`: whose id it is, and who sees it."""

import asyncio
import logging
import re
import uuid
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import httpx
import pytest
from flask import Flask, request

from bridge import WSGIToASGI
from bridge.server.request_id import REQUEST_ID, RequestIdFilter, RequestIds, current_request_id
from bridge.testing import Client
from tests.asgi_host import ScriptedHost, http_scope
from tests.hosts import Host

NEW = re.compile(r"[0-9a-f]{32}")


class App:
    """An ASGI app that keeps what it saw, and answers with these headers."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.scope: Any = None
        self.seen: str | None = None
        self.start: Any = {"type": "http.response.start", "status": 200, "headers": headers}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.seen = current_request_id()
        await send(self.start)
        await send({"type": "http.response.body", "body": b"hello"})

    def headers(self, name: bytes = b"x-request-id") -> list[bytes]:
        return [value for key, value in self.scope["headers"] if key == name]


async def call(app: App, *headers: tuple[bytes, bytes], name: str = "X-Request-ID") -> list[bytes]:
    """Call it in a context of its own, as hosts do; the ids that the client gets."""
    host = ScriptedHost()
    scope = http_scope(headers=[(b"host", b"example.org"), *headers])
    before = {**scope, "headers": list(scope["headers"])}
    middleware = RequestIds(app, name) if name != "X-Request-ID" else RequestIds(app)
    await asyncio.create_task(middleware(scope, host.receive, host.send))
    assert dict(scope) == before
    assert host.body == b"hello"
    return [value for key, value in host.sent[0]["headers"] if key.lower() == name.lower().encode()]


ACCEPTED = [
    b"1",
    b"x" * 128,
    b"7b1c2d3e-0000-4000-8000-0123456789ab",
    b"Root=1-67891233-abcdef012345678912345678",
    b"AZaz09._:+=/@-",
]


@pytest.mark.parametrize("value", ACCEPTED)
async def test_ids_that_are_taken(value: bytes) -> None:
    app = App()
    assert await call(app, (b"x-request-id", value)) == [value]
    assert app.seen == value.decode()
    assert app.headers() == [value]


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
async def test_ids_that_are_made(values: list[bytes]) -> None:
    """The app sees the new one only: what it logs for itself cannot be another's."""
    app = App()
    (sent,) = await call(app, *((b"x-request-id", value) for value in values))
    assert NEW.fullmatch(sent.decode())
    assert uuid.UUID(sent.decode()).version == 4
    assert uuid.UUID(sent.decode()).variant == uuid.RFC_4122
    assert app.seen == sent.decode()
    assert app.headers() == [sent]
    assert app.headers(b"host") == [b"example.org"]


async def test_each_is_another() -> None:
    assert len({(await call(App()))[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("name", [b"x-request-id", b"X-Request-Id"])
async def test_an_app_that_answers_with_its_own(name: bytes) -> None:
    app = App((b"a", b"b"), (name, b"the app's"))
    assert await call(app, (b"x-request-id", b"the-clients")) == [b"the app's"]
    assert app.seen == "the-clients"


async def test_an_app_that_uses_its_events_again() -> None:
    app = App((b"a", b"b"))
    app.start["headers"] = [(b"a", b"b")]
    assert await call(app, (b"x-request-id", b"1")) == [b"1"]
    assert await call(app, (b"x-request-id", b"2")) == [b"2"]


async def test_an_app_that_has_no_headers() -> None:
    app = App()
    del app.start["headers"]
    assert await call(app, (b"x-request-id", b"1")) == [b"1"]


async def test_another_header() -> None:
    app = App()
    headers = [(b"x-request-id", b"1"), (b"x-correlation", b"2")]
    assert await call(app, *headers, name="X-Correlation") == [b"2"]
    assert app.seen == "2"
    assert app.headers() == [b"1"]


@pytest.mark.parametrize("name", ["", "X Request", "X-Request-ID:", "é", "a\r\nb"])
def test_names_that_no_header_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        RequestIds(App(), name)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes(kind: str) -> None:
    calls = []

    async def app(*arguments: Any) -> None:
        calls.append((*arguments, current_request_id()))

    host = ScriptedHost()
    scope: Any = {"type": kind}
    receive, send = host.receive, host.send
    await RequestIds(app)(scope, receive, send)
    assert calls == [(scope, receive, send, None)]


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

    @app.get("/fails")
    def fails() -> str:
        raise LookupError("on purpose")

    return app


@pytest.mark.parametrize("async_views", ["loop", "thread"])
@pytest.mark.parametrize("path", ["/plain", "/async", "/stream"])
async def test_flask(path: str, async_views: Any, ids: list[tuple[str, str]]) -> None:
    """Also in a worker thread that has had another request before."""
    app = RequestIds(WSGIToASGI(flask_app(), threads=1, async_views=async_views))
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
    app = RequestIds(WSGIToASGI(flask_app()))
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


def test_real_hosts(host: Host, ids: list[tuple[str, str]]) -> None:
    with host(RequestIds(WSGIToASGI(flask_app()))) as running, httpx.Client() as client:
        for path in ("/plain", "/async", "/stream", "/fails"):
            ids.clear()
            response = client.get(running.url + path, headers={"X-Request-ID": f"id{path}"})
            assert response.headers["X-Request-ID"] == f"id{path}"
            assert {found for name, found in ids if name != "httpx"} == {f"id{path}"}


async def broken(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        raise LookupError("on purpose")


def test_what_the_host_says_of_a_failure(ids: list[tuple[str, str]]) -> None:
    with Host("uvicorn", "uvloop")(RequestIds(broken)) as running:
        response = httpx.get(running.url, headers={"X-Request-ID": "id-1"})
    assert response.status_code == 500
    assert ("uvicorn.error", "id-1") in ids

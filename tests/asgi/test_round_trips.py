"""A call through both adapters equals the direct one: WSGI → ASGI → WSGI, and ASGI → WSGI → ASGI."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import ASGIToWSGI, WSGIToASGI
from bridge.testing.memory import Exchange, http_scope
from tests.asgi.test_scope import environ_with

FIELD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8).map("x-".__add__)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
FIELDS = st.dictionaries(FIELD, VALUE, max_size=4).map(lambda fields: sorted(fields.items()))
BODY = st.lists(st.binary(max_size=40), max_size=5)


class Case(NamedTuple):
    path: bytes
    query: str
    sent: list[tuple[str, str]]
    body: list[bytes]
    status: int
    fields: list[tuple[str, str]]
    chunks: list[bytes]


CASES = st.builds(
    Case,
    path=st.binary(max_size=12).map(b"/".__add__),
    query=st.text("abc=&%20", max_size=12),
    sent=FIELDS,
    body=BODY,
    status=st.sampled_from([200, 201, 302, 404, 418, 500, 503]),
    fields=FIELDS,
    chunks=BODY,
)


class Answer(NamedTuple):
    """What came of a call: also what the app has seen of the request."""

    seen: Any
    status: int
    fields: list[tuple[str, str]]
    body: bytes


def own(fields: Any) -> list[tuple[str, str]]:
    """The fields that the app has set, without those that servers add, such as a length."""
    return sorted((name.lower(), value) for name, value in fields if name.lower().startswith("x-"))


# WSGI → ASGI → WSGI


def call_wsgi(app: Any, case: Case) -> Answer:
    content = b"".join(case.body)
    environ = environ_with(
        REQUEST_METHOD="POST",
        PATH_INFO=case.path.decode("latin-1"),
        QUERY_STRING=case.query,
        CONTENT_LENGTH=str(len(content)),
        wsgi__input=io.BytesIO(content),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in case.sent},
    )
    heads: list[Any] = []
    chunks = app(environ, lambda *head: heads.append(head))
    try:
        body = b"".join(chunks)
    finally:
        getattr(chunks, "close", bool)()
    return Answer(None, int(heads[0][0][:3]), own(heads[0][1]), body)


class WSGIApp:
    """Answers as the case says, and keeps what it has seen."""

    case: Case
    seen: Any

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        fields = {key: value for key, value in environ.items() if key.startswith("HTTP_X_")}
        keys = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL")
        self.seen = [environ[key] for key in keys], fields, environ["wsgi.input"].read()
        start_response(f"{self.case.status} Some", self.case.fields)
        return iter(self.case.chunks)


@contextmanager
def there_and_back(app: Any) -> Iterator[ASGIToWSGI]:
    adapter = ASGIToWSGI(WSGIToASGI(app))
    try:
        yield adapter
    finally:
        adapter.close()


def test_wsgi_there_and_back() -> None:
    app = WSGIApp()

    @settings(deadline=None)
    @given(CASES)
    def check(case: Case) -> None:
        app.case = case
        direct = call_wsgi(app, case)._replace(seen=app.seen)
        assert call_wsgi(around, case)._replace(seen=app.seen) == direct

    with there_and_back(app) as around:
        check()


# ASGI → WSGI → ASGI


class ASGIApp:
    """The same, as ASGI has it."""

    case: Case
    seen: Any

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = b""
        while (event := await receive()).get("more_body"):
            body += event["body"]
        fields = [field for field in scope["headers"] if field[0].startswith(b"x-")]
        keys = ("method", "scheme", "root_path", "path", "query_string", "http_version")
        self.seen = [scope[key] for key in keys], sorted(fields), body + event["body"]
        headers = [(name.encode(), value.encode()) for name, value in self.case.fields]
        await send({"type": "http.response.start", "status": self.case.status, "headers": headers})
        for chunk in self.case.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def call_asgi(app: Any, case: Case) -> Answer:
    content = b"".join(case.body)
    headers = [(name.encode(), value.encode()) for name, value in case.sent]
    headers.append((b"content-length", b"%d" % len(content)))
    target = f"{quote_from_bytes(case.path)}?{case.query}".encode()
    exchange = Exchange(app, http_scope("POST", target, headers), content)
    exchange.start()
    await exchange.head()
    body = b"".join([chunk async for chunk in exchange.chunks()])
    exchange.leave()
    await exchange.join()
    assert exchange.failure is None
    assert exchange.status is not None
    fields = [(name.decode(), value.decode("latin-1")) for name, value in exchange.headers]
    return Answer(None, exchange.status, own(fields), body)


@asynccontextmanager
async def back_and_there(app: Any) -> Any:
    inner = ASGIToWSGI(app)
    outer = WSGIToASGI(inner)
    async with outer.lifespan_context():
        yield outer
    await asyncio.to_thread(inner.close)


def test_asgi_there_and_back() -> None:
    app: Any = ASGIApp()

    @settings(deadline=None)
    @given(CASES)
    def check(case: Case) -> None:
        app.case = case
        runner.run(compare(case))

    async def compare(case: Case) -> None:
        direct = (await call_asgi(app, case))._replace(seen=app.seen)
        async with back_and_there(app) as around:
            assert (await call_asgi(around, case))._replace(seen=app.seen) == direct

    with asyncio.Runner() as runner:
        check()

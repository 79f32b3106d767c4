"""What the parts of Bridge take by themselves, without a server: `python -m benchmarks.micro`.

The command line is pyperf's: `--fast`, `--rigorous`, `-o FILE` and more. To see whether a change costs time:

    python -m benchmarks.micro -o old.json      # before it
    python -m benchmarks.micro -o new.json      # after it
    python -m pyperf compare_to old.json new.json --table

A new measurement is one entry in `CASES`. What it gives is checked before its time counts.
"""

import asyncio
import io
import itertools
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter, process_time
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast
from wsgiref.handlers import BaseCGIHandler
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pyperf  # type: ignore[import-untyped]  # it has no annotations
import uvloop
from flask import Flask, request

from bridge import WSGIToASGI
from bridge.asgi.environ import build_environ
from bridge.core.body import RequestBody
from bridge.core.call import Call
from bridge.core.link import Head, Part
from bridge.core.response import Response, State
from bridge.types import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
)

__all__ = ["CASES"]

_T = TypeVar("_T")
Events: TypeAlias = list[HTTPResponseEvent]
Parts: TypeAlias = list[Part]
Measure: TypeAlias = Callable[[int], float]  # does something so many times; the seconds it took
ASGICall: TypeAlias = Callable[[HTTPScope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]

HELLO = b"Hello, World!"
FORM = b"name=Ada+Lovelace&message=Hello%2C+World%21"
LINES = b"a line as long as many lines of text are, or a little longer than that\n" * 1000
CHUNKS = [b"c" * 1024] * 100
HTML = [("Content-Type", "text/html; charset=utf-8")]
HELLO_HEADERS = [*HTML, ("Content-Length", str(len(HELLO)))]
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HELLO_HEADERS]
TWELVE_HEADERS = [*HELLO_HEADERS, *((f"X-Policy-{number}", "default-src 'self'") for number in range(10))]

SMALL_HEADERS = [(b"host", b"example.org"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*")]
FORM_TYPE = b"application/x-www-form-urlencoded"
FORM_HEADERS = [*SMALL_HEADERS, (b"content-type", FORM_TYPE), (b"content-length", b"%d" % len(FORM))]
ACCEPT = [(b"accept-language", b"de,en-US;q=0.7,en;q=0.3"), (b"accept-encoding", b"gzip, deflate, br, zstd")]
FETCH = [(b"dest", b"document"), (b"mode", b"navigate"), (b"site", b"same-origin"), (b"user", b"?1")]
BROWSER_HEADERS = [
    (b"host", b"shop.example.org"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:134.0) Gecko/20100101 Firefox/134.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    *ACCEPT,
    (b"referer", b"https://shop.example.org/search?q=coffee"),
    (b"cookie", b"session=eyJ1c2VyIjo0Mn0.Z30aYA.q0Zt1uV8s7K3mB2xN5cE9wRjLpY; theme=dark; consent=1"),
    (b"dnt", b"1"),
    (b"upgrade-insecure-requests", b"1"),
    *((b"sec-fetch-" + name, value) for name, value in FETCH),
    (b"priority", b"u=0, i"),
    (b"cache-control", b"max-age=0"),
]


def http_scope(headers: list[tuple[bytes, bytes]], **changes: Any) -> HTTPScope:
    """A GET of `/` as uvicorn describes it, changed as asked."""
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
    scope |= {"http_version": "1.1", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000)}
    scope |= {"scheme": "http", "method": "GET", "root_path": "", "path": "/", "raw_path": b"/"}
    return cast(HTTPScope, scope | {"query_string": b"", "headers": headers} | changes)


SMALL_GET = http_scope(SMALL_HEADERS)
BROWSER_GET = http_scope(BROWSER_HEADERS, path="/café", raw_path=b"/caf%C3%A9", query_string=b"q=tea&page=2")
FORM_POST = http_scope(FORM_HEADERS, method="POST", path="/form", raw_path=b"/form")
# Unknown to a table that keeps the first names it sees, which one large request fills, and to one that keeps
# the last, which has forgotten each small request when its turn comes again.
STRANGE_HEADERS = [(b"x-strange-%d" % number, b"1") for number in range(8800)]
STRANGE_GETS = [http_scope(STRANGE_HEADERS[start : start + 12]) for start in range(4000, 8800, 12)]
strange_gets = itertools.chain([http_scope(STRANGE_HEADERS[:4000])], itertools.cycle(STRANGE_GETS))

flask_app = Flask(__name__)
flask_app.add_url_rule("/", "hello", HELLO.decode)
flask_app.add_url_rule("/form", "form", lambda: request.form["message"], methods=["POST"])


def bare_app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """The least that a WSGI app does."""
    start_response("200 OK", HTML)
    return [HELLO]


def pieces_of(body: bytes, size: int = 65536) -> list[bytes]:
    """A request body that comes in pieces of `size` bytes."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def body_event(body: bytes) -> HTTPRequestSideEvent:
    """A request body that comes to the adapter in one event."""
    return {"type": "http.request", "body": body, "more_body": False}


async def bare_asgi_app(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """The least that an ASGI app does: the events that Bridge makes of the bare app's response."""
    await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS, "trailers": False})
    await send({"type": "http.response.body", "body": HELLO, "more_body": False})


class ListLink:
    """A link that has a request's body ready, and keeps the response's parts."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.read = iter((*pieces, b"")).__next__
        self.sent: Parts = []

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Keep the part."""
        self.sent.append((head, data, more))

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        """Have it sent in blocks."""
        return False


NO_BODY, FORM_BODY = body_event(b""), body_event(FORM)


def environ_of(scope: HTTPScope) -> WSGIEnvironment:
    """The environ of a request, made as for a call."""
    return build_environ(scope, {})


ENVIRON = {**environ_of(SMALL_GET), "wsgi.input": RequestBody(ListLink([]).read)}


def respond(headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> Parts:
    """The parts of a response, made as in a call."""
    response = Response("GET")
    response.start("200 OK", headers)
    sent = [part for chunk in chunks if (part := response.chunk(chunk)) is not None]
    if response.state is not State.COMPLETE:
        end = response.end()
        assert end is not None
        sent.append(end)
    return sent


def call(app: WSGIApplication, scope: HTTPScope, body: bytes = b"") -> Parts:
    """What one call sends, without a thread."""
    link = ListLink(pieces_of(body))
    Call(app, environ_of(scope)).run(link)
    return link.sent


async def serve(app: ASGICall, scope: HTTPScope, event: HTTPRequestSideEvent) -> Events:
    """What one request gives, from a host's call of an ASGI app to the end of it."""
    sent: Events = []
    to_come = iter([event])

    async def receive() -> HTTPRequestSideEvent:
        return next(to_come)

    async def send(event: Any) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent


async def serve_at_once(app: ASGICall, number: int, at_once: int = 64) -> None:
    """Call an ASGI app so many times, as a host does that has no work of its own: each call in a new task."""

    async def receive() -> HTTPRequestSideEvent:
        return NO_BODY

    async def send(event: Any) -> None:
        pass

    for start in range(0, number, at_once):
        calls = range(min(at_once, number - start))
        await asyncio.gather(*(app(SMALL_GET.copy(), receive, send) for _ in calls))


def without_bridge(environ: WSGIEnvironment) -> list[bytes]:
    """What the Flask app gives with nothing around it."""
    chunks: Any = flask_app(environ.copy(), lambda status, headers, exc_info=None: lambda data: None)
    body = list(chunks)
    chunks.close()
    return body


def in_wsgiref(environ: WSGIEnvironment) -> bytes:
    """What the standard library makes of the bare app: bytes for CGI, where Bridge makes parts."""
    output = io.BytesIO()
    handler = BaseCGIHandler(io.BytesIO(), output, io.StringIO(), environ)
    handler.os_environ = {}  # else it copies the variables of the process, however many there are
    handler.run(bare_app)
    return output.getvalue()


def is_hello(sent: Parts) -> bool:
    """Whether it is a whole response that says hello, and no error."""
    head = sent[0][0]
    is_complete = not sent[-1][2]
    return (
        is_complete
        and head is not None
        and head.status == 200
        and b"".join(part[1] for part in sent) == HELLO
    )


def is_hello_by_events(sent: Events) -> bool:
    """The same of a response in events."""
    start, *parts = cast(list[dict[str, Any]], sent)
    is_complete = not parts[-1]["more_body"]
    return is_complete and start["status"] == 200 and b"".join(part["body"] for part in parts) == HELLO


def timed(operation: Callable[[], _T], is_right: Callable[[_T], bool]) -> Measure:
    """How long it takes."""

    def measure(loops: int) -> float:
        for _ in range(2):  # the first may leave something behind that spoils the others
            result = operation()
            assert is_right(result), result
        start = perf_counter()
        for _ in range(loops):
            operation()
        return perf_counter() - start

    return measure


def timed_reading(body: bytes, size: int, method: Callable[..., bytes], *arguments: int) -> Measure:
    """How long a method of RequestBody takes to the end of a body in pieces of that size; nothing is kept."""
    pieces = pieces_of(body, size)

    def operation() -> int:
        file = RequestBody(ListLink(pieces).read)
        return sum(map(len, iter(lambda: method(file, *arguments), b"")))

    return timed(operation, lambda total: total == len(body))


def timed_adapter(scope: HTTPScope, event: HTTPRequestSideEvent) -> Measure:
    """How long the Flask app takes in an adapter, with its threads, one request after the other."""

    async def measure(loops: int) -> float:
        adapter = WSGIToASGI(flask_app)
        async with adapter.lifespan_context():
            for _ in range(50):  # until it has started the threads that it takes
                sent = await serve(adapter, scope, event)
                assert is_hello_by_events(sent), sent
            start = perf_counter()
            for _ in range(loops):
                await serve(adapter, scope, event)
            return perf_counter() - start

    return lambda loops: asyncio.run(measure(loops))


def timed_at_once(app: ASGICall) -> Measure:
    """The CPU time that calls of an ASGI app take on uvloop, 64 at once, with that of its threads.

    CPU time, as this is to be divided: a call of Bridge's waits for the loop and for a thread to take turns.
    """

    async def measure(loops: int) -> float:
        sent = await serve(app, SMALL_GET, NO_BODY)
        assert is_hello_by_events(sent), sent
        await serve_at_once(app, 640)  # until it has started the threads that it takes
        start = process_time()
        await serve_at_once(app, loops)
        return process_time() - start

    def run(loops: int) -> float:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measure(loops))

    return run


CASES: dict[str, Measure] = {
    "environ: small GET": timed(lambda: environ_of(SMALL_GET), lambda it: it["HTTP_ACCEPT"] == "*/*"),
    "environ: browser's GET": timed(lambda: environ_of(BROWSER_GET), lambda it: "\xc3" in it["PATH_INFO"]),
    "environ: unknown headers": timed(lambda: environ_of(next(strange_gets)), lambda it: len(it) > 30),
    "response: 1 chunk": timed(lambda: respond(HELLO_HEADERS, [HELLO]), is_hello),
    "response: 100 chunks": timed(lambda: respond(HTML, CHUNKS), lambda it: len(it) == 101),
    "response: 12 headers": timed(lambda: respond(TWELVE_HEADERS, [HELLO]), is_hello),
    "body: read() of 1 piece": timed_reading(FORM, 65536, RequestBody.read),
    "body: 1 MiB, a read takes 1 piece": timed_reading(bytes(1 << 20), 65536, RequestBody.read, 65536),
    "body: 1 MiB, a read takes 2 pieces": timed_reading(bytes(1 << 20), 50000, RequestBody.read, 65536),
    "body: 1,000 lines": timed_reading(LINES, 65536, RequestBody.readline),
    "call: bare app": timed(lambda: call(bare_app, SMALL_GET), is_hello),
    "call: Flask hello": timed(lambda: call(flask_app, SMALL_GET), is_hello),
    "call: Flask form": timed(lambda: call(flask_app, FORM_POST, FORM), is_hello),
    "adapter: Flask hello": timed_adapter(SMALL_GET, NO_BODY),
    "adapter: Flask form": timed_adapter(FORM_POST, FORM_BODY),
    "bare call, 64 at once": timed_at_once(WSGIToASGI(bare_app)),
    "bare ASGI call, 64 at once": timed_at_once(bare_asgi_app),
    "limit: Flask hello, no Bridge": timed(lambda: without_bridge(ENVIRON), lambda it: it == [HELLO]),
    "limit: bare app in wsgiref": timed(lambda: in_wsgiref(ENVIRON), lambda it: it.endswith(HELLO)),
}

if __name__ == "__main__":
    # With `-m`, the processes that pyperf starts find the package where this one has found it.
    runner = pyperf.Runner(processes=10, program_args=("-m", "benchmarks.micro"))
    for name, measure in CASES.items():
        runner.bench_time_func(name, measure)

"""OpenTelemetry's own instrumentations of ASGI and of Flask, one around and one inside the adapter.

What the app does is one trace with what the server does: each span has the right parent, whatever thread or
task it was started in, and nothing is logged about contexts that do not fit.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import flask
import httpx
import pytest
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, Tracer

from bridge import WSGIToASGI, run_on_loop
from bridge.flask import Bridge, EventSource, stream
from bridge.types import AsyncViews
from tests.hosts import Host

SERVER, FLASK = "server", "flask"


@dataclass(frozen=True)
class Traced:
    """An instrumented app, and what becomes of its spans."""

    app: flask.Flask
    asgi: Any
    exporter: InMemorySpanExporter
    tracer: Tracer
    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=10))

    def spans(self) -> list["Span"]:
        """Those that have ended, in the order of their beginnings, without those of single ASGI events."""
        ended = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        return [Span(span) for span in ended if not span.name.endswith((" http send", " http receive"))]

    def parents(self) -> dict[str, str]:
        """See `parents`."""
        return parents(self.spans())


class Span:
    """A span that has ended; those of the two instrumentations are called by who has made them."""

    def __init__(self, span: ReadableSpan) -> None:
        assert isinstance(span.context, SpanContext)
        assert span.instrumentation_scope is not None
        self.trace_id = span.context.trace_id
        self.id = span.context.span_id
        self.parent = span.parent
        self.status = span.status.status_code
        self.kind = span.kind
        made_by = span.instrumentation_scope.name.rpartition(".")[2]
        self.name = {"asgi": SERVER, "flask": FLASK}.get(made_by, span.name)


def parents(spans: Sequence[Span]) -> dict[str, str]:
    """Each span's name, which no other has, and its parent's."""
    names = {span.id: span.name for span in spans}
    assert len(set(names.values())) == len(spans)
    return {
        span.name: "none" if span.parent is None else names.get(span.parent.span_id, "unknown")
        for span in spans
    }


@pytest.fixture(params=["auto", "loop", "thread"])
def async_views(request: pytest.FixtureRequest) -> AsyncViews:
    where: AsyncViews = request.param
    return where


@pytest.fixture
def traced(async_views: AsyncViews, caplog: pytest.LogCaptureFixture) -> Iterator[Traced]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = flask.Flask(__name__)
    instrumentor: Any = FlaskInstrumentor()  # which has no types
    instrumentor.instrument_app(app, tracer_provider=provider)
    asgi = OpenTelemetryMiddleware(WSGIToASGI(app, async_views=async_views), tracer_provider=provider)
    made = Traced(app, asgi, exporter, provider.get_tracer("the app"))
    add_views(made)
    yield made
    instrumentor.uninstrument_app(app)
    provider.shutdown()
    complaints = [record for record in caplog.get_records("call") if record.name.startswith("opentelemetry")]
    assert not complaints, [record.getMessage() for record in complaints]


def add_views(traced: Traced) -> None:
    app, span = traced.app, traced.tracer.start_as_current_span
    bridge = Bridge(app)

    async def work(name: str) -> str:
        with span(name):
            await asyncio.sleep(0)
        return name

    def plain_work(name: str) -> None:
        with span(name):
            pass

    def parts() -> Iterator[str]:
        with span("part"):
            word = "x"
        yield word

    async def async_parts() -> AsyncIterator[str]:
        await work("part")
        yield "x"

    @app.before_request
    def before() -> None:
        with span("before"):
            if flask.request.path == "/refused":
                flask.abort(401)

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        with span("after"):
            return response

    @app.get("/plain")
    def plain() -> str:
        with span("view"):
            return "x"

    @app.get("/async")
    async def asynchronous() -> str:
        with span("view"):
            await asyncio.gather(work("one"), work("two"))
            return "x"

    @app.get("/refused")
    async def refused() -> str:
        raise AssertionError("a hook has refused it")

    @app.get("/failing")
    async def failing() -> str:
        raise LookupError

    @app.get("/run-on-loop")
    def on_loop() -> str:
        with span("view"):
            return run_on_loop(work("on the loop"))

    @app.get("/parts")
    def plain_parts() -> flask.Response:
        return flask.Response(parts())

    @app.get("/parts-with-context")
    def parts_with_context() -> flask.Response:
        return flask.Response(flask.stream_with_context(parts()))

    @app.get("/async-view-parts")
    async def async_view_parts() -> flask.Response:
        return flask.Response(flask.stream_with_context(parts()))

    @app.get("/async-parts")
    async def stream_of_async_view() -> flask.Response:
        return flask.Response(stream(async_parts()))

    @app.get("/async-parts-of-plain-view")
    def stream_of_plain_view() -> flask.Response:
        return flask.Response(stream(async_parts()))

    @app.get("/events")
    async def events() -> flask.Response:
        return EventSource(async_parts())

    @app.get("/background")
    def background() -> str:
        bridge.background(work, "work")
        return "x"

    @app.get("/background-of-async-view")
    async def background_of_async_view() -> str:
        with span("view"):
            bridge.background(plain_work, "work")
            return "x"

    @app.get("/together/<word>")
    def together(word: str) -> str:
        traced.meeting.wait()
        with span(f"view {word}"):
            traced.meeting.wait()
        return "x"

    @app.get("/async-together/<word>")
    async def async_together(word: str) -> str:
        await asyncio.to_thread(traced.meeting.wait)
        with span(f"view {word}"):
            await asyncio.to_thread(traced.meeting.wait)
        return "x"


# A part of a stream is produced when the view has returned, and Flask's teardown has ended its span: what is
# current then, and still running, is the server's. Background work is a child of what has asked for it, even
# if that has ended: a parent says who has caused a span, not that it waits for it.
#
# path → the app's own spans, and their parents
SPANS = {
    "/plain": {"view": FLASK},
    "/async": {"view": FLASK, "one": "view", "two": "view"},
    "/failing": {},
    "/run-on-loop": {"view": FLASK, "on the loop": "view"},
    "/parts": {"part": SERVER},
    "/parts-with-context": {"part": SERVER},
    "/async-view-parts": {"part": SERVER},
    "/async-parts": {"part": SERVER},
    "/async-parts-of-plain-view": {"part": SERVER},
    "/events": {"part": SERVER},
    "/background": {"work": FLASK},
    "/background-of-async-view": {"view": FLASK, "work": "view"},
}
ALWAYS = {SERVER: "none", FLASK: SERVER, "before": FLASK, "after": FLASK}


@pytest.fixture
def uvicorn() -> Host:
    return Host("uvicorn", "asyncio")


@pytest.mark.parametrize("path", SPANS)
def test_each_span_has_its_parent(traced: Traced, uvicorn: Host, path: str) -> None:
    with uvicorn(traced.asgi) as server:
        httpx.get(server.url + path)
    spans = traced.spans()
    assert parents(spans) == ALWAYS | SPANS[path]
    assert len({span.trace_id for span in spans}) == 1
    kinds = {span.name: span.kind for span in spans}
    assert [kinds[SERVER], kinds[FLASK]] == [SpanKind.SERVER, SpanKind.INTERNAL]


def test_a_hook_that_refuses(traced: Traced, uvicorn: Host) -> None:
    with uvicorn(traced.asgi) as server:
        assert httpx.get(server.url + "/refused").status_code == 401
    assert traced.parents() == ALWAYS


def test_a_view_that_fails_fails_both_spans(traced: Traced, uvicorn: Host) -> None:
    with uvicorn(traced.asgi) as server:
        assert httpx.get(server.url + "/failing").status_code == 500
    failed = {span.name for span in traced.spans() if span.status is StatusCode.ERROR}
    assert failed == {SERVER, FLASK}


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_a_remote_parent_is_carried_on(traced: Traced, uvicorn: Host, path: str) -> None:
    trace_id, span_id = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
    with uvicorn(traced.asgi) as server:
        httpx.get(server.url + path, headers={"traceparent": f"00-{trace_id:032x}-{span_id:016x}-01"})
    spans = traced.spans()
    assert {span.trace_id for span in spans} == {trace_id}
    of_server = next(span for span in spans if span.name == SERVER)
    assert of_server.parent is not None
    assert of_server.parent.span_id == span_id
    assert parents(spans) == ALWAYS | {SERVER: "unknown"} | SPANS[path]


@pytest.mark.parametrize("path", ["/together", "/async-together"])
async def test_requests_at_the_same_time_do_not_mix(traced: Traced, uvicorn: Host, path: str) -> None:
    with uvicorn(traced.asgi) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            await asyncio.gather(*(client.get(f"{path}/{word}") for word in ("one", "two")))
    traces: dict[int, list[Span]] = {}
    for span in traced.spans():
        traces.setdefault(span.trace_id, []).append(span)
    assert sorted(map(parents, traces.values()), key=sorted) == [
        ALWAYS | {"view one": FLASK},
        ALWAYS | {"view two": FLASK},
    ]

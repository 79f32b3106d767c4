"""The two boundaries that every adapter has, ASGI outside and WSGI inside, with a trace at each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from bridge.core.call_facts import CallFacts
from bridge.errors import ClientDisconnected
from bridge.runners.greenlet_link import LoopIterable
from bridge.trace.facts import follow_headers, shown
from bridge.trace.recording import CURRENT_STEP, Step, Trace
from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)

__all__ = ["traced_asgi", "traced_wsgi"]


def traced_asgi(app: ASGI3Application, trace: Trace) -> ASGI3Application:
    """Return an ASGI application that records the one call of another, and its events."""

    async def traced(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def traced_receive() -> ASGIReceiveEvent:
            with trace.begin("ASGI", "receive", "waiting for an event", parent=call) as step:
                event = await receive()
                step.end(_describe_event(event), event=event)
                return event

        async def traced_send(event: ASGISendEvent) -> None:
            with trace.begin("ASGI", "send", _describe_event(event), parent=call, event=event):
                await send(event)

        trace.scope = {**scope, "bridge.call": CallFacts()}  # Bridge's adapter fills that in
        query = trace.scope["query_string"].decode("latin-1")
        target = shown(f"{trace.scope['path']}?{query}".removesuffix("?"))
        with trace.begin("ASGI", "call", f"{trace.scope['method']} {target}", scope=scope) as call:
            await app(cast(HTTPScope, trace.scope), traced_receive, traced_send)

    return traced


def _describe_event(event: Mapping[str, Any]) -> str:
    kind = str(event.get("type"))
    if kind in ("http.request", "http.response.body"):
        end = "more to come" if event.get("more_body") else "complete"
        return f"{kind} {_count(event.get('body', b''), 'byte')}, {end}"
    if kind == "http.response.start":
        return f"{kind} {event.get('status')}, {_count(list(event.get('headers', ())), 'header')}"
    return kind


def _count(things: Any, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def traced_wsgi(app: WSGIApplication) -> WSGIApplication:
    """Return a WSGI application that records the boundary of another in calls that are traced."""
    call = f"{getattr(app, '__qualname__', None) or type(app).__qualname__}(environ, start_response)"

    def traced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        outer = CURRENT_STEP.get()
        if outer is None or outer.trace.runner is not None:  # the latter: an app within an app
            return app(environ, start_response)
        trace = outer.trace

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            detail = f"{status!r}, {_count(headers, 'header')}"
            with trace.begin("WSGI", "start_response", detail, status=status, headers=list(headers)):
                return start_response(status, headers, *exc_info)

        waited = trace.scope["bridge.call"].waited
        trace.runner = trace.begin(
            "runner",
            "on the loop" if trace.thread == "loop" else "in a thread",
            waited=None if waited is None else round(waited * 1e6),
        )
        trace.runner.end()
        trace.begin(
            "environ",
            "environ",
            _count(environ, "key"),
            environ=environ,
            headers=follow_headers(trace.scope["headers"], environ),
        ).end()
        with trace.begin("WSGI", "app", call) as step:
            chunks = app(environ, start)
            step.end(f"{call} returned a {type(chunks).__name__}")
        # Adapters know these by their types; the ASGI events show what is in them.
        return chunks if isinstance(chunks, (list, tuple, LoopIterable)) else _Body(chunks, outer)

    return traced


class _Body:
    """The iterable of an app, recorded as it is iterated over."""

    def __init__(self, chunks: Iterable[bytes], outer: Step) -> None:
        self._chunks = chunks
        self._outer = outer

    def __iter__(self) -> Iterator[bytes]:
        trace = self._outer.trace
        chunks = iter(self._chunks)
        while True:
            with trace.begin("WSGI", "chunk", "the next chunk", parent=self._outer) as step:
                if trace.client_has_left:
                    # Other adapters would not notice, and an endless stream would hold their thread for ever.
                    raise ClientDisconnected("the client has left, and the trace ends here")
                chunk = next(chunks, None)
                if chunk is None:
                    step.end("none left: the body is at its end")
                    return
                size = _count(chunk, "byte") if isinstance(chunk, bytes) else type(chunk).__name__
                step.end(size, data=chunk)
            yield chunk

    def close(self) -> None:
        """Close the app's iterable, if it can be closed."""
        if hasattr(self._chunks, "close"):
            with self._outer.trace.begin("WSGI", "close", "close()", parent=self._outer):
                self._chunks.close()

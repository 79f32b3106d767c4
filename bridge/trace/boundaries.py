"""The two boundaries that every adapter has, ASGI outside and WSGI inside, with a trace at each.

`call_traced` calls an ASGI application and records what goes in and comes out. `traced_wsgi` is a WSGI
application that is another one with its boundary recorded, if the call is one that is traced; if not, it
costs the look at one context variable.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from bridge.core.call_facts import CallFacts
from bridge.errors import ClientDisconnected
from bridge.runners.greenlet_link import GreenletLink, LoopIterable
from bridge.trace.facts import shown
from bridge.trace.headers import follow_headers
from bridge.trace.recording import Step, Trace, current_step
from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ExcInfo,
    HTTPScope,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)

__all__ = ["call_traced", "traced_wsgi"]

# Where Bridge says how long a call has waited: see `CallFacts`.
_CALL_FACTS = "bridge.call"

_WHY_THREAD = {
    "bridge": "a WSGI call may block, so it has a thread of Bridge's pool",
    "a2wsgi": "a2wsgi has a thread of its pool for every call",
    "asgiref": "asgiref makes all calls in one thread, one after the other",
}


async def call_traced(
    app: ASGI3Application,
    trace: Trace,
    scope: HTTPScope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    *,
    adapter: str | None = None,
) -> None:
    """Call an ASGI application, in a task of its own, and record what happens.

    Args:
        app: the application; `traced_wsgi` and the Flask seams within it record into the same trace.
        trace: where to.
        scope: an `http` scope.
        receive: the host's.
        send: the host's.
        adapter: the name of the package that runs a WSGI app here; None if it is an ASGI app.
    """
    trace.scope = {**scope, _CALL_FACTS: CallFacts()}
    trace.adapter = adapter
    query = shown(scope["query_string"])
    target = f"{scope['path']}?{query}" if query else scope["path"]
    client = scope.get("client")
    origin = f" from {client[0]}" if client else ""
    with trace.step("ASGI", "call", f"{scope['method']} {target}{origin}", scope=scope) as step:
        events = _Events(step, receive, send)
        await app(cast(HTTPScope, trace.scope), events.receive, events.send)


class _Events:
    """`receive` and `send`, recorded. They are called in whatever task, or in whatever part of the call."""

    def __init__(self, call: Step, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self._call = call
        self._receive = receive
        self._send = send

    async def receive(self) -> ASGIReceiveEvent:
        step = self._call.trace.begin("ASGI", "receive", "waiting for an event", parent=self._call)
        try:
            event = await self._receive()
        except asyncio.CancelledError:  # an adapter listens for a disconnect as long as the call lasts
            step.end("no event came any more")
            raise
        except BaseException as error:
            step.fail(error)
            raise
        step.end(_describe_event(event), event=event)
        return event

    async def send(self, event: ASGISendEvent) -> None:
        step = self._call.trace.begin("ASGI", "send", _describe_event(event), parent=self._call, event=event)
        try:
            await self._send(event)
        except BaseException as error:
            step.fail(error)
            raise
        step.end()


def _describe_event(event: Mapping[str, Any]) -> str:
    kind = str(event.get("type"))
    if kind in ("http.request", "http.response.body"):
        end = "more to come" if event.get("more_body") else "complete"
        return f"{kind} {_size(event.get('body', b''))}, {end}"
    if kind == "http.response.start":
        return f"{kind} {event.get('status')}, {_count(list(event.get('headers', ())), 'header')}"
    return kind


def _size(data: object) -> str:
    return _count(data, "byte") if isinstance(data, bytes) else type(data).__name__


def _count(things: Any, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


# WSGI


def traced_wsgi(app: WSGIApplication) -> WSGIApplication:
    """A WSGI application that is `app`, with its boundary recorded in calls that are traced."""

    def traced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        outer = current_step()
        if outer is None or outer.trace.runner is not None:  # the latter: an app within an app
            return app(environ, start_response)
        return _Call(outer).run(app, environ, start_response)

    return traced


class _Call:
    """One WSGI call that is traced."""

    def __init__(self, outer: Step) -> None:
        self._outer = outer
        self._trace = outer.trace

    def run(
        self, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._record_runner()
        self._record_environ(environ)
        name = _name_of(app)
        with self._trace.step("WSGI", "app", f"{name}(environ, start_response)") as step:
            chunks = app(environ, self._recorded_start(start_response))
            kind = type(chunks).__name__
            step.end(f"{name}(environ, start_response) returned a {kind}", returned=kind)
        return self._recorded(chunks)

    def _record_environ(self, environ: WSGIEnvironment) -> None:
        fates = follow_headers(self._trace.scope.get("headers", ()), environ)
        dropped = [f"{fate['header']} ({fate['why']})" for fate in fates if fate["fate"] == "dropped"]
        first = {key: environ.get(key, "") for key in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")}
        named = " ".join(f"{key}={shown(value)}" for key, value in first.items() if value)
        self._trace.mark(
            "environ",
            "environ",
            f"{named} … {_count(environ, 'key')}" + (f"; dropped {', '.join(dropped)}" if dropped else ""),
            parent=self._outer,
            environ={key: value for key, value in environ.items() if key != "asgi.scope"},
            headers=fates,
        )

    def _record_runner(self) -> None:
        trace = self._trace
        thread = trace.thread_name()
        on_loop = thread == "loop"
        waited = trace.scope[_CALL_FACTS].waited
        why = (
            "its view is async: it awaits there, and holds no thread"
            if on_loop
            else _WHY_THREAD.get(trace.adapter or "", "")
        )
        trace.runner = trace.mark(
            "runner",
            "on the loop" if on_loop else "in a thread",
            why,
            parent=self._outer,
            runner="loop" if on_loop else "thread",
            thread=thread,
            waited=None if waited is None else round(waited * 1e6),
            since_call=trace.now() - self._outer.began,
            why=why,
        )

    def _recorded_start(self, start_response: StartResponse) -> StartResponse:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], object]:
            detail = f"{status!r}, {_count(headers, 'header')}"
            if exc_info is not None and exc_info[0] is not None:
                detail += f", exc_info {exc_info[0].__name__}"
            with self._trace.step(
                "WSGI", "start_response", detail, status=status, headers=[tuple(pair) for pair in headers]
            ):
                try:
                    # Without a third argument where there was none: not every server knows of it.
                    write = (
                        start_response(status, headers)
                        if exc_info is None
                        else start_response(status, headers, exc_info)
                    )
                finally:
                    exc_info = None  # it would hold this frame, which its traceback may be of
            # asgiref's returns nothing to write with, against PEP 3333.
            return self._recorded_write(write) if callable(write) else write

        return cast(StartResponse, start)

    def _recorded_write(self, write: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def recorded(data: bytes) -> object:
            with self._trace.step("WSGI", "write", _size(data), data=data):
                return write(data)

        return recorded

    def _recorded(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """What the adapter gets in the place of what the app has returned, of a kind that it treats alike."""
        if isinstance(chunks, (list, tuple)):
            for chunk in chunks:
                self._trace.mark("WSGI", "chunk", _size(chunk), parent=self._outer, data=chunk)
            return chunks
        kind = _LoopBody if isinstance(chunks, LoopIterable) else _Body
        return kind(chunks, self._outer)


def _name_of(app: object) -> str:
    return getattr(app, "__qualname__", None) or type(app).__qualname__


class _Body:
    """What an app has returned, recorded as it is iterated over."""

    def __init__(self, chunks: Any, outer: Step) -> None:
        self._chunks = chunks
        self._outer = outer
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        step = self._begin_chunk()
        with step.entered():
            if self._outer.trace.client_has_left:
                # Other adapters would not notice, and an endless stream would hold their thread for ever.
                raise ClientDisconnected("the client has left, and the trace ends here")
            if self._iterator is None:
                self._iterator = iter(self._chunks)
            chunk: bytes | None = next(self._iterator, None)
        if chunk is None:
            step.end("none left: the body is at its end")
            raise StopIteration
        step.end(_size(chunk), data=chunk)
        return chunk

    def close(self) -> None:
        """Close the app's iterable, if it can be closed."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            with self._outer.trace.step("WSGI", "close", "close()", parent=self._outer):
                close()

    def _begin_chunk(self) -> Step:
        return self._outer.trace.begin("WSGI", "chunk", "the next chunk", parent=self._outer)


class _LoopBody(_Body, LoopIterable):
    """The same of a body whose parts come from the event loop."""

    _chunks: LoopIterable

    def begin_on_loop(self, link: GreenletLink) -> AsyncIterator[str | bytes]:
        """See `LoopIterable`."""
        return self._recorded_parts(self._chunks.begin_on_loop(link))

    async def _recorded_parts(self, parts: AsyncIterator[str | bytes]) -> AsyncIterator[str | bytes]:
        while True:
            step = self._begin_chunk()
            with step.entered():
                part = await anext(parts, None)
            if part is None:
                step.end("none left: the body is at its end")
                return
            step.end(_size(part.encode() if isinstance(part, str) else part), data=part)
            yield part

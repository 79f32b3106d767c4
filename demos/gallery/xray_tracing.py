"""The apps that can be traced, the ways to run them, and one traced request as events."""

import asyncio
import contextvars
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

from a2wsgi import WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from bridge import WSGIToASGI
from bridge.trace import StepRecord, TracedApp
from demos.gallery.xray_requests import Wanted

__all__ = ["SUBJECTS", "WAYS", "CannotTraceError", "Tracing", "tracing_lifespan"]

logger = logging.getLogger("bridge")

# Of each adapter; a visitor has an app called once or twice at a time.
_THREADS = 4

# Requests at once, over all visitors.
_PLACES = 4

# Of one request: seconds, bytes of the response, and steps that are sent to the page.
_DEADLINE = 10.0
_MAX_RESPONSE = 64 * 1024
_MAX_STEPS = 400

# Seconds between two looks at what has happened.
_PACE = 0.05


class Subject(NamedTuple):
    """An app that can be traced, and where it is."""

    title: str
    app: str


SUBJECTS: dict[str, Subject] = {
    "subject": Subject("subject: a view for each kind of request", "demos.gallery.subject:app"),
    "bare": Subject("wsgi_hello: a bare WSGI callable", "demos.wsgi_hello:bare"),
    "werkzeug": Subject("wsgi_hello: with Werkzeug", "demos.wsgi_hello:with_werkzeug"),
    "flask": Subject("wsgi_hello: in Flask", "demos.wsgi_hello:with_flask"),
    "hello": Subject("hello: the smallest Flask app", "demos.hello:app"),
    "streaming": Subject("streaming: generators", "demos.streaming:app"),
    "async_views": Subject("async_views: on the loop", "demos.async_views:app"),
    "site": Subject("site: templates, forms, languages", "demos.site:app"),
    "api": Subject("api: a REST API", "demos.api:app"),
}


class Way(NamedTuple):
    """What calls a WSGI app on an ASGI server."""

    title: str
    adapt: Callable[[AsyncExitStack, Any], Any]


def _bridge(stack: AsyncExitStack, app: Any) -> Any:
    return WSGIToASGI(app, threads=_THREADS)


def _bridge_in_threads(stack: AsyncExitStack, app: Any) -> Any:
    return WSGIToASGI(app, threads=_THREADS, async_views="thread")


def _a2wsgi(stack: AsyncExitStack, app: Any) -> Any:
    middleware = WSGIMiddleware(app, workers=_THREADS)
    stack.callback(middleware.executor.shutdown, wait=False, cancel_futures=True)
    return middleware


def _asgiref(stack: AsyncExitStack, app: Any) -> Any:
    return WsgiToAsgi(app)  # type: ignore[no-untyped-call]  # asgiref has no types here


WAYS: dict[str, Way] = {
    "bridge": Way("Bridge", _bridge),
    "bridge-threads": Way("Bridge, async views in threads", _bridge_in_threads),
    "a2wsgi": Way("a2wsgi", _a2wsgi),
    "asgiref": Way("asgiref", _asgiref),
}


class CannotTraceError(Exception):
    """Not now; the text says why, to the visitor."""


class Tracing:
    """All subjects in all ways, running. Made by `tracing_lifespan`; used on the event loop."""

    def __init__(self, apps: dict[tuple[str, str], TracedApp]) -> None:
        self._apps = apps
        self._places = _PLACES

    def take_place(self, wanted: Wanted) -> None:
        """Be one of those that are traced now; `leave_place` when that is over.

        Raises:
            CannotTraceError: there are too many, or the subject did not start.
        """
        if (wanted.subject, wanted.way) not in self._apps:
            raise CannotTraceError("This app did not start. The server's log says why.")
        if not self._places:
            raise CannotTraceError(
                f"{_PLACES} requests are being traced, which is the most at a time. Try again in a moment."
            )
        self._places -= 1

    def leave_place(self) -> None:
        """Let another be traced."""
        self._places += 1

    async def events(self, wanted: Wanted) -> AsyncIterator[dict[str, Any]]:
        """Make the request, and yield what happens, while it happens.

        Events are `steps`, a list of `StepRecord` of which a later one replaces that of the same `id`; and at
        the end `end`, a `TraceRecord` whose `steps` is the number of those that were sent.
        """
        request = self._apps[wanted.subject, wanted.way].begin(
            wanted.method,
            wanted.path,
            wanted.headers,
            wanted.body.encode(),
            deadline=_DEADLINE,
            max_body=_MAX_RESPONSE,
        )
        # In a context of its own: it is not part of the request that asked for it.
        run = asyncio.create_task(request.run(), context=contextvars.Context())
        sent: list[StepRecord] = []
        try:
            while not run.done():
                await asyncio.wait([run], timeout=_PACE)
                steps = request.as_json()["steps"][:_MAX_STEPS]
                if news := [step for step, known in zip_longest(steps, sent) if step != known]:
                    yield {"event": "steps", "data": news}
                sent = steps
            run.result()
            yield {"event": "end", "data": {**request.as_json(), "steps": len(sent)}}
        finally:
            if not run.done():  # whoever watched has left: streams end, too
                run.cancel()
                await asyncio.wait([run])


@asynccontextmanager
async def tracing_lifespan(app: Flask) -> AsyncIterator[dict[str, Tracing]]:
    """Run all subjects in all ways as long as the server runs; nothing is called before somebody asks."""
    async with AsyncExitStack() as stack:
        apps = {}
        for name, chosen in SUBJECTS.items():
            try:
                loaded = await asyncio.to_thread(_load, chosen.app)
                for way, (_, adapt) in WAYS.items():
                    traced = TracedApp(loaded, adapt=partial(adapt, stack), interface="wsgi")
                    apps[name, way] = await stack.enter_async_context(traced)
            except Exception:  # the others can be traced all the same
                logger.exception("%s did not start, and cannot be traced", chosen.app)
        yield {"tracing": Tracing(apps)}


def _load(address: str) -> Any:
    module, _, attribute = address.partition(":")
    return getattr(importlib.import_module(module), attribute)

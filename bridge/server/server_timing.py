"""`Server-Timing` (W3C): where a request's time went, for the developer tools of browsers."""

import time
from functools import partial
from typing import Any, cast

from bridge.core.call_facts import CallFacts
from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

__all__ = ["ServerTiming"]


class ServerTiming:
    """ASGI middleware that adds `Server-Timing: queue;dur=1.2, app;dur=3.4` to responses, in milliseconds.

    `queue` is how long the request waited for a worker thread; there is none for views on the event loop, and
    for apps that are not WSGI. `app` is from there to the beginning of the response. What the app says in a
    header of its own stays.

    Args:
        app: the ASGI application.
        has_threads: whether it is one of `WSGIToASGI`. What it has answered without a call of the app, as no
            thread was free in time, has no `app`.
    """

    def __init__(self, app: ASGI3Application, *, has_threads: bool) -> None:
        self._app = cast(Any, app)  # asgiref's types know less events than are there
        self._has_threads = has_threads

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one ASGI scope; those other than `http` go to the app as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = cast(Any, scope).get("bridge.call")  # of somebody further out, who watches as well
        if facts is None:
            facts = CallFacts()
            scope = cast(HTTPScope, {**scope, "bridge.call": facts})
        began = time.perf_counter()
        await self._app(scope, receive, partial(self._send, send, facts, began))

    async def _send(
        self, send: ASGISendCallable, facts: CallFacts, began: float, event: ASGISendEvent
    ) -> None:
        """Send an event, with the header if it begins a response. The event is the app's, and stays."""
        if event["type"] == "http.response.start":
            value = ", ".join(self._metrics(facts, began))
            headers = [*event.get("headers", ()), (b"server-timing", value.encode())]
            event = {**event, "headers": headers}
        await send(event)

    def _metrics(self, facts: CallFacts, began: float) -> list[str]:
        now = time.perf_counter()
        if facts.begun is None:
            return [_metric("queue" if self._has_threads else "app", now - began)]
        app = _metric("app", now - facts.begun)
        return [app] if facts.waited is None else [_metric("queue", facts.waited), app]


def _metric(name: str, seconds: float) -> str:
    return f"{name};dur={seconds * 1000:.1f}"

"""Requests to an app in memory, traced."""

import asyncio
import copy
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from typing import Any, Self
from urllib.parse import quote

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.errors import BridgeError
from bridge.interfaces import Interface, detect_interface, is_flask
from bridge.testing.memory import Exchange, http_scope
from bridge.trace.boundaries import traced_asgi, traced_wsgi
from bridge.trace.facts import describe_error, shown
from bridge.trace.recording import Outcome, ResponseRecord, Trace, TraceRecord
from bridge.types import WSGIApplication

__all__ = ["TracedApp", "TracedRequest", "trace_request"]

_MAX_STEPS = 5000  # a stream without an end must not fill the memory
_PATIENCE = 5.0  # seconds that an app has to end after its client has left


class TracedApp:
    """An app that runs in memory, with its lifespan, within `async with`; its requests are traced.

    Args:
        app: a Flask app, another WSGI app, a `WSGIToASGI`, or an ASGI app, which is seen from outside alone.
        adapt: makes the ASGI application of a WSGI app.
        interface: "wsgi" or "asgi", if it cannot be told by looking at the app.

    Raises:
        TypeError: it cannot be told which of these the app is.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        adapt: Callable[[WSGIApplication], Any] = WSGIToASGI,
        interface: Interface | None = None,
    ) -> None:
        interface = interface or detect_interface(app)
        if interface not in ("wsgi", "asgi"):
            raise TypeError(f'cannot tell whether {app!r} is WSGI or ASGI; say interface="wsgi" or "asgi"')
        self._app: Any = app
        if isinstance(app, WSGIToASGI):
            self._app = copy.copy(app)  # the settings of the other, and nothing of what it has begun
            self._app.app = _traced(app.app)
        elif interface == "wsgi":
            self._app = adapt(_traced(app))
        self._state: dict[str, Any] | None = None
        self._lifespan = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._state = await self._lifespan.enter_async_context(running(self._app))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._state = None
        await self._lifespan.aclose()

    def begin(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        root_path: str = "",
        deadline: float = 10.0,
        max_body: int = 1 << 20,
    ) -> "TracedRequest":
        """Return a request for `await request.run()`; `request.as_json()` has its steps meanwhile, too.

        Args:
            method: such as "GET".
            path: the path below `root_path`, and the query.
            headers: header fields; host, user-agent, accept and content-length are added if missing.
            body: the body.
            root_path: where the app is mounted.
            deadline: after how many seconds the client leaves, if the response has not ended.
            max_body: after how many bytes of the response it leaves.

        Raises:
            BridgeError: the app does not run.
            ValueError: the path does not begin with a slash, or a header has a character that none may have.
        """
        if self._state is None:
            raise BridgeError("the app does not run: make requests within `async with TracedApp(...)`")
        if not path.startswith("/"):
            raise ValueError(f"a path begins with a slash; got {path!r}")
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        defaults = {b"host": b"localhost", b"user-agent": b"bridge-trace", b"accept": b"*/*"}
        if body:
            defaults[b"content-length"] = b"%d" % len(body)
        fields = [*(pair for pair in defaults.items() if pair[0] not in dict(fields)), *fields]
        # A byte that is no UTF-8 is a surrogate in an argument of the command line.
        target = quote(path, safe="/%:@!$&'()*+,;=~-._?", errors="surrogateescape").encode()
        scope = http_scope(method, target, fields, root_path=root_path, state=self._state)
        trace = Trace(self._app)
        exchange = Exchange(traced_asgi(self._app, trace), scope, body)
        return TracedRequest(trace, exchange, deadline, max_body)


def _traced(app: Any) -> Any:
    """Return what the adapter gets: a Flask app stays what it is, as the adapter knows it."""
    if not is_flask(app):
        return traced_wsgi(app)
    from bridge.trace.seams import install_seams  # imports Flask, which is there by now

    return install_seams(app)


class TracedRequest:
    """One request to a `TracedApp`, made by it, and what has come of it."""

    def __init__(self, trace: Trace, exchange: Exchange, deadline: float, max_body: int) -> None:
        self.outcome: Outcome = "running"
        self.error = ""
        """Why it failed, or was left."""
        self.body = bytearray()
        """Of the response, as far as it has come."""
        self.exchange = exchange
        """Has the status and the headers of the response, as soon as they have come."""
        self._trace = trace
        self._deadline = deadline
        self._max_body = max_body

    async def run(self) -> Self:
        """Make the request; return it when the app has ended it. What the app raises is in `error`."""
        exchange = self.exchange
        exchange.start()
        limit = ""
        try:
            async with asyncio.timeout(self._deadline), aclosing(exchange.chunks()) as chunks:
                async for chunk in chunks:
                    self.body += chunk
                    if len(self.body) > self._max_body or len(self._trace.steps) > _MAX_STEPS:
                        limit = f"{len(self.body):,} bytes in {len(self._trace.steps):,} steps"
                        break
        except TimeoutError:
            limit = f"{self._deadline:g} s"
        finally:
            self._trace.client_has_left = not exchange.is_complete
            exchange.leave()
            ended = await exchange.join(_PATIENCE)
        if limit:
            self.outcome, self.error = "left", f"the client left after {limit}"
        elif exchange.failure is None and exchange.is_complete:
            self.outcome = "answered"
        else:
            said = "the app returned before its response was complete" if exchange.status else "no response"
            self.error = said if exchange.failure is None else describe_error(exchange.failure)
            self.outcome = "failed"
        if not ended:
            self.error = f"{self.error}; the app went on without its client".removeprefix("; ")
        return self

    def as_json(self) -> TraceRecord:
        """All that is known of it so far."""
        exchange, steps = self.exchange, [step.copy() for step in self._trace.steps]
        response: ResponseRecord | None = None
        if exchange.status is not None:
            fields = [(name.decode("latin-1"), value) for name, value in exchange.headers]
            response = {
                "status": exchange.status,
                "headers": [[name, str(shown(value, name))] for name, value in fields],
                "size": len(self.body),
                "body": str(shown(self.body)),
                "complete": exchange.is_complete,
            }
        return {
            "response": response,
            "outcome": self.outcome,
            "error": self.error,
            "duration": max((step["ended"] or step["began"] for step in steps), default=0),
            "steps": steps,
        }


async def trace_request(
    app: Callable[..., Any],
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    adapt: Callable[[WSGIApplication], Any] = WSGIToASGI,
    interface: Interface | None = None,
    **options: Any,
) -> TracedRequest:
    """Start an app in memory, make one request, and stop it. Arguments as for `TracedApp` and its `begin`."""
    async with TracedApp(app, adapt=adapt, interface=interface) as traced:
        return await traced.begin(method, path, headers, body, **options).run()

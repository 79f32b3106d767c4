"""Requests to an app in memory, traced."""

import asyncio
import copy
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Self, TypeAlias
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

__all__ = ["Adapt", "TracedApp", "TracedRequest", "trace_request"]

Adapt: TypeAlias = Callable[[WSGIApplication], Any]
"""What makes an ASGI application of a WSGI application: `WSGIToASGI`, or another class like it."""

# Seconds that an app has to end after its client has left.
_PATIENCE = 5.0


class TracedApp:
    """An app that runs in memory, with its lifespan, within `async with`; its requests are traced.

    Args:
        app: a Flask app, another WSGI app, a `WSGIToASGI`, or an ASGI app. Of the latter only the outside is
            seen.
        adapt: makes the ASGI application of a WSGI app.
        interface: "wsgi" or "asgi", if it cannot be told by looking at the app.

    Raises:
        TypeError: the app is neither, or it cannot be told which.

    An app may be traced by several of these at once, each with an adapter of its own.
    """

    def __init__(
        self, app: Callable[..., Any], *, adapt: Adapt = WSGIToASGI, interface: Interface | None = None
    ) -> None:
        interface = interface or detect_interface(app)
        if interface not in ("wsgi", "asgi"):
            raise TypeError(f'cannot tell whether {app!r} is WSGI or ASGI; say interface="wsgi" or "asgi"')
        self._interface = interface
        self._app = app
        self._adapt = adapt
        self._asgi_app: Any = app
        self._state: dict[str, Any] | None = None
        self._lifespan = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if isinstance(self._app, WSGIToASGI):
            # The settings of the other, and nothing of what it has begun.
            self._asgi_app = copy.copy(self._app)
            self._asgi_app.app = _traced(self._app.app)
        elif self._interface == "wsgi":
            self._asgi_app = self._adapt(_traced(self._app))
        self._state = await self._lifespan.enter_async_context(running(self._asgi_app))
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
            path: where, with its query; from the root of the app, without `root_path`.
            headers: those of the request. Host, user-agent and accept are added if they are not among them,
                and the length of the body.
            body: of the request.
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
        given = {name for name, _ in fields}
        defaults = [(b"host", b"localhost"), (b"user-agent", b"bridge-trace"), (b"accept", b"*/*")]
        if body and b"transfer-encoding" not in given:
            defaults.append((b"content-length", b"%d" % len(body)))
        # A byte that is no UTF-8 is a surrogate in an argument of the command line.
        target = quote(path, safe="/%:@!$&'()*+,;=~-._?", errors="surrogateescape").encode()
        fields = [*(pair for pair in defaults if pair[0] not in given), *fields]
        scope = http_scope(method, target, fields, root_path=root_path, state=self._state)
        trace = Trace(self._asgi_app)
        exchange = Exchange(traced_asgi(self._asgi_app, trace), scope, body)
        return TracedRequest(trace, exchange, deadline, max_body)

    async def request(self, method: str, path: str, *args: Any, **options: Any) -> "TracedRequest":
        """Make a request, and wait for its end. Arguments as for `begin`."""
        request = self.begin(method, path, *args, **options)
        await request.run()
        return request


def _traced(app: Any) -> Any:
    """Return what the adapter gets: a Flask app stays what it is, as the adapter knows it."""
    if not is_flask(app):
        return traced_wsgi(app)
    from bridge.trace.seams import install_seams  # imports Flask, which is there by now

    install_seams(app)
    return app


class TracedRequest:
    """One request to a `TracedApp`, made by it, and what has come of it."""

    def __init__(self, trace: Trace, exchange: Exchange, deadline: float, max_body: int) -> None:
        self.outcome: Outcome = "running"
        """See `TraceRecord`."""
        self.error = ""
        """Why it failed, or was left."""
        self.body = bytearray()
        """Of the response, as far as it has come."""
        self.duration = 0
        """Microseconds to the end."""
        self._trace = trace
        self._exchange = exchange
        self._deadline = deadline
        self._max_body = max_body

    @property
    def status(self) -> int | None:
        """Of the response; None as long as there is none."""
        return self._exchange.status

    async def run(self) -> None:
        """Make the request; return when the app has ended it. What the app raises is in `error`."""
        exchange = self._exchange
        exchange.start()
        limit = ""
        try:
            async with asyncio.timeout(self._deadline):
                async for chunk in exchange.chunks():
                    self.body += chunk
                    if len(self.body) > self._max_body:
                        limit = f"{len(self.body):,} bytes"
                        break
        except TimeoutError:
            limit = f"{self._deadline:g} s"
        finally:
            self._trace.client_has_left = not exchange.is_complete
            exchange.leave()
            ended = await exchange.join(_PATIENCE)
        self.duration = self._trace.now()
        if limit:
            self.outcome, self.error = "left", f"the client left after {limit}"
        elif exchange.failure is not None:
            self.outcome, self.error = "failed", describe_error(exchange.failure)
        elif exchange.is_complete:
            self.outcome = "answered"
        else:
            self.outcome = "failed"
            self.error = "the app returned before its response was complete" if self.status else "no response"
        if not ended:
            self.error = f"{self.error}; the app went on without its client".removeprefix("; ")

    def as_json(self) -> TraceRecord:
        """All that is known of it so far."""
        response: ResponseRecord | None = None
        if self._exchange.status is not None:
            fields = [(name.decode("latin-1"), value) for name, value in self._exchange.headers]
            response = {
                "status": self._exchange.status,
                "headers": [[name, str(shown(value, name))] for name, value in fields],
                "size": len(self.body),
                "body": str(shown(bytes(self.body))),
                "complete": self._exchange.is_complete,
            }
        package = type(self._trace.app).__module__.partition(".")[0]
        return {
            "adapter": None if self._trace.runner is None else package,
            "response": response,
            "outcome": self.outcome,
            "error": self.error,
            "duration": self.duration,
            "missed": self._trace.missed,
            "steps": self._trace.as_json(),
        }


async def trace_request(
    app: Callable[..., Any],
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    adapt: Adapt = WSGIToASGI,
    interface: Interface | None = None,
    **options: Any,
) -> TracedRequest:
    """Start an app in memory, make one request, and stop it. Arguments as for `TracedApp` and its `begin`."""
    async with TracedApp(app, adapt=adapt, interface=interface) as traced:
        return await traced.request(method, path, headers, body, **options)

"""Requests to an app in memory, traced: the host of the app, and the client, in one.

Not `bridge.testing`, whose client is httpx, which a server need not have: what is traced here is to be an
application's way, and the events are as plain as uvicorn's.
"""

import asyncio
import copy
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import quote, unquote

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.errors import BridgeError
from bridge.interfaces import Interface, detect_interface, is_flask
from bridge.trace.boundaries import call_traced, traced_wsgi
from bridge.trace.facts import shown, shown_headers
from bridge.trace.recording import (
    Listener,
    RequestRecord,
    ResponseRecord,
    Trace,
    TraceRecord,
    describe_error,
)
from bridge.types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, HTTPScope, WSGIApplication

__all__ = ["Adapt", "TracedApp", "TracedRequest", "trace_request"]

Adapt: TypeAlias = Callable[[WSGIApplication], Any]
"""What makes an ASGI application of a WSGI application: `WSGIToASGI`, or another class like it."""

_Outcome: TypeAlias = Literal["answered", "left", "failed", "running"]

# As uvicorn reads it from a socket.
_EVENT_SIZE = 65536

# Seconds that an app has to end after its client has left.
_PATIENCE = 5.0


class TracedApp:
    """An app that runs in memory, with its lifespan, within `async with`; its requests are traced.

    Args:
        app: a Flask app, another WSGI app, a `WSGIToASGI`, or an ASGI app. Of the latter only the outside is
            seen.
        adapt: makes the ASGI application of a WSGI app.
        interface: "wsgi" or "asgi", if it cannot be told by looking at the app.
        name: of the app, for the record.

    Raises:
        TypeError: the app is neither, or it cannot be told which.

    An app may be traced by several of these at once, each with an adapter of its own.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        adapt: Adapt = WSGIToASGI,
        interface: Interface | None = None,
        name: str = "",
    ) -> None:
        interface = interface or detect_interface(app)
        if interface not in ("wsgi", "asgi"):
            raise TypeError(f'cannot tell whether {app!r} is WSGI or ASGI; say interface="wsgi" or "asgi"')
        self.name = name or getattr(app, "import_name", "") or type(app).__name__
        self._wsgi_app: Any = app if interface == "wsgi" else None
        self._asgi_app: Any = app if interface == "asgi" else None
        self._adapt = adapt
        self._state: dict[str, Any] = {}
        self._stack = AsyncExitStack()
        self._is_running = False

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if isinstance(self._asgi_app, WSGIToASGI):
                # The settings of the other, and nothing of what it has begun.
                adapter = self._asgi_app = copy.copy(self._asgi_app)
                self._wsgi_app = adapter.app = self._traced(adapter.app, stack)
            elif self._wsgi_app is not None:
                self._asgi_app = self._adapt(self._traced(self._wsgi_app, stack))
            self._state = await stack.enter_async_context(running(self._asgi_app))
            self._stack = stack.pop_all()
        self._is_running = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_running = False
        await self._stack.aclose()

    @property
    def adapter(self) -> str | None:
        """The package of what runs a WSGI app, such as "a2wsgi"; None for an ASGI app."""
        return None if self._wsgi_app is None else type(self._asgi_app).__module__.partition(".")[0]

    def begin(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        root_path: str = "",
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        listener: Listener | None = None,
        deadline: float = 10.0,
        max_body: int = 1 << 20,
    ) -> "TracedRequest":
        """A request to be made by `await request.run()`, whose steps can be seen meanwhile; on the loop.

        Args:
            method: such as "GET".
            path: where, with its query; from the root of the app, without `root_path`.
            headers: those of the request. Host, user-agent and accept are added if they are not among them,
                and the length of the body.
            body: of the request.
            root_path: where the app is mounted.
            client: address and port of the client.
            listener: hears of the steps as they happen.
            deadline: after how many seconds the client leaves, if the response has not ended.
            max_body: after how many bytes of the response it leaves.

        Raises:
            BridgeError: the app does not run.
            ValueError: the path does not begin with a slash, or a header has a character that none may have.
        """
        if not self._is_running:
            raise BridgeError("the app does not run: make requests within `async with TracedApp(...)`")
        if not path.startswith("/"):
            raise ValueError(f"a path begins with a slash; got {path!r}")
        scope = _http_scope(method, path, headers, body, root_path, client, self._state)
        trace = Trace(listener=listener)
        return TracedRequest(self, self._asgi_app, _Client(scope, body, max_body), trace, deadline)

    async def request(self, method: str, path: str, *args: Any, **options: Any) -> "TracedRequest":
        """Make a request, and wait for its end. Arguments as for `begin`."""
        request = self.begin(method, path, *args, **options)
        await request.run()
        return request

    @staticmethod
    def _traced(app: Any, stack: AsyncExitStack) -> Any:
        """What the adapter is to get: a Flask app stays what it is, as the adapter knows it."""
        if not is_flask(app):
            return traced_wsgi(app)
        from bridge.trace.flask_seams import traced_flask  # imports Flask, which is there by now

        stack.enter_context(traced_flask(app))
        return app


class TracedRequest:
    """One request to a `TracedApp`, made by it, and what has come of it."""

    def __init__(
        self,
        app: TracedApp,
        asgi_app: ASGI3Application,
        client: "_Client",
        trace: Trace,
        deadline: float,
    ) -> None:
        self.trace = trace
        self.outcome: _Outcome = "running"
        """See `TraceRecord`."""
        self.error = ""
        """Why it failed, or was left."""
        self._app = app
        self._asgi_app = asgi_app
        self._client = client
        self._deadline = deadline
        self._duration: int | None = None

    @property
    def status(self) -> int | None:
        """Of the response; None as long as there is none."""
        return self._client.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Those of the response."""
        return self._client.headers

    @property
    def body(self) -> bytearray:
        """Of the response, as far as it has come."""
        return self._client.body

    @property
    def is_complete(self) -> bool:
        """Whether the response has come to its end."""
        return self._client.is_complete

    async def run(self) -> None:
        """Make the request; return when the app has ended it. What the app raises is in `error`."""
        if isinstance(self._asgi_app, WSGIToASGI):
            self.trace.async_views = self._asgi_app.async_views
        client = self._client
        call = asyncio.create_task(
            call_traced(
                self._asgi_app,
                self.trace,
                client.scope,
                client.receive,
                client.send,
                adapter=self._app.adapter,
            )
        )
        waiting = asyncio.create_task(client.has_enough.wait())
        try:
            await asyncio.wait((call, waiting), timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
            if not call.done() and not self.is_complete:
                self.outcome = "left"
                self.trace.client_has_left = True
                size = f"after {len(self.body):,} bytes" if client.has_enough.is_set() else ""
                self.error = f"the client left {size or f'after {self._deadline:g} s'}"
        except asyncio.CancelledError:
            self.trace.client_has_left = True
            raise
        finally:
            waiting.cancel()
            client.has_left.set()
            await self._ended(call)
        self._conclude(call)

    async def _ended(self, call: "asyncio.Task[None]") -> None:
        """Wait for the end of the app's call; cancel it if it goes on without its client."""
        await asyncio.wait((call,), timeout=_PATIENCE)
        if not call.done():
            call.cancel()
            await asyncio.wait((call,), timeout=_PATIENCE)
            self.error = f"{self.error}; the app went on without its client".removeprefix("; ")

    def _conclude(self, call: "asyncio.Task[None]") -> None:
        self._duration = self.trace.now()
        failure = call.exception() if call.done() and not call.cancelled() else None
        if failure is not None and self.outcome != "left":
            self.outcome, self.error = "failed", describe_error(failure)
        elif self.outcome == "running" and self.is_complete:
            self.outcome = "answered"
        elif self.outcome == "running":
            self.outcome = "failed"
            self.error = "the app returned before its response was complete" if self.status else "no response"

    def as_json(self) -> TraceRecord:
        """All that is known of it so far."""
        return {
            "format": 1,
            "app": self._app.name,
            "adapter": self._app.adapter,
            "request": self._client.request_as_json(),
            "response": self._client.response_as_json(),
            "outcome": self.outcome,
            "error": self.error,
            "duration": self.trace.now() if self._duration is None else self._duration,
            "missed": self.trace.missed,
            "steps": self.trace.as_json(),
        }


class _Client:
    """The client of one request, and the ASGI host between it and the app."""

    def __init__(self, scope: HTTPScope, body: bytes, max_body: int) -> None:
        self.scope = scope
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()  # of the response
        self.is_complete = False
        self.has_enough = asyncio.Event()
        self.has_left = asyncio.Event()
        self._size = len(body)
        self._events = [body[start : start + _EVENT_SIZE] for start in range(0, len(body), _EVENT_SIZE)] or [
            b""
        ]
        self._max_body = max_body

    async def receive(self) -> ASGIReceiveEvent:
        if self._events and not self.has_left.is_set():
            body = self._events.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._events)}
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: ASGISendEvent) -> None:
        if self.has_left.is_set() and not self.is_complete:
            return  # as in every host, when the client is gone
        if event["type"] == "http.response.start" and self.status is None:
            self.status = event["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in event.get("headers", ())]
        elif event["type"] == "http.response.body" and self.status is not None and not self.is_complete:
            self.body += event.get("body", b"")
            self.is_complete = not event.get("more_body", False)
            if self.is_complete or len(self.body) > self._max_body:
                self.has_enough.set()
        else:
            raise RuntimeError(f"the app sent {event['type']!r} out of turn (ASGI spec, HTTP)")

    def request_as_json(self) -> RequestRecord:
        return {
            "method": self.scope["method"],
            "path": str(shown(_target(self.scope))),
            "headers": shown_headers(self.scope["headers"]),
            "size": self._size,
        }

    def response_as_json(self) -> ResponseRecord | None:
        if self.status is None:
            return None
        return {
            "status": self.status,
            "headers": shown_headers(self.headers),
            "size": len(self.body),
            "body": str(shown(bytes(self.body))),
            "complete": self.is_complete,
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


def _http_scope(
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    root_path: str,
    client: tuple[str, int] | None,
    state: dict[str, Any],
) -> HTTPScope:
    target, _, query = path.partition("?")
    # A byte that is no UTF-8 is a surrogate in an argument of the command line.
    raw_path = quote(root_path + target, safe="/%:@!$&'()*+,;=~-._", errors="surrogateescape")
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    given = {name for name, _ in fields}
    defaults = [(b"host", b"localhost"), (b"user-agent", b"bridge-trace"), (b"accept", b"*/*")]
    if body and b"transfer-encoding" not in given:
        defaults.append((b"content-length", b"%d" % len(body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "query_string": quote(query, safe="/%:@!$&'()*+,;=~-._?", errors="surrogateescape").encode("ascii"),
        "root_path": root_path,
        "headers": [*(pair for pair in defaults if pair[0] not in given), *fields],
        "client": client,
        "server": ("127.0.0.1", 80),
        "state": state.copy(),
        "extensions": {},
    }


def _target(scope: HTTPScope) -> str:
    query = scope["query_string"].decode("latin-1")
    return f"{scope['path']}?{query}" if query else scope["path"]

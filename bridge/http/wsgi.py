"""Requests that a WSGI app serves: request → environ, and in a thread or on the loop."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from bridge.core.call import Call
from bridge.core.call_facts import CallFacts, TimedCall
from bridge.core.environ import CONSTANTS, MULTIPROCESS, set_addresses, set_headers, split_path
from bridge.core.tls import tls_variables
from bridge.http.connection import Connection
from bridge.http.exchange import Exchange
from bridge.http.loop_serving import LoopServing
from bridge.http.request import Request
from bridge.http.serving import Serving
from bridge.http.thread_serving import ThreadServing
from bridge.runners.early_hints import EARLY_HINTS, EarlyHints
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.types import WSGIApplication, WSGIEnvironment

__all__ = ["Calls", "WSGIServe", "make_environ"]


class Calls(Protocol):
    """What makes the calls of a WSGI app; `WSGIToASGI` is one."""

    app: WSGIApplication

    def engine_of_running_loop(self, state: Mapping[str, Any]) -> Engine:
        """The threads, and what else the calls share."""

    def request_on_loop(self, environ: WSGIEnvironment) -> Any | None:
        """Identify a request that runs on the loop; None for one that a thread has to serve."""

    def call_on_loop(self, call: Call, host: Host, engine: Engine, request: Any) -> Coroutine[Any, Any, None]:
        """Make a call on the loop."""


class WSGIServe:
    """Makes what serves the requests of a WSGI app; see `http.server.Serve`.

    Args:
        calls: makes the calls.
        view_scope: makes what stands in the environ as `asgi.scope`, of a request and its state.
        state: the lifespan state; each request has a copy of it as `asgi.state`.
        prefix: where the app is mounted.
    """

    def __init__(
        self,
        calls: Calls,
        view_scope: Callable[[Request, dict[str, Any]], object],
        state: dict[str, Any],
        prefix: str = "",
    ) -> None:
        self._calls = calls
        self._prefix = prefix
        self._view_scope = view_scope
        self._state = state

    def __call__(self, connection: Connection, exchange: Exchange, /) -> Serving:
        """Return what will serve the request."""
        calls = self._calls
        state = self._state.copy()
        environ = make_environ(exchange.request, state)
        environ["asgi.scope"] = self._view_scope(exchange.request, state)
        environ[EARLY_HINTS] = EarlyHints(exchange)
        engine = calls.engine_of_running_loop(self._state)
        request = calls.request_on_loop(environ)
        if connection.server.hooks.wants_call_facts:
            exchange.call = facts = CallFacts(prefix=self._prefix)
            call: Call = TimedCall(calls.app, environ, facts, is_queued=request is None)
        else:
            call = Call(calls.app, environ)
        if request is None:
            return ThreadServing(connection, exchange, call, engine)
        serving = LoopServing(connection, exchange)
        serving.serve = partial(calls.call_on_loop, call, serving, engine, request)
        return serving


def make_environ(request: Request, state: dict[str, Any]) -> WSGIEnvironment:
    """Make the WSGI environ of one request.

    Args:
        request: the request.
        state: the lifespan state; becomes `asgi.state`.

    Returns:
        A new dict with every key PEP 3333 requires but `wsgi.input`, which the call sets.
    """
    raw_path = request.path
    target = raw_path.decode("ascii")
    path = unquote_to_bytes(raw_path).decode("latin-1") if b"%" in raw_path else target
    root_path = request.root_path
    script_name, path_info = split_path(path, root_path) if root_path else ("", path)
    query = request.query.decode("ascii")
    if query:
        target = f"{target}?{query}"
    environ: WSGIEnvironment = {
        **CONSTANTS,
        "wsgi.url_scheme": request.scheme,
        "wsgi.errors": sys.stderr,
        "REQUEST_METHOD": request.method,
        "SERVER_PROTOCOL": "HTTP/1.1" if request.version == "1.1" else "HTTP/1.0",
        "QUERY_STRING": query,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "asgi.state": state,
    }
    set_addresses(environ, request.scheme, request.server, request.client)
    set_headers(environ, request.headers)
    if request.tls is not None:
        environ.update(tls_variables(request.tls))
    if MULTIPROCESS in state:
        environ["wsgi.multiprocess"] = bool(state[MULTIPROCESS])
    return environ

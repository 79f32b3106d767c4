"""ASGI scope → WSGI environ. Pure: the scope alone decides, and `os.environ` is never read.

`core.environ` has the rules of every host. ASGI adds two (HTTP & WebSocket ASGI Message Format):

- The path comes from `raw_path`, so that the client's bytes arrive unchanged; `path`, which the host has
  decoded as UTF-8, is the fallback.
- SCRIPT_NAME is `root_path`; ASGI's `path` contains it.
"""

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from bridge.asgi.scope_view import ScopeView
from bridge.core.environ import CONSTANTS, MULTIPROCESS, latin1, set_addresses, set_headers, split_path
from bridge.core.tls import tls_variables
from bridge.types import WSGIEnvironment, WWWScope

__all__ = ["build_environ"]

_URL_SCHEMES = {"ws": "http", "wss": "https"}


def build_environ(scope: WWWScope | ScopeView, state: Mapping[str, Any]) -> WSGIEnvironment:
    """Return the WSGI environ of one request.

    Args:
        scope: an ASGI `http` or `websocket` scope, or a view of one.
        state: the lifespan state of the app; becomes `asgi.state`, and wins over the host's.

    Returns:
        A new dict with every key that PEP 3333 requires, except `wsgi.input`, which the call sets; with
        `asgi.scope`, a `ScopeView`, and `asgi.state`. `wsgi.multiprocess` is the state's `MULTIPROCESS`, or
        true. REMOTE_ADDR, REMOTE_PORT, REQUEST_URI, RAW_URI, HTTPS and SSL_PROTOCOL, with what belongs to it
        (see `core.tls`), are there if the host knows them.
    """
    view = scope if isinstance(scope, ScopeView) else ScopeView(scope)
    values = view.scope
    scheme = values.get("scheme", "http")
    scheme = _URL_SCHEMES.get(scheme, scheme)
    query = values.get("query_string", b"").decode("latin-1")
    raw_path = values.get("raw_path")
    if raw_path is not None:
        raw_path = raw_path.partition(b"?")[0]  # some hosts leave the query in it, against the ASGI spec
    script_name, path_info = split_path(_path(values.get("path", ""), raw_path), values.get("root_path", ""))
    environ: WSGIEnvironment = {
        **CONSTANTS,
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        # A websocket scope has no method; its handshake is a GET (RFC 6455, 4.1).
        "REQUEST_METHOD": values.get("method", "GET"),
        "SERVER_PROTOCOL": f"HTTP/{values.get('http_version', '1.1')}",
        "QUERY_STRING": query,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "asgi.scope": view,
    }
    if raw_path is not None:
        target = raw_path.decode("latin-1")
        environ["REQUEST_URI"] = environ["RAW_URI"] = f"{target}?{query}" if query else target
    set_addresses(environ, scheme, values.get("server"), values.get("client"))
    set_headers(environ, values.get("headers", ()))
    tls = (values.get("extensions") or {}).get("tls")
    if tls is not None:
        environ.update(tls_variables(tls))
    host_state = values.get("state")
    known = {**(host_state or {}), **state} if state or host_state is None else host_state
    environ["asgi.state"] = known
    if MULTIPROCESS in known:
        environ["wsgi.multiprocess"] = bool(known[MULTIPROCESS])
    return environ


def _path(path: str, raw_path: bytes | None) -> str:
    """Return the decoded path as latin-1, from the client's own bytes where `path` may have lost some.

    The client sent `raw_path`; the host and middleware made `path` of it. Where the two differ, middleware
    has rewritten the path on purpose, and wins.
    """
    if raw_path is None or (raw_path.isascii() and b"%" not in raw_path and b"#" not in raw_path):
        return latin1(path)
    if unquote_to_bytes(raw_path).decode("utf-8", "replace") != path:
        return latin1(path)
    # A fragment is not part of a request target (RFC 9112, 3.2), yet some hosts pass it on.
    return unquote_to_bytes(raw_path.partition(b"#")[0]).decode("latin-1")

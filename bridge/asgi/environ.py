"""ASGI scope → WSGI environ. Pure: no I/O, no `os.environ`, nothing but the scope decides.

The rules, each from PEP 3333 ("environ Variables"), RFC 3875 (CGI) or RFC 9110/9112 (HTTP):

- Strings in the environ are bytes decoded as latin-1. The path comes from `raw_path`, so that the bytes the
  client sent arrive unchanged; `path`, which a host has already decoded as UTF-8, is the fallback.
- SCRIPT_NAME is `root_path`, PATH_INFO the rest. ASGI's `path` contains `root_path`, but only on a segment
  boundary: a mount at `/app` does not own `/application`.
- A header becomes `HTTP_` and its name in upper case with underscores. A name that holds an underscore
  already would collide with another one's hyphen (`X_User` with `X-User`) and is dropped; so is `Proxy`,
  which would become HTTP_PROXY, a variable that HTTP clients obey (httpoxy, CVE-2016-5385).
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from bridge.asgi.scope_view import ScopeView
from bridge.types import WSGIEnvironment, WWWScope
from bridge.version import __version__

__all__ = ["MULTIPROCESS", "build_environ"]

MULTIPROCESS = "bridge.multiprocess"
"""The key of the lifespan state that says whether other processes serve the app, too (`wsgi.multiprocess`).

`bridge serve` sets it. On other hosts an app's lifespan may, as only those who start the host know.
"""

_URL_SCHEMES = {"ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_CONSTANTS: WSGIEnvironment = {
    # What has made the environ (RFC 3875, 4.1.17), on every host: apps ask it what they may rely on.
    "SERVER_SOFTWARE": f"bridge/{__version__}",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    # Where nobody says how many processes there are, the value that promises less is the safe one.
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

# Header name → environ key, or None for one that is dropped. Clients choose the names, so it is bounded.
_KEYS: dict[bytes, str | None] = {}
_MAX_KEYS = 1024
_MAX_CACHED_NAME = 64


def build_environ(
    view: WWWScope | ScopeView,
    *,
    body: object,
    file_wrapper: object,
    state: Mapping[str, Any],
) -> WSGIEnvironment:
    """Make the WSGI environ of one request.

    Args:
        view: an ASGI `http` or `websocket` scope, or the view of one.
        body: becomes `wsgi.input`.
        file_wrapper: becomes `wsgi.file_wrapper`.
        state: the lifespan state of the app; becomes `asgi.state`, over what the host passed there.

    Returns:
        A new dict with every key PEP 3333 requires, `wsgi.input_terminated` for a body without a length,
        `asgi.scope`, a `ScopeView`, and `asgi.state`. `wsgi.multiprocess` is what the state says under
        `MULTIPROCESS`, or true. REMOTE_ADDR, REMOTE_PORT, REQUEST_URI and RAW_URI are set where the host
        knows them.
    """
    if not isinstance(view, ScopeView):
        view = ScopeView(view)
    scope: Any = view.scope
    environ = _CONSTANTS.copy()
    scheme = scope.get("scheme", "http")
    scheme = _URL_SCHEMES.get(scheme, scheme)
    environ["wsgi.url_scheme"] = scheme
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = sys.stderr
    environ["wsgi.file_wrapper"] = file_wrapper
    # A websocket scope has no method; its handshake is a GET (RFC 6455, 4.1).
    environ["REQUEST_METHOD"] = scope.get("method", "GET")
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope.get('http_version', '1.1')}"
    query = scope.get("query_string", b"").decode("latin-1")
    environ["QUERY_STRING"] = query
    raw_path = scope.get("raw_path")
    if raw_path is not None:
        # Some hosts leave the query in raw_path, against the ASGI spec.
        raw_path = raw_path.partition(b"?")[0]
        target = raw_path.decode("latin-1")
        environ["REQUEST_URI"] = environ["RAW_URI"] = f"{target}?{query}" if query else target
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = _split_path(
        _path(scope.get("path", ""), raw_path), scope.get("root_path", "")
    )
    _set_addresses(environ, scope, scheme)
    _set_headers(environ, scope.get("headers", ()))
    if "CONTENT_LENGTH" not in environ or "HTTP_TRANSFER_ENCODING" in environ:
        # Werkzeug reads a body without a length, a chunked one, only if it is told that it has an end. Where
        # there is a length it had better not know: it guards the body then, and makes a quiet 400 of a client
        # that leaves in the middle, where it would else log a traceback.
        environ["wsgi.input_terminated"] = True
    environ["asgi.scope"] = view
    host_state = scope.get("state")
    known = {**(host_state or {}), **state} if state or host_state is None else host_state
    environ["asgi.state"] = known
    if MULTIPROCESS in known:
        environ["wsgi.multiprocess"] = bool(known[MULTIPROCESS])
    return environ


def _path(path: str, raw_path: bytes | None) -> str:
    """The decoded path as latin-1, from the client's own bytes where they say more than `path` does.

    `raw_path` is what the client sent, `path` what the host and the middleware made of it: where the two
    differ, somebody has rewritten the path on purpose and is obeyed.
    """
    if raw_path is None or (raw_path.isascii() and b"%" not in raw_path and b"#" not in raw_path):
        return _latin1(path)
    if unquote_to_bytes(raw_path).decode("utf-8", "replace") != path:
        return _latin1(path)
    # A fragment is not part of a request target (RFC 9112, 3.2), yet some hosts pass it on.
    return unquote_to_bytes(raw_path.partition(b"#")[0]).decode("latin-1")


def _split_path(path: str, root_path: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO. The latter is empty, or starts with a slash, or is `*`."""
    if not path.startswith("/"):
        path = _origin_form(path)
    script_name = root_path.rstrip("/")
    if not script_name:
        return "", path
    if not script_name.startswith("/"):
        script_name = "/" + script_name
    script_name = _latin1(script_name)
    # A host that has stripped the prefix itself leaves a path that does not begin with it.
    if path == script_name or path.startswith(script_name + "/"):
        path = path[len(script_name) :]
    return script_name, path


def _origin_form(target: str) -> str:
    """The path of a request target that does not begin with one (RFC 9112, 3.2).

    Absolute form (`http://host/path`) has a path inside; authority form (`host:443`, from CONNECT) has none.
    Asterisk form (`*`) stays as it is, as gunicorn has it: an empty path would be an app's root, from which
    Werkzeug redirects.
    """
    _, separator, rest = target.partition("://")
    if separator:
        slash = rest.find("/")
        return rest[slash:] if slash >= 0 else "/"
    if not target or ":" in target:
        return ""
    if target == "*":
        return target
    return "/" + target


def _latin1(text: str) -> str:
    """A decoded string as PEP 3333 wants it: its UTF-8 bytes, each a character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _set_addresses(environ: WSGIEnvironment, scope: WWWScope, scheme: str) -> None:
    """SERVER_NAME and SERVER_PORT, which may never be empty, and REMOTE_ADDR and REMOTE_PORT where known."""
    server = scope.get("server")
    # A unix socket has a path for a host and no port: no name a URL could be built from.
    if server and server[0] and server[1] is not None:
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
    else:
        environ["SERVER_NAME"] = "localhost"
        environ["SERVER_PORT"] = _DEFAULT_PORTS.get(scheme, "80")
    client = scope.get("client")
    if client and client[0]:
        environ["REMOTE_ADDR"] = client[0]
        if client[1] is not None:  # some hosts know the one and not the other
            environ["REMOTE_PORT"] = str(client[1])


def _set_headers(environ: WSGIEnvironment, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Translate the headers. Linear in their number: 32,000 of one name cost others seconds."""
    repeated: dict[str, list[str]] | None = None
    for name, raw_value in headers:
        try:
            key = _KEYS[name]
        except KeyError:
            key = _remember_key(name)
        if key is None:
            continue
        value = raw_value.decode("latin-1")
        if key not in environ:
            environ[key] = value
            continue
        if repeated is None:
            repeated = {}
        repeated.setdefault(key, [environ[key]]).append(value)
    if repeated is not None:
        for key, values in repeated.items():
            environ[key] = _join(key, values)


def _join(key: str, values: list[str]) -> str:
    """One value of several (RFC 9110, 5.3; cookies by RFC 6265, 5.4; equal lengths by RFC 9110, 8.6)."""
    if key == "HTTP_COOKIE":
        return "; ".join(values)
    if key == "CONTENT_LENGTH" and len(set(values)) == 1:
        return values[0]
    return ",".join(values)


def _remember_key(name: bytes) -> str | None:
    key = _key(name)
    if len(_KEYS) < _MAX_KEYS and len(name) <= _MAX_CACHED_NAME:
        _KEYS[name] = key
    return key


def _key(name: bytes) -> str | None:
    """The environ key of a header, or None if the header must not reach the app."""
    name = name.lower()
    if name == b"content-length":
        return "CONTENT_LENGTH"
    if name == b"content-type":
        return "CONTENT_TYPE"
    if b"_" in name or name == b"proxy":
        return None
    return "HTTP_" + name.upper().replace(b"-", b"_").decode("latin-1")

"""WSGI environ → ASGI scope, the way back of `environ.py`. Pure.

- Strings in the environ are bytes decoded as latin-1 (PEP 3333, "Unicode Issues"); `path` and `root_path` are
  decoded as UTF-8 (ASGI spec, HTTP "Connection Scope").
- `path` is SCRIPT_NAME and PATH_INFO, as it contains `root_path`. `raw_path` is the client's own where the
  server gives it (REQUEST_URI, RAW_URI) and it says the same, else the path, percent-encoded.
"""

from typing import Any
from urllib.parse import quote, unquote_to_bytes

from bridge.core.tls import tls_of
from bridge.types import HTTPScope, WSGIEnvironment

__all__ = ["EARLY_HINTS", "PATHSEND", "build_scope"]

EARLY_HINTS = "http.response.early_hint"
PATHSEND = "http.response.pathsend"

# RFC 3986, 3.3: what may stand in a path as it is.
_SAFE = "/:@!$&'()*+,;=~"

_ASGI = {"version": "3.0", "spec_version": "2.4"}

# Environ key → header name, or None for a key that is no header. Bounded, as clients choose the names.
_NAMES: dict[str, bytes | None] = {}
_MAX_NAMES = 1024


def build_scope(environ: WSGIEnvironment, state: dict[str, Any]) -> HTTPScope:
    """Return the scope of one request.

    Args:
        environ: of the request. It is also in the scope, as `wsgi.environ`, for what only the server knows,
            such as REMOTE_USER.
        state: the lifespan state; the scope has a shallow copy (ASGI spec, "Lifespan State").
    """
    script_name = environ.get("SCRIPT_NAME", "")
    path = script_name + environ.get("PATH_INFO", "")
    _, _, version = environ.get("SERVER_PROTOCOL", "HTTP/1.0").partition("/")
    extensions: dict[str, dict[str, Any]] = {}
    if "wsgi.early_hints" in environ:
        extensions[EARLY_HINTS] = {}
    if "wsgi.file_wrapper" in environ:
        extensions[PATHSEND] = {}
    if (tls := tls_of(environ)) is not None:
        extensions["tls"] = tls
    headers = []
    for key, value in environ.items():
        try:
            name = _NAMES[key]
        except KeyError:
            name = _remember_name(key)
        # Servers set CONTENT_TYPE and CONTENT_LENGTH to "" where the request has none (PEP 3333).
        if name is not None and (value or key[:5] == "HTTP_"):
            headers.append((name, value.encode("latin-1")))
    scope: Any = {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version.removesuffix(".0") if version not in ("1.0", "0.9") else version,
        "method": environ["REQUEST_METHOD"].upper(),
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace"),
        "raw_path": _raw_path(path, environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": script_name.encode("latin-1").decode("utf-8", "replace"),
        "headers": headers,
        "client": _address(environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT") or "0"),
        "server": _address(environ.get("SERVER_NAME"), environ.get("SERVER_PORT")),
        "state": state.copy(),
        "extensions": extensions,
        "wsgi.environ": environ,
    }
    return scope  # type: ignore[no-any-return]  # asgiref's TypedDict knows no keys of the server's own


def _raw_path(path: str, target: str) -> bytes:
    raw = target.partition("?")[0].encode("latin-1")
    decoded = path.encode("latin-1")
    if raw.startswith(b"/") and (raw == decoded or unquote_to_bytes(raw) == decoded):
        return raw
    return quote(decoded, safe=_SAFE).encode("ascii")


def _remember_name(key: str) -> bytes | None:
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        name = key
    elif key.startswith("HTTP_") and key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
        name = key[5:]
    else:
        name = ""
    header = name.lower().replace("_", "-").encode("latin-1") or None
    if len(_NAMES) < _MAX_NAMES:
        _NAMES[key] = header
    return header


def _address(host: str | None, port: str | None) -> tuple[str, int] | None:
    """Host and port; None for a unix socket, and where the server does not know."""
    return (host, int(port)) if host and port and port.isdecimal() else None

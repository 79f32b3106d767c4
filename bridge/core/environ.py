"""What the environ of every host has in common: constants, addresses, the path, the header fields. Pure.

The rules, each from PEP 3333 ("environ Variables"), RFC 3875 (CGI) or RFC 9110/9112 (HTTP):

- Strings in the environ are bytes decoded as latin-1.
- SCRIPT_NAME is the prefix that the app is mounted at, PATH_INFO the rest; the prefix ends on a segment
  boundary: a mount at `/app` does not own `/application`.
- A header becomes `HTTP_` and its name in upper case with underscores. A name that holds an underscore
  already would collide with another one's hyphen (`X_User` with `X-User`) and is dropped; so is `Proxy`,
  which would become HTTP_PROXY, a variable that HTTP clients obey (httpoxy, CVE-2016-5385).
"""

from collections.abc import Iterable, Sequence

from bridge.core.files import FileWrapper
from bridge.types import WSGIEnvironment
from bridge.version import __version__

__all__ = ["CONSTANTS", "MULTIPROCESS", "latin1", "set_addresses", "set_headers", "split_path"]

CONSTANTS: WSGIEnvironment = {
    # The software that made the environ (RFC 3875, 4.1.17), on every host: it tells apps what to rely on.
    "SERVER_SOFTWARE": f"bridge/{__version__}",
    "wsgi.version": (1, 0),
    "wsgi.file_wrapper": FileWrapper,
    "wsgi.multithread": True,
    # Where nobody says how many processes there are, the value that promises less is the safe one.
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
"""The keys that are the same for every request, to be copied."""

MULTIPROCESS = "bridge.multiprocess"
"""The key of the lifespan state that says whether other processes serve the app, too (`wsgi.multiprocess`).

`bridge serve` sets it; on other hosts the app's lifespan may.
"""

_DEFAULT_PORTS = {"http": "80", "https": "443"}

# Header name → environ key, or None for one that is dropped. Bounded, as clients choose the names.
_KEYS: dict[bytes, str | None] = {}
_MAX_KEYS = 1024
_MAX_CACHED_NAME = 64


def split_path(path: str, root_path: str) -> tuple[str, str]:
    """Split a path into SCRIPT_NAME and PATH_INFO. The latter is empty, or starts with a slash, or is `*`.

    Args:
        path: the whole path or another request target, percent-decoded, as latin-1.
        root_path: the prefix that the app is mounted at, decoded.
    """
    if not path.startswith("/"):
        path = _origin_form(path)
    script_name = root_path.rstrip("/")
    if not script_name:
        return "", path
    if not script_name.startswith("/"):
        script_name = "/" + script_name
    script_name = latin1(script_name)
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


def latin1(text: str) -> str:
    """Encode a decoded string as PEP 3333 wants it: its UTF-8 bytes, each a character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def set_addresses(
    environ: WSGIEnvironment,
    scheme: str,
    server: Sequence[object] | None,
    client: Sequence[object] | None,
) -> None:
    """Set SERVER_NAME and SERVER_PORT, which may never be empty, and REMOTE_ADDR and REMOTE_PORT where known.

    Args:
        environ: the environ.
        scheme: `http` or `https`, for the port that a server without one has.
        server: host and port; the port of a unix socket is None.
        client: host and port, either None if it is not known.
    """
    # A unix socket has a path for a host and no port: no name a URL could be built from.
    if server and server[0] and server[1] is not None:
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
    else:
        environ["SERVER_NAME"] = "localhost"
        environ["SERVER_PORT"] = _DEFAULT_PORTS.get(scheme, "80")
    if client and client[0]:
        environ["REMOTE_ADDR"] = client[0]
        if client[1] is not None:  # some hosts know the one and not the other
            environ["REMOTE_PORT"] = str(client[1])


def set_headers(environ: WSGIEnvironment, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Set the keys of the header fields, and `wsgi.input_terminated` for a body without a length.

    Takes time linear in their number: 32,000 of one name cost other servers seconds.
    """
    repeated: dict[str, list[str]] | None = None
    for name, raw_value in headers:
        try:
            key = _KEYS[name]
        except KeyError:
            key = _key(name)
            if len(_KEYS) < _MAX_KEYS and len(name) <= _MAX_CACHED_NAME:
                _KEYS[name] = key
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
            if key == "CONTENT_LENGTH" and len(set(values)) == 1:
                continue  # one of several that are equal (RFC 9110, 8.6)
            # RFC 9110, 5.3; cookies by RFC 6265, 5.4.
            environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    if "CONTENT_LENGTH" not in environ or "HTTP_TRANSFER_ENCODING" in environ:
        # Werkzeug reads a body without a length, a chunked one, only if it is told that the body has an end.
        # Where there is a length, it must not be told: it then limits the body itself and answers a quiet 400
        # if the client leaves; told, it would log a traceback.
        environ["wsgi.input_terminated"] = True


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

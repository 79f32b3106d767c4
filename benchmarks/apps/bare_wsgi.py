"""The shortest WSGI app there is (PEP 3333), without any framework."""

from collections.abc import Iterable

from bridge.types import StartResponse, WSGIEnvironment

__all__ = ["app"]

_BODY = b"Hello, World!"
_HEADERS = (("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(_BODY))))


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer anything with what the Flask app's hello answers."""
    start_response("200 OK", list(_HEADERS))
    return [_BODY]

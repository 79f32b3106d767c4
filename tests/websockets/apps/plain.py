"""A WSGI app without websockets, and without what they need."""

from typing import Any


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"plain"]

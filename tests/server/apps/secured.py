"""A WSGI and an ASGI app that answer what they know of the connection's TLS."""

import json
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment


def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    found = {key: value for key, value in environ.items() if key == "HTTPS" or key.startswith("SSL_")}
    return [json.dumps(found).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = json.dumps(scope["extensions"].get("tls")).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

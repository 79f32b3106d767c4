"""The Flask app in each of the forms that servers take, and an ASGI app without Flask for comparison."""

from collections.abc import Sequence

from a2wsgi import WSGIMiddleware

from benchmarks.flask_app import app as wsgi
from bridge import WSGIToASGI
from bridge.types import (
    HTTPReceive,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
    HTTPSend,
    Scope,
)
from bridge.wsgi_to_asgi.call import run_call

__all__ = ["THREADS", "a2wsgi", "bare", "bridge", "inline", "wsgi"]

THREADS = 40

bridge = WSGIToASGI(wsgi, threads=THREADS)

a2wsgi = WSGIMiddleware(wsgi, workers=THREADS)  # type: ignore[arg-type]  # it has WSGI types of its own


class _ListLink:
    """Keeps the events of a call; the request has no body."""

    def __init__(self) -> None:
        self.events: list[HTTPResponseEvent] = []

    def receive(self) -> HTTPRequestSideEvent:
        return {"type": "http.request", "body": b"", "more_body": False}

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        self.events.extend(events)


async def inline(scope: Scope, receive: HTTPReceive, send: HTTPSend) -> None:
    """The Flask app called on the event loop itself: Bridge's way without the threads."""
    link = _ListLink()
    run_call(wsgi, _http_only(scope), {}, link)
    for event in link.events:
        await send(event)


async def bare(scope: Scope, receive: HTTPReceive, send: HTTPSend) -> None:
    """What the ASGI host does by itself: take the body, if any, and answer as the Flask app's hello does."""
    if _http_only(scope)["method"] == "POST":
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            pass
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": b"Hello, World!", "more_body": False})


def _http_only(scope: Scope) -> HTTPScope:
    """Refuse a lifespan, which tells the host that there is none (ASGI spec, "Lifespan")."""
    if scope["type"] != "http":
        raise ValueError(f"serves http only, not {scope['type']!r}")
    return scope

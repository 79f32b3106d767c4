"""What an event says of its body."""

from typing import cast

import pytest

from bridge.asgi.events import has_more, is_event_stream, size_of
from bridge.types import HTTPRequestSideEvent, HTTPResponseEvent

# ASGI spec, "HTTP": `body` and `more_body` may be left out.
EVENTS: list[tuple[str, object, int, bool]] = [
    # id, event, bytes, whether more are to come
    ("request", {"type": "http.request", "body": b"abc", "more_body": True}, 3, True),
    ("last of a request", {"type": "http.request", "body": b"abc", "more_body": False}, 3, False),
    ("request that says nothing", {"type": "http.request"}, 0, False),
    ("disconnect", {"type": "http.disconnect"}, 0, False),
    ("start", {"type": "http.response.start", "status": 200, "headers": [], "trailers": False}, 0, False),
    ("body", {"type": "http.response.body", "body": b"abc", "more_body": True}, 3, True),
    ("last of a body", {"type": "http.response.body", "body": b"", "more_body": False}, 0, False),
    ("body that says nothing", {"type": "http.response.body"}, 0, False),
    ("path", {"type": "http.response.pathsend", "path": "/file"}, 0, False),
]


@pytest.mark.parametrize(("event", "size", "more"), [pytest.param(*case, id=name) for name, *case in EVENTS])
def test_event(event: object, size: int, more: bool) -> None:
    known = cast(HTTPRequestSideEvent | HTTPResponseEvent, event)
    assert (size_of(known), has_more(known)) == (size, more)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([(b"content-type", b"text/event-stream")], True, id="event stream"),
        pytest.param([(b"content-type", b"Text/Event-Stream; charset=utf-8")], True, id="with a charset"),
        pytest.param([(b"a", b"b"), (b"content-type", b"text/event-stream")], True, id="among others"),
        pytest.param([(b"content-type", b"text/plain")], False, id="text"),
        pytest.param([(b"x-type", b"text/event-stream")], False, id="another header"),
        pytest.param([], False, id="no headers"),
    ],
)
def test_event_stream(headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    """HTML, "Server-sent events": the media type; of no case, as RFC 9110, 8.3.1, has it."""
    assert is_event_stream(headers) is expected

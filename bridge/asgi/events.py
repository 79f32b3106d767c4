"""What an ASGI event says: how many bytes it carries, and whether more are to come. Pure."""

from collections.abc import Iterable

from bridge.types import HTTPRequestSideEvent, HTTPResponseEvent

__all__ = ["EVENT_COST", "has_more", "is_event_stream", "size_of"]

# Bytes that an event takes besides those it carries, roughly: a dict, its share of a queue. A limit that did
# not count them would let a million events of one byte pass.
EVENT_COST = 128


def size_of(event: HTTPRequestSideEvent | HTTPResponseEvent) -> int:
    """How many bytes of a body it carries."""
    if event["type"] == "http.request" or event["type"] == "http.response.body":
        return len(event.get("body", b""))
    return 0


def has_more(event: HTTPRequestSideEvent | HTTPResponseEvent) -> bool:
    """Whether another part of the same body follows it."""
    if event["type"] == "http.request" or event["type"] == "http.response.body":
        return event.get("more_body", False)
    return False


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a response with these headers is a stream of server-sent events without an end."""
    values = dict(headers)
    is_events = values.get(b"content-type", b"").lower().startswith(b"text/event-stream")
    return is_events and b"content-length" not in values

"""What an ASGI event says: how many bytes it carries, and whether more are to come. Pure."""

from collections.abc import Iterable

from bridge.types import HTTPRequestSideEvent, HTTPResponseEvent

__all__ = ["has_more", "is_event_stream", "size_of"]


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
    """Whether a response with these headers is a stream of server-sent events, which has no end."""
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )

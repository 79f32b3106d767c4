"""What a call of an app is tested with: a scope, a link made of lists, and a reader of what was sent."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from hypothesis import strategies as st

from bridge.errors import ClientDisconnected
from bridge.types import (
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
)

__all__ = [
    "DISCONNECT",
    "ListLink",
    "Reply",
    "body_events",
    "http_scope",
    "split_bodies",
    "without_collector",
]

DISCONNECT: HTTPDisconnectEvent = {"type": "http.disconnect"}


def http_scope(target: bytes = b"/", **changes: Any) -> HTTPScope:
    """The scope uvicorn would make of `GET target` without headers.

    Args:
        target: the path and the query of the request, as they stood in the request line.
        changes: keys to have other values; any value, as hosts do not all keep to the types.
    """
    raw_path, _, query = target.partition(b"?")
    scope: HTTPScope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii", "replace")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [],
        "client": ("192.0.2.1", 50000),
        "server": ("203.0.113.1", 8000),
        "extensions": {},
    }
    return cast(HTTPScope, {**scope, **changes})


def body_events(*chunks: bytes) -> list[HTTPRequestEvent]:
    """The events of a request body that arrives in these chunks."""
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": number < last}
        for number, chunk in enumerate(chunks)
    ]


@st.composite
def split_bodies(draw: st.DrawFn, bodies: st.SearchStrategy[bytes] | None = None) -> list[bytes]:
    """Any body, split anywhere; two splits in one place make an empty piece."""
    body = draw(st.binary(max_size=40) if bodies is None else bodies)
    splits = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [body[start:stop] for start, stop in pairwise([0, *splits, len(body)])]


@contextmanager
def without_collector() -> Iterator[None]:
    """Have only reference counts free memory, so that what holds itself stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class ListLink:
    """A link that is two lists: what the host says, and what the app has answered.

    Args:
        events: what `receive` gives, one after another, and then `http.disconnect` for ever.
        leaves_after: the client leaves after so many calls of `send`.
        failure: what `send` raises from then on, in place of ClientDisconnected.
    """

    on_loop = None

    def __init__(
        self,
        events: Iterable[HTTPRequestSideEvent] = (),
        *,
        leaves_after: int | None = None,
        failure: BaseException | None = None,
    ) -> None:
        self.waiting = list(events)
        self.receives = 0
        self.sends: list[list[HTTPResponseEvent]] = []
        self._leaves_after = leaves_after
        self._failure = failure

    @property
    def sent(self) -> list[HTTPResponseEvent]:
        """Every event sent so far, in order."""
        return [event for events in self.sends for event in events]

    def receive(self) -> HTTPRequestSideEvent:
        self.receives += 1
        return self.waiting.pop(0) if self.waiting else DISCONNECT

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        if len(self.sends) == self._leaves_after:
            raise self._failure or ClientDisconnected("the client left")
        if events:
            self.sends.append(list(events))

    def answer(self, produce: Callable[["ListLink"], None]) -> None:
        produce(self)


class Reply(NamedTuple):
    """A response as the client sees it, read from events that must follow each other as ASGI has it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunks: tuple[bytes, ...]
    is_complete: bool
    path: str | None

    @classmethod
    def of(cls, events: Sequence[HTTPResponseEvent]) -> "Reply":
        """Read events, which must be well-formed: one start, first; then bodies, the last of them final.

        A response without a final event is one that was cut short.
        """
        start, *rest = events
        assert start["type"] == "http.response.start"
        chunks = []
        path = None
        is_complete = False
        for event in rest:
            assert not is_complete, f"{event} comes after the end"
            if event["type"] == "http.response.pathsend":
                path = event["path"]
                is_complete = True
            else:
                assert event["type"] == "http.response.body", f"{event} comes after the start"
                assert type(event["body"]) is bytes
                chunks.append(event["body"])
                is_complete = not event["more_body"]
        headers = list(start["headers"])
        assert all(type(name) is bytes and name == name.lower() for name, _ in headers)
        return cls(start["status"], headers, b"".join(chunks), tuple(chunks), is_complete, path)

    def header(self, name: bytes) -> bytes | None:
        """The one value of a header; None without it."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1
        return values[0] if values else None

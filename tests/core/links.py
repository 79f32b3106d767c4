"""What a call of an app is tested with: an environ, a link made of lists, and a reader of what was sent."""

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import unquote, unquote_to_bytes

from hypothesis import strategies as st

from bridge.core.environ import CONSTANTS, set_addresses, set_headers, split_path
from bridge.core.link import Head, Part
from bridge.errors import ClientDisconnected
from bridge.types import HTTPResponseEvent, HTTPScope, StartResponse, WSGIApplication, WSGIEnvironment

__all__ = [
    "Body",
    "Failure",
    "ListLink",
    "Reply",
    "app_of",
    "http_scope",
    "of_length",
    "split_bodies",
    "without_collector",
    "wsgi_environ",
]


def wsgi_environ(
    target: bytes = b"/",
    *,
    method: str = "GET",
    root_path: str = "",
    headers: Iterable[tuple[bytes, bytes]] = (),
    **changes: Any,
) -> WSGIEnvironment:
    """The environ of a request, without `wsgi.input`, as a host makes it of the core's parts.

    Args:
        target: the path and the query of the request, as they stood in the request line.
        method: the request's method.
        root_path: the prefix that the app is mounted at.
        headers: the request's header fields.
        changes: keys to have other values.
    """
    raw_path, _, query = target.partition(b"?")
    environ = CONSTANTS.copy()
    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["wsgi.url_scheme"] = "http"
    environ["wsgi.errors"] = sys.stderr
    path = unquote_to_bytes(raw_path).decode("latin-1")
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = split_path(path, root_path)
    set_addresses(environ, "http", ("203.0.113.1", 8000), ("192.0.2.1", 50000))
    set_headers(environ, headers)
    return {**environ, **changes}


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


class Failure(Exception):
    """What an app of these tests fails with."""


class Body:
    """A response iterable that counts how often it is closed.

    Args:
        chunks: what it yields; an exception among them is raised.
        close: raised by `close()`, if given.
    """

    def __init__(self, *chunks: bytes | BaseException, close: BaseException | None = None) -> None:
        self.closed = 0
        self.yielded = 0
        self._chunks = iter(chunks)
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.yielded += 1
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed += 1
        if self._close is not None:
            raise self._close


def app_of(
    file: Any,
    *headers: tuple[str, str],
    status: str | None = "200 OK",
    written: bytes = b"",
) -> WSGIApplication:
    """An app that returns a file, as PEP 3333 has it."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if status is not None:
            start_response(status, list(headers))(written)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 8192)
        return wrapped

    return app


def of_length(size: int) -> tuple[str, str]:
    return "Content-Length", str(size)


class ListLink:
    """A link that is two lists: what the client sends, and what the app has answered.

    Args:
        pieces: what `read` gives, one after another, and then the end of the body.
        leaves_early: the client leaves where its body would end.
        leaves_after: the client leaves after so many parts of the response.
        failure: what `send` raises from then on, in place of ClientDisconnected.
        sends_files: whether `send_file` sends a file, or has it sent in blocks.
    """

    def __init__(
        self,
        pieces: Iterable[bytes] = (),
        *,
        leaves_early: bool = False,
        leaves_after: int | None = None,
        failure: BaseException | None = None,
        sends_files: bool = False,
    ) -> None:
        self.waiting = list(pieces)
        assert all(self.waiting), "an empty piece would say that the body has ended"
        self.reads = 0
        self.parts: list[Part] = []
        self.probes = 0
        """How often it was asked only whether the client is there."""
        self.offered: list[int] = []
        """The sizes of the files that it might have sent."""
        self._leaves_early = leaves_early
        self._leaves_after = leaves_after
        self._failure = failure
        self._sends_files = sends_files

    def read(self) -> bytes:
        self.reads += 1
        if self.waiting:
            return self.waiting.pop(0)
        if self._leaves_early:
            raise ClientDisconnected("the client left before the end of its body")
        return b""

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        self._raise_if_gone()
        if head is None and not data and more:
            self.probes += 1
        else:
            self.parts.append((head, data, more))

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        self.offered.append(size)
        if self._sends_files:
            self._raise_if_gone()
            self.parts.append((head, file.read(), False))
        return self._sends_files

    def _raise_if_gone(self) -> None:
        if len(self.parts) == self._leaves_after:
            raise self._failure or ClientDisconnected("the client left")


class Reply(NamedTuple):
    """A response as the client sees it, read from parts that must follow each other well."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunks: tuple[bytes, ...]
    is_complete: bool
    path: str | None = None
    """The file that an ASGI host was told to send as the body."""
    reason: bytes = b""

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "Reply":
        """Read parts, which must be well-formed: one head, with the first; and an end, with the last.

        A response without an end is one that was cut short.
        """
        head = None
        chunks = []
        is_complete = False
        for number, (part_head, data, more) in enumerate(parts):
            assert not is_complete, f"{data!r} comes after the end"
            assert (part_head is not None) is (number == 0), "the head comes with the first part"
            assert type(data) is bytes
            head = head or part_head
            chunks.append(data)
            is_complete = not more
        assert head is not None, "nothing was sent"
        assert all(type(name) is bytes and name == name.lower() for name, _ in head.headers)
        body = b"".join(chunks)
        return cls(head.status, list(head.headers), body, tuple(chunks), is_complete, None, head.reason)

    @classmethod
    def of_events(cls, events: Sequence[HTTPResponseEvent]) -> "Reply":
        """Read ASGI events: one start, first; then bodies, the last of them final."""
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

"""`start_response` and body chunks → ASGI events: the state machine of one response. Pure.

    IDLE ── start() ──► READY ── first bytes ──► BODY ── last bytes, or end() ──► COMPLETE
                        │   ▲                                                        ▲
                        │   └─ start(exc_info) replaces what was said                │
                        └── end(), or the only bytes ────────────────────────────────┘

PEP 3333 behind it, by section:

- "The start_response() Callable": headers wait for the first non-empty chunk, or the end, so that an error
  handler can still replace them with `exc_info`; once they are out, `exc_info` is raised again. A second call
  without `exc_info` is an error.
- "Handling the Content-Length Header": no more bytes than the app declared, and not fewer; a body known whole
  gets the header if it has none.
- "Other HTTP Features": hop-by-hop headers belong to the server, not to the app.

HEAD, 204 and 304 have no body (RFC 9110, 9.3.2 and 6.4.1), whatever the app yields.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.errors import ApplicationError
from bridge.types import ExcInfo, HTTPResponseBodyEvent, HTTPResponseEvent, HTTPResponseStartEvent

__all__ = ["Response", "State", "encode_header", "internal_server_error", "plain_answer"]

State = enum.Enum("State", "IDLE READY BODY COMPLETE")

# Looked up at every request: an enum's attribute costs 40 ns more than a global.
_IDLE, _READY, _BODY, _COMPLETE = State

_START_RESPONSE = 'PEP 3333, "The start_response() Callable"'
_CONTENT_LENGTH = 'PEP 3333, "Handling the Content-Length Header"'
_BYTESTRINGS = 'PEP 3333, "A Note on String Types"'

_STATUS = re.compile(r"([2-5][0-9][0-9])(?: [^\x00-\x1f\x7f]*)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but the tab; RFC 9110, 5.5
_LENGTH = re.compile(r"[0-9]{1,19}")

# The list of wsgiref.util.is_hop_by_hop, which is that of RFC 2616, 13.5.1, as PEP 3333 has it.
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    )
)

# What has passed the checks once: apps say the same few things again and again. Bounded, as some don't.
_STATUSES: dict[str, int] = {}
_NAMES: dict[str, bytes] = {}
_MAX_REMEMBERED = 1024


class Response:
    """One response, from the app's first word to the last event.

    Args:
        method: the request's method; a HEAD gets no body.
    """

    __slots__ = ("_bodiless", "_headers", "_left", "_method", "_status", "state", "superfluous", "warnings")

    def __init__(self, method: str) -> None:
        self.state = _IDLE
        self.warnings: list[str] | None = None
        """What the app did that could be mended on the way; for the log."""
        self.superfluous: list[str] | None = None
        """Headers that were removed, and asked for what the server does anyway."""
        self._method = method
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._left: int | None = None
        self._bodiless = False

    def start(self, status: str, headers: Iterable[tuple[str, str]], exc_info: ExcInfo | None = None) -> None:
        """Take what the app passed to `start_response`.

        Raises:
            ApplicationError: a second call without `exc_info`, an ill-formed status or header.
            BaseException: the one in `exc_info`, if the headers are out already.
        """
        if self.state is not _IDLE:
            try:
                self._restart(exc_info)
            finally:
                exc_info = None  # as in _restart
        code = _STATUSES.get(status) if type(status) is str else None
        if code is None:
            code = _parse_status(status)
        encoded, length = self._parse_headers(headers, code)
        self._bodiless = self._method == "HEAD" or code == 204 or code == 304
        if length is not None and (code == 204 or code == 304):
            # Forbidden with 204 (RFC 9110, 8.6). With 304 it is allowed, but hosts count bytes against it.
            encoded = [header for header in encoded if header[0] != b"content-length"]
        self._status = code
        self._headers = encoded
        self._left = length
        self.state = _READY

    def declare(self, chunks: Sequence[bytes]) -> None:
        """Add the Content-Length of a body that is known whole, if the app gave none."""
        if self.state is not _READY or self._left is not None:
            return
        if self._status == 204 or self._status == 304:
            return
        try:
            length = sum(map(len, chunks))
        except TypeError:
            return  # not bytes: the first such chunk is an error of its own
        if self._bodiless and not length:
            return  # an app that knows HEAD leaves the body out, and then its size says nothing
        self._headers.append((b"content-length", b"%d" % length))
        self._left = length

    def chunk(self, data: bytes) -> tuple[HTTPResponseEvent, ...]:
        """Take one chunk of the body; return the events to send now, if any.

        Once the response is complete, further bytes are refused: none of them goes out, and the first is
        noted in `warnings`.

        Raises:
            ApplicationError: not bytes, or no `start_response` before it.
        """
        if not isinstance(data, bytes):
            raise ApplicationError(
                f"the app's body has a chunk of type {type(data).__name__}; it must be bytes ({_BYTESTRINGS})"
            )
        if not data:
            return ()
        state = self.state
        if state is _COMPLETE:
            self._warn_of_surplus()
            return ()
        if state is _IDLE:
            raise ApplicationError(
                f"the app sent a part of the body before it called start_response ({_START_RESPONSE})"
            )
        return self._body_events(data)

    def pathsend(self, path: str) -> tuple[HTTPResponseEvent, ...]:
        """The events that let the host send the file at `path` as the whole body (extension pathsend)."""
        self.state = _COMPLETE
        return self._start_event(), {"type": "http.response.pathsend", "path": path}

    def end(self) -> tuple[HTTPResponseEvent, ...]:
        """Take the end of the app's body; return the events still due.

        Raises:
            ApplicationError: no `start_response` at all, or fewer bytes than Content-Length declared.
        """
        state = self.state
        if state is _COMPLETE:
            return ()
        if state is _IDLE:
            raise ApplicationError(f"the app returned without calling start_response ({_START_RESPONSE})")
        if self._left and not self._bodiless:
            raise ApplicationError(
                f"the app's body is {self._left} bytes shorter than its Content-Length ({_CONTENT_LENGTH})"
            )
        self.state = _COMPLETE
        if state is _READY:
            return self._start_event(), _body_event(b"", False)
        return (_body_event(b"", False),)

    @property
    def has_plain_body(self) -> bool:
        """Whether the headers are known, not yet out, and a body is to follow."""
        return self.state is _READY and not self._bodiless

    @property
    def is_bodiless(self) -> bool:
        """Whether the client gets no body, whatever the app yields: HEAD, 204, 304."""
        return self._bodiless

    @property
    def bytes_left(self) -> int | None:
        """How many bytes the app still owes by its Content-Length; None if it declared none."""
        return self._left

    def _body_events(self, data: bytes) -> tuple[HTTPResponseEvent, ...]:
        more = True
        if self._bodiless:
            data, more = b"", False
        elif self._left is not None:
            if len(data) > self._left:
                data = data[: self._left]
                self._warn_of_surplus()
            self._left -= len(data)
            more = self._left > 0
        started = self.state is _BODY
        self.state = _BODY if more else _COMPLETE
        if started:
            return (_body_event(data, more),)
        return self._start_event(), _body_event(data, more)

    def _start_event(self) -> HTTPResponseStartEvent:
        return {
            "type": "http.response.start",
            "status": self._status,
            "headers": self._headers,
            "trailers": False,
        }

    def _restart(self, exc_info: ExcInfo | None) -> None:
        """Decide on a second `start_response`: fine with `exc_info` while the headers are not out."""
        if not exc_info or exc_info[1] is None:
            raise ApplicationError(
                f"the app called start_response a second time without exc_info ({_START_RESPONSE})"
            )
        if self.state is not _READY:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333 asks for it: a traceback holds this frame, and so itself

    def _parse_headers(
        self, headers: Iterable[tuple[str, str]], code: int
    ) -> tuple[list[tuple[bytes, bytes]], int | None]:
        encoded = []
        length = None
        for pair in headers:
            name, value = encode_header(pair)
            # A 426 has to say to what the client is to upgrade (RFC 9110, 15.5.22).
            if name in _HOP_BY_HOP and not (code == 426 and name == b"upgrade"):
                self._remove(name, value)
                continue
            if name == b"content-length":
                if length is not None:
                    raise ApplicationError("the app set the header Content-Length twice (RFC 9110, 8.6)")
                length = _parse_length(pair[1])
            encoded.append((name, value))
        return encoded, length

    def _remove(self, name: bytes, value: bytes) -> None:
        """Leave out a hop-by-hop header, and note it."""
        if name == b"keep-alive" or (name == b"connection" and value.lower() == b"keep-alive"):
            if self.superfluous is None:
                self.superfluous = []
            self.superfluous.append(name.decode())
        else:
            self._warn(
                f"removed the app's header {name.decode()!r}: it is hop-by-hop, for the server to set "
                '(PEP 3333, "Other HTTP Features")'
            )

    def _warn_of_surplus(self) -> None:
        if not self._bodiless:
            self._warn(f"cut the app's body at its Content-Length: it has more bytes ({_CONTENT_LENGTH})")

    def _warn(self, warning: str) -> None:
        if self.warnings is None:
            self.warnings = []
        if warning not in self.warnings:
            self.warnings.append(warning)


def internal_server_error(method: str) -> tuple[HTTPResponseEvent, ...]:
    """The whole answer to a request whose app failed before it had sent anything."""
    return plain_answer(500, b"Internal Server Error", method)


def plain_answer(
    status: int, body: bytes, method: str, *headers: tuple[bytes, bytes]
) -> tuple[HTTPResponseEvent, ...]:
    """A whole answer in the app's place: a line of text, and the headers that go with it.

    Args:
        status: the status.
        body: the text, ASCII.
        method: the request's method; a HEAD gets no body.
        headers: what is to be said besides the type and the length.
    """
    own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    return (
        {"type": "http.response.start", "status": status, "headers": [*own, *headers], "trailers": False},
        _body_event(b"" if method == "HEAD" else body, False),
    )


def _body_event(data: bytes, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _parse_status(status: Any) -> int:
    if not isinstance(status, str):
        raise ApplicationError(
            f"the app's status has the type {type(status).__name__}; "
            f'it must be a str such as "200 OK" ({_START_RESPONSE})'
        )
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ApplicationError(
            f'the app\'s status is {status[:64]!r}; it must be a str such as "200 OK", '
            f"from 200 to 599 and without control characters ({_START_RESPONSE})"
        )
    code = int(match[1])
    if len(_STATUSES) < _MAX_REMEMBERED:
        _STATUSES[status] = code
    return code


def encode_header(pair: Any) -> tuple[bytes, bytes]:
    """Check and encode one header.

    Raises:
        ApplicationError: it is no pair of str, or ill-formed. It names the header, never its value, which may
            be a secret.
    """
    try:
        name, value = pair
    except (TypeError, ValueError):
        raise ApplicationError(
            f"the app's headers hold a {type(pair).__name__} that is not a pair of name and value "
            f"({_START_RESPONSE})"
        ) from None
    encoded_name = _NAMES.get(name) if type(name) is str else None
    if encoded_name is None:
        encoded_name = _parse_name(name)
    if not isinstance(value, str):
        raise ApplicationError(
            f"the app's header {name!r} has a value of type {type(value).__name__}; it must be a str "
            f"({_BYTESTRINGS})"
        )
    if _CONTROL.search(value):
        raise ApplicationError(
            f"the app's header {name!r} has a control character in its value, such as CR, LF or NUL: "
            f"a part of it may come from a client that tries to add headers ({_START_RESPONSE})"
        )
    try:
        return encoded_name, value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ApplicationError(
            f"the app's header {name!r} has a value with characters outside latin-1; "
            f"encode it, for instance by RFC 8187 ({_BYTESTRINGS})"
        ) from None


def _parse_name(name: Any) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ApplicationError(
            f"the app's header name {name!r:.64} is not a str of the characters allowed in a name "
            f"(RFC 9110, 5.6.2; {_START_RESPONSE})"
        )
    encoded = name.lower().encode("latin-1")
    if len(_NAMES) < _MAX_REMEMBERED:
        _NAMES[name] = encoded
    return encoded


def _parse_length(value: str) -> int:
    stripped = value.strip(" \t")
    if not _LENGTH.fullmatch(stripped):
        raise ApplicationError(f"the app's Content-Length is {value[:64]!r}; it must be a number of bytes")
    return int(stripped)

"""`start_response` and body chunks → parts `(head, data, more)`: the state machine of one response. Pure.

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

from bridge.core.link import Head, Part
from bridge.errors import ApplicationError
from bridge.types import ExcInfo

__all__ = ["HOP_BY_HOP", "Response", "State", "encode_header"]

State = enum.Enum("State", "IDLE READY BODY COMPLETE")

# Looked up at every request: an enum's attribute costs 40 ns more than a global.
_IDLE, _READY, _BODY, _COMPLETE = State

_START_RESPONSE = 'PEP 3333, "The start_response() Callable"'
_CONTENT_LENGTH = 'PEP 3333, "Handling the Content-Length Header"'
_BYTESTRINGS = 'PEP 3333, "A Note on String Types"'

_STATUS = re.compile(r"([2-5][0-9][0-9])(?: ([^\x00-\x1f\x7f]*))?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but the tab; RFC 9110, 5.5
_LONGEST_LENGTH = 19  # digits
_LENGTH = re.compile(rf"[0-9]{{1,{_LONGEST_LENGTH}}}")

# The list of wsgiref.util.is_hop_by_hop, which is that of RFC 2616, 13.5.1, as PEP 3333 has it.
HOP_BY_HOP = frozenset(
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
"""Names of fields that are the server's own (PEP 3333, "Other HTTP Features")."""

# What has passed the checks once: most apps say the same few things. Bounded, as some do not.
_STATUSES: dict[str, tuple[int, bytes]] = {}
_NAMES: dict[str, bytes] = {}
_PLAIN_NAMES: dict[str, bytes] = {}  # with no more to check: not hop-by-hop, not Content-Length
_MAX_REMEMBERED = 1024


class Response:
    """One response, from `start_response` to its last part.

    Args:
        method: the request's method; a HEAD gets no body.
    """

    __slots__ = ("bytes_left", "head", "is_bodiless", "method", "state", "superfluous", "warnings")

    def __init__(self, method: str) -> None:
        self.state = _IDLE
        self.head: Head | None = None
        """What the app has passed to `start_response`; None before."""
        self.bytes_left: int | None = None
        """How many bytes the app still owes by its Content-Length; None if it declared none."""
        self.is_bodiless = False
        """Whether the client gets no body, whatever the app yields: HEAD, 204, 304."""
        self.warnings: list[str] | None = None
        """The app's mistakes that were mended on the way; for the log."""
        self.superfluous: list[str] | None = None
        """Headers removed because they ask for what the server does anyway."""
        self.method = method

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
        known = _STATUSES.get(status) if type(status) is str else None
        code, reason = _parse_status(status) if known is None else known
        encoded, length = self._parse_headers(headers, code)
        self.is_bodiless = self.method == "HEAD" or code == 204 or code == 304
        if length is not None and (code == 204 or code == 304):
            # Forbidden with 204 (RFC 9110, 8.6). With 304 it is allowed, but hosts count bytes against it.
            encoded = [header for header in encoded if header[0] != b"content-length"]
        self.head = Head(code, reason, encoded)
        self.bytes_left = length
        self.state = _READY

    def declare(self, chunks: Sequence[bytes]) -> None:
        """Add the Content-Length of a body that is known whole, if the app gave none."""
        head = self.head
        if self.state is not _READY or self.bytes_left is not None or head is None:
            return
        if head.status == 204 or head.status == 304:
            return
        try:
            length = sum(map(len, chunks))
        except TypeError:
            return  # not bytes: `chunk` raises for it
        if self.is_bodiless and not length:
            return  # an app that knows HEAD leaves the body out: the size is not that of a GET
        head.headers.append((b"content-length", b"%d" % length))
        self.bytes_left = length

    def chunk(self, data: bytes) -> Part | None:
        """Take one chunk of the body; return the part to send now, if there is one.

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
            return None
        state = self.state
        if state is _COMPLETE:
            self._warn_of_surplus()
            return None
        if state is _IDLE:
            raise ApplicationError(
                f"the app sent a part of the body before it called start_response ({_START_RESPONSE})"
            )
        more = True
        left = self.bytes_left
        if self.is_bodiless:
            data, more = b"", False
        elif left is not None:
            if len(data) > left:
                data = data[:left]
                self._warn_of_surplus()
            self.bytes_left = left = left - len(data)
            more = left > 0
        self.state = _BODY if more else _COMPLETE
        return self.head if state is _READY else None, data, more

    def end(self) -> Part | None:
        """Take the end of the app's body; return the part still due, if there is one.

        Raises:
            ApplicationError: no `start_response` at all, or fewer bytes than Content-Length declared.
        """
        state = self.state
        if state is _COMPLETE:
            return None
        if state is _IDLE:
            raise ApplicationError(f"the app returned without calling start_response ({_START_RESPONSE})")
        if self.bytes_left and not self.is_bodiless:
            raise ApplicationError(
                f"the app's body is {self.bytes_left} bytes shorter than its Content-Length "
                f"({_CONTENT_LENGTH})"
            )
        self.state = _COMPLETE
        return self.head if state is _READY else None, b"", False

    def _restart(self, exc_info: ExcInfo | None) -> None:
        """Allow a second `start_response`, with `exc_info` and while the headers are not out; else raise."""
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
            try:  # the fast path: a known name and a printable value
                name, value = pair
                if name == "Content-Length" and length is None and value.isdecimal() and value.isascii():
                    field = value.encode("latin-1")
                    if len(field) <= _LONGEST_LENGTH:
                        length = int(field)
                        encoded.append((b"content-length", field))
                        continue
                plain = _PLAIN_NAMES.get(name)
                if plain is not None and (stripped := value.strip(" \t")).isprintable():
                    encoded.append((plain, stripped.encode("latin-1")))
                    continue
            except (TypeError, ValueError, AttributeError):
                pass  # the slow path says what is wrong
            lower, field = encode_header(pair)
            # A 426 has to name what the client can upgrade to (RFC 9110, 15.5.22).
            if lower in HOP_BY_HOP and not (code == 426 and lower == b"upgrade"):
                self._remove(lower, field)
                continue
            if lower == b"content-length":
                if length is not None:
                    raise ApplicationError("the app set the header Content-Length twice (RFC 9110, 8.6)")
                stripped = pair[1].strip(" \t")
                if not _LENGTH.fullmatch(stripped):
                    raise ApplicationError(
                        f"the app's Content-Length is {pair[1][:64]!r}; it must be a number of bytes"
                    )
                length = int(stripped)
            encoded.append((lower, field))
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
        if not self.is_bodiless:
            self._warn(f"cut the app's body at its Content-Length: it has more bytes ({_CONTENT_LENGTH})")

    def _warn(self, warning: str) -> None:
        if self.warnings is None:
            self.warnings = []
        if warning not in self.warnings:
            self.warnings.append(warning)


def _parse_status(status: Any) -> tuple[int, bytes]:
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
    # PEP 3333 forbids characters outside latin-1, but no host has ever held an app to that.
    parsed = int(match[1]), (match[2] or "").strip(" ").encode("latin-1", "replace")
    if len(_STATUSES) < _MAX_REMEMBERED:
        _STATUSES[status] = parsed
    return parsed


def encode_header(pair: Any) -> tuple[bytes, bytes]:
    """Check and encode one header.

    Raises:
        ApplicationError: no pair of str, or ill-formed. The message names the header, never its value, which
            may be a secret.
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
        if encoded not in HOP_BY_HOP and encoded != b"content-length":
            _PLAIN_NAMES[name] = encoded
    return encoded

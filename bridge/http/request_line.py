"""The first line of a request (RFC 9112, 3), read to the letter. Pure.

One space stands between its parts. A version of HTTP that is well-formed, and not served, has an answer of
its own: 505, not 400.
"""

import re
from typing import NamedTuple

from bridge.http.limits import BAD_REQUEST, TOKEN, Refusal

__all__ = ["RequestLine", "read_request_line"]

# Every printable character: browsers leave some as they are that RFC 3986 would have escaped.
_TARGET = rb"[\x21-\x7e]+"
_EMPTY_LINES = rb"(?:\r\n)*"  # ignored before a request (RFC 9112, 2.2)


def _beginnings(*parts: bytes) -> bytes:
    """The pattern of everything that these parts, one after the other, may begin with."""
    pattern = b""
    for part in reversed(parts):
        pattern = b"(?:%b%b)?" % (part, pattern)
    return pattern


_LINE = re.compile(rb"%b(%b) (%b) HTTP/([0-9]\.[0-9])\r\n" % (_EMPTY_LINES, TOKEN, _TARGET))
_LINE_OF_HTTP_09 = rb"GET /[\x21-\x7e]*\r"
_IS_HTTP_09 = re.compile(rb"%b%b\n" % (_EMPTY_LINES, _LINE_OF_HTTP_09))
_UNFINISHED = re.compile(
    rb"%b(?:\r|%b|%b)"
    % (
        _EMPTY_LINES,
        _LINE_OF_HTTP_09,
        _beginnings(
            TOKEN,
            b" ",
            _TARGET,
            b" ",
            *(b"H", b"T", b"T", b"P", b"/"),
            *(b"[0-9]", rb"\.", b"[0-9]"),
            b"\r",
        ),
    )
)

_UNSUPPORTED = Refusal(505, "The version of HTTP is not 1.0 or 1.1 (RFC 9110, 15.6.6).")


class RequestLine(NamedTuple):
    """A request line that is well-formed.

    Args:
        start: where it begins in the bytes it was read from, behind empty lines.
        method: any token.
        target: not empty, and of printable characters.
        version: "1.0" or "1.1".
    """

    start: int
    method: bytes
    target: bytes
    version: str


def read_request_line(data: bytes, start: int = 0) -> RequestLine | Refusal | None:
    """Read the line with which a request begins, and skip empty lines before it.

    Returns:
        the line; why there is none; or None, if there may be one when more has come.
    """
    line = _LINE.match(data, start)
    if line is None:
        if _UNFINISHED.fullmatch(data, start):
            return None
        return _UNSUPPORTED if _IS_HTTP_09.match(data, start) else BAD_REQUEST
    method, target, version = line.groups()
    if version == b"1.1":
        return RequestLine(line.start(1), method, target, "1.1")
    if version == b"1.0":
        return RequestLine(line.start(1), method, target, "1.0")
    return _UNSUPPORTED

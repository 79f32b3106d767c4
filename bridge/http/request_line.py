"""The first line of a request, and its target in one of four forms (RFC 9112, 3), read to the letter. Pure.

One space stands between its parts. A version of HTTP that is well-formed, and not served, has an answer of
its own: 505, not 400.
"""

import re
from typing import NamedTuple

from bridge.http.limits import BAD_REQUEST, HOST, TOKEN, Refusal

__all__ = ["RequestLine", "RequestTarget", "read_request_line", "read_request_target", "replace_host"]

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

_Header = tuple[bytes, bytes]

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?]*)([^?]*)\??(.*)")
_SCHEMES = (b"http", b"https")
_AUTHORITY = re.compile(rb"(.+):([0-9]{1,5})")
_LAST_PORT = 65535
_SLASH = ord("/")

_ILL_FORMED = Refusal(400, "The target of the request is ill-formed (RFC 9112, 3.2).")
_OTHER_SCHEME = Refusal(421, "The scheme of the target is not http or https (RFC 9110, 15.5.20).")
# Not 405, which is for a method that some resource has: a tunnel is nothing that this server can make for any
# (RFC 9110, 9.1 and 15.6.2).
_NO_TUNNELS = Refusal(501, "This server is no proxy, and makes no tunnels (RFC 9110, 9.3.6).")


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


class RequestTarget(NamedTuple):
    """The parts of a target.

    Args:
        path: as it was sent; "/" where there is none after a host, "*" for the server as a whole.
        query: what follows the question mark.
        host: the one that it names, with its port; None if it names none.
    """

    path: bytes
    query: bytes
    host: bytes | None


def read_request_target(method: bytes, target: bytes) -> RequestTarget | Refusal:
    """Read the target of a request with this method.

    Args:
        method: a token.
        target: printable ASCII.

    Returns:
        its parts, or why it must not reach an app.
    """
    if target[0] == _SLASH and method != b"CONNECT" and b"#" not in target:
        path, _, query = target.partition(b"?")
        return RequestTarget(path, query, None)
    if method == b"CONNECT":
        authority = _AUTHORITY.fullmatch(target)
        is_valid = authority is not None and _is_host(authority[1]) and int(authority[2]) <= _LAST_PORT
        return _NO_TUNNELS if is_valid else _ILL_FORMED
    if b"#" in target:  # a fragment is the client's own (RFC 9110, 7.1)
        return _ILL_FORMED
    if target == b"*":
        return RequestTarget(target, b"", None) if method == b"OPTIONS" else _ILL_FORMED
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return _ILL_FORMED
    scheme, host, path, query = absolute.groups()
    if scheme.lower() not in _SCHEMES:
        return _OTHER_SCHEME
    if not _is_host(host):
        return _ILL_FORMED
    return RequestTarget(path or b"/", query, host)


def replace_host(headers: list[_Header], host: bytes) -> None:
    """Have the fields name the host of the target, whatever Host the client has sent (RFC 9112, 3.2.2)."""
    for index, (name, _) in enumerate(headers):
        if name == b"host":
            headers[index] = b"host", host
            return
    headers.insert(0, (b"host", host))


def _is_host(host: bytes) -> bool:
    """Whether it is one, and not empty (RFC 9110, 4.2.1); no user is a part of it (4.2.4)."""
    return host[:1] not in (b"", b":") and HOST.fullmatch(host) is not None

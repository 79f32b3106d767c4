"""The limits of a request, and the rules for its head. Pure: a head → None, or why it is refused.

`reader` refuses what is no HTTP at all, and a head whose message has no certain end. These are the server's
limits, and the rules for Host and Transfer-Encoding.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BAD_REQUEST",
    "HOST",
    "TOKEN",
    "FieldNames",
    "Limits",
    "Refusal",
    "check_head",
    "check_unfinished_head",
    "too_large",
    "trailers_too_large",
]

_Header = tuple[bytes, bytes]

HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""A name or an IPv4 address, or an IPv6 address in brackets; and a port (RFC 9110, 7.2; RFC 3986, 3.2.2).

An empty one is allowed (RFC 9112, 3.2).
"""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""The pattern of a token, as methods and names of fields are (RFC 9110, 5.6.2)."""

_is_token = re.compile(TOKEN).match
_is_name = re.compile(TOKEN).fullmatch

# Names that are remembered, and bytes of the longest. Bounded, as clients and some apps make up new ones.
_MAX_NAMES = 1024
_LONGEST_NAME = 64

# Bytes of a request line and of a header field besides the target, the name and the value.
_REQUEST_LINE_OVERHEAD = len(b"  HTTP/1.1\r\n")
_FIELD_OVERHEAD = len(b": \r\n")


class FieldNames(dict[bytes, bytes]):
    """Names of fields as they came, and in lower case: `names[b"Host"]`. The same few come again.

    Raises:
        ValueError: by the lookup of a name that is no token (RFC 9110, 5.1).
    """

    def __missing__(self, name: bytes) -> bytes:
        if not _is_name(name):
            raise ValueError("the name of a field is no token")
        lower = name.lower()
        if len(self) < _MAX_NAMES and len(name) <= _LONGEST_NAME:
            self[name] = lower
        return lower


@dataclass(frozen=True)
class Limits:
    """The limits of one request.

    Args:
        request_line: bytes of the first line.
        header_count: how many header fields.
        header_size: bytes of one field, name and value.
        head_size: bytes of all fields.
        body_size: bytes of the body; None for any number.
        first_byte: seconds until a new connection has sent its first byte.
        head_time: seconds from there until the head is complete.
        body_pause: seconds without a byte of a body that has not ended.
    """

    request_line: int = 8192
    header_count: int = 100
    header_size: int = 16384
    head_size: int = 65536
    body_size: int | None = None
    first_byte: float = 30.0
    head_time: float = 30.0
    body_pause: float = 60.0


@dataclass(frozen=True)
class Refusal:
    """An answer that the server gives instead of the app.

    Args:
        status: its status.
        reason: a sentence for client and log, without the client's bytes.
        headers: fields besides those of every refusal.
    """

    status: int
    reason: str
    headers: tuple[_Header, ...] = ()


BAD_REQUEST = Refusal(400, "The request is not HTTP that can be understood.")


def check_head(
    limits: Limits, *, method: bytes, target: bytes, version: str, headers: Sequence[_Header]
) -> Refusal | None:
    """Check a complete head: the request line and all header fields, with names in lower case.

    The version is "1.0" or "1.1".

    Returns:
        why it must not reach an app, or None.
    """
    if len(method) + len(target) + _REQUEST_LINE_OVERHEAD > limits.request_line:
        return _line_too_long(limits)
    if len(headers) > limits.header_count:
        return Refusal(431, f"The request has more than {limits.header_count} header fields.")
    head_size = 0
    hosts = 0
    codings: list[bytes] = []
    for name, value in headers:
        size = len(name) + len(value) + _FIELD_OVERHEAD
        head_size += size
        if size > limits.header_size:
            return Refusal(431, f"A header field of the request has more than {limits.header_size} bytes.")
        if name == b"host":
            hosts += 1
            if not HOST.fullmatch(value):
                return Refusal(400, "The Host of the request is ill-formed (RFC 9112, 3.2).")
        elif name == b"transfer-encoding":
            if version == "1.0":
                return Refusal(400, "Transfer-Encoding has no meaning in HTTP/1.0 (RFC 9112, 6.1).")
            codings += (coding.strip(b" \t").lower() for coding in value.split(b","))
        elif name == b"content-length" and limits.body_size is not None and int(value) > limits.body_size:
            return too_large(limits)
    if head_size > limits.head_size:
        return _head_too_large(limits)
    if codings and codings != [b"chunked"]:
        return _wrong_codings(codings)
    if hosts > 1:
        return Refusal(400, "The request has more than one Host (RFC 9112, 3.2).")
    if not hosts and version != "1.0":
        return Refusal(400, "The request has no Host (RFC 9112, 3.2).")
    return None


def check_unfinished_head(limits: Limits, *, target_size: int, size: int) -> Refusal | None:
    """Check a head that has not ended: the length of its target by now, and of all of it."""
    if target_size > limits.request_line:
        return _line_too_long(limits)
    if size > limits.request_line + limits.head_size:
        return _head_too_large(limits)
    return None


def too_large(limits: Limits) -> Refusal:
    """The refusal of a body with more bytes than it may have."""
    return Refusal(413, f"The body of the request has more than {limits.body_size} bytes.")


def trailers_too_large(limits: Limits) -> Refusal:
    """The refusal of a chunked body with more than `head_size` bytes of trailers, or between two parts."""
    return Refusal(431, f"The chunked body has more than {limits.head_size} bytes of extensions or trailers.")


def _wrong_codings(codings: Sequence[bytes]) -> Refusal:
    """Why a body cannot be read with these codings, in the order in which they were applied.

    Without `chunked` at the end, and only there, nobody can say where it ends.
    """
    *others, last = codings
    if last != b"chunked" or last in others or not all(map(_is_token, others)):
        return Refusal(
            400, "The Transfer-Encoding of the request does not end with one chunked (RFC 9112, 6.3)."
        )
    return Refusal(501, "The only transfer coding that is understood is chunked (RFC 9112, 6.1).")


def _line_too_long(limits: Limits) -> Refusal:
    return Refusal(414, f"The request line has more than {limits.request_line} bytes.")


def _head_too_large(limits: Limits) -> Refusal:
    return Refusal(431, f"The header fields of the request have more than {limits.head_size} bytes in all.")

"""One response on the wire: how it is framed, and whether the connection can go on after it. Pure.

| request | response | framing | the connection |
| --- | --- | --- | --- |
| any | to HEAD; 204, 304 | no body (RFC 9112, 6.3) | goes on |
| any | with a Content-Length | the length | goes on |
| HTTP/1.1 | without | chunked | goes on |
| HTTP/1.0 | without | the end of the connection (RFC 9112, 6.1) | closes |

It closes, too, if the client or the app asks for that.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus

__all__ = ["IllFormedResponse", "ResponseEncoder"]

_STATUS_LINES = {each.value: b"HTTP/1.1 %d %b\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, 5.5

# The names that have passed once, in lower case: apps say the same few again. Bounded, as some don't.
_NAMES: dict[bytes, bytes] = {}
_MAX_REMEMBERED = 1024


class IllFormedResponse(RuntimeError):
    """The app has said what no response can say."""


class ResponseEncoder:
    """The bytes of one response.

    Args:
        method: the request's.
        version: the request's, `1.0` or `1.1`.
        keep_alive: whether the connection may go on after it.
    """

    __slots__ = ("_ends_with_connection", "_has_body", "_is_chunked", "_is_http_10", "_left", "keep_alive")

    def __init__(self, method: str, version: str, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        """Whether the connection can go on after it; known when the head is."""
        self._is_http_10 = version == "1.0"
        self._has_body = method != "HEAD"
        self._is_chunked = False
        self._ends_with_connection = False
        self._left = 0  # bytes that are owed by Content-Length

    def head(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Encode the status line and the fields, and add those for the framing and the connection.

        Raises:
            IllFormedResponse: a status that is not final, a name that is no token, a control character in a
                value, a Content-Length that is no number, or two that differ.
        """
        if not 200 <= status <= 599:
            raise IllFormedResponse(
                f"the app sent the status {status}; a response has one from 200 to 599, and a 1xx is for the "
                "server to send (RFC 9110, 15)"
            )
        if status == 204 or status == 304:
            self._has_body = False
        pieces = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        connection: list[bytes] = []
        length = None
        for given_name, value in fields:
            name = _NAMES.get(given_name) or _parse_name(given_name)
            if _has_control(value):
                raise IllFormedResponse("the app sent a header with a control character (RFC 9110, 5.5)")
            if name == b"content-length":
                if not value.isdigit():
                    raise IllFormedResponse("the app sent a Content-Length that is no number (RFC 9110, 8.6)")
                if length is not None:  # two that differ are two framings (RFC 9110, 8.6)
                    if int(value) != length:
                        raise IllFormedResponse("the app sent two Content-Lengths that differ")
                    continue
                length = int(value)
                if status == 204:  # has none (RFC 9110, 8.6)
                    continue
            elif name == b"transfer-encoding":  # only this knows the one that is in use
                continue
            elif name == b"connection":
                connection += (option.strip().lower() for option in value.split(b","))
                continue
            pieces += (name, b": ", value, b"\r\n")
        pieces += self._frame(length, connection)
        pieces.append(b"\r\n")
        return b"".join(pieces)

    def body(self, data: bytes, more: bool) -> bytes:
        """Encode a part of the body.

        Raises:
            IllFormedResponse: it is longer than its Content-Length, or it ends and is shorter.
        """
        if not self._has_body:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if not self._ends_with_connection:
            self._left -= len(data)
            if self._left < 0:
                raise IllFormedResponse("Response content longer than Content-Length")
            if self._left and not more:
                raise IllFormedResponse("Response content shorter than Content-Length")
        return data

    def _frame(self, length: int | None, connection: list[bytes]) -> list[bytes]:
        """Decide on the framing and on the connection; return the fields that say so."""
        fields = []
        if not self._has_body:
            pass
        elif length is not None:
            self._left = length
        elif self._is_http_10:
            self._ends_with_connection = True
        else:
            self._is_chunked = True
            fields.append(b"transfer-encoding: chunked\r\n")
        if self._ends_with_connection or b"close" in connection:
            self.keep_alive = False
        if not self.keep_alive:
            fields.append(b"connection: close\r\n")
        elif connection:
            fields.append(b"connection: %b\r\n" % b", ".join(connection))
        elif self._is_http_10:
            fields.append(b"connection: keep-alive\r\n")
        return fields


def _parse_name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise IllFormedResponse("the app sent a header whose name is not a token (RFC 9110, 5.1)")
    lower = name.lower()
    if len(_NAMES) < _MAX_REMEMBERED:
        _NAMES[name] = lower
    return lower

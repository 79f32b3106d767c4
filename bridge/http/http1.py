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
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from bridge.core.link import Head
from bridge.http.limits import FieldNames

__all__ = [
    "CONTINUE",
    "DefaultFields",
    "IllFormedResponse",
    "ResponseEncoder",
    "checked_fields",
    "checked_head",
    "checked_trailers",
    "early_hints",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {each.value: b"HTTP/1.1 %d %b\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}

_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, 5.5

_NAMES = FieldNames()  # of apps

# What says where a message ends, what it is about, how it is read, or who may read it (RFC 9110, 6.5.1).
_NO_TRAILERS = frozenset(
    (
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
    )
)

# What of the app's Connection is said anew, if the connection ends.
_OF_THE_SERVER = (b"close", b"keep-alive")


class IllFormedResponse(RuntimeError):
    """The app has said what no response can say."""


class DefaultFields:
    """The fields that the server adds to each response, unless the app has set them itself.

    There may be one Date and one Server (RFC 9110, 5.3), and Werkzeug sets a Date for every file that it
    sends. The app's are kept, of several the first.

    Args:
        fields: names in lower case, and values.
    """

    __slots__ = ("encoded", "fields", "names")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.fields = dict(fields)
        self.names = frozenset(self.fields)
        self.encoded = _encoded(self.fields.items())

    def but(self, names: Iterable[bytes]) -> bytes:
        """Encode them without those that the app has set."""
        return _encoded(field for field in self.fields.items() if field[0] not in names)


class ResponseEncoder:
    """The bytes of one response.

    Args:
        method: the request's.
        version: the request's, `1.0` or `1.1`.
        keep_alive: whether the connection may go on after it.
    """

    __slots__ = ("_is_chunked", "_is_http_10", "_left", "ends_with_connection", "has_body", "keep_alive")

    def __init__(self, method: str, version: str, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        """Whether the connection can go on after it; known when the head is."""
        self._is_http_10 = version == "1.0"
        self.has_body = method != "HEAD"
        """Whether the response has a body at all; known when the head is."""
        self._is_chunked = False
        self.ends_with_connection = False
        """Whether the body ends where the connection does; known when the head is."""
        self._left = 0  # bytes that are owed by Content-Length

    def head(self, head: Head, defaults: DefaultFields) -> bytes:
        """Encode the status line and the fields, and add those for the framing and the connection.

        Args:
            head: what the app says; checked, the names in lower case.
            defaults: what the server says, where the app does not.

        Raises:
            IllFormedResponse: a Content-Length that is no number, or two that differ.
        """
        status, reason, fields = head
        if status == 204 or status == 304:
            self.has_body = False
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason) if reason else _STATUS_LINES.get(status)
        pieces = [line or b"HTTP/1.1 %d \r\n" % status, b""]
        connection: list[bytes] | None = None
        length: int | None = None
        own: list[bytes] | None = None  # of the defaults, what the app has set itself
        for name, value in fields:
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
            elif name in defaults.names:
                if own is None:
                    own = [name]
                elif name in own:
                    continue
                else:
                    own.append(name)
            elif name == b"transfer-encoding":  # only this knows the one that is in use
                continue
            elif name == b"connection":
                if connection is None:
                    connection = []
                connection += (option.strip().lower() for option in value.split(b","))
                continue
            pieces += (name, b": ", value, b"\r\n")
        pieces[1] = defaults.encoded if own is None else defaults.but(own)
        # Decide on the framing and on the connection, and say so.
        if not self.has_body:
            pass
        elif length is not None:
            self._left = length
        elif self._is_http_10:
            self.ends_with_connection = True
            self.keep_alive = False
        else:
            self._is_chunked = True
            pieces.append(b"transfer-encoding: chunked\r\n")
        if connection is not None and b"close" in connection:
            self.keep_alive = False
        if not self.keep_alive:
            others = [] if connection is None else [each for each in connection if each not in _OF_THE_SERVER]
            pieces.append(b"connection: %b\r\n" % b", ".join([b"close", *others]))
        elif connection:
            pieces.append(b"connection: %b\r\n" % b", ".join(connection))
        elif self._is_http_10:
            pieces.append(b"connection: keep-alive\r\n")
        pieces.append(b"\r\n")
        return b"".join(pieces)

    def body(self, data: bytes, more: bool, trailers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Encode a part of the body; behind the last one of a chunked body, trailers, which were checked.

        Raises:
            IllFormedResponse: it is longer than its Content-Length, or it ends and is shorter.
        """
        if not self.has_body:
            return b""
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            return chunk if more else b"%b0\r\n%b\r\n" % (chunk, _encoded(trailers))
        self.pass_by(len(data), more)
        return data

    def pass_by(self, size: int, more: bool) -> None:
        """Note a part of the body that leaves as it is.

        Args:
            size: its bytes.
            more: whether more follow.

        Raises:
            IllFormedResponse: as `body`.
        """
        if not self.ends_with_connection:
            self._left -= size
            if self._left < 0:
                raise IllFormedResponse("Response content longer than Content-Length")
            if self._left and not more:
                raise IllFormedResponse("Response content shorter than Content-Length")


def checked_head(status: int, fields: Iterable[Sequence[Any]]) -> Head:
    """Check the head of a response, and return it with lower-case names.

    Args:
        status: the status.
        fields: names and values, as bytes.

    Raises:
        IllFormedResponse: a status that is not final, a name that is no token, a control character in a
            value.
    """
    if not 200 <= status <= 599:
        raise IllFormedResponse(
            f"the app sent the status {status}; a response has one from 200 to 599, and a 1xx is for the "
            "server to send (RFC 9110, 15)"
        )
    return Head(status, b"", checked_fields(fields))


def checked_fields(fields: Iterable[Sequence[Any]]) -> list[tuple[bytes, bytes]]:
    """Check the fields of a response, and return them with lower-case names.

    Raises:
        IllFormedResponse: a name that is no token, a control character in a value.
    """
    checked = []
    for given_name, value in fields:
        try:
            name = _NAMES[given_name]
        except ValueError:
            raise IllFormedResponse(
                "the app sent a header whose name is not a token (RFC 9110, 5.1)"
            ) from None
        if _has_control(value):
            raise IllFormedResponse("the app sent a header with a control character (RFC 9110, 5.5)")
        checked.append((name, value))
    return checked


def checked_trailers(fields: Iterable[Sequence[Any]]) -> list[tuple[bytes, bytes]]:
    """Check the trailers of a response, and return them with lower-case names.

    Raises:
        IllFormedResponse: as `checked_fields`; a field that a client needs before the body (RFC 9110, 6.5.1).
    """
    checked = checked_fields(fields)
    for name, _ in checked:
        if name in _NO_TRAILERS:
            raise IllFormedResponse(
                f"the app sent the trailer {name.decode()!r}, which belongs in the head (RFC 9110, 6.5.1)"
            )
    return checked


def early_hints(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode an interim response with these fields, which were checked (RFC 8297)."""
    return b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % _encoded(fields)


def _encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)

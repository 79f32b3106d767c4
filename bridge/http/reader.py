"""Requests, from the bytes of a connection: where each begins and ends, and its fields. Pure.

It reads to the letter of RFC 9112, so that no part of one message is ever read as another. It takes nothing
that RFC 9112 lets a recipient repair (2.2, 5.1, 5.2, 7.1): a line ends with CR LF, a name with its colon, a
field in its own line; a body has one length, or is chunked.

    line and fields ──► on_head ──► on_body … ──► on_message_complete
                                    (chunks: size, bytes, CR LF, … , trailers, which are dropped)

A head is taken apart once it is whole. A body is handed on as it came, without a copy.
"""

import re
from typing import Protocol

from bridge.http.limits import BAD_REQUEST, TOKEN, FieldNames, Refusal
from bridge.http.request_line import RequestLine, read_request_line

__all__ = ["Refused", "RequestReader", "Sink"]

_Header = tuple[bytes, bytes]

_EMPTY_LINE = b"\r\n\r\n"

# What no value has in it (RFC 9110, 5.5), besides CR and LF.
_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32), 127])

_NAMES = FieldNames()  # of clients

# The fields that say where a message ends, and whether the connection does.
_OF_FRAMING = frozenset((b"connection", b"content-length", b"transfer-encoding", b"upgrade"))

# A CR or a LF without the other; a CR at the end may have its LF yet to come.
_find_broken_end = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)").search

# RFC 9112, 7.1 and 7.1.1, without the whitespace that it calls bad. Sizes are below 2 to the 64th.
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_match_chunk = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|%b))?)*" % (TOKEN, TOKEN, _QUOTED)).fullmatch
_may_begin_chunk = re.compile(rb"[0-9A-Fa-f]{0,16}(?:;[^\r]*)?\r?").fullmatch

_LONGEST_LENGTH = 64  # digits, zeros before it included
_TOO_LONG = 1 << 64

# Instead of the number of bytes left of a body.
_CHUNKED = -1

# Before any line has been read.
_NO_LINE = RequestLine(0, b"", b"", "1.1")
_LINE_OVERHEAD = len(b"  HTTP/1.1\r\n")


class Refused(Exception):
    """Ends the reading of a request, also from within a method of the sink."""

    def __init__(self, refusal: Refusal = BAD_REQUEST) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Sink(Protocol):
    """Receives what a reader has read."""

    def on_head(
        self, line: RequestLine, headers: list[_Header], *, client_closes: bool, upgrades: bool
    ) -> bool:
        """A head is complete.

        Args:
            line: its first line.
            headers: its fields, their names in lower case.
            client_closes: whether the client wants no answer after this one's (RFC 9112, 9.3).
            upgrades: whether it asks for an upgrade.

        Returns:
            Whether the upgrade is taken; nothing is read then after the head.

        Raises:
            Refused: it must not be served. That includes every transfer coding but one `chunked`.
        """

    def on_trailer(self, size: int) -> None:
        """A trailer of so many bytes has come, which is dropped.

        Raises:
            Refused: there are too many.
        """

    def on_body(self, data: bytes) -> None:
        """A part of the body has come.

        Raises:
            Refused: the body is too large.
        """

    def on_message_complete(self) -> None:
        """The request is whole."""


class RequestReader:
    """Reads the requests of one connection, one after the other.

    Args:
        sink: receives what it reads.
    """

    __slots__ = (
        "_awaited",
        "_fields_begin",
        "_kept",
        "_left",
        "_left_of_chunk",
        "_sink",
        "in_body",
        "in_head",
        "line",
    )

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._kept = b""  # the beginning of a head, or of a line between chunks
        self._fields_begin = 0  # where they do in a head; 0 before its first line is whole
        self._left = 0  # bytes of the body, or `_CHUNKED`
        self._left_of_chunk = 0
        self._awaited = ""  # between chunks: the line with a "size", the "end" of a chunk, or a "trailer"
        self.in_head = False
        """Whether a head has begun and has not ended."""
        self.in_body = False
        """Whether a body, which may be empty, has begun and has not ended."""
        self.line = _NO_LINE
        """The line of the message that is being read, or was read last; an empty one before it is whole."""

    @property
    def line_size(self) -> int:
        """Bytes of the target, or of as much of the line as has come."""
        return len(self.line.target) if self._fields_begin else len(self._kept)

    @property
    def has_body(self) -> bool:
        """Whether the head that is complete announces a body that is not empty."""
        return self._left != 0

    def close(self) -> None:
        """Read no more. This and the sink hold each other until then."""
        del self._sink

    def read(self, data: bytes) -> bytes:
        """Read what has come, up to the end of one message at most.

        Returns:
            What is behind that, or behind a head whose upgrade is taken.

        Raises:
            Refused: it is not HTTP, or of another version; or as the sink raises it.
        """
        if self.in_body:
            return self._read_body(data)
        seen = 0
        if self.in_head:
            seen = len(self._kept)
            data = self._kept + data
        if not self._fields_begin and not self._read_line(data, is_split=seen > 0):
            return b""
        end = data.find(_EMPTY_LINE, max(self._fields_begin - 2, seen - 3))
        if end < 0:
            self._kept = data
            if _find_broken_end(data, max(self._fields_begin, seen - 1)):
                raise Refused
            return b""
        begin, self._fields_begin, self._kept = self._fields_begin, 0, b""
        return self._read_head(data[begin : end + 2], data[end + 4 :])

    def _read_line(self, data: bytes, *, is_split: bool) -> bool:
        """Read the request line; return False if it is not whole."""
        self.line = _NO_LINE
        line = read_request_line(data)
        if line is None:
            # Empty lines alone are the beginning of nothing. One in two parts is: the first of them began it.
            self.in_head = is_split or not data.endswith(b"\r\n")
            self._kept = data if self.in_head else b""
            return False
        self.in_head = True
        if isinstance(line, Refusal):
            raise Refused(line)
        self.line = line
        self._fields_begin = line.start + len(line.method) + len(line.target) + _LINE_OVERHEAD
        return True

    def _read_head(self, fields: bytes, rest: bytes) -> bytes:
        """Read the fields; then what follows the head. Return what is behind the message."""
        headers = _headers_of(fields)
        length: int | None = None
        is_chunked = has_upgrade = False
        options: list[bytes] = []
        for name, value in headers:
            if name not in _OF_FRAMING:
                continue
            if name == b"content-length":
                if length is not None or not value.isdigit() or len(value) > _LONGEST_LENGTH:
                    raise Refused  # RFC 9112, 6.3
                length = int(value)
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == b"connection":
                options += (option.strip(b" \t").lower() for option in value.split(b","))
            else:
                has_upgrade = True
        if length is not None and (is_chunked or length >= _TOO_LONG):
            raise Refused  # RFC 9112, 6.1 and 6.3
        self._left = _CHUNKED if is_chunked else length or 0
        self._left_of_chunk = 0
        self._awaited = "size"
        client_closes = b"close" in options or (self.line.version == "1.0" and b"keep-alive" not in options)
        is_taken = self._sink.on_head(
            self.line, headers, client_closes=client_closes, upgrades=has_upgrade and b"upgrade" in options
        )
        self.in_head = False
        if is_taken:
            return rest
        self.in_body = True
        if self._left == 0:
            self._complete()
            return rest
        return self._read_body(rest) if rest else b""

    def _read_body(self, data: bytes) -> bytes:
        if self._left == _CHUNKED:
            return self._read_chunks(data)
        piece = data[: self._left]  # all of it, and no copy, if it is no longer
        self._left -= len(piece)
        self._sink.on_body(piece)
        if self._left:
            return b""
        self._complete()
        return data[len(piece) :]

    def _read_chunks(self, data: bytes) -> bytes:
        data, self._kept = self._kept + data, b""
        at = 0
        while at < len(data):
            if self._left_of_chunk:
                piece = data[at : at + self._left_of_chunk]
                self._left_of_chunk -= len(piece)
                at += len(piece)
                self._sink.on_body(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep_line(data[at:])
                break
            line = data[at:end]
            at = end + 2
            if self._awaited == "trailer" and not line:
                self._complete()
                return data[at:]
            self._read_line_of_chunks(line)
        return b""

    def _read_line_of_chunks(self, line: bytes) -> None:
        if self._awaited == "size":
            chunk = _match_chunk(line)
            if chunk is None:
                raise Refused
            self._left_of_chunk = int(chunk[1], 16)
            self._awaited = "end" if self._left_of_chunk else "trailer"
        elif self._awaited == "end":
            if line:
                raise Refused
            self._awaited = "size"
        else:
            ((name, _),) = _headers_of(line + b"\r\n")
            if name in (b"content-length", b"transfer-encoding"):  # RFC 9110, 6.5.1
                raise Refused
            # Taken for a header, it could set X-Forwarded-For after a proxy has looked (RFC 9110, 6.5).
            self._sink.on_trailer(len(line))

    def _keep_line(self, line: bytes) -> None:
        """Keep a line between chunks that has not ended, if it may become one."""
        if (
            _find_broken_end(line)
            or (self._awaited == "size" and not _may_begin_chunk(line))
            or (self._awaited == "end" and line != b"\r")
        ):
            raise Refused
        self._kept = line

    def _complete(self) -> None:
        self.in_body = False
        self._sink.on_message_complete()


def _headers_of(fields: bytes) -> list[_Header]:
    """The names in lower case, and the values, of lines that each end with CR LF.

    Raises:
        Refused: one of them is no field (RFC 9112, 5; RFC 9110, 5.5).
    """
    lines = fields.split(b"\r\n")
    ends = len(lines) - 1
    if (
        fields.count(b"\r") != ends
        or fields.count(b"\n") != ends
        or len(fields.translate(None, _CONTROLS)) != len(fields)
    ):
        raise Refused
    lines.pop()  # what is behind the last end: nothing
    headers = []
    try:
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise Refused
            headers.append((_NAMES[name], value.strip(b" \t")))
    except ValueError:
        raise Refused from None
    return headers

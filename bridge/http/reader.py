"""Where each message of a connection begins and ends, so that no part of one is read as another.

llhttp, the parser, is fast and strict, but three things it does are wrong for an HTTP server:

- It stops at any `Upgrade`, and drops the body. A server that does not take an upgrade ignores it, and
  handles the request with its body (RFC 9110, 7.8).
- It knows a list of methods, and refuses all others. Every token is a method (RFC 9110, 9.1).
- It is lenient with the request line: `request_line` reads the line before the parser gets it.

So the parser is never fed the end of one message together with the beginning of the next. A head and a
chunked body end with an empty line, and any other body after its Content-Length; each read is cut there.
Where the parser disagrees about an end, the connection is refused.
"""

from typing import Protocol

import httptools

from bridge.http.limits import Refusal
from bridge.http.request_line import RequestLine, read_request_line

__all__ = ["Refused", "RequestReader", "Sink"]

_EMPTY_LINE = b"\r\n\r\n"

# The methods that the parser is given as they are. CONNECT is one, for its target has a syntax of its own.
_USUAL = frozenset((b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"))

# The parser is given this one in the place of every other: it has no rule of its own in llhttp.
_STAND_IN = b"REPORT"

# In the place of the number of bytes that are left of a body.
_CHUNKED = -1
_NOT_YET_KNOWN = -2

# Before any line has been read.
_NO_LINE = RequestLine(0, b"", b"", "1.1")

_Header = tuple[bytes, bytes]


class Refused(Exception):
    """Ends the parsing of a request, also from within a callback."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Sink(Protocol):
    """Who a reader reads for."""

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
            Refused: it must not be served.
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
        sink: who it reads for.
    """

    __slots__ = (
        "_headers",
        "_left",
        "_line_so_far",
        "_parser",
        "_sink",
        "_tail",
        "in_body",
        "in_head",
        "line",
        "on_body",
    )

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.on_body = sink.on_body
        self._headers: list[_Header] = []
        self._left = _NOT_YET_KNOWN
        self._line_so_far = b""  # of a message of which no more has come
        self._tail = b""  # up to three bytes before this read, with which an empty line may have begun
        self._parser = httptools.HttpRequestParser(self)
        self.in_head = False
        """Whether a head has begun and has not ended."""
        self.in_body = False
        """Whether a body, which may be empty, has begun and has not ended."""
        self.line = _NO_LINE
        """The line of the message that is being read, or was read last; an empty one before it is whole."""

    @property
    def line_size(self) -> int:
        """Bytes of the target, or of as much of the line as has come."""
        return len(self._line_so_far or self.line.target)

    @property
    def has_body(self) -> bool:
        """Whether the head that is complete announces a body that is not empty."""
        return _length_of_body(self._headers) != 0

    def close(self) -> None:
        """Read no more. The parser and this, and this and the sink, hold each other until then."""
        del self._parser, self._sink, self.on_body

    def read(self, data: bytes) -> bytes:
        """Read what has come, up to the end of one message at most.

        Returns:
            What is behind that, or behind a head whose upgrade is taken.

        Raises:
            httptools.HttpParserError: it is not HTTP, or it is not certain where the message ends.
            Refused: its request line is not HTTP, or of another version; or as the sink raises it.
        """
        at, size = 0, len(data)
        if not self.in_head and not self.in_body:
            at = self._begin(data, is_split=False)
        elif self._line_so_far:
            data, self._line_so_far = self._line_so_far + data, b""
            size = len(data)
            at = self._begin(data, is_split=True)
        while at < size:
            # The parser may read up to where the message may end.
            end = self._end_of_length(at, size) if self.in_body else _CHUNKED
            if end == _CHUNKED:
                end = self._end_behind_empty_line(data, at)
            try:
                self._parser.feed_data(data if end - at == size else data[at:end])
            except httptools.HttpParserUpgrade:
                if not self.in_body:  # it is taken
                    return data[end:]
                self._go_on_without_upgrade()
            if self._left >= 0:
                self._left -= end - at
                if self._left == 0 and self.in_body:
                    raise httptools.HttpParserError("the body has not ended after its Content-Length")
            at = end
            if not self.in_head and not self.in_body:
                if self._tail:
                    raise httptools.HttpParserError("a message has ended where none was expected to")
                return data[at:]
        return b""

    def _begin(self, data: bytes, *, is_split: bool) -> int:
        """Begin a message, if its request line is whole; return from where to go on."""
        self.in_head = False
        self.line = _NO_LINE
        line = read_request_line(data)
        if line is None:
            # Empty lines alone are the beginning of nothing. One in two parts is: the first of them began it.
            if is_split or not data.endswith(b"\r\n"):
                self.in_head = True
                self._line_so_far = data
            return len(data)
        self.in_head = True
        self._left = _NOT_YET_KNOWN
        if isinstance(line, Refusal):
            raise Refused(line)
        self.line = line
        self._headers = []
        if line.method in _USUAL:
            return line.start
        self._parser.feed_data(_STAND_IN)
        return line.start + len(line.method)

    def _end_of_length(self, at: int, size: int) -> int:
        """Where a body with a Content-Length ends, or what has come of it; else `_CHUNKED`."""
        if self._left == _NOT_YET_KNOWN:
            self._left = _length_of_body(self._headers)
        return _CHUNKED if self._left == _CHUNKED else min(size, at + self._left)

    def _end_behind_empty_line(self, data: bytes, at: int) -> int:
        """Where a head, or a chunked body, may end: behind an empty line, or where what has come ends."""
        tail = self._tail
        if tail:
            self._tail = b""
            found = (tail + data[at : at + 3]).find(_EMPTY_LINE)
            if found >= 0:
                return at + found + len(_EMPTY_LINE) - len(tail)
        found = data.find(_EMPTY_LINE, at)
        if found >= 0:
            return found + len(_EMPTY_LINE)
        self._tail = (tail + data[max(at, len(data) - 3) :])[-3:]
        return len(data)

    def _go_on_without_upgrade(self) -> None:
        """Have the body parsed of a request with an upgrade that is not taken."""
        self._parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        length = _length_of_body(self._headers)
        field = b"transfer-encoding: chunked" if length == _CHUNKED else b"content-length: %d" % length
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + field + _EMPTY_LINE)

    def _is_last_of_client(self) -> bool:
        if not self._parser.should_keep_alive():
            return True
        if self.line.version != "1.0":
            return False
        # There the parser takes keep-alive for more than close.
        options = (
            option for name, value in self._headers if name == b"connection" for option in value.split(b",")
        )
        return any(option.strip(b" \t").lower() == b"close" for option in options)

    # Called by the parser

    def on_message_begin(self) -> None:
        """A request begins: see httptools' `HttpRequestParser`."""
        if not self.in_head:
            raise httptools.HttpParserError("a message has ended where none was expected to")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer, is whole."""
        if self.in_body:
            # A trailer (RFC 9110, 6.5). Taken for a header, it could set X-Forwarded-For after a proxy has
            # looked.
            self._sink.on_trailer(len(name) + len(value))
        else:
            # The parser leaves the whitespace behind a value, which is no part of it (RFC 9112, 5.1).
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        is_taken = self._sink.on_head(
            self.line,
            self._headers,
            client_closes=self._is_last_of_client(),
            upgrades=self._parser.should_upgrade(),
        )
        self.in_head = False
        self.in_body = not is_taken

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser thinks so because of an upgrade."""
        if self._parser.should_upgrade():
            return
        self.in_body = False
        if self._left == _CHUNKED and not self._parser.should_keep_alive():
            # With `Connection: close` among the trailers, where it says nothing (RFC 9110, 6.5.1), it would
            # throw away what follows.
            self._parser = httptools.HttpRequestParser(self)
        self._sink.on_message_complete()

    def end_without_upgrade(self) -> None:
        """End a message whose body the parser of `_go_on_without_upgrade` has read."""
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_complete()


class _BodyCallbacks:
    """What a parser calls that parses one body, and before it a head which is known already."""

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader
        self._in_head = True
        self.on_body = reader.on_body

    def on_message_begin(self) -> None:
        if not self._in_head:
            raise httptools.HttpParserError("a message has ended where none was expected to")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_message_complete(self) -> None:
        self._reader.end_without_upgrade()


def _length_of_body(headers: list[_Header]) -> int:
    """The bytes of the body that this head announces, or that it is chunked; the parser has checked it."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return _CHUNKED
    return 0

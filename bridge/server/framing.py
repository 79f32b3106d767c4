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

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.http.limits import Refusal
from bridge.http.request_line import RequestLine, read_request_line

__all__ = ["FramedProtocol", "Refused"]

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


class Refused(Exception):
    """Ends the parsing of a request, also from within a callback."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class FramedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which is told where messages begin and end.

    It is abstract: a subclass has `on_headers_complete`, which ends `_in_head`, and begins `_in_body` unless
    it takes an upgrade (`_should_upgrade`).
    """

    # Beside uvicorn's attributes, in the object's dict, they would make each connection 1 KB larger.
    __slots__ = ("_in_body", "_in_head", "_left", "_line", "_line_so_far", "_tail")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = False
        self._in_body = False
        self._left = _NOT_YET_KNOWN
        self._line = _NO_LINE
        self._line_so_far = b""  # of a message of which no more has come
        self._tail = b""  # up to three bytes before this read, with which an empty line may have begun

    def parse(self, data: bytes) -> bytes | None:
        """Parse what has come.

        Returns:
            None; or, with a handshake for a websocket, what has come after it. Then there is nothing more to
            parse.

        Raises:
            httptools.HttpParserError: it is not HTTP, or it is not certain where a message ends.
            Refused: its request line is not HTTP, or of another version.
        """
        is_split = False
        if self._line_so_far:
            data, self._line_so_far = self._line_so_far + data, b""
            self._in_head = False
            is_split = True
        at, size = 0, len(data)
        while at < size:
            if not self._in_head and not self._in_body:
                at = self._begin(data, at, is_split=is_split and at == 0)
                if at == size:
                    break
            # The parser may read up to where the message may end.
            end = self._end_of_length(at, size) if self._in_body else _CHUNKED
            if end == _CHUNKED:
                end = self._end_behind_empty_line(data, at)
            try:
                self.parser.feed_data(data if end - at == size else data[at:end])
            except httptools.HttpParserUpgrade:
                if not self._in_body:  # it is taken
                    return data[end:]
                self._go_on_without_upgrade()
            if self._left >= 0:
                self._left -= end - at
                if self._left == 0 and self._in_body:
                    raise httptools.HttpParserError("the body has not ended after its Content-Length")
            if self._tail and not self._in_head and not self._in_body:
                raise httptools.HttpParserError("a message has ended where none was expected to")
            at = end
        return None

    def _begin(self, data: bytes, at: int, *, is_split: bool) -> int:
        """Begin a message, if its request line is whole; return from where to go on."""
        if self._is_last_message():
            return len(data)
        self._line = _NO_LINE
        line = read_request_line(data, at)
        if line is None:
            # Empty lines alone are the beginning of nothing. One in two parts is: the first of them began it.
            if is_split or not data.endswith(b"\r\n"):
                self._in_head = True
                self._line_so_far = data[at:]
            return len(data)
        self._in_head = True
        self._left = _NOT_YET_KNOWN
        if isinstance(line, Refusal):
            raise Refused(line)
        self._line = line
        if line.method in _USUAL:
            return line.start
        self.parser.feed_data(_STAND_IN)
        return line.start + len(line.method)

    def _is_last_message(self) -> bool:
        """Whether nothing is to be read after the last message (RFC 9112, 9.6)."""
        return self.cycle is not None and not self.cycle.keep_alive

    def _end_of_length(self, at: int, size: int) -> int:
        """Where a body with a Content-Length ends, or what has come of it; else `_CHUNKED`."""
        if self._left == _NOT_YET_KNOWN:
            self._left = _length_of_body(self.headers)
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
        self.parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        length = _length_of_body(self.headers)
        field = b"transfer-encoding: chunked" if length == _CHUNKED else b"content-length: %d" % length
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + field + _EMPTY_LINE)

    def _should_upgrade(self) -> bool:
        """Whether the request is the handshake of a websocket, and those are served (RFC 6455, 4.2.1)."""
        scope = self.scope
        if scope["method"] != "GET" or scope["http_version"] != "1.1":
            return False
        wanted = [value.strip().lower() for name, value in self.headers if name == b"upgrade"]
        if wanted != [b"websocket"]:
            return False
        if self.ws_protocol_class is None:
            self._unsupported_upgrade_warning()
            return False
        return True

    # Called by the parser

    def on_message_begin(self) -> None:
        """A request begins: see httptools' `HttpRequestParser`."""
        if not self._in_head:
            raise httptools.HttpParserError("a message has ended where none was expected to")
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser thinks so because of an upgrade."""
        if self.parser.should_upgrade():
            return
        self._in_body = False
        if self._left == _CHUNKED and not self.parser.should_keep_alive():
            # With `Connection: close` among the trailers, where it says nothing (RFC 9110, 6.5.1), it would
            # throw away what follows.
            self.parser = httptools.HttpRequestParser(self)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()


class _BodyCallbacks:
    """What a parser calls that parses one body, and before it a head which is known already."""

    def __init__(self, protocol: FramedProtocol) -> None:
        self._protocol = protocol
        self._in_head = True
        self.on_body = protocol.on_body

    def on_message_begin(self) -> None:
        if not self._in_head:
            raise httptools.HttpParserError("a message has ended where none was expected to")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_message_complete(self) -> None:
        self._protocol.parser = httptools.HttpRequestParser(self._protocol)
        self._protocol.on_message_complete()


def _length_of_body(headers: list[tuple[bytes, bytes]]) -> int:
    """The bytes of the body that this head announces, or that it is chunked; the parser has checked it."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return _CHUNKED
    return 0

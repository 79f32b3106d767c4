"""HTTP/1.1 to the letter: every shape of a request that two readers could take for different ones.

Each row is sent to an ASGI app and to a WSGI app, whole and byte by byte, alone and behind another request on
the same connection. What is refused reaches neither, and nothing behind it is ever read as a request.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.types import StartResponse, WSGIEnvironment
from tests.server.wire import exchange

FIRST = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"  # nobody may ever take it for a request


@dataclass(frozen=True)
class Seen:
    """One request, as an app has seen it."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    host: str | None = "a"
    x: str | None = None
    """The value of its field X."""
    body: bytes = b""


@dataclass(frozen=True)
class Refused:
    """What is sent, and the status of the answer that ends the connection.

    Args:
        section: where it is forbidden: of RFC 9112, if it names no other.
        has_begun: whether the app has been given the head, as it is the body that is wrong.
    """

    section: str
    sent: bytes
    status: int = 400
    has_begun: bool = False


@dataclass(frozen=True)
class Served:
    """What is sent, and what the app sees of it.

    Args:
        section: where it is allowed: of RFC 9112, if it names no other.
        goes_on: whether the connection is for further requests.
    """

    section: str
    sent: bytes
    seen: Seen
    goes_on: bool = True


@dataclass
class Notes:
    """What an app has seen."""

    called: int = 0
    requests: list[Seen] = field(default_factory=list)
    """Those whose bodies have come to their ends."""


@asynccontextmanager
async def asgi(notes: Notes) -> AsyncIterator[Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        notes.called += 1
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event["body"]
            more = event["more_body"]
        values = {name: _value(scope["headers"], name) for name in (b"host", b"x")}
        notes.requests.append(
            Seen(
                scope["method"],
                scope["path"],
                scope["query_string"].decode(),
                values[b"host"],
                values[b"x"],
                body,
            )
        )
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    yield app


def _value(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    values = [value.decode("latin-1") for name, value in headers if name == wanted]
    return ",".join(values) if values else None


@asynccontextmanager
async def wsgi(notes: Notes) -> AsyncIterator[Any]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        notes.called += 1
        body = environ["wsgi.input"].read()
        notes.requests.append(
            Seen(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ["QUERY_STRING"],
                environ.get("HTTP_HOST"),
                environ.get("HTTP_X"),
                body,
            )
        )
        start_response("200 OK", [("Content-Length", "0")])
        return []

    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():  # which ends its thread
        yield adapter


RunningApp = Callable[[Notes], AbstractAsyncContextManager[Any]]
APPS: dict[str, RunningApp] = {"asgi": asgi, "wsgi": wsgi}


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return head(*fields, line=b"POST / HTTP/1.1") + body


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def bad_chunks(body: bytes, section: str = "7.1") -> Refused:
    return Refused(section, chunks(body), has_begun=True)


LINES: dict[str, Refused] = {
    # Line ends and whitespace
    "a bare LF after the request line": Refused("2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "a bare LF after a field": Refused("2.2", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "a bare LF for the empty line": Refused("2.2", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    "bare LFs everywhere": Refused("2.2", b"GET / HTTP/1.1\nHost: a\n\n"),
    "a bare CR after the request line": Refused("2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    "a bare CR after a field": Refused("2.2", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    "a bare CR in the target": Refused("2.2", head(line=b"GET /\r HTTP/1.1")),
    "CR CR LF after the request line": Refused("2.2", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    "CR CR LF after a field": Refused("2.2", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    "a bare CR before the request line": Refused("2.2", b"\r" + head()),
    "a bare LF before the request line": Refused("2.2", b"\n" + head()),
    "a space before the request line": Refused("2.2", b" " + head()),
    "a NUL before the request line": Refused("2.2", b"\x00" + head()),
    "a byte order mark": Refused("2.2", b"\xef\xbb\xbf" + head()),
    "whitespace before the first field": Refused("2.2", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    "whitespace alone in a line before the first field": Refused(
        "2.2", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"
    ),
    # The request line
    "two spaces before the target": Refused("3", head(line=b"GET  / HTTP/1.1")),
    "two spaces after the target": Refused("3", head(line=b"GET /  HTTP/1.1")),
    "a space after the version": Refused("3", head(line=b"GET / HTTP/1.1 ")),
    "a tab before the target": Refused("3", head(line=b"GET\t/ HTTP/1.1")),
    "a tab after the target": Refused("3", head(line=b"GET /\tHTTP/1.1")),
    "a form feed after the target": Refused("3", head(line=b"GET /\x0cHTTP/1.1")),
    "a space in the target": Refused("3.2", head(line=b"GET /a b HTTP/1.1")),
    "no target": Refused("3", head(line=b"GET HTTP/1.1")),
    "an empty target": Refused("3", head(line=b"GET  HTTP/1.1")),
    "no method": Refused("3", head(line=b" / HTTP/1.1")),
    "a NUL in the method": Refused("3.1", head(line=b"GE\x00T / HTTP/1.1")),
    "no token for a method": Refused("3.1", head(line=b"GE(T / HTTP/1.1")),
    "a tab after a method of the app's": Refused("3", head(line=b"FETCH\t/ HTTP/1.1")),
    "a line of one word": Refused("3", b"FETCH\r\n\r\n"),
    "a field for a request line": Refused("3", b"Host: a\r\n\r\n"),
    "no target, and HTTP/0.9": Refused("3", b"GET\r\n\r\n"),
    "POST in HTTP/0.9": Refused("3", head(line=b"POST /")),
    "TLS": Refused("3", b"\x16\x03\x01\x02\x00\x01\x00"),
    # Versions
    "http in lower case": Refused("2.3", head(line=b"GET / http/1.1")),
    "another protocol": Refused("2.3", head(line=b"GET / RTSP/1.0")),
    "a protocol with one letter more": Refused("2.3", head(line=b"GET / HTTPS/1.1")),
    "a version without its minor": Refused("2.3", head(line=b"GET / HTTP/1")),
    "a version without a digit after the dot": Refused("2.3", head(line=b"GET / HTTP/1.")),
    "a version with two digits after the dot": Refused("2.3", head(line=b"GET / HTTP/1.10")),
    "a version with two digits before the dot": Refused("2.3", head(line=b"GET / HTTP/11.1")),
    "a version with a sign": Refused("2.3", head(line=b"GET / HTTP/+1.1")),
    "a version with a letter": Refused("2.3", head(line=b"GET / HTTP/1.x")),
    "a space in the version": Refused("2.3", head(line=b"GET / HTTP/ 1.1")),
    **{
        f"HTTP/{version}": Refused("RFC 9110, 15.6.6", head(line=f"GET / HTTP/{version}".encode()), 505)
        for version in ("0.0", "0.9", "1.2", "1.9", "2.0", "2.1", "3.0", "9.9")
    },
    "the preface of HTTP/2": Refused("RFC 9110, 15.6.6", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no version": Refused("RFC 9110, 15.6.6", head(line=b"GET /"), 505),  # HTTP/0.9
    "no version, and no more": Refused("RFC 9110, 15.6.6", b"GET /\r\n\r\n", 505),
    # Targets
    "a relative path": Refused("3.2.1", head(line=b"GET a HTTP/1.1")),
    "a query alone": Refused("3.2.1", head(line=b"GET ?a HTTP/1.1")),
    "a fragment": Refused("3.2.1", head(line=b"GET /a#b HTTP/1.1")),
    "a fragment in the query": Refused("3.2.1", head(line=b"GET /a?b#c HTTP/1.1")),
    "a control character in the target": Refused("3.2", head(line=b"GET /\x01 HTTP/1.1")),
    "a NUL in the target": Refused("3.2", head(line=b"GET /\x00 HTTP/1.1")),
    "a DEL in the target": Refused("3.2", head(line=b"GET /\x7f HTTP/1.1")),
    "a byte beyond ASCII in the target": Refused("3.2", head(line=b"GET /\xe4 HTTP/1.1")),
    "a byte beyond ASCII in the query": Refused("3.2", head(line=b"GET /?\xc3\xa4 HTTP/1.1")),
    "an absolute target without a host": Refused("RFC 9110, 4.2.1", head(line=b"GET http:///a HTTP/1.1")),
    "an absolute target with a port alone": Refused(
        "RFC 9110, 4.2.1", head(line=b"GET http://:80/ HTTP/1.1")
    ),
    "an absolute target with a user": Refused("RFC 9110, 4.2.4", head(line=b"GET http://u@b/ HTTP/1.1")),
    "an absolute target with a user and a password": Refused(
        "RFC 9110, 4.2.4", head(line=b"GET http://u:p@b/ HTTP/1.1")
    ),
    "an absolute target with a port that is no number": Refused(
        "RFC 9110, 4.2.1", head(line=b"GET http://b:x/ HTTP/1.1")
    ),
    "an absolute target with two ports": Refused("RFC 9110, 4.2.1", head(line=b"GET http://b:1:2/ HTTP/1.1")),
    "an absolute target with a backslash": Refused(
        "RFC 9110, 4.2.1", head(line=b"GET http://b\\c/ HTTP/1.1")
    ),
    "an absolute target with a fragment": Refused("3.2.2", head(line=b"GET http://b/#c HTTP/1.1")),
    "an absolute target of another scheme": Refused(
        "RFC 9110, 15.5.20", head(line=b"GET ftp://b/ HTTP/1.1"), 421
    ),
    "an absolute target with one slash": Refused("3.2.2", head(line=b"GET http:/b HTTP/1.1")),
    "an absolute target, and no Host": Refused("3.2", b"GET http://b/ HTTP/1.1\r\n\r\n"),
    "an absolute target, and two Hosts": Refused("3.2", head(b"Host: a", line=b"GET http://b/ HTTP/1.1")),
    "an absolute target, and an ill-formed Host": Refused(
        "3.2", b"GET http://b/ HTTP/1.1\r\nHost: a/b\r\n\r\n"
    ),
    "an authority for GET": Refused("3.2.3", head(line=b"GET a:443 HTTP/1.1")),
    "an authority for a method of the app's": Refused("3.2.3", head(line=b"FETCH a:443 HTTP/1.1")),
    "a host for GET": Refused("3.2.3", head(line=b"GET a.example HTTP/1.1")),
    "* for GET": Refused("3.2.4", head(line=b"GET * HTTP/1.1")),
    "* for POST": Refused("3.2.4", head(line=b"POST * HTTP/1.1")),
    "* for a method of the app's": Refused("3.2.4", head(line=b"FETCH * HTTP/1.1")),
    "* and a query": Refused("3.2.4", head(line=b"OPTIONS *?a HTTP/1.1")),
    "* and a path": Refused("3.2.4", head(line=b"OPTIONS */a HTTP/1.1")),
    "CONNECT": Refused("RFC 9110, 9.3.6 and 15.6.2", head(line=b"CONNECT a:443 HTTP/1.1"), 501),
    "CONNECT to an address": Refused("RFC 9110, 9.3.6", head(line=b"CONNECT [::1]:443 HTTP/1.1"), 501),
    "CONNECT with a body": Refused(
        "RFC 9110, 9.3.6", head(b"Content-Length: 5", line=b"CONNECT a:443 HTTP/1.1") + b"hello", 501
    ),
    "CONNECT in HTTP/1.0": Refused("RFC 9110, 9.3.6", head(line=b"CONNECT a:443 HTTP/1.0"), 501),
    "CONNECT without a port": Refused("RFC 9110, 9.3.6", head(line=b"CONNECT a HTTP/1.1")),
    "CONNECT with an empty port": Refused("RFC 9110, 9.3.6", head(line=b"CONNECT a: HTTP/1.1")),
    "CONNECT with a port that is none": Refused("RFC 9110, 9.3.6", head(line=b"CONNECT a:65536 HTTP/1.1")),
    "CONNECT to a path": Refused("3.2.3", head(line=b"CONNECT / HTTP/1.1")),
    "CONNECT to an absolute target": Refused("3.2.3", head(line=b"CONNECT http://a:443/ HTTP/1.1")),
    "CONNECT to *": Refused("3.2.3", head(line=b"CONNECT * HTTP/1.1")),
}

FIELDS: dict[str, Refused] = {
    "a space before the colon": Refused("5.1", head(b"X : b")),
    "a tab before the colon": Refused("5.1", head(b"X\t: b")),
    "a space before the colon of a length": Refused("5.1", post(b"Content-Length : 5", body=b"hello")),
    "a space before the colon of a coding": Refused(
        "5.1", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")
    ),
    "a folded field": Refused("5.2", head(b"X: b", b" c")),
    "a field folded by a tab": Refused("5.2", head(b"X: b", b"\tc")),
    "a folded field that is empty so far": Refused("5.2", head(b"X:", b" c")),
    "a folded length": Refused("5.2", post(b"Content-Length:", b" 5", body=b"hello")),
    "a folded coding": Refused("5.2", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    "whitespace alone in a line": Refused("5.2", head(b"X: b", b" ")),
    "no colon": Refused("5", head(b"X")),
    "no name": Refused("5", head(b": b")),
    "a space in a name": Refused("5.1", head(b"X Y: b")),
    **{
        f"{name!r} in a name": Refused("RFC 9110, 5.1", head(b"X%bY: b" % name))
        for name in (
            b"\x00",
            b"\x01",
            b"\x0b",
            b"\x1b",
            b"\x7f",
            b"\x80",
            b"\xff",
            *map(bytes, zip(b'"(),/;<=>?@[\\]{}')),
        )
    },
    **{
        f"{value!r} in a value": Refused("RFC 9110, 5.5", head(b"X: b%bc" % value))
        for value in (b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\r", b"\n", b"\x1b", b"\x1f", b"\x7f")
    },
    "a NUL at the end of a value": Refused("RFC 9110, 5.5", head(b"X: b\x00")),
    "a NUL for a value": Refused("RFC 9110, 5.5", head(b"X: \x00")),
    # Host
    "no Host": Refused("3.2", b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": Refused("3.2", head(b"Host: b")),
    "the same Host twice": Refused("3.2", head(b"host: a")),
    "two Hosts, one empty": Refused("3.2", head(b"Host:")),
    "two Hosts in HTTP/1.0": Refused("3.2", head(b"Host: b", line=b"GET / HTTP/1.0")),
    "a list of Hosts": Refused("3.2", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    "a Host with a path": Refused("3.2", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "a Host with a user": Refused("3.2", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "a Host with a space": Refused("3.2", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
}

BODIES: dict[str, Refused] = {
    # Content-Length
    **{
        f"Content-Length: {value!r}": Refused("6.3", post(b"Content-Length: " + value, body=b"hello"))
        for value in (
            *(
                b"+5",
                b"-5",
                b"-0",
                b"+0",
                b"5.0",
                b"5e0",
                b"0x5",
                b"5_0",
                b"5 5",
                b"5;",
                b"a",
                b"\xb2",
                b'"5"',
                b"5 a",
            ),
            *(b"5, 5", b"5,5", b"5, 6", b"5,", b",5", b"", b" ", b"5\x00", b"\x0b5", b"5\x0b"),
            *(b"%d" % ((1 << 64) + 5), b"%d" % (1 << 64), b"9" * 400),
        )
    },
    "the same length twice": Refused("6.3", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    "two lengths": Refused("6.3", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello")),
    "two lengths, in two spellings": Refused(
        "6.3", post(b"Content-Length: 5", b"content-length: 0", body=b"hello")
    ),
    "two lengths, the first empty": Refused(
        "6.3", post(b"Content-Length:", b"Content-Length: 5", body=b"hello")
    ),
    "two lengths, the last empty": Refused(
        "6.3", post(b"Content-Length: 5", b"Content-Length:", body=b"hello")
    ),
    # Both
    "a length, and chunked": Refused(
        "6.1", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    ),
    "chunked, and a length": Refused(
        "6.1", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n")
    ),
    "chunked, and a length of 0": Refused(
        "6.1", post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=b"0\r\n\r\n")
    ),
    "a length, and a coding nobody knows": Refused(
        "6.1", post(b"Content-Length: 5", b"Transfer-Encoding: x", body=b"hello")
    ),
    "a length, and a coding nobody knows, and chunked": Refused(
        "6.1", post(b"Content-Length: 5", b"Transfer-Encoding: x, chunked", body=b"0\r\n\r\n")
    ),
    "a length, and an empty coding": Refused(
        "6.1", post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello")
    ),
    # Transfer-Encoding
    "chunked in HTTP/1.0": Refused("6.1", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0, kept alive": Refused(
        "6.1", b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "gzip, chunked": Refused("6.1", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "gzip and chunked in two lines": Refused(
        "6.1", post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 501
    ),
    "an unknown coding, chunked": Refused(
        "6.1", post(b"Transfer-Encoding: x, chunked", body=b"0\r\n\r\n"), 501
    ),
    **{
        f"Transfer-Encoding: {value!r}": Refused(
            "6.3", post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n")
        )
        for value in (
            *(
                b"",
                b"identity",
                b"gzip",
                b"x",
                b"xchunked",
                b"chunkedx",
                b"chunked x",
                b"chunk",
                b"chunked;a=b",
            ),
            *(
                b"chunked, gzip",
                b"chunked, identity",
                b"chunked, chunked",
                b"chunked,",
                b",chunked",
                b'"chunked"',
            ),
            *(b"chunked\x00", b"\x0bchunked", b"chunked\x0b", b"'chunked'", b"\xa0chunked", b"chunked, ,"),
        )
    },
    "chunked twice": Refused(
        "6.3", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    ),
    "chunked, and identity in another line": Refused(
        "6.3", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n")
    ),
    "identity, and chunked in another line": Refused(
        "6.3", post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 501
    ),
    "chunked, and an empty line of it": Refused(
        "6.3", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding:", body=b"0\r\n\r\n")
    ),
    "an empty coding, and chunked": Refused(
        "6.3", post(b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    ),
    # Chunks
    **{
        f"a chunk size {size!r}": bad_chunks(size + b"\r\nhello\r\n0\r\n\r\n")
        for size in (
            *(
                b"+5",
                b"-5",
                b" 5",
                b"\t5",
                b"5 ",
                b"5\t",
                b"0x5",
                b"0X5",
                b"5h",
                b"5_0",
                b"5,5",
                b"5.0",
                b"\x005",
            ),
            *(b"", b"g", b"\xb2", b"5 5", b"5\x00", b"5\x0b", b'"5"'),
            *(b"10000000000000005", b"1" + b"0" * 100, b"f" * 17, b"-", b"0-5", b"5\r", b"5\n", b"5\rx"),
        )
    },
    "a bare LF after a size": bad_chunks(b"5\nhello\r\n0\r\n\r\n"),
    "a bare CR after a size": bad_chunks(b"5\rhello\r\n0\r\n\r\n"),
    "a bare LF after a chunk": bad_chunks(b"5\r\nhello\n0\r\n\r\n"),
    "a bare CR after a chunk": bad_chunks(b"5\r\nhello\r0\r\n\r\n"),
    "nothing after a chunk": bad_chunks(b"5\r\nhello0\r\n\r\n"),
    "a chunk that is longer than its size": bad_chunks(b"5\r\nhellox\r\n0\r\n\r\n"),
    "two empty lines after a chunk": bad_chunks(b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    "other bytes after a chunk": bad_chunks(b"5\r\nhelloxx0\r\n\r\n"),
    "a bare LF after the last size": bad_chunks(b"5\r\nhello\r\n0\n\r\n"),
    "a bare LF at the end": bad_chunks(b"5\r\nhello\r\n0\r\n\n"),
    "a bare CR at the end": bad_chunks(b"5\r\nhello\r\n0\r\n\rx"),
    "a last size with a sign": bad_chunks(b"5\r\nhello\r\n-0\r\n\r\n"),
    **{
        f"a chunk's extension {extension!r}": bad_chunks(
            b"5" + extension + b"\r\nhello\r\n0\r\n\r\n", "7.1.1"
        )
        for extension in (
            *(b";a\n", b";a=b\n", b";\n", b";a\r", b";a\rb", b';a="\n"', b';a="\r"', b";a\nb", b";a=b\nc"),
            *(b";a=\x00", b";\x00", b";a\x7f", b';a="\x00"', b";", b';a="b', b";a=b=c", b"a=b"),
        )
    },
    "a bare LF in the last chunk's extension": bad_chunks(b"5\r\nhello\r\n0;a\n\r\n\r\n", "7.1.1"),
    # Trailers
    "a length among the trailers": bad_chunks(
        b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", "RFC 9110, 6.5.1"
    ),
    "a coding among the trailers": bad_chunks(
        b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "RFC 9110, 6.5.1"
    ),
    **{
        f"a trailer {trailer!r}": bad_chunks(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n", "7.1.2")
        for trailer in (
            b"X",
            b": b",
            b"X : b",
            b" X: b",
            b"X: b\r\n c",
            b"X: b\nY: c",
            b"X: b\x00",
            b"X\x00: b",
            b"X: b\rc",
        )
    },
}


REFUSED = {**LINES, **FIELDS, **BODIES}

SERVED: dict[str, Served] = {
    "an empty line before the request": Served("2.2", b"\r\n" + head(), Seen()),
    "two empty lines before the request": Served("2.2", b"\r\n\r\n" + head(), Seen()),
    "a path": Served("3.2.1", head(line=b"GET /a/b?c=d HTTP/1.1"), Seen(path="/a/b", query="c=d")),
    "two slashes": Served("3.2.1", head(line=b"GET //b/c HTTP/1.1"), Seen(path="//b/c")),
    "a path with a scheme in it": Served(
        "3.2.1", head(line=b"GET /http://b/ HTTP/1.1"), Seen(path="/http://b/")
    ),
    # Not in RFC 3986, and yet browsers send it.
    "what browsers leave as it is": Served(
        "3.2.1",
        head(line=b'GET /[]|^`{}"<>\\?[]|^`{}"<>\\ HTTP/1.1'),
        Seen(path='/[]|^`{}"<>\\', query='[]|^`{}"<>\\'),
    ),
    "an absolute target": Served(
        "3.2.2", head(line=b"GET http://b/c?d HTTP/1.1"), Seen(path="/c", query="d", host="b")
    ),
    "an absolute target with a port": Served(
        "3.2.2", head(line=b"GET http://b:8080/c HTTP/1.1"), Seen(path="/c", host="b:8080")
    ),
    "an absolute target with an address": Served(
        "3.2.2", head(line=b"GET http://[::1]:80/c HTTP/1.1"), Seen(path="/c", host="[::1]:80")
    ),
    "an absolute target without a path": Served("3.2.2", head(line=b"GET http://b HTTP/1.1"), Seen(host="b")),
    "an absolute target with a query and no path": Served(
        "3.2.2", head(line=b"GET http://b?c HTTP/1.1"), Seen(query="c", host="b")
    ),
    "an absolute target with two slashes in its path": Served(
        "3.2.2", head(line=b"GET http://b//c HTTP/1.1"), Seen(path="//c", host="b")
    ),
    "an absolute target with a user in its query": Served(
        "3.2.2", head(line=b"GET http://b?c@d HTTP/1.1"), Seen(query="c@d", host="b")
    ),
    "an absolute target of https": Served(
        "3.2.2", head(line=b"GET https://b/c HTTP/1.1"), Seen(path="/c", host="b")
    ),
    "an absolute target in capitals": Served(
        "3.2.2", head(line=b"GET HTTP://B/C HTTP/1.1"), Seen(path="/C", host="B")
    ),
    "an absolute target, and an empty Host": Served(
        "3.2.2", b"GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n", Seen(host="b")
    ),
    "an absolute target, and the Host last": Served(
        "3.2.2", b"GET http://b/ HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n", Seen(host="b", x="y")
    ),
    "an absolute target for OPTIONS": Served(
        "3.2.4", head(line=b"OPTIONS http://b HTTP/1.1"), Seen("OPTIONS", host="b")
    ),
    "an absolute target in HTTP/1.0 without a Host": Served(
        "3.2.2", b"GET http://b/c HTTP/1.0\r\n\r\n", Seen(path="/c", host="b"), goes_on=False
    ),
    "an absolute target for a method of the app's": Served(
        "3.2.2", head(line=b"FETCH http://b/c HTTP/1.1"), Seen("FETCH", "/c", host="b")
    ),
    "*": Served("3.2.4", head(line=b"OPTIONS * HTTP/1.1"), Seen("OPTIONS", "*")),
    # Host
    "an empty Host": Served("3.2", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Seen(host="")),
    "no Host in HTTP/1.0": Served("3.2", b"GET / HTTP/1.0\r\n\r\n", Seen(host=None), goes_on=False),
    "a Host with spaces around it": Served("5.1", b"GET / HTTP/1.1\r\nHost: \ta \t\r\n\r\n", Seen()),
    # Fields
    "a value with whitespace around it": Served("5.1", head(b"X: \t b c\t "), Seen(x="b c")),
    "a value without whitespace around it": Served("5.1", head(b"X:b"), Seen(x="b")),
    "a value with a tab in it": Served("RFC 9110, 5.5", head(b"X: b\tc"), Seen(x="b\tc")),
    "an empty value": Served("RFC 9110, 5.5", head(b"X:"), Seen(x="")),
    "a value of spaces": Served("RFC 9110, 5.5", head(b"X:  \t "), Seen(x="")),
    "a value beyond ASCII": Served("RFC 9110, 5.5", head(b"X: \xc3\xa4\xff"), Seen(x="\xc3\xa4\xff")),
    "a field twice": Served("RFC 9110, 5.3", head(b"X: b", b"x: c"), Seen(x="b,c")),
    "a colon in a value": Served("5", head(b"X: b: c"), Seen(x="b: c")),
    # Bodies
    "a length": Served("6.3", post(b"Content-Length: 5", body=b"hello"), Seen("POST", body=b"hello")),
    "a length of 0": Served("6.3", post(b"Content-Length: 0"), Seen("POST")),
    "a length with zeros before it": Served(
        "6.3", post(b"Content-Length: 0005", body=b"hello"), Seen("POST", body=b"hello")
    ),
    "a length with whitespace around it": Served(
        "5.1", post(b"Content-Length: \t5 \t", body=b"hello"), Seen("POST", body=b"hello")
    ),
    "neither a length nor a coding": Served("6.3", post(), Seen("POST")),
    "a length with GET": Served(
        "RFC 9110, 9.3.1", head(b"Content-Length: 5") + b"hello", Seen(body=b"hello")
    ),
    "a name that only looks like a length": Served("6.3", post(b"Content_Length: 5"), Seen("POST")),
    "Chunked": Served(
        "7", post(b"Transfer-Encoding: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), Seen("POST", body=b"hello")
    ),
    "chunked with whitespace around it": Served(
        "5.1",
        post(b"transfer-encoding: \tchunked  ", body=b"5\r\nhello\r\n0\r\n\r\n"),
        Seen("POST", body=b"hello"),
    ),
    "chunked with GET": Served(
        "6.3", head(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", Seen(body=b"hello")
    ),
    **{
        f"a chunk header {header!r}": Served(
            "7.1.1", chunks(header + b"\r\nhello, world\r\n0\r\n\r\n"), Seen("POST", body=b"hello, world")
        )
        for header in (
            *(
                b"c",
                b"C",
                b"0c",
                b"000000000000000c",
                b"c;a",
                b"c;a=b",
                b'c;a="b"',
                b'c;a="b;c"',
                b'c;a="\\""',
            ),
            b"c;a;b=c",
        )
    },
    "no chunk but the last": Served("7.1", chunks(b"0\r\n\r\n"), Seen("POST")),
    "a last chunk of many zeros": Served("7.1", chunks(b"1\r\na\r\n000\r\n\r\n"), Seen("POST", body=b"a")),
    "a last chunk with an extension": Served(
        "7.1", chunks(b"1\r\na\r\n0;a=b\r\n\r\n"), Seen("POST", body=b"a")
    ),
    "trailers": Served(
        "7.1.2",
        chunks(b"1\r\na\r\n0\r\nX: b\r\nHost: b\r\nConnection: close\r\n\r\n"),
        Seen("POST", body=b"a"),
    ),
    # Connections
    "close": Served("9.6", head(b"Connection: close"), Seen(), goes_on=False),
    "Close among others": Served("9.6", head(b"Connection: x, Close"), Seen(), goes_on=False),
    "what only begins like close": Served("9.6", head(b"Connection: closed, close2"), Seen()),
    "close in a second line": Served(
        "9.6", head(b"Connection: x", b"Connection: close"), Seen(), goes_on=False
    ),
    "keep-alive": Served("9.3", head(b"Connection: keep-alive"), Seen()),
    "close and keep-alive": Served("9.3", head(b"Connection: keep-alive, close"), Seen(), goes_on=False),
    "HTTP/1.0": Served("9.3", head(line=b"GET / HTTP/1.0"), Seen(), goes_on=False),
    "HTTP/1.0 with keep-alive": Served(
        "9.3", head(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"), Seen()
    ),
    "HTTP/1.0 with keep-alive and close": Served(
        "9.3", head(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"), Seen(), goes_on=False
    ),
    "HTTP/1.0 with a body": Served(
        "6.3",
        head(b"Content-Length: 5", line=b"POST / HTTP/1.0") + b"hello",
        Seen("POST", body=b"hello"),
        goes_on=False,
    ),
}


def statuses(sent: bytes) -> list[int]:
    """Those of the answers, each of which has one Date (RFC 9110, 6.6.1)."""
    found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", sent)]
    assert sent.count(b"\r\ndate: ") == len(found)
    return found


def ways(sent: bytes) -> dict[str, list[bytes]]:
    return {"whole": [sent], "byte by byte": [sent[at : at + 1] for at in range(len(sent))]}


@pytest.fixture(params=APPS)
def running(request: pytest.FixtureRequest) -> RunningApp:
    return APPS[request.param]


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused(row: Refused, running: RunningApp) -> None:
    for how, parts in ways(row.sent + HIDDEN).items():
        notes = Notes()
        async with running(notes) as app:
            wire = await exchange(app, parts)
        assert (statuses(wire.sent), notes.requests) == ([row.status], []), how
        assert row.has_begun or not notes.called, how
        assert wire.has_ended or wire.is_closed, how


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_behind_another(row: Refused, running: RunningApp) -> None:
    for how, parts in ways(FIRST + row.sent + HIDDEN).items():
        notes = Notes()
        async with running(notes) as app:
            wire = await exchange(app, parts)
        # Where the first answer is still under way, it is the last.
        assert statuses(wire.sent) in ([200], [200, row.status]), how
        assert notes.requests == [Seen(path="/first")], how
        assert row.has_begun or notes.called == 1, how
        assert wire.has_ended or wire.is_closed, how


@pytest.mark.parametrize("row", SERVED.values(), ids=SERVED)
async def test_what_is_served(row: Served, running: RunningApp) -> None:
    expected = [Seen(path="/first"), row.seen] + [Seen(path="/next")] * row.goes_on
    for how, parts in ways(FIRST + row.sent + NEXT).items():
        notes = Notes()
        async with running(notes) as app:
            wire = await exchange(app, parts)
        assert (notes.requests, statuses(wire.sent)) == (expected, [200] * len(expected)), how
        assert (wire.has_ended or wire.is_closed) == (not row.goes_on), how


# What an ASGI app says in a head: its status and fields → the status of the answer, and a part of its head.
Fields = list[tuple[bytes, bytes]]
DATE = b"Fri, 02 Jan 1970 00:00:00 GMT"
HEADS: dict[str, tuple[int, Fields, int, bytes]] = {
    "a status of the server's": (100, [], 500, b"content-length: 21\r\n"),
    "an upgrade": (101, [(b"connection", b"upgrade"), (b"upgrade", b"x")], 500, b"content-length: 21\r\n"),
    "early hints": (103, [], 500, b"content-length: 21\r\n"),
    "a status that is none": (600, [], 500, b"content-length: 21\r\n"),
    "a length that is no number": (200, [(b"content-length", b"+0")], 500, b"content-length: 21\r\n"),
    "a Date": (200, [(b"date", DATE)], 200, b"date: %b\r\n" % DATE),
    "a Date in capitals": (200, [(b"DATE", DATE)], 200, b"date: %b\r\n" % DATE),
    "two Dates": (200, [(b"date", DATE), (b"x", b"y"), (b"Date", b"z")], 200, b"date: %b\r\nx: y\r\n" % DATE),
}


@pytest.mark.parametrize(("status", "fields", "answer", "part"), HEADS.values(), ids=HEADS)
async def test_heads_of_an_app(status: int, fields: Fields, answer: int, part: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body"})

    wire = await exchange(app, [head()])
    assert statuses(wire.sent) == [answer]
    assert part in wire.sent


async def test_what_is_refused_of_head_has_no_body() -> None:
    """RFC 9110, 9.3.2."""
    async with asgi(Notes()) as app:
        wire = await exchange(app, [b"HEAD / HTTP/1.1\r\n\r\n"])
    assert statuses(wire.sent) == [400]
    assert wire.sent.endswith(b"\r\n\r\n")

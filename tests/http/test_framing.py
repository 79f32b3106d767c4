"""Where one message ends and the next begins, however the bytes come."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bridge.http.limits import Limits
from tests.server.wire import Asked, Wire, exchange

_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"  # nobody may ever take it for a request


def message(
    *fields: bytes, method: bytes = b"POST", target: bytes = b"/", version: bytes = b"1.1", body: bytes = b""
) -> bytes:
    head = [b"%b %b HTTP/%b" % (method, target, version), b"Host: a", *fields]
    return b"\r\n".join([*head, b"", b""]) + body


def with_length(*fields: bytes, body: bytes = _HIDDEN, **others: bytes) -> bytes:
    return message(*fields, b"Content-Length: %d" % len(body), body=body, **others)


def chunked(*fields: bytes, trailer: bytes = b"", **others: bytes) -> bytes:
    """Two chunks, one of which has an empty line in it."""
    first, second = _HIDDEN[:10], _HIDDEN[10:]
    body = b"%x\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\n%b\r\n" % (len(first), first, len(second), second, trailer)
    return message(*fields, b"Transfer-Encoding: chunked", body=body, **others)


def statuses(wire: Wire) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", wire.sent)]


def every_split(data: bytes) -> Iterator[Sequence[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


NEXT = message(method=b"GET", target=b"/next")
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: YnJpZGdlIG1hZGUgaXQgdQ==",
)

GET_NEXT = ("GET", "/next", b"")
POST_HIDDEN = ("POST", "/", _HIDDEN)
GET = ("GET", "/", b"")

# Bytes → what the app is asked.
MESSAGES: dict[str, tuple[bytes, list[tuple[str, str, bytes]]]] = {
    "a length": (with_length() + NEXT, [POST_HIDDEN, GET_NEXT]),
    "chunked": (chunked() + NEXT, [POST_HIDDEN, GET_NEXT]),
    "chunked, with trailers": (chunked(trailer=b"A: b\r\nC:\r\n") + NEXT, [POST_HIDDEN, GET_NEXT]),
    # RFC 9110, 6.5.1: these say nothing there
    "chunked, with trailers about the connection": (
        chunked(trailer=b"Connection: close\r\n")
        + chunked(trailer=b"".join(f + b"\r\n" for f in H2C))
        + NEXT,
        [POST_HIDDEN, POST_HIDDEN, GET_NEXT],
    ),
    "h2c, chunked, with trailers about the connection": (
        chunked(*H2C, trailer=b"Connection: close\r\n") + NEXT,
        [POST_HIDDEN, GET_NEXT],
    ),
    "another method, chunked, with trailers about the connection": (
        chunked(method=b"FETCH", trailer=b"Connection: close\r\n") + NEXT,
        [("FETCH", "/", _HIDDEN), GET_NEXT],
    ),
    "empty lines before and between": (
        b"\r\n\r\n" + with_length() + b"\r\n" + NEXT + b"\r\n\r\n",
        [POST_HIDDEN, GET_NEXT],
    ),
    # RFC 9110, 7.8: an upgrade that is not taken is ignored
    "h2c": (message(*H2C, method=b"GET") + NEXT, [GET, GET_NEXT]),
    "h2c, a length": (with_length(*H2C) + NEXT, [POST_HIDDEN, GET_NEXT]),
    "h2c, a length of 0": (with_length(*H2C, body=b"") + NEXT, [("POST", "/", b""), GET_NEXT]),
    "h2c, chunked": (chunked(*H2C) + NEXT, [POST_HIDDEN, GET_NEXT]),
    "h2c, chunked, with trailers": (chunked(*H2C, trailer=b"A: b\r\n") + NEXT, [POST_HIDDEN, GET_NEXT]),
    "h2c twice": (with_length(*H2C) + chunked(*H2C) + NEXT, [POST_HIDDEN, POST_HIDDEN, GET_NEXT]),
    "h2c in HTTP/1.0": (
        with_length(b"Connection: Upgrade, keep-alive", b"Upgrade: h2c", version=b"1.0") + NEXT,
        [POST_HIDDEN, GET_NEXT],
    ),
    "TLS": (with_length(b"Connection: Upgrade", b"Upgrade: TLS/1.0") + NEXT, [POST_HIDDEN, GET_NEXT]),
    "a websocket by POST": (with_length(*WEBSOCKET) + NEXT, [POST_HIDDEN, GET_NEXT]),
    "a websocket in HTTP/1.0": (message(*WEBSOCKET, method=b"GET", version=b"1.0"), [GET]),
    "a websocket or h2c": (
        message(b"Connection: Upgrade", b"Upgrade: h2c, websocket", method=b"GET") + NEXT,
        [GET, GET_NEXT],
    ),
    "an upgrade that Connection does not name": (
        with_length(b"Connection: keep-alive", b"Upgrade: h2c") + NEXT,
        [POST_HIDDEN, GET_NEXT],
    ),
    # RFC 9110, 9.1: every token is a method
    "another method": (with_length(method=b"FETCH") + NEXT, [("FETCH", "/", _HIDDEN), GET_NEXT]),
    "another method, chunked": (chunked(method=b"FETCH") + NEXT, [("FETCH", "/", _HIDDEN), GET_NEXT]),
    "another method, h2c": (with_length(*H2C, method=b"FETCH") + NEXT, [("FETCH", "/", _HIDDEN), GET_NEXT]),
    "another method behind others": (
        with_length() + NEXT + chunked() + b"\r\n" + message(method=b"FETCH") + message(method=b"F") + NEXT,
        [POST_HIDDEN, GET_NEXT, POST_HIDDEN, ("FETCH", "/", b""), ("F", "/", b""), GET_NEXT],
    ),
    "one that begins like a usual one": (message(method=b"GETS") + NEXT, [("GETS", "/", b""), GET_NEXT]),
    "one in lower case": (message(method=b"get") + NEXT, [("get", "/", b""), GET_NEXT]),
    "every character of a token": (
        message(method=b"!#$%&'*+-.^_`|~09AZaz") + NEXT,
        [("!#$%&'*+-.^_`|~09AZaz", "/", b""), GET_NEXT],
    ),
    # RFC 9112, 9.6: nothing is read after the last request
    "the last one": (with_length(b"Connection: close") + NEXT, [POST_HIDDEN]),
    "the last one, h2c": (with_length(b"Connection: close, upgrade", b"Upgrade: h2c") + NEXT, [POST_HIDDEN]),
    "the last one of HTTP/1.0": (with_length(version=b"1.0") + NEXT, [POST_HIDDEN]),
    # Methods of which llhttp thinks something of its own
    **{
        method: (
            with_length(method=method.encode()) + message(method=method.encode()) + NEXT,
            [(method, "/", _HIDDEN), (method, "/", b""), GET_NEXT],
        )
        for method in (
            *("PRI", "SOURCE", "PLAY", "DESCRIBE", "FLUSH", "SETUP", "GET_PARAMETER"),
            *("REPORT", "PROPFIND", "M-SEARCH", "QUERY", "TRACE", "HEAD", "DELETE"),
        )
    },
}


@pytest.mark.parametrize(("sent", "asked"), MESSAGES.values(), ids=MESSAGES)
async def test_messages_at_every_split(sent: bytes, asked: list[tuple[str, str, bytes]]) -> None:
    for parts in every_split(sent):
        app = Asked()
        wire = await exchange(app, parts)
        assert app.requests == asked, parts
        assert statuses(wire) == [200] * len(asked), parts


# Where it is not certain, the connection ends: bytes → the answers; nothing of what is hidden is ever asked.
REFUSED: dict[str, tuple[bytes, list[int]]] = {
    "a method without an end": (b"F" * 9000 + _HIDDEN, [414]),
    "an upgrade, a length and chunked": (chunked(*H2C, b"Content-Length: 3") + _HIDDEN, [400]),
    "an upgrade, two lengths": (with_length(*H2C, b"Content-Length: 3"), [400]),
    "an upgrade, an ill-formed chunk": (
        message(*H2C, b"Transfer-Encoding: chunked", body=b"x\r\n" + _HIDDEN),
        [400],
    ),
    "an upgrade, chunked in HTTP/1.0": (
        chunked(b"Connection: Upgrade, keep-alive", b"Upgrade: h2c", version=b"1.0") + _HIDDEN,
        [400],
    ),
    "an upgrade, a body that is too large": (with_length(*H2C, body=bytes(20_000)) + _HIDDEN, [413]),
    "an upgrade, chunks that are too large": (
        message(*H2C, b"Transfer-Encoding: chunked", body=b"4e20\r\n" + bytes(20_000) + b"\r\n0\r\n\r\n")
        + _HIDDEN,
        [413],
    ),
    "an upgrade, trailers that are too large": (
        chunked(*H2C, trailer=b"A: " + b"x" * 70_000 + b"\r\n") + _HIDDEN,
        [431],
    ),
}


@pytest.mark.parametrize(("sent", "answers"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_message(sent: bytes, answers: list[int]) -> None:
    steps = range(1, len(sent), 1 if len(sent) < 1000 else 977)
    for parts in [[sent], *([sent[:at], sent[at:]] for at in steps)]:
        app = Asked()
        wire = await exchange(app, parts, limits=Limits(body_size=10_000))
        assert wire.has_ended or wire.is_closed
        assert all(path != "/hidden" for _, path, _ in app.requests)
        assert statuses(wire) == answers, parts


async def test_no_message_behind_one_that_is_answered() -> None:
    """The answer is the last one, if it is not out already."""
    for parts in every_split(NEXT + b"Host: a\r\n\r\n" + _HIDDEN):
        app = Asked()
        wire = await exchange(app, parts)
        assert wire.has_ended or wire.is_closed
        assert app.requests == [GET_NEXT]
        assert statuses(wire) in ([200], [200, 400])


async def test_the_deadline_of_a_body_holds_behind_an_upgrade() -> None:
    left = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    wire = await exchange(app, [with_length(*H2C)[:-5]], limits=Limits(body_pause=0.05), until=left)
    assert statuses(wire) == [408]

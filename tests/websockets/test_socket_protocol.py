"""Our end of a library's socket, against wsproto as the library: no sockets, bytes in and events out."""

from collections.abc import Iterable
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason

from bridge.websockets.protocol import BrokenProtocol, LibraryConnection, LibraryEvent


class Library:
    """The other end: a websocket server that was given the handshake of `ours`."""

    def __init__(self, ours: LibraryConnection, subprotocols: Iterable[str] = ()) -> None:
        self.connection = WSConnection(ConnectionType.SERVER)
        head = [
            (b"Host", b"here"),
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", ours.key.encode()),
        ]
        if subprotocols:
            head.append((b"Sec-WebSocket-Protocol", ", ".join(subprotocols).encode()))
        self.connection.initiate_upgrade_connection(head, "/")
        assert [type(event) for event in self.connection.events()] == [Request]

    def send(self, event: Any) -> bytes:
        return self.connection.send(event)

    def receive(self, data: bytes) -> list[Any]:
        self.connection.receive_data(data)
        return list(self.connection.events())


def opened() -> tuple[LibraryConnection, Library, list[bytes]]:
    """Our end, the library's, and what ours replies."""
    replies: list[bytes] = []
    ours = LibraryConnection((), replies.append)
    library = Library(ours)
    assert list(ours.receive(library.send(AcceptConnection()))) == [AcceptConnection(extra_headers=[])]
    return ours, library, replies


def received(ours: LibraryConnection, data: bytes, step: int) -> list[LibraryEvent]:
    """What is made of the data if it comes in pieces of `step` bytes."""
    return [
        event for start in range(0, len(data), step) for event in ours.receive(data[start : start + step])
    ]


# Frames of a server, by hand where wsproto would not make them

MESSAGES: dict[str, tuple[bytes, list[LibraryEvent]]] = {
    "text": (b"\x81\x02hi", ["hi"]),
    "text that is not ASCII": (b"\x81\x03\xe2\x82\xac", ["€"]),
    "empty text": (b"\x81\x00", [""]),
    "binary": (b"\x82\x02\x00\xff", [b"\x00\xff"]),
    "empty binary": (b"\x82\x00", [b""]),
    "two": (b"\x81\x01a\x82\x01b", ["a", b"b"]),
    "fragments": (b"\x01\x01a\x00\x01b\x80\x01c", ["abc"]),
    "fragments of binary": (b"\x02\x01a\x80\x01b", [b"ab"]),
    "a character in two fragments": (b"\x01\x01\xe2\x80\x02\x82\xac", ["€"]),
    "a ping within fragments": (b"\x01\x01a\x89\x01p\x80\x01b", ["ab"]),
    "longer than one length byte": (b"\x82\x7e\x01\x00" + b"x" * 256, [b"x" * 256]),
    "a pong nobody asked for": (b"\x8a\x00\x81\x01a", ["a"]),
    "close": (b"\x88\x02\x03\xe8", [CloseConnection(code=1000, reason="")]),
    "close with a reason": (b"\x88\x05\x0f\xa0bye", [CloseConnection(code=4000, reason="bye")]),
    "close without a code": (b"\x88\x00", [CloseConnection(code=1005, reason="")]),
    "a message after the close": (b"\x88\x00\x81\x01a", [CloseConnection(code=1005, reason="")]),
}

BROKEN = {
    "invalid UTF-8": (b"\x81\x01\xff", 1007),
    "invalid UTF-8 in a reason": (b"\x88\x03\x03\xe8\xff", 1007),
    "a masked frame": (b"\x81\x81\x00\x00\x00\x00a", 1002),
    "an opcode that is none": (b"\x83\x00", 1002),
    "a reserved bit": (b"\xc1\x00", 1002),
    "a continuation of nothing": (b"\x80\x01a", 1002),
    "a message within another": (b"\x01\x01a\x81\x01b", 1002),
    "a ping in fragments": (b"\x09\x00", 1002),
    "a close code of one byte": (b"\x88\x01\x03", 1002),
    "a close code that is none": (b"\x88\x02\x03\xe7", 1002),
    "a close code that must not be sent": (b"\x88\x02\x03\xee", 1002),
    "a length that has a shorter form": (b"\x82\x7f" + (2000).to_bytes(8, "big") + b"x" * 2000, 1002),
}


@pytest.mark.parametrize("step", [1, 3, 100_000])
@pytest.mark.parametrize("name", MESSAGES)
def test_what_a_library_writes(name: str, step: int) -> None:
    data, events = MESSAGES[name]
    ours, _, _ = opened()
    assert received(ours, data, step) == events


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize("name", BROKEN)
def test_what_a_library_must_not_write(name: str, step: int) -> None:
    data, code = BROKEN[name]
    ours, library, replies = opened()
    with pytest.raises(BrokenProtocol) as broken:
        received(ours, data, step)
    assert (broken.value.code, bool(str(broken.value))) == (code, True)
    (close,) = library.receive(b"".join(replies))
    assert (close.code, bool(close.reason)) == (code, True)
    assert not ours.is_open
    assert list(ours.receive(b"\x81\x01a")) == []


# The handshake


@pytest.mark.parametrize("step", [1, 100_000])
def test_the_101_has_a_subprotocol_and_headers(step: int) -> None:
    ours = LibraryConnection(["chat", "news"], list)
    library = Library(ours, ["chat", "news"])
    cookie = (b"Set-Cookie", b"a=1")
    answer = library.send(AcceptConnection(subprotocol="news", extra_headers=[cookie, cookie]))
    frame = library.send(TextMessage(data="hi"))
    events = received(ours, answer + frame, step)
    headers = [(b"set-cookie", b"a=1")] * 2
    assert events == [AcceptConnection(subprotocol="news", extra_headers=headers), "hi"]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "its handshake has the status 403, not 101"),
        (b"\x81\x02hi\r\n\r\n", "Bad HTTP message"),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\n",
            "Bad accept token",
        ),
    ],
)
def test_what_is_no_handshake(answer: bytes, what: str) -> None:
    with pytest.raises(BrokenProtocol, match=what) as broken:
        list(LibraryConnection((), list).receive(answer))
    assert broken.value.code == 1002


def test_a_subprotocol_that_was_not_offered_is_refused() -> None:
    ours = LibraryConnection(["chat"], list)
    answer = Library(ours, ["news"]).send(AcceptConnection(subprotocol="news"))
    with pytest.raises(BrokenProtocol, match="unrecognized subprotocol news"):
        list(ours.receive(answer))


@pytest.mark.parametrize("odd", ["", " ", "é", "a b", "a\r\nb: c"])
def test_subprotocols_that_are_none_are_passed_over(odd: str) -> None:
    ours = LibraryConnection([odd, "chat", odd], list)
    answer = Library(ours, ["chat"]).send(AcceptConnection(subprotocol="chat"))
    assert list(ours.receive(answer)) == [AcceptConnection(subprotocol="chat", extra_headers=[])]


def test_a_rejection_with_a_body_is_no_handshake() -> None:
    ours = LibraryConnection((), list)
    library = Library(ours)
    answer = library.send(
        RejectConnection(status_code=401, has_body=True, headers=[(b"content-length", b"2")])
    )
    with pytest.raises(BrokenProtocol, match="its handshake has the status 401, not 101"):
        list(ours.receive(answer))


# To the library


@pytest.mark.parametrize("data", ["hi", "€" * 100, "", b"\x00\xff", b"", b"x" * 70_000])
def test_messages_arrive(data: str | bytes) -> None:
    ours, library, _ = opened()
    kind = TextMessage if isinstance(data, str) else BytesMessage
    parts = library.receive(ours.send(data))
    assert {type(part) for part in parts} == {kind}
    empty: Any = data[:0]
    assert empty.join(part.data for part in parts) == data


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [(1000, "", 1000), (1001, "bye", 1001), (4321, "é" * 61, 4321), (1005, "", 1005), (1005, "lost", 1005)],
)
def test_a_close_arrives(code: int, reason: str, expected: int) -> None:
    ours, library, _ = opened()
    (event,) = library.receive(ours.close(code, reason))
    assert (event.code, event.reason or "") == (expected, "" if code == 1005 else reason)
    assert not ours.is_open
    # It answers, and that is the end.
    (closed,) = ours.receive(library.send(event.response()))
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason or "") == (expected, event.reason or "")
    assert list(ours.receive(b"\x81\x01a")) == []


def test_a_reason_that_is_too_long_is_cut() -> None:
    ours, library, _ = opened()
    (event,) = library.receive(ours.close(4000, "é" * 100))
    assert event.reason == "é" * 61


def test_a_ping_is_answered() -> None:
    ours, library, replies = opened()
    assert list(ours.receive(library.send(Ping(payload=b"now")))) == []
    assert [(type(event).__name__, bytes(event.payload)) for event in library.receive(replies[0])] == [
        ("Pong", b"now")
    ]


def test_a_ping_after_our_close_is_not() -> None:
    ours, library, replies = opened()
    ours.close(1000)
    assert list(ours.receive(library.send(Ping()))) == []
    assert replies == []


def test_its_close_is_answered() -> None:
    ours, library, replies = opened()
    closed = CloseConnection(code=4000, reason="bye")
    assert list(ours.receive(library.send(closed))) == [closed]
    assert [event.code for event in library.receive(replies[0])] == [4000]


def test_what_it_breaks_after_our_close_is_known() -> None:
    ours, _, replies = opened()
    ours.close(CloseReason.NORMAL_CLOSURE)
    with pytest.raises(BrokenProtocol) as broken:
        list(ours.receive(b"\x81\x01\xff"))
    assert broken.value.code == 1007
    assert replies == []

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

from bridge.websockets.protocol import (
    Accepted,
    Broken,
    Closed,
    LibraryConnection,
    LibraryEvent,
    Received,
    Reply,
)


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


def opened(**options: Any) -> tuple[LibraryConnection, Library]:
    ours = LibraryConnection(**options)
    library = Library(ours)
    assert list(ours.receive(library.send(AcceptConnection()))) == [Accepted(None, [])]
    return ours, library


def received(ours: LibraryConnection, data: bytes, step: int) -> list[LibraryEvent]:
    """What is made of the data if it comes in pieces of `step` bytes; replies are joined."""
    events = [
        event for start in range(0, len(data), step) for event in ours.receive(data[start : start + step])
    ]
    return [event for event in events if not isinstance(event, Reply)]


# Frames of a server, by hand where wsproto would not make them

MESSAGES: dict[str, tuple[bytes, list[LibraryEvent]]] = {
    "text": (b"\x81\x02hi", [Received("hi")]),
    "text that is not ASCII": (b"\x81\x03\xe2\x82\xac", [Received("€")]),
    "empty text": (b"\x81\x00", [Received("")]),
    "binary": (b"\x82\x02\x00\xff", [Received(b"\x00\xff")]),
    "empty binary": (b"\x82\x00", [Received(b"")]),
    "two": (b"\x81\x01a\x82\x01b", [Received("a"), Received(b"b")]),
    "fragments": (b"\x01\x01a\x00\x01b\x80\x01c", [Received("abc")]),
    "fragments of binary": (b"\x02\x01a\x80\x01b", [Received(b"ab")]),
    "a character in two fragments": (b"\x01\x01\xe2\x80\x02\x82\xac", [Received("€")]),
    "a ping within fragments": (b"\x01\x01a\x89\x01p\x80\x01b", [Received("ab")]),
    "longer than one length byte": (b"\x82\x7e\x01\x00" + b"x" * 256, [Received(b"x" * 256)]),
    "a pong nobody asked for": (b"\x8a\x00\x81\x01a", [Received("a")]),
    "close": (b"\x88\x02\x03\xe8", [Closed(1000, "")]),
    "close with a reason": (b"\x88\x05\x0f\xa0bye", [Closed(4000, "bye")]),
    "close without a code": (b"\x88\x00", [Closed(1005, "")]),
    "a message after the close": (b"\x88\x00\x81\x01a", [Closed(1005, "")]),
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
    ours, _ = opened()
    assert received(ours, data, step) == events


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize("name", BROKEN)
def test_what_a_library_must_not_write(name: str, step: int) -> None:
    data, code = BROKEN[name]
    ours, library = opened()
    replies = []
    broken = []
    for start in range(0, len(data), step):
        for event in ours.receive(data[start : start + step]):
            if isinstance(event, Reply):
                replies += library.receive(event.data)
            else:
                broken.append(event)
    assert [type(event) for event in broken] == [Broken]
    assert isinstance(broken[0], Broken)
    assert (broken[0].code, bool(broken[0].what)) == (code, True)
    assert [(event.code, bool(event.reason)) for event in replies] == [(code, True)]
    assert not ours.is_open
    assert list(ours.receive(b"\x81\x01a")) == []


def test_a_message_in_fragments_has_a_bound() -> None:
    ours, library = opened(max_message=10)
    events = list(ours.receive(b"\x02\x06aaaaaa\x00\x04bbbb"))
    assert events == []
    reply, broken = ours.receive(b"\x80\x01c")
    assert isinstance(reply, Reply)
    assert [event.code for event in library.receive(reply.data)] == [1009]
    assert broken == Broken(1009, "a message has more than 10 bytes")


def test_the_bound_is_for_each_message() -> None:
    ours, _ = opened(max_message=3)
    assert list(ours.receive(b"\x82\x03aaa\x82\x03bbb")) == [Received(b"aaa"), Received(b"bbb")]


# The handshake


@pytest.mark.parametrize("step", [1, 100_000])
def test_the_101_has_a_subprotocol_and_headers(step: int) -> None:
    ours = LibraryConnection(["chat", "news"])
    library = Library(ours, ["chat", "news"])
    cookie = (b"Set-Cookie", b"a=1")
    answer = library.send(AcceptConnection(subprotocol="news", extra_headers=[cookie, cookie]))
    frame = library.send(TextMessage(data="hi"))
    events = received(ours, answer + frame, step)
    assert events == [Accepted("news", [(b"set-cookie", b"a=1")] * 2), Received("hi")]


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
    assert list(LibraryConnection().receive(answer)) == [Broken(1002, what)]


def test_a_subprotocol_that_was_not_offered_is_refused() -> None:
    ours = LibraryConnection(["chat"])
    answer = Library(ours, ["news"]).send(AcceptConnection(subprotocol="news"))
    assert list(ours.receive(answer)) == [Broken(1002, "unrecognized subprotocol news")]


@pytest.mark.parametrize("odd", ["", " ", "é", "a b", "a\r\nb: c"])
def test_subprotocols_that_are_none_are_passed_over(odd: str) -> None:
    ours = LibraryConnection([odd, "chat", odd])
    answer = Library(ours, ["chat"]).send(AcceptConnection(subprotocol="chat"))
    assert list(ours.receive(answer)) == [Accepted("chat", [])]


def test_a_rejection_with_a_body_is_no_handshake() -> None:
    ours = LibraryConnection()
    library = Library(ours)
    answer = library.send(
        RejectConnection(status_code=401, has_body=True, headers=[(b"content-length", b"2")])
    )
    assert list(ours.receive(answer)) == [Broken(1002, "its handshake has the status 401, not 101")]


# To the library


@pytest.mark.parametrize("data", ["hi", "€" * 100, "", b"\x00\xff", b"", b"x" * 70_000])
def test_messages_arrive(data: str | bytes) -> None:
    ours, library = opened()
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
    ours, library = opened()
    (event,) = library.receive(ours.close(code, reason))
    assert (event.code, event.reason or "") == (expected, "" if code == 1005 else reason)
    assert not ours.is_open
    # It answers, and that is the end.
    assert list(ours.receive(library.send(event.response()))) == [Closed(expected, event.reason or "")]
    assert list(ours.receive(b"\x81\x01a")) == []


def test_a_reason_that_is_too_long_is_cut() -> None:
    ours, library = opened()
    (event,) = library.receive(ours.close(4000, "é" * 100))
    assert event.reason == "é" * 61


def test_a_ping_is_answered() -> None:
    ours, library = opened()
    (reply,) = ours.receive(library.send(Ping(payload=b"now")))
    assert isinstance(reply, Reply)
    assert [(type(event).__name__, bytes(event.payload)) for event in library.receive(reply.data)] == [
        ("Pong", b"now")
    ]


def test_a_ping_after_our_close_is_not() -> None:
    ours, library = opened()
    ours.close(1000)
    assert list(ours.receive(library.send(Ping()))) == []


def test_its_close_is_answered_after_it_is_known() -> None:
    ours, library = opened()
    closed, reply = ours.receive(library.send(CloseConnection(code=4000, reason="bye")))
    assert closed == Closed(4000, "bye")
    assert isinstance(reply, Reply)
    assert [event.code for event in library.receive(reply.data)] == [4000]


def test_what_it_breaks_after_our_close_is_known() -> None:
    ours, _ = opened()
    ours.close(CloseReason.NORMAL_CLOSURE)
    (broken,) = ours.receive(b"\x81\x01\xff")
    assert isinstance(broken, Broken)
    assert broken.code == 1007


def test_what_is_broken_is_described_for_the_log() -> None:
    assert Broken(1007, "no UTF-8").describe("/a\nb") == (
        "/a\\nb: the app's websocket library has broken the protocol (RFC 6455): no UTF-8"
    )

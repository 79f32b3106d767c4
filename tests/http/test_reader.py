"""Requests from bytes: what the reader tells its sink. `server/test_http_letter.py` has what it refuses."""

import pytest

from bridge.http.reader import Refused, RequestReader
from bridge.http.request_line import RequestLine

HEAD = b"POST /a HTTP/1.1\r\nHost: b\r\n"
NEXT = b"GET /next HTTP/1.1\r\n\r\n"


class Notes:
    """A sink that takes upgrades if it is told to."""

    def __init__(self, *, takes_upgrades: bool = False) -> None:
        self.takes_upgrades = takes_upgrades
        self.events: list[object] = []

    def on_head(
        self, line: RequestLine, headers: list[tuple[bytes, bytes]], *, client_closes: bool, upgrades: bool
    ) -> bool:
        self.events.append((line.method, line.target, client_closes, upgrades))
        return upgrades and self.takes_upgrades

    def on_trailer(self, size: int) -> None:
        self.events.append(size)

    def on_body(self, data: bytes) -> None:
        self.events.append(data)

    def on_message_complete(self) -> None:
        self.events.append("end")


POST = (b"POST", b"/a", False, False)
UPGRADE = b"GET /a HTTP/1.1\r\nConnection: x, Upgrade\r\nUpgrade: y\r\n\r\n"

# What comes in one read, what the sink is told, and what is left of it.
READS: dict[str, tuple[bytes, list[object], bytes]] = {
    "no body": (HEAD + b"\r\n", [POST, "end"], b""),
    "no body, and the next": (HEAD + b"\r\n" + NEXT, [POST, "end"], NEXT),
    "a length": (HEAD + b"Content-Length: 2\r\n\r\nxy", [POST, b"xy", "end"], b""),
    "a length, and the next": (HEAD + b"Content-Length: 2\r\n\r\nxy" + NEXT, [POST, b"xy", "end"], NEXT),
    "a part of a length": (HEAD + b"Content-Length: 3\r\n\r\nxy", [POST, b"xy"], b""),
    "a head alone": (HEAD + b"Content-Length: 3\r\n\r\n", [POST], b""),
    "chunks, and the next": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1\r\ny\r\n0\r\na: b\r\n\r\n" + NEXT,
        [POST, b"x", b"y", 4, "end"],
        NEXT,
    ),
    "a name that is not remembered": (HEAD + b"X" * 100 + b": y\r\n\r\n", [POST, "end"], b""),
    "an upgrade that is not taken": (UPGRADE + NEXT, [(b"GET", b"/a", False, True), "end"], NEXT),
    "half a line": (b"POST /", [], b""),
    "half a head": (HEAD, [], b""),
    "an empty line": (b"\r\n", [], b""),
}


@pytest.mark.parametrize(("data", "events", "left"), READS.values(), ids=READS)
def test_one_read(data: bytes, events: list[object], left: bytes) -> None:
    notes = Notes()
    assert (RequestReader(notes).read(data), notes.events) == (left, events)


def test_an_upgrade_that_is_taken_ends_the_reading() -> None:
    notes = Notes(takes_upgrades=True)
    assert RequestReader(notes).read(UPGRADE + b"frames") == b"frames"
    assert notes.events == [(b"GET", b"/a", False, True)]


def test_a_body_is_handed_on_without_a_copy() -> None:
    notes = Notes()
    reader = RequestReader(notes)
    reader.read(HEAD + b"Content-Length: 100\r\n\r\n")
    piece = bytes(50)
    reader.read(piece)
    assert notes.events[-1] is piece


# What was read before, what comes now, and how it is refused at once, though its line may have no end yet.
EARLY = {
    "a bare LF in a head": (HEAD, b"X: y\n"),
    "a bare CR in a head": (HEAD, b"X: \ry"),
    "a bare CR across two reads": (HEAD + b"X: y\r", b"Z"),
    "no size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"x"),
    "no end of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx", b"y"),
    "a bare LF in a trailer": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\n"),
}


@pytest.mark.parametrize(("before", "now"), EARLY.values(), ids=EARLY)
def test_what_cannot_become_a_message_is_refused_at_once(before: bytes, now: bytes) -> None:
    reader = RequestReader(Notes())
    assert reader.read(before) == b""
    with pytest.raises(Refused):
        reader.read(now)


def test_the_size_of_a_line_that_has_not_ended() -> None:
    reader = RequestReader(Notes())
    reader.read(b"GET /" + b"a" * 100)
    assert reader.line_size == 105
    reader.read(b" HTTP/1.1\r\n")
    assert reader.line_size == 101

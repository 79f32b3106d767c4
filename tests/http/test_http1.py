"""The bytes of a response: its framing, and whether the connection goes on after it (RFC 9112, 6 and 9)."""

from contextlib import nullcontext

import pytest

from bridge.core.link import Head
from bridge.http.http1 import DefaultFields, IllFormedResponse, ResponseEncoder, checked_head

Fields = list[tuple[bytes, bytes]]


def head_of(
    encoder: ResponseEncoder, status: int, fields: Fields, defaults: DefaultFields | None = None
) -> bytes:
    return encoder.head(checked_head(status, fields), defaults or DefaultFields())


LENGTH: Fields = [(b"content-length", b"2")]
CLOSE: Fields = [(b"Connection", b"close")]

# The request and its answer; the fields that are added, the body's bytes, whether the connection goes on.
FRAMED: list[tuple[str, str, str, int, Fields, bytes, bytes, bool]] = [
    ("a length", "GET", "1.1", 200, LENGTH, b"", b"ab", True),
    ("no length", "GET", "1.1", 200, [], b"transfer-encoding: chunked\r\n", b"2\r\nab\r\n0\r\n\r\n", True),
    ("a length, 1.0", "GET", "1.0", 200, LENGTH, b"connection: keep-alive\r\n", b"ab", True),
    ("no length, 1.0", "GET", "1.0", 200, [], b"connection: close\r\n", b"ab", False),
    ("to HEAD", "HEAD", "1.1", 200, LENGTH, b"", b"", True),
    ("to HEAD, no length", "HEAD", "1.1", 200, [], b"", b"", True),
    ("to HEAD, 1.0", "HEAD", "1.0", 200, [], b"connection: keep-alive\r\n", b"", True),
    ("204", "GET", "1.1", 204, [], b"", b"", True),
    ("204 with a length", "GET", "1.1", 204, LENGTH, b"", b"", True),
    ("304 with a length", "GET", "1.1", 304, LENGTH, b"", b"", True),
    ("the app closes", "GET", "1.1", 200, LENGTH + CLOSE, b"connection: close\r\n", b"ab", False),
    (
        "other options of the app's",
        "GET",
        "1.1",
        426,
        [*LENGTH, (b"connection", b"Upgrade")],
        b"connection: upgrade\r\n",
        b"ab",
        True,
    ),
    (
        "other options, and the end",
        "GET",
        "1.1",
        426,
        [*LENGTH, (b"connection", b"Upgrade, Close"), (b"connection", b"keep-alive")],
        b"connection: close, upgrade\r\n",
        b"ab",
        False,
    ),
    ("two lengths", "GET", "1.1", 200, LENGTH * 2, b"", b"ab", True),
    ("the app's coding", "GET", "1.1", 200, [*LENGTH, (b"transfer-encoding", b"gzip")], b"", b"ab", True),
]


@pytest.mark.parametrize(
    ("method", "version", "status", "fields", "added", "body", "goes_on"),
    [pytest.param(*case, id=name) for name, *case in FRAMED],
)
def test_a_response_is_framed(
    method: str, version: str, status: int, fields: Fields, added: bytes, body: bytes, goes_on: bool
) -> None:
    encoder = ResponseEncoder(method, version, keep_alive=True)
    line, _, head = head_of(encoder, status, fields).partition(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status)
    length = b"content-length: 2\r\n" if LENGTH[0] in fields and status != 204 else b""  # RFC 9110, 8.6
    assert head == length + added + b"\r\n"
    assert encoder.body(b"ab", more=False) == body
    assert encoder.keep_alive is goes_on


@pytest.mark.parametrize("status", [299, 599])
def test_a_status_without_a_standard_reason_has_none(status: int) -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    assert head_of(encoder, status, LENGTH).startswith(b"HTTP/1.1 %d \r\n" % status)


def test_a_connection_that_ends_says_so() -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=False)
    assert (
        head_of(encoder, 200, LENGTH) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
    )
    assert not encoder.keep_alive


def test_parts_of_a_chunked_body() -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    head_of(encoder, 200, [])
    parts = [encoder.body(data, more) for data, more in ((b"a" * 16, True), (b"", True), (b"", False))]
    assert parts == [b"10\r\n" + b"a" * 16 + b"\r\n", b"", b"0\r\n\r\n"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [([(b"abc", True)], "longer"), ([(b"ab", True), (b"c", False)], "longer"), ([(b"a", False)], "shorter")],
    ids=["too long", "too long in two parts", "too short"],
)
def test_a_body_keeps_to_its_length(parts: list[tuple[bytes, bool]], message: str) -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    head_of(encoder, 200, LENGTH)
    *before, last = parts
    for data, more in before:
        encoder.body(data, more)
    with pytest.raises(IllFormedResponse, match=message):
        encoder.body(*last)


@pytest.mark.parametrize(
    "field",
    [
        (b"na me", b"value"),
        (b"", b"value"),
        (b"name\r\n", b"value"),
        (b"n\xc3\xa4me", b"value"),
        (b"name", b"a\r\nb: c"),
        (b"name", b"a\x00"),
        (b"name", b"a\x7f"),
    ],
)
def test_a_field_that_could_add_others_is_refused(field: tuple[bytes, bytes]) -> None:
    """RFC 9110, 5.1 and 5.5."""
    for _ in range(2):  # not remembered as one that has passed
        with pytest.raises(IllFormedResponse):
            head_of(ResponseEncoder("GET", "1.1", keep_alive=True), 200, [field])


@pytest.mark.parametrize("length", [b"", b"+2", b"-2", b"2,2", b"2_0", b"0x2", b" 2", b"\xb2"])
def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    with pytest.raises(IllFormedResponse, match="no number"):
        head_of(ResponseEncoder("GET", "1.1", keep_alive=True), 200, [(b"content-length", length)])


@pytest.mark.parametrize("status", [0, 100, 101, 103, 199, 600, 1000])
def test_a_status_that_no_app_may_send(status: int) -> None:
    """A 1xx would be followed by nothing that the client waits for (RFC 9110, 15.2)."""
    with pytest.raises(IllFormedResponse, match=f"the status {status}"):
        head_of(ResponseEncoder("GET", "1.1", keep_alive=True), status, [])


def test_two_lengths_that_differ_are_refused() -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    with pytest.raises(IllFormedResponse, match="two Content-Lengths"):
        head_of(encoder, 200, [*LENGTH, (b"Content-Length", b"3")])


def test_names_are_lowered_and_values_kept() -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    head = head_of(encoder, 200, [(b"X-Name", b"V\tal\xfce"), (b"Content-Length", b"0")])
    assert head == b"HTTP/1.1 200 OK\r\nx-name: V\tal\xfce\r\ncontent-length: 0\r\n\r\n"


def test_more_names_than_are_remembered() -> None:
    for number in range(2000):
        head = head_of(ResponseEncoder("GET", "1.1", keep_alive=True), 200, [(b"x-%d" % number, b"1")])
        assert b"x-%d: 1\r\n" % number in head


DEFAULTS = DefaultFields([(b"date", b"now"), (b"server", b"bridge")])

# The app's fields → the whole head but for its first line.
WITH_DEFAULTS: list[tuple[Fields, bytes]] = [
    ([], b"date: now\r\nserver: bridge\r\n"),
    ([(b"Date", b"then")], b"server: bridge\r\ndate: then\r\n"),
    ([(b"date", b"1"), (b"x", b"y"), (b"date", b"2")], b"server: bridge\r\ndate: 1\r\nx: y\r\n"),
    ([(b"server", b"a"), (b"date", b"b")], b"server: a\r\ndate: b\r\n"),
]


@pytest.mark.parametrize(("fields", "expected"), WITH_DEFAULTS)
def test_fields_of_the_server_give_way_to_the_app(fields: Fields, expected: bytes) -> None:
    """One Date and one Server (RFC 9110, 5.3), of several of the app's the first."""
    head = head_of(ResponseEncoder("HEAD", "1.1", keep_alive=True), 200, fields, DEFAULTS)
    assert head == b"HTTP/1.1 200 OK\r\n" + expected + b"\r\n"


@pytest.mark.parametrize("reason", [b"Fine", b"I'm a \xfc"])
def test_the_app_has_a_reason_of_its_own(reason: bytes) -> None:
    """RFC 9112, 4."""
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    head = encoder.head(Head(200, reason, list(LENGTH)), DefaultFields())
    assert head.startswith(b"HTTP/1.1 200 " + reason + b"\r\n")


@pytest.mark.parametrize(("version", "ends_with_connection"), [("1.0", True), ("1.1", False)])
def test_a_body_without_an_end_of_its_own(version: str, ends_with_connection: bool) -> None:
    encoder = ResponseEncoder("GET", version, keep_alive=True)
    head_of(encoder, 200, [])
    assert encoder.has_body
    assert encoder.ends_with_connection is ends_with_connection


@pytest.mark.parametrize(("size", "is_right"), [(1, False), (2, True), (3, False)])
def test_a_body_that_goes_by_keeps_to_its_length(size: int, is_right: bool) -> None:
    encoder = ResponseEncoder("GET", "1.1", keep_alive=True)
    head_of(encoder, 200, LENGTH)
    with nullcontext() if is_right else pytest.raises(IllFormedResponse):
        encoder.pass_by(size, more=False)

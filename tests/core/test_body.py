"""`wsgi.input`, against `io.BytesIO`: the same bytes in any number of pieces must read the same."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import IO, TypeAlias, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.body import RequestBody
from bridge.errors import BridgeError, ClientDisconnected
from tests.core.links import ListLink, split_bodies

Reads: TypeAlias = RequestBody | io.BytesIO
Step: TypeAlias = tuple[str, int | None]


def body_of(*chunks: bytes) -> RequestBody:
    return RequestBody(link_of(*chunks).read)


def link_of(*chunks: bytes, leaves_early: bool = False) -> ListLink:
    """A link without the empty chunks: to a link, one says that the body has ended."""
    return ListLink(filter(None, chunks), leaves_early=leaves_early)


def readinto(file: Reads, size: int) -> bytes:
    buffer = bytearray(size)
    count = file.readinto(buffer)
    return bytes(buffer[:count])


def readinto1(file: Reads, size: int) -> bytes:
    buffer = bytearray(size)
    count = file.readinto1(buffer)
    return bytes(buffer[:count])


# Each way to read: what it is called with, and whether it may return less than BytesIO does.
EXACT: dict[str, Callable[[Reads, int | None], bytes | list[bytes] | None]] = {
    "read": lambda file, size: file.read(size),
    "readinto": lambda file, size: readinto(file, max(size or 0, 0)),
    "readline": lambda file, size: file.readline(size),
    "readlines": lambda file, hint: file.readlines(hint),
    "next": lambda file, _: next(file, None),
    "list": lambda file, _: list(file),
    "no argument": lambda file, _: file.read(),
    "readline without argument": lambda file, _: file.readline(),
    "readlines without argument": lambda file, _: file.readlines(),
}
PARTIAL: dict[str, Callable[[Reads, int | None], bytes]] = {
    "read1": lambda file, size: file.read1(size),
    "readinto1": lambda file, size: readinto1(file, max(size or 0, 0)),
    "read1 without argument": lambda file, _: file.read1(),
}


def assert_reads_alike(chunks: Sequence[bytes], program: Iterable[Step]) -> None:
    """Run a program on a body and on BytesIO: the same at every step, and the same rest."""
    body = body_of(*chunks)
    oracle = io.BytesIO(b"".join(chunks))
    for name, argument in program:
        if name in EXACT:
            assert EXACT[name](body, argument) == EXACT[name](oracle, argument), (name, argument)
            continue
        read = PARTIAL[name]
        position = oracle.tell()
        expected = read(oracle, argument)
        got = read(body, argument)
        assert expected.startswith(got), (name, argument)
        assert bool(got) == bool(expected), (name, argument)
        oracle.seek(position + len(got))
    assert body.read() == oracle.read()
    assert body.read() == body.readline() == body.read1() == b""


# A quarter of all bytes are newlines, so that lines end in all places.
NEWLINES = bytes(10 if number % 4 == 2 else number for number in range(256))


bodies = split_bodies(st.binary(max_size=40).map(lambda body: body.translate(NEWLINES)))
programs = st.lists(
    st.sampled_from([(name, size) for name in (*EXACT, *PARTIAL) for size in (None, -1, *range(13))]),
    max_size=12,
)


@given(bodies, programs)
@settings(max_examples=250, deadline=None)
def test_any_program_reads_as_from_bytesio(chunks: list[bytes], program: list[Step]) -> None:
    assert_reads_alike(chunks, program)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="newline"),
        pytest.param(b"\n\n", id="newlines"),
        pytest.param(b"one line", id="no newline"),
        pytest.param(b"one\ntwo\nthree\n", id="newline at the end"),
        pytest.param(b"one\n\r\ntwo\r\nthree", id="none at the end"),
    ],
)
@pytest.mark.parametrize(
    "program",
    [
        pytest.param([(name, size)] * 4, id=f"{name} {size}")
        for name, sizes in {
            "read": (1, 4, -1, None),
            "readinto": (4, 0),
            "readline": (2, 0, -1, None),
            "readlines": (0, 1, 4, 5, -1, None),
            "next": (None,),
            "read1": (0, 2, -1, None),
            "readinto1": (2,),
        }.items()
        for size in sizes
    ],
)
def test_every_split_reads_as_from_bytesio(body: bytes, program: list[Step]) -> None:
    """In two pieces, at every point; and a byte a piece."""
    for split in range(len(body) + 1):
        assert_reads_alike([body[:split], body[split:]], program)
    assert_reads_alike([body[i : i + 1] for i in range(len(body))], program)


# PEP 3333, "Input and Error Streams"
EXAMPLES: list[tuple[str, list[bytes], Callable[[RequestBody], object], object]] = [
    ("readline(n) across pieces", [b"ab", b"cd\n"], lambda body: body.readline(3), b"abc"),
    (
        "readline(n) where a piece ends",
        [b"ab", b"cd"],
        lambda body: [body.readline(2), body.read()],
        [b"ab", b"cd"],
    ),
    ("readline() across pieces", [b"ab", b"cd\nef"], lambda body: body.readline(), b"abcd\n"),
    ("readline(0) reads nothing", [b"ab"], lambda body: (body.readline(0), body.read()), (b"", b"ab")),
    ("readlines() on an empty body", [], lambda body: body.readlines(), []),
    (
        "readlines() adds no newline to the last line",
        [b"a\nb"],
        lambda body: body.readlines(),
        [b"a\n", b"b"],
    ),
    (
        "readlines(hint) ends with the line that reaches it",
        [b"a\nb\nc"],
        lambda body: body.readlines(3),
        [b"a\n", b"b\n"],
    ),
    ("iteration", [b"a\n", b"b"], list, [b"a\n", b"b"]),
    ("iteration of an empty body", [], list, []),
    ("read past the end", [b"ab"], lambda body: (body.read(9), body.read(9)), (b"ab", b"")),
    ("read1 takes one piece", [b"ab", b"cd"], lambda body: (body.read1(9), body.read1()), (b"ab", b"cd")),
    (
        "as a text file",
        ["é\n".encode(), b"b"],
        lambda body: io.TextIOWrapper(cast(IO[bytes], body)).readlines(),
        ["é\n", "b"],
    ),
    ("buffered", [b"ab", b"cd"], lambda body: io.BufferedReader(cast(io.RawIOBase, body)).read(3), b"abc"),
    (
        "into an array of wider items",
        [b"\1\2", b"\3\4"],
        lambda body: body.readinto(memoryview(bytearray(4)).cast("I")),
        4,
    ),
    (
        "is readable, and nothing else",
        [],
        lambda body: (body.readable(), body.writable(), body.seekable()),
        (True, False, False),
    ),
]


@pytest.mark.parametrize(
    ("chunks", "read", "expected"), [pytest.param(*case, id=name) for name, *case in EXAMPLES]
)
def test_example(chunks: list[bytes], read: Callable[[RequestBody], object], expected: object) -> None:
    assert read(body_of(*chunks)) == expected


# What the app asks for, and how many reads of the link that takes: never one more than it must.
WAITS: list[tuple[str, Callable[[RequestBody], object], int]] = [
    ("nothing", lambda body: None, 0),
    ("read(0)", lambda body: body.read(0), 0),
    ("read1(0)", lambda body: body.read1(0), 0),
    ("readline(0)", lambda body: body.readline(0), 0),
    ("readinto of nothing", lambda body: body.readinto(bytearray()), 0),
    ("a part of the first piece", lambda body: body.read(1), 1),
    ("the first piece", lambda body: body.read(2), 1),
    ("the first piece in two parts", lambda body: body.read(1) + body.read(1), 1),
    ("a byte of the second", lambda body: body.read(3), 2),
    ("one piece's line", lambda body: body.readline(), 1),
    ("the second line's beginning", lambda body: body.read(2) + body.readline(1), 2),
    ("whatever is there", lambda body: body.read1(), 1),
    ("the next, whatever it is", lambda body: body.read1() + body.read1(), 2),
    ("exactly everything", lambda body: body.read(6), 3),
    # The end is a read of its own, b"", and is asked for each time.
    ("everything", lambda body: body.read(), 4),
    ("everything, and more", lambda body: body.read() + body.read() + body.readline() + body.read1(), 7),
]


@pytest.mark.parametrize(("read", "reads"), [pytest.param(*case, id=name) for name, *case in WAITS])
def test_body_is_not_held_in_memory(read: Callable[[RequestBody], object], reads: int) -> None:
    """At most one piece at a time is asked for, and none before the app reads."""
    link = link_of(b"a\n", b"b\n", b"c\n")
    read(RequestBody(link.read))
    assert link.reads == reads


READS: list[tuple[str, Callable[[RequestBody], object]]] = [
    ("read", lambda body: body.read()),
    ("read(n)", lambda body: body.read(100)),
    ("read1", lambda body: body.read1()),
    ("readinto", lambda body: body.readinto(bytearray(100))),
    ("readinto1", lambda body: body.readinto1(bytearray(100))),
    ("readline", lambda body: body.readline()),
    ("readline(n)", lambda body: body.readline(100)),
    ("readlines", lambda body: body.readlines()),
    ("readlines(hint)", lambda body: body.readlines(100)),
    ("next", next),
    ("list", list),
]


@pytest.mark.parametrize("read", [pytest.param(read, id=name) for name, read in READS])
def test_disconnect_in_the_body_does_not_look_like_its_end(read: Callable[[RequestBody], object]) -> None:
    """Nor does it later: a second attempt fails as the first."""
    body = RequestBody(link_of(leaves_early=True).read)
    for _ in range(2):
        with pytest.raises(ClientDisconnected, match="the client left before the end"):
            read(body)


@given(bodies, programs)
@settings(deadline=None)
def test_disconnect_at_any_point(chunks: list[bytes], program: list[Step]) -> None:
    """Whatever was read before it is true, whatever is read past it raises, and nothing says "the end"."""
    body = RequestBody(link_of(*chunks, leaves_early=True).read)
    oracle = io.BytesIO(b"".join(chunks))
    try:
        for name, argument in program:
            position = oracle.tell()
            if name in PARTIAL:
                expected = PARTIAL[name](oracle, argument)
                got = PARTIAL[name](body, argument)
                assert expected.startswith(got)
                assert bool(got) == bool(expected)
                oracle.seek(position + len(got))
            else:
                assert EXACT[name](body, argument) == EXACT[name](oracle, argument)
                # Had BytesIO been at its end without being asked for nothing, this had to raise.
                assert oracle.tell() > position or argument == 0 or name == "readinto"
    except ClientDisconnected:
        pass
    with pytest.raises(ClientDisconnected):
        body.read()


def test_disconnect_is_what_socket_code_catches() -> None:
    """PEP 3333 leaves the error open; a ConnectionError is what Werkzeug and most apps expect."""
    assert issubclass(ClientDisconnected, ConnectionError)
    assert issubclass(ClientDisconnected, BridgeError)


@pytest.mark.parametrize("read", [pytest.param(read, id=name) for name, read in READS])
@pytest.mark.parametrize("before", [0, 1], ids=["untouched", "with bytes at hand"])
def test_closed_body_is_not_read(read: Callable[[RequestBody], object], before: int) -> None:
    """As with any file; TextIOWrapper closes what it wraps when it is thrown away."""
    body = body_of(b"x" * 200)
    body.read(before)
    body.close()
    assert body.closed
    with pytest.raises(ValueError, match="closed"):
        read(body)


def test_a_with_statement_closes_it() -> None:
    """Without a base that would do it."""
    body = body_of(b"ab")
    with body as file:
        assert file is body
        assert file.read(1) == b"a"
    with pytest.raises(ValueError, match="closed"):
        body.read()


@pytest.mark.parametrize(
    "read", [lambda body: body.write(b""), lambda body: body.seek(0), lambda body: body.fileno()]
)
def test_what_a_stream_cannot_do(read: Callable[[RequestBody], object]) -> None:
    with pytest.raises(io.UnsupportedOperation):
        read(body_of())


# Received in one go


@pytest.mark.parametrize("read_before", [0, 1, 3])
@pytest.mark.parametrize("parts", [[], [b"abc"], [b"abc", b"def", b"g"], [b"x" * 700_000] * 3])
def test_a_body_received_in_one_go_reads_the_same(parts: list[bytes], read_before: int) -> None:
    link = link_of(*parts)
    body = RequestBody(link.read)
    before = body.read(read_before)
    body.receive_all()
    reads = link.reads
    assert not link.waiting
    assert before + body.read() == b"".join(parts)
    assert body.read() == b""
    assert link.reads == reads


def test_a_body_received_in_one_go_that_ends_too_soon() -> None:
    body = RequestBody(link_of(b"abc", leaves_early=True).read)
    with pytest.raises(ClientDisconnected):
        body.receive_all()


def test_nothing_is_read_after_a_gap() -> None:
    """What a failed `receive_all` has received is not taken for what comes next."""
    body = RequestBody(link_of(b"abc", b"def", leaves_early=True).read)
    with pytest.raises(ClientDisconnected):
        body.receive_all()
    with pytest.raises(ClientDisconnected):
        body.read(3)

"""Frames as they go by, against what wsproto makes of the same (RFC 6455, 5.2)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from bridge.server.websockets.frames import FrameWatch, close_frame

CLOSE = bytes([0x88, 2]) + (1000).to_bytes(2, "big")


def frame(payload: bytes, opcode: int = Opcode.BINARY, *, fin: bool = True, is_masked: bool = False) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([size])
    else:
        length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    mask = bytes(4) if is_masked else b""
    first = bytes([(0x80 if fin else 0) | opcode, length[0] | (0x80 if is_masked else 0)])
    return first + length[1:] + mask + payload


def watched(*pieces: bytes, max_message: int | None = None) -> FrameWatch:
    watch = FrameWatch(max_message)
    for piece in pieces:
        watch.feed(piece)
    return watch


# What goes by; whether it is between frames, whether it has closed.
PASSED = {
    "nothing": ([b""], True, False),
    "a message": ([frame(b"hello")], True, False),
    "a masked one": ([frame(b"hello", is_masked=True)], True, False),
    "an empty one": ([frame(b"")], True, False),
    "an empty masked one": ([frame(b"", is_masked=True)], True, False),
    "half a head": ([b"\x82"], False, False),
    "half a length": ([frame(bytes(70000))[:5]], False, False),
    "half a mask": ([frame(b"hello", is_masked=True)[:4]], False, False),
    "half a payload": ([frame(b"hello")[:-2]], False, False),
    "its rest": ([frame(b"hello")[:-2], frame(b"hello")[-2:]], True, False),
    "two in one piece": ([frame(b"one") + frame(b"two")], True, False),
    "one and a half": ([frame(b"one") + frame(b"two")[:1]], False, False),
    "125 bytes": ([frame(bytes(125))], True, False),
    "126 bytes": ([frame(bytes(126))], True, False),
    "65536 bytes": ([frame(bytes(65536))], True, False),
    "an end": ([CLOSE], True, True),
    "an end without a code": ([frame(b"", Opcode.CLOSE)], True, True),
    "half an end": ([CLOSE[:-1]], False, False),
    "an end after a message": ([frame(b"hello") + CLOSE], True, True),
    "an end, and more": ([CLOSE + b"\xff\xff"], True, True),
    "an end within a message": ([frame(b"part", fin=False), CLOSE], True, True),
    "what looks like an end": ([frame(CLOSE)], True, False),
}


@pytest.mark.parametrize(("pieces", "is_between", "has_closed"), PASSED.values(), ids=PASSED)
def test_what_goes_by(pieces: list[bytes], is_between: bool, has_closed: bool) -> None:
    for split in (pieces, [bytes([byte]) for byte in b"".join(pieces)]):
        watch = watched(*split)
        assert (watch.is_between_frames, watch.has_closed) == (is_between, has_closed)


SIZES = {
    "as large as it may be": ([frame(bytes(1000))], False),
    "larger by a byte": ([frame(bytes(1001))], True),
    "only begun": ([frame(bytes(1001))[:4]], True),
    "in parts": ([frame(bytes(600), fin=False), frame(bytes(400), Opcode.CONTINUATION)], False),
    "too large in parts": ([frame(bytes(600), fin=False), frame(bytes(401), Opcode.CONTINUATION)], True),
    "with a ping between": (
        [
            frame(bytes(900), fin=False),
            frame(bytes(125), Opcode.PING),
            frame(bytes(100), Opcode.CONTINUATION),
        ],
        False,
    ),
    "two after another": ([frame(bytes(600)), frame(bytes(600))], False),
}


@pytest.mark.parametrize(("pieces", "is_too_big"), SIZES.values(), ids=SIZES)
def test_sizes(pieces: list[bytes], is_too_big: bool) -> None:
    assert watched(*pieces, max_message=1000).is_too_big == is_too_big


FRAMES = st.tuples(
    st.binary(max_size=300), st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), st.booleans()
).filter(lambda each: each[1] != Opcode.PING or len(each[0]) < 126)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_any_pieces_are_the_same(frames: list[tuple[bytes, Opcode, bool]], cuts: list[int]) -> None:
    data = b"".join(frame(payload, opcode, is_masked=masked) for payload, opcode, masked in frames) + CLOSE
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    watch = FrameWatch()
    for start, end in itertools.pairwise(places):
        assert not watch.has_closed
        watch.feed(memoryview(data)[start:end])
    assert watch.has_closed
    assert watch.is_between_frames


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_close(is_masked: bool) -> None:
    protocol = FrameProtocol(client=not is_masked, extensions=[])
    protocol.receive_bytes(close_frame(1001, is_masked=is_masked))
    (received,) = protocol.received_frames()
    assert (received.opcode, tuple(received.payload)) == (Opcode.CLOSE, (CloseReason.GOING_AWAY, ""))

"""The opening handshake of a websocket, read before any library does (RFC 6455, 4.2.1)."""

import pytest

from bridge.http.websocket_handshake import Handshake, check_handshake, read_handshake

KEY = b"YnJpZGdlIG1hZGUgaXQgdQ=="
GOOD = {b"sec-websocket-version": b"13", b"sec-websocket-key": KEY}
DEFLATE = b"permessage-deflate"

Fields = list[tuple[bytes, bytes]]


def fields(*more: tuple[bytes, bytes], **changed: bytes) -> Fields:
    own = {name: changed.get(name.decode().replace("-", "_"), value) for name, value in GOOD.items()}
    return [*((name, value) for name, value in own.items() if value), *more]


REFUSED: dict[str, tuple[Fields, int]] = {
    "a length": (fields((b"content-length", b"5")), 400),
    "chunked": (fields((b"transfer-encoding", b"chunked")), 400),
    "no version": (fields(sec_websocket_version=b""), 400),
    "an old version": (fields(sec_websocket_version=b"8"), 426),
    "two versions": (fields((b"sec-websocket-version", b"8")), 426),
    "no key": (fields(sec_websocket_key=b""), 400),
    "a short key": (fields(sec_websocket_key=b"YnJpZGdl"), 400),
    "a key that is no base64": (fields(sec_websocket_key=b"!" * 24), 400),
    "a subprotocol that is no token": (fields((b"sec-websocket-protocol", b"a b")), 400),
    "an extension that is none": (fields((b"sec-websocket-extensions", b"a; b=;")), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    given, status = REFUSED[name]
    refusal = check_handshake(given)
    assert refusal is not None
    assert refusal.status == status


def test_a_length_of_nothing_is_none() -> None:
    assert check_handshake(fields((b"content-length", b"0"))) is None


COMPRESSION = {
    b"": b"",
    b"x-other": b"",
    DEFLATE: DEFLATE,
    b"x-other, permessage-deflate; client_max_window_bits": DEFLATE + b"; client_max_window_bits",
    b'permessage-deflate; server_max_window_bits="10"': DEFLATE + b"; server_max_window_bits=10",
    b"permessage-deflate; server_no_context_takeover": DEFLATE + b"; server_no_context_takeover",
    b"permessage-deflate; server_max_window_bits=8": b"",
    b"permessage-deflate; server_max_window_bits": b"",
    b"permessage-deflate; unknown": b"",
    b"permessage-deflate; client_no_context_takeover; client_no_context_takeover": b"",
    b"permessage-deflate; server_max_window_bits=8, permessage-deflate": DEFLATE,
}


@pytest.mark.parametrize("offered", COMPRESSION)
def test_the_first_offer_that_can_be_met(offered: bytes) -> None:
    """RFC 7692, 7.1."""
    given = fields((b"sec-websocket-extensions", offered), (b"sec-websocket-protocol", b"a, ,b"))
    assert check_handshake(given) is None
    assert read_handshake(given) == Handshake(KEY, (b"a", b"b"), COMPRESSION[offered])


@pytest.mark.parametrize(("with_subprotocols", "compression"), [(True, DEFLATE), (False, b"")])
def test_what_the_library_sees(with_subprotocols: bool, compression: bytes) -> None:
    handshake = Handshake(KEY, (b"a", b"b"), compression)
    head = handshake.for_library(with_subprotocols=with_subprotocols)
    assert head.startswith(b"GET / HTTP/1.1\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert (b"Sec-WebSocket-Protocol: a, b\r\n" in head) == with_subprotocols
    assert (b"Sec-WebSocket-Extensions: " + DEFLATE in head) == bool(compression)

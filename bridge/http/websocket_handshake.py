"""The opening handshake of a websocket (RFC 6455, 4.2.1), read here and not by the library behind. Pure.

The library has limits of its own, which differ from the server's, and it does not answer all that it refuses.
So it gets a handshake that is made for it: `Handshake.for_library`. The app gets the header fields as the
client has sent them.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bridge.http.limits import TOKEN, Refusal

__all__ = ["Handshake", "check_handshake", "read_handshake"]

_Header = tuple[bytes, bytes]

_VERSION = b"13"
_KEY_SIZE = 16

_SUBPROTOCOL = re.compile(TOKEN)
# RFC 6455, 9.1. What is in quotes must be a token, too.
_EXTENSION = re.compile(
    rb"TOKEN(?:[ \t]*;[ \t]*TOKEN(?:[ \t]*=[ \t]*(?:TOKEN|\"TOKEN\"))?)*".replace(b"TOKEN", TOKEN)
)

# RFC 7692, 7.1. A window of 8 bits is one that zlib does not have.
_DEFLATE = b"permessage-deflate"
_FLAGS = (b"server_no_context_takeover", b"client_no_context_takeover")
_CLIENTS_WINDOW = b"client_max_window_bits"  # may be without a value: any will do
_WINDOWS = (b"server_max_window_bits", _CLIENTS_WINDOW)
_WINDOW_BITS = frozenset(b"%d" % bits for bits in range(9, 16))


@dataclass(frozen=True)
class Handshake:
    """A handshake that may be answered with a 101.

    Args:
        key: the Sec-WebSocket-Key.
        subprotocols: those that the client offers, in its order.
        compression: its first offer of permessage-deflate that can be met; empty if there is none.
    """

    key: bytes
    subprotocols: tuple[bytes, ...]
    compression: bytes

    def for_library(self, *, with_subprotocols: bool) -> bytes:
        """The head for a websocket library: well-formed, and short if it has no subprotocols.

        Args:
            with_subprotocols: whether the library has to know what the client offers.
        """
        fields = [
            b"GET / HTTP/1.1",
            b"Host: localhost",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: " + _VERSION,
            b"Sec-WebSocket-Key: " + self.key,
        ]
        if self.subprotocols and with_subprotocols:
            fields.append(b"Sec-WebSocket-Protocol: " + b", ".join(self.subprotocols))
        if self.compression:
            fields.append(b"Sec-WebSocket-Extensions: " + self.compression)
        return b"\r\n".join([*fields, b"", b""])


def check_handshake(headers: Sequence[_Header]) -> Refusal | None:
    """Look at the header fields of a GET request that asks for a websocket, with names in lower case.

    That there is one Host has been seen to.

    Returns:
        why it must not be accepted, or None.
    """
    if any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t"))
        for name, value in headers
    ):
        return Refusal(400, "The handshake of a websocket has no body (RFC 6455, 4.1).")
    versions = _values(headers, b"sec-websocket-version")
    if versions != [_VERSION]:
        reason = "The only version of websockets that is spoken here is 13 (RFC 6455, 4.1)."
        version = (b"sec-websocket-version", _VERSION)
        if not versions:
            return Refusal(400, reason, (version,))
        # RFC 6455, 4.4; and 426 names what to upgrade to (RFC 9110, 15.5.22).
        return Refusal(426, reason, (version, (b"upgrade", b"websocket"), (b"connection", b"upgrade")))
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return Refusal(400, "A websocket needs one Sec-WebSocket-Key, of 16 bytes in base64 (RFC 6455, 4.1).")
    if not all(map(_SUBPROTOCOL.fullmatch, _elements(headers, b"sec-websocket-protocol"))):
        return Refusal(400, "The Sec-WebSocket-Protocol is ill-formed (RFC 6455, 4.1).")
    if not all(map(_EXTENSION.fullmatch, _elements(headers, b"sec-websocket-extensions"))):
        return Refusal(400, "The Sec-WebSocket-Extensions are ill-formed (RFC 6455, 9.1).")
    return None


def read_handshake(headers: Sequence[_Header]) -> Handshake:
    """Read a handshake that `check_handshake` has nothing against."""
    return Handshake(
        key=_values(headers, b"sec-websocket-key")[0],
        subprotocols=tuple(_elements(headers, b"sec-websocket-protocol")),
        compression=next(filter(None, map(_offer, _elements(headers, b"sec-websocket-extensions"))), b""),
    )


def _values(headers: Iterable[_Header], wanted: bytes) -> list[bytes]:
    return [value.strip(b" \t") for name, value in headers if name == wanted]


def _elements(headers: Iterable[_Header], wanted: bytes) -> Iterator[bytes]:
    """The elements of a field that is a list; empty ones count for nothing (RFC 9110, 5.6.1)."""
    for value in _values(headers, wanted):
        for element in value.split(b","):
            stripped = element.strip(b" \t")
            if stripped:
                yield stripped


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_SIZE
    except binascii.Error:
        return False


def _offer(extension: bytes) -> bytes:
    """An offer as all libraries read it; empty, if it has to be declined (RFC 7692, 7.1)."""
    extension_name, *parameters = extension.split(b";")
    if extension_name.strip(b" \t").lower() != _DEFLATE:
        return b""
    offered = {}
    for parameter in parameters:
        name, _, value = (part.strip(b' \t"') for part in parameter.partition(b"="))
        is_flag = not value and name in _FLAGS
        is_window = name in _WINDOWS and value in _WINDOW_BITS
        is_any_window = not value and name == _CLIENTS_WINDOW
        if name in offered or not (is_flag or is_window or is_any_window):
            return b""
        offered[name] = name + b"=" + value if value else name
    return b"; ".join([_DEFLATE, *offered.values()])

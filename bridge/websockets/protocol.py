"""The bytes that a websocket library writes to its socket → the library's events, and back. Pure.

The library is a websocket server on its socket (RFC 6455), so this end is the client: it reads the library's
101 and its frames, answers its pings, and sends masked frames. wsproto does the framing. This module joins
the parts of messages, up to a bound, and tells the library's own Close from its mistakes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

__all__ = [
    "MAX_MESSAGE",
    "Accepted",
    "Broken",
    "Closed",
    "LibraryConnection",
    "LibraryEvent",
    "Received",
    "Reply",
]

MAX_MESSAGE = 128 * 1024 * 1024
"""Bytes, or characters, of one message. An endless one would fill the memory, as ASGI passes whole ones."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # what a subprotocol is (RFC 6455, 4.1)
_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([^\r]*)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The library accepts the websocket."""

    subprotocol: str | None
    headers: list[tuple[bytes, bytes]]
    """The fields of its 101, such as cookies, without those of the handshake."""


@dataclass(frozen=True, slots=True)
class Received:
    """The library sends a whole message to the client."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """This end sends bytes back to the library: a Pong, or a Close."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The library closes the websocket."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The library breaks the protocol, and is read no more. A Reply with the code comes before this."""

    code: int
    what: str

    def describe(self, path: str) -> str:
        """Return a line for the log."""
        where = ascii(path)[1:-1]
        return f"{where}: the app's websocket library has broken the protocol (RFC 6455): {self.what}"


LibraryEvent: TypeAlias = Accepted | Received | Reply | Closed | Broken


class LibraryConnection:
    """One websocket of a library, from its 101 on.

    Args:
        subprotocols: the client's offers.
        max_message: how many bytes, or characters, a message may have.
    """

    def __init__(self, subprotocols: Iterable[str] = (), max_message: int = MAX_MESSAGE) -> None:
        self._connection = WSConnection(ConnectionType.CLIENT)
        offered = [each for each in subprotocols if _TOKEN.fullmatch(each)]
        head = self._connection.send(Request(host="localhost", target="/", subprotocols=offered))
        found = _KEY.search(head)
        assert found is not None
        self.key = found[1].decode("ascii")
        """The Sec-WebSocket-Key for the library; wsproto checks the 101 against it."""

        self._parts: list[Any] = []  # of one message, so all str or all bytes
        self._size = 0
        self._max_message = max_message
        self._is_broken = False

    @property
    def is_open(self) -> bool:
        """Whether the library takes messages, or a Close."""
        return self._connection.state is ConnectionState.OPEN

    def receive(self, data: bytes) -> Iterator[LibraryEvent]:
        """Take bytes that the library has written; yield their events."""
        if self._is_broken or self._connection.state is ConnectionState.CLOSED:
            return
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                for taken in self._take(event):
                    yield taken
                    if isinstance(taken, Broken):
                        return
        except RemoteProtocolError as error:
            yield from self._break(CloseReason.PROTOCOL_ERROR, str(error))

    def send(self, data: str | bytes) -> bytes:
        """Return a message as a frame for the library."""
        message = TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data)
        return bytes(self._connection.send(message))

    def close(self, code: int, reason: str = "") -> bytes:
        """Return the Close frame; for 1005 it has no code."""
        if code == CloseReason.NO_STATUS_RCVD:
            return bytes(self._connection.send(CloseConnection(code=CloseReason.NO_STATUS_RCVD)))
        return bytes(self._connection.send(CloseConnection(code=code, reason=reason)))

    def _take(self, event: Event) -> Iterator[LibraryEvent]:
        if isinstance(event, TextMessage | BytesMessage):
            yield from self._take_part(event)
        elif isinstance(event, Ping):
            if self.is_open:
                yield Reply(bytes(self._connection.send(event.response())))
        elif isinstance(event, AcceptConnection):
            headers = [(bytes(name), bytes(value)) for name, value in event.extra_headers]
            yield Accepted(event.subprotocol, headers)
        elif isinstance(event, RejectConnection):
            what = f"its handshake has the status {event.status_code}, not 101"
            yield from self._break(CloseReason.PROTOCOL_ERROR, what)
        elif isinstance(event, CloseConnection):
            yield from self._take_close(event)

    def _take_part(self, event: "TextMessage | BytesMessage") -> Iterator[LibraryEvent]:
        self._parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
        self._size += len(event.data)
        if self._size > self._max_message:
            yield from self._break(
                CloseReason.MESSAGE_TOO_BIG, f"a message has more than {self._max_message} bytes"
            )
        elif event.message_finished:
            empty: Any = "" if isinstance(event, TextMessage) else b""
            parts, self._parts, self._size = self._parts, [], 0
            yield Received(empty.join(parts))

    def _take_close(self, event: CloseConnection) -> Iterator[LibraryEvent]:
        state = self._connection.state
        if state not in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            # wsproto also makes a CloseConnection of what it cannot parse; no Close has come then.
            yield from self._break(int(event.code), event.reason or "")
        else:
            yield Closed(int(event.code), event.reason or "")
            if state is ConnectionState.REMOTE_CLOSING:
                yield Reply(bytes(self._connection.send(event.response())))

    def _break(self, code: int, what: str) -> Iterator[LibraryEvent]:
        self._is_broken = True
        self._parts = []
        if self.is_open:
            yield Reply(self.close(code, what))
        yield Broken(int(code), what)

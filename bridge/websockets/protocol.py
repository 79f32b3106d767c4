"""What a library for WSGI servers writes on its socket → what it wants of a websocket, and back. Pure.

Such a library takes the socket of a request, and is a websocket server on it (RFC 6455). So here is the
client: it reads the library's 101 and its frames, answers its pings, and speaks in masked frames. wsproto
does the framing. This joins messages, up to a bound, and tells the library's own Close from its mistakes.
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
"""Bytes, or characters, of one message: ASGI has whole ones, so an endless one would fill the memory."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # what a subprotocol is (RFC 6455, 4.1)
_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([^\r]*)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The library accepts the websocket."""

    subprotocol: str | None
    headers: list[tuple[bytes, bytes]]
    """The fields of its 101 besides those of the handshake, such as cookies."""


@dataclass(frozen=True, slots=True)
class Received:
    """A whole message, for the client."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that go back to the library: a Pong, or a Close."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The library has closed the websocket."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The library has broken the protocol; no more is taken from it. A Reply with the code comes before."""

    code: int
    what: str

    def describe(self, path: str) -> str:
        """A line for the log."""
        where = ascii(path)[1:-1]
        return f"{where}: the app's websocket library has broken the protocol (RFC 6455): {self.what}"


LibraryEvent: TypeAlias = Accepted | Received | Reply | Closed | Broken


class LibraryConnection:
    """One websocket of a library, from its 101 on.

    Args:
        subprotocols: those the client has offered.
        max_message: how many bytes, or characters, a message may have.
    """

    def __init__(self, subprotocols: Iterable[str] = (), max_message: int = MAX_MESSAGE) -> None:
        self._connection = WSConnection(ConnectionType.CLIENT)
        offered = [each for each in subprotocols if _TOKEN.fullmatch(each)]
        head = self._connection.send(Request(host="localhost", target="/", subprotocols=offered))
        found = _KEY.search(head)
        assert found is not None
        self.key = found[1].decode("ascii")
        """The Sec-WebSocket-Key that the library must see, as its 101 is checked against it."""

        self._parts: list[Any] = []  # of one message, so all str or all bytes
        self._size = 0
        self._max_message = max_message
        self._is_broken = False

    @property
    def is_open(self) -> bool:
        """Whether messages, or a Close, can be sent to the library."""
        return self._connection.state is ConnectionState.OPEN

    def receive(self, data: bytes) -> Iterator[LibraryEvent]:
        """Take bytes that the library has written, as the caller iterates over their events."""
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
        """Return the Close frame; without a code for 1005, which says that none was given."""
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
            # wsproto makes a CloseConnection also of what it cannot parse, but no Close has come then.
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

"""The bytes that a websocket library writes to its socket → what it says, and back. Pure.

The library is a websocket server on its socket (RFC 6455), so this end is the client: it reads the library's
101 and its frames, answers its pings, and sends masked frames. wsproto does the framing. This module joins
the parts of messages, and tells the library's own Close from its mistakes.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
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
from wsproto.utilities import RemoteProtocolError

__all__ = ["BrokenProtocol", "LibraryConnection", "LibraryEvent"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # what a subprotocol is (RFC 6455, 4.1)
_KEY = re.compile(rb"\r\nSec-WebSocket-Key: ([^\r]*)\r\n", re.IGNORECASE)

LibraryEvent: TypeAlias = AcceptConnection | str | bytes | CloseConnection
"""The library accepts the websocket, sends a whole message, or closes the websocket."""


class BrokenProtocol(Exception):
    """The library has broken RFC 6455; it has a Close with the code, and nothing more is read."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class LibraryConnection:
    """One websocket of a library, from its 101 on.

    Args:
        subprotocols: the client's offers.
        reply: takes what the library gets in return for what it writes: a Pong, or a Close.
    """

    def __init__(self, subprotocols: Iterable[str], reply: Callable[[bytes], object]) -> None:
        self._connection = WSConnection(ConnectionType.CLIENT)
        offered = [each for each in subprotocols if _TOKEN.fullmatch(each)]
        head = self._connection.send(Request(host="localhost", target="/", subprotocols=offered))
        found = _KEY.search(head)
        assert found is not None
        self.key = found[1].decode("ascii")
        """The Sec-WebSocket-Key for the library; wsproto checks the 101 against it."""

        self._reply = reply
        self._parts: list[Any] = []  # of one message, so all str or all bytes
        self._is_broken = False

    @property
    def is_open(self) -> bool:
        """Whether the library takes messages, or a Close."""
        return self._connection.state is ConnectionState.OPEN

    def receive(self, data: bytes) -> Iterator[LibraryEvent]:
        """Take bytes that the library has written; yield their events.

        Raises:
            BrokenProtocol: the library may not write this.
        """
        if self._is_broken or self._connection.state is ConnectionState.CLOSED:
            return
        connection = self._connection
        try:
            connection.receive_data(data)
            for event in connection.events():
                if isinstance(event, TextMessage | BytesMessage):
                    self._parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                    if event.message_finished:
                        parts, self._parts = self._parts, []
                        yield parts[0][:0].join(parts)
                elif isinstance(event, Ping):
                    if self.is_open:
                        self._reply(connection.send(event.response()))
                elif isinstance(event, AcceptConnection):
                    yield event
                elif isinstance(event, RejectConnection):
                    what = f"its handshake has the status {event.status_code}, not 101"
                    raise self._broken(CloseReason.PROTOCOL_ERROR, what)
                elif isinstance(event, CloseConnection):
                    if connection.state is ConnectionState.REMOTE_CLOSING:
                        self._reply(connection.send(event.response()))
                    elif connection.state is not ConnectionState.CLOSED:
                        # wsproto makes this of what it cannot parse, too; no Close has come then.
                        raise self._broken(int(event.code), event.reason or "")
                    yield event
        except RemoteProtocolError as error:
            raise self._broken(CloseReason.PROTOCOL_ERROR, str(error)) from error

    def send(self, data: str | bytes) -> bytes:
        """Return a message as a frame for the library."""
        message = TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data)
        return self._connection.send(message)

    def close(self, code: int, reason: str = "") -> bytes:
        """Return the Close frame; for 1005 it has no code."""
        if code == CloseReason.NO_STATUS_RCVD:  # wsproto compares by identity
            return self._connection.send(CloseConnection(code=CloseReason.NO_STATUS_RCVD))
        return self._connection.send(CloseConnection(code=code, reason=reason))

    def _broken(self, code: int, what: str) -> BrokenProtocol:
        self._is_broken = True
        self._parts = []
        if self.is_open:
            self._reply(self.close(code, what))
        return BrokenProtocol(int(code), what)

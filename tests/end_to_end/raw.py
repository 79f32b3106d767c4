"""An HTTP/1.1 client that sends what bytes it is told to, and reads answers one by one."""

import logging
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11
import pytest

from tests.hosts import RunningHost

__all__ = ["Answer", "RawClient", "complaints"]


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings and errors that a test has logged.

    All but one: asyncio warns when hypercorn writes five times to a connection that is lost, which it does
    until it has read that it is (`TCPServer.protocol_send` and `_read_data` are two tasks).
    """
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
        and (record.name, record.getMessage()) != ("asyncio", "socket.send() raised exception.")
    ]


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    informational: tuple[int, ...] = ()
    """The statuses of the 1xx responses before it."""


class RawClient:
    """A connection to a server.

    Args:
        server: where to connect to.
        receive_buffer: bytes that the kernel may take for a client that does not read; a small number.
    """

    def __init__(self, server: RunningHost, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", server.port))
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_until_held_back(self, data: bytes, seconds: float = 0.5) -> int:
        """Send until nothing is taken for so long, or all is; return how many bytes were taken."""
        sent = 0
        self.socket.settimeout(seconds)
        try:
            while sent < len(data):
                sent += self.socket.send(data[sent : sent + 65536])
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(10)
        return sent

    def get(self, target: bytes = b"/") -> None:
        """Send a GET."""
        self.send(b"GET " + target + b" HTTP/1.1\r\nHost: testserver\r\n\r\n")

    def post(self, target: bytes = b"/", *, body: bytes = b"", length: int | None = None) -> None:
        """Send a POST, with a body that may be shorter than its Content-Length."""
        declared = len(body) if length is None else length
        self.send(
            b"POST %b HTTP/1.1\r\nHost: testserver\r\nContent-Length: %d\r\n\r\n%b" % (target, declared, body)
        )

    def receive(self) -> bytes:
        """Return the next bytes there are; none at the end of the connection."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def put_back(self, data: bytes) -> None:
        """Have it received again."""
        self._rest = data + self._rest

    def receive_until(self, part: bytes) -> bytes:
        """Receive until this part has come."""
        data = b""
        while part not in data:
            more = self.receive()
            assert more, f"the connection ended after {data!r}"
            data += more
        return data

    def receive_all(self) -> bytes:
        """Return everything up to the end of the connection."""
        return b"".join(iter(self.receive, b""))

    def answer(self, method: bytes = b"GET") -> Answer:
        """Read one response.

        Raises:
            h11.RemoteProtocolError: the connection ends before the response does.
        """
        reader = h11.Connection(h11.CLIENT)
        # h11 wants to have sent the request that it reads the answer to.
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "testserver")]))
        reader.send(h11.EndOfMessage())
        informational: list[int] = []
        head: h11.Response | None = None
        body: list[bytes] = []
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(self.receive())
            elif isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise h11.RemoteProtocolError(f"{event} in place of a response")
        assert head is not None
        self._rest = reader.trailing_data[0]
        return Answer(head.status_code, dict(head.headers), b"".join(body), tuple(informational))

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for so long; that it does not can only be seen by waiting."""
        assert not self._rest
        self.socket.settimeout(seconds)
        try:
            self._rest = self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)
        return False

    def vanish(self, how: str) -> None:
        """Leave: with a "FIN", as programs do that end, or with a "RST", as networks do that fail."""
        if how == "RST":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

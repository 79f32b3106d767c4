"""Clients of websockets, in a process of its own: it says how much they had, as JSON, and ends.

    python -m benchmarks.websocket_clients HOST PORT PATH echo COUNT SECONDS
    python -m benchmarks.websocket_clients HOST PORT PATH hold COUNT SECONDS

`echo`: each client sends a message, waits for it to come back, and sends the next one. `hold`: each sends one
message, waits for it, and then only stays. Frames are made by hand: a library would cost more than
the server: short lengths, and a mask of zeros, where RFC 6455, 5.3 wants one that nobody can guess.
"""

import asyncio
import ipaddress
import json
import resource
import sys
import time
from typing import cast

import uvloop

__all__ = ["main"]

_MESSAGE = b"x" * 32
_SENT = bytes([0x81, 0x80 | len(_MESSAGE), 0, 0, 0, 0]) + _MESSAGE
_ANSWER = bytes([0x81, len(_MESSAGE)]) + _MESSAGE
_PATIENCE = 30.0
_CONNECTING = 50  # at once


class _Client(asyncio.Protocol):
    """One client, until it is closed."""

    def __init__(self, host: str, path: str, *, repeats: bool) -> None:
        self.answers = 0
        self.is_open = asyncio.get_running_loop().create_future()
        self.failure = ""
        self._repeats = repeats
        self._received = b""
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YnJpZGdlIG1hZGUgaXQgdQ==\r\n\r\n"
        ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.is_open.done():
            head, separator, self._received = self._received.partition(b"\r\n\r\n")
            if not separator:
                self._received = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._fail(head.partition(b"\r\n")[0].decode("latin-1"))
                return
            self.is_open.set_result(True)
            self._transport.write(_SENT)
        while len(self._received) >= len(_ANSWER):
            if not self._received.startswith(_ANSWER):
                self._fail(f"another answer than what was sent: {self._received[:40]!r}")
                return
            self._received = self._received[len(_ANSWER) :]
            self.answers += 1
            if self._repeats:
                self._transport.write(_SENT)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"connection lost: {error!r}")

    def leave(self) -> None:
        self._transport.abort()

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        if not self.is_open.done():
            self.is_open.set_result(False)
        self._transport.abort()


async def _work(host: str, port: int, path: str, *, repeats: bool, count: int, seconds: float) -> None:
    clients: list[_Client] = []
    turns = asyncio.Semaphore(_CONNECTING)

    async def connect() -> None:
        async with turns, asyncio.timeout(_PATIENCE):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(host, path, repeats=repeats), host, port
            )
            clients.append(client)
            await client.is_open

    await asyncio.gather(*(connect() for _ in range(count)))
    before, begun = sum(client.answers for client in clients), time.monotonic()
    print(json.dumps({"open": sum(not client.failure for client in clients)}), flush=True)
    await asyncio.sleep(seconds)  # the window itself
    answers, took = sum(client.answers for client in clients) - before, time.monotonic() - begun
    failures = sorted({client.failure for client in clients if client.failure})
    answered = sum(client.answers > 0 for client in clients)
    for client in clients:
        client.leave()
    print(
        json.dumps({"answers": answers, "seconds": took, "answered": answered, "failures": failures[:3]}),
        flush=True,
    )


def main(arguments: list[str]) -> None:
    """Play the clients that the arguments ask for."""
    host, port, path, kind, count, seconds = arguments
    if not ipaddress.ip_address(host).is_loopback:
        raise SystemExit(f"{host} is not on the loopback interface")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_work(host, int(port), path, repeats=kind == "echo", count=int(count), seconds=float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Requests of all kinds at once: is every answer that of its own request, and does the server stay up?

It is made for free-threaded Pythons, where threads really run at once, but holds on every one.
"""

import asyncio
import sys
import time
from collections import Counter

from websockets.asyncio.client import connect

from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server

__all__ = ["right_answers"]

_THREADS = 8
_CONNECTIONS = 32
_WEBSOCKETS = 8
# Each of so many requests is the handshake of a websocket, which then has so many messages.
_HANDSHAKES = 100
_MESSAGES = 5
_TIMEOUT = 60.0
# Wrong answers that are shown.
_SHOWN = 5


def right_answers(scale: Scale) -> Experiment:
    """Make `scale.requests` requests, one in a hundred of them a websocket's; compare each answer."""
    with Server("bridge-serve", "answers", options=["--threads", str(_THREADS)]) as server:
        clients = _Clients(server, scale.requests)
        start = time.perf_counter()
        asyncio.run(clients.run())
        seconds = time.perf_counter() - start
        is_up = server.is_alive()
        log = server.log()
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    kind = "with" if has_gil else "without"
    right, wrong = clients.counts["right"], clients.wrong
    findings = [
        Finding(
            f"{scale.requests:,} requests {kind} the global interpreter lock, {_THREADS} threads: all right",
            f"{right:,} right, {clients.counts['websockets']:,} websockets among them; {len(wrong)} wrong",
            right == scale.requests and not wrong,
        ),
        Finding("the server stays up, and logs nothing", f"{len(log)} line(s)", is_up and not log),
    ]
    notes = [f"{scale.requests / seconds:,.0f} requests a second", *wrong[:_SHOWN], *log[-_SHOWN:]]
    return Experiment(findings, notes, {"counts": dict(clients.counts), "seconds": seconds, "log": log})


class _Clients:
    """Clients that make so many requests in all, and compare the answers."""

    def __init__(self, server: Server, count: int) -> None:
        self._server = server
        handshakes = count // _HANDSHAKES
        self._requests = iter(range(count - handshakes))
        self._handshakes = iter(range(handshakes))
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Make all requests."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(self._make_requests())
            for _ in range(_WEBSOCKETS):
                group.create_task(self._open_websockets())

    async def _make_requests(self) -> None:
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            for number in self._requests:
                method, path, body, expected = _request(number)
                head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                async with asyncio.timeout(_TIMEOUT):
                    self._compare(path, await _answer(reader), expected)
        finally:
            writer.close()

    async def _open_websockets(self) -> None:
        for number in self._handshakes:
            path = "/handler" if number % 2 else "/library"
            messages: list[str | bytes] = [f"{number}.{each}" for each in range(_MESSAGES)]
            async with (
                asyncio.timeout(_TIMEOUT),
                connect(f"ws://{self._server.host}:{self._server.port}{path}") as websocket,
            ):
                for message in messages:
                    await websocket.send(message)
                answers = [await websocket.recv() for _ in messages]
            self.counts["websockets"] += 1
            self._compare(path, answers, messages)

    def _compare(self, path: str, answer: object, expected: object) -> None:
        if answer == expected:
            self.counts["right"] += 1
        else:
            self.wrong.append(f"{path}: {str(answer)[:100]!r}, expected was {str(expected)[:100]!r}")


def _request(number: int) -> tuple[str, str, bytes, bytes]:
    """Method, path, body, and the answer that must come."""
    parts = b"".join(b"%d.%d " % (number, part) for part in range(5))
    kinds: list[tuple[str, str, bytes, bytes]] = [
        ("GET", f"/plain/{number}", b"", b"plain %d" % number),
        ("POST", "/echo", b"%d," % number * (number % 20_000), b"%d," % number * (number % 20_000)),
        ("GET", f"/parts/{number}", b"", parts),
        ("GET", f"/loop/{number}", b"", b"loop %d" % (2 * number)),
        ("GET", f"/async/{number}", b"", b"async %d" % number),
        ("GET", f"/async-parts/{number}", b"", parts),
    ]
    return kinds[number % len(kinds)]


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next response; the status line, if that is not 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0]:
        return head
    lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    if lengths:
        return await reader.readexactly(lengths[0])
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body

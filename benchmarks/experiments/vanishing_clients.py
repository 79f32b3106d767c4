"""Clients that vanish in the middle: does anything stay behind?"""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.apps import THREADS
from benchmarks.apps.sizes import KIB, MIB
from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server

__all__ = ["vanishing_clients"]

_CONCURRENCY = 64
_TIMEOUT = 30.0
_SETTLING = 15.0
# So many are not counted: until every thread has been at everything, its heap grows.
_WARM_UP = 4_000
# 2 MB between the first fifth and the last: a leak of 250 bytes a request would show in 10,000 requests.
_GROWTH_LIMIT = 2_000_000


class _Crowd:
    """Clients that come, wait until the app is at work for them, and are gone.

    Half of them ask for an endless body, the other half begin an upload; in either half, every other one
    ends the connection with a reset in place of the ordinary end.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.rss: list[int] = []
        """The server's resident memory, noted after every 50th client."""

    async def send(self, count: int) -> None:
        """Let so many clients come and go, 64 at a time."""
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(self._send_one_by_one(numbers))

    async def _send_one_by_one(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            async with asyncio.timeout(_TIMEOUT):
                await self._come_and_go(number)
            if number % 50 == 49:
                self.rss.append(self._server.tree.rss())

    async def _come_and_go(self, number: int) -> None:
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            if number % 2:
                await _read_a_part(reader, writer)
            else:
                await _send_a_part(reader, writer)
        finally:
            if number % 4 < 2:
                _end_with_reset(writer)
            writer.transport.abort()


async def _read_a_part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(64 * KIB)


async def _send_a_part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an eighth of the body, once the server has asked for it: it does when the app begins to read."""
    writer.write(
        b"POST /upload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        % MIB
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes(MIB // 8))
    await writer.drain()


def _end_with_reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def vanishing_clients(scale: Scale) -> Experiment:
    """Let `scale.clients` clients vanish, after others that are not counted, and see what is left."""
    with Server("bridge") as server:
        asyncio.run(_Crowd(server).send(_WARM_UP))
        crowd = _Crowd(server)
        start = time.perf_counter()
        asyncio.run(crowd.send(scale.clients))
        seconds = time.perf_counter() - start
        counts = _settle(server)
        log = server.log()
    fifth = len(crowd.rss) // 5
    medians = [median(crowd.rss[part * fifth : (part + 1) * fifth]) for part in range(5)]
    growth = medians[-1] - medians[0]
    still_open = counts["opened"] - counts["closed"]
    spare = counts["threads"] - 1  # the main thread, on which the event loop runs
    name = f"{scale.clients:,} vanishing clients"
    findings = [
        Finding(f"{name}: no generator stays open", f"{still_open} of {counts['opened']}", still_open == 0),
        Finding(f"{name}: no more threads than the pool's {THREADS}", str(spare), spare <= THREADS),
        Finding(
            f"{name}: memory grows by less than {_GROWTH_LIMIT / 1e6:.0f} MB, first fifth to last",
            f"{growth / 1e6:+.2f} MB",
            growth < _GROWTH_LIMIT,
        ),
    ]
    notes = [
        f"{scale.clients / seconds:,.0f} clients a second; memory by fifths: "
        + ", ".join(f"{rss / 1e6:.1f}" for rss in medians)
        + f" MB; {len(log)} lines in the server's log"
        + (f", the last: {log[-1]}" if log else "")
    ]
    figures: dict[str, object] = {
        "counts": counts,
        "rss": crowd.rss,
        "seconds": seconds,
        "log_lines": len(log),
    }
    return Experiment(findings, notes, figures)


def _settle(server: Server) -> dict[str, int]:
    """The app's counts, once every generator is closed and the surplus threads are gone, or time is up."""
    deadline = time.monotonic() + _SETTLING
    while True:
        counts: dict[str, int] = json.loads(server.request("GET", "/counts"))
        settled = counts["opened"] == counts["closed"] and counts["threads"] - 1 <= THREADS
        if settled or time.monotonic() > deadline:
            return counts
        time.sleep(0.05)

"""A long upload and a long download through Bridge: how much memory do they take?"""

import http.client
import time
from collections.abc import Callable, Iterator

from benchmarks.apps.sizes import KIB, MIB
from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server, ServerError

__all__ = ["long_bodies"]

_LIMIT = 20_000_000
_PIECE = 64 * KIB
_TIMEOUT = 60.0


def long_bodies(scale: Scale) -> Experiment:
    """Send and receive a body of `scale.body_size` bytes, each on a fresh server.

    Raises:
        ServerError: an answer is wrong.
    """
    findings = []
    figures: dict[str, object] = {"body_size": scale.body_size}
    for name, transfer in (("upload", _upload), ("download", _download)):
        with Server("bridge") as server:
            growth, seconds = _measured(server, transfer, scale.body_size)
        figures[name] = {"growth": growth, "seconds": seconds}
        findings.append(
            Finding(
                f"{name} of {scale.body_size / MIB:,.0f} MiB: grows by less than {_LIMIT / 1e6:.0f} MB",
                f"{growth / 1e6:.1f} MB, in {seconds:.1f} s",
                growth < _LIMIT,
            )
        )
    return Experiment(findings, figures=figures)


def _measured(server: Server, transfer: Callable[[Server, int], None], size: int) -> tuple[int, float]:
    before = server.tree.rss()
    server.tree.reset_peak_rss()
    start = time.perf_counter()
    transfer(server, size)
    return server.tree.peak_rss() - before, time.perf_counter() - start


def _upload(server: Server, size: int) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT)
    try:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        connection.request("POST", "/upload", _pieces(size), headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise ServerError(f"answered an upload with {response.status} {answer[:80]!r}")
    finally:
        connection.close()


def _pieces(size: int) -> Iterator[bytes]:
    piece = b"u" * _PIECE
    for start in range(0, size, _PIECE):
        yield piece[: size - start]


def _download(server: Server, size: int) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"/download/{size}")
        response = connection.getresponse()
        buffer = bytearray(_PIECE)
        received = 0
        while count := response.readinto(buffer):
            received += count
        if response.status != 200 or received != size:
            raise ServerError(f"answered a download with {response.status} and {received} of {size} bytes")
    finally:
        connection.close()

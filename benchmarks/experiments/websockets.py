"""Websockets: the rate of echoes beside the rivals', and what idle ones take."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server, environment

__all__ = ["websockets"]

_PATH = "/echo"
# Fewer than the threads that gunicorn has in all these measurements.
_CLIENTS = 30
_SECONDS = 3
_ROUNDS = 5
_MEMORY_LIMIT = 40_000
_MARGIN = 90.0

# Ours, the rival, and how much of its rate is to be reached.
_PAIRS = [
    ("async echo, of Starlette's rate", ("bridge-serve", "async_flask"), ("starlette", "async_flask"), 0.9),
    ("async echo, of Quart's rate", ("bridge-serve", "async_flask"), ("quart", "async_flask"), 0.9),
    ("Flask-Sock echo, of gunicorn's rate", ("bridge-serve", "sock"), ("gunicorn", "sock"), 1.0),
]


def websockets(scale: Scale) -> Experiment:
    """Let clients have their messages back, servers taking turns; hold `scale.websockets` open."""
    figures: dict[str, object] = {}
    findings = []
    for name, ours, theirs, goal in _PAIRS:
        rates = [(_rate(*ours), _rate(*theirs)) for _ in range(_ROUNDS)]
        ratios = [our / their for our, their in rates]
        figures[name] = rates
        findings.append(
            Finding(
                f"{name}: at least {goal:g}",
                f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                median(ratios) >= goal,
            )
        )
    return Experiment([*findings, *_idle(scale.websockets, figures)], figures=figures)


def _rate(rival: str, app: str) -> float:
    """Echoes a second."""
    with Server(rival, app) as server, _clients(server, "echo", _CLIENTS, _SECONDS) as clients:
        _line(clients)
        counts = _line(clients)
        if counts["failures"]:
            raise RuntimeError(f"{rival}: {counts['failures']}; {server.log()[-3:]}")
        return float(counts["answers"] / counts["seconds"])


def _idle(count: int, figures: dict[str, object]) -> list[Finding]:
    with Server("bridge-serve", "async_flask") as server:
        with _clients(server, "echo", 10, 1) as clients:  # everything is loaded
            _line(clients)
            _line(clients)
        before = server.tree.rss()
        with _clients(server, "hold", count, 3) as clients:
            opened = _line(clients)["open"]
            each = (server.tree.rss() - before) / count
            answered = _line(clients)["answered"]
    name = f"{count:,} idle async websockets"
    figures[name] = {"open": opened, "answered": answered, "bytes": each}
    return [
        Finding(f"{name}: all are open", f"{opened:,}, {answered:,} had an answer", answered == count),
        Finding(
            f"{name}: at most {_MEMORY_LIMIT / 1000:.0f} KB each",
            f"{each / 1000:.1f} KB",
            each <= _MEMORY_LIMIT,
        ),
    ]


@contextmanager
def _clients(server: Server, kind: str, count: int, seconds: float) -> "Iterator[subprocess.Popen[str]]":
    arguments = [server.host, str(server.port), _PATH, kind, str(count), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.websocket_clients", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment({}),
    )
    try:
        yield process
        process.wait(_MARGIN)
    finally:
        process.kill()
        process.communicate()


def _line(clients: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the clients say next."""
    assert clients.stdout is not None
    line = clients.stdout.readline()
    if not line:
        raise RuntimeError(f"the clients ended with status {clients.wait(_MARGIN)}")
    said: dict[str, Any] = json.loads(line)
    return said

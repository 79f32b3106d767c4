"""Many event streams open at once: are they served on time, and what does each cost?"""

import json
import time

from benchmarks.crowd import Crowd, CrowdCounts, Events
from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server

__all__ = ["open_streams"]

_WINDOW = 10.0
_MEMORY_LIMIT = 30_000
_LATENESS_LIMIT = 250.0
_SETTLING = 15.0
# How much more a second crowd may take than the first. The heap itself stays with the process when they have
# left, as with any Python server, since a few objects hold each of its pages: of what as many streams of a
# bare ASGI app took, 92 % stayed.
_GROWTH_LIMIT = 0.02


def open_streams(scale: Scale) -> Experiment:
    """Hold `scale.streams` event streams of an async view open, an event a second each; let them leave."""
    with Server("bridge-serve", "async_flask") as server:
        server.request("GET", "/")
        before, rss_before = _counts(server), server.tree.rss()
        first = _hold_open(server, scale.streams)
        after = _settle(server, before["tasks"])
        rss_after = server.tree.rss()
        second = _hold_open(server, scale.streams)
    opened, rss_open, threads, counts = first
    each = (rss_open - rss_before) / scale.streams
    growth = second[1] / rss_open - 1
    name = f"{scale.streams:,} open streams"
    findings = [
        Finding(f"{name}: all are open", f"{opened:,}", opened == scale.streams),
        Finding(
            f"{name}: p99 of lateness under {_LATENESS_LIMIT:.0f} ms",
            f"{counts.late_p99_ms:.0f} ms, {counts.on_time / max(1, counts.expected):.2%} on time",
            counts.late_p99_ms < _LATENESS_LIMIT and counts.served == scale.streams,
        ),
        Finding(
            f"{name}: at most {_MEMORY_LIMIT / 1000:.0f} KB each",
            f"{each / 1000:.1f} KB",
            each <= _MEMORY_LIMIT,
        ),
        Finding(
            f"{name}: no thread for them, but the one that watches the loop",
            f"{threads - before['threads']} more",
            threads <= before["threads"] + 1,
        ),
        Finding(
            f"{name}: no task stays behind",
            f"{after['tasks'] - before['tasks']}",
            after["tasks"] <= before["tasks"],
        ),
        Finding(
            f"{name}: as many more, when they have left, take no more memory",
            f"{growth:+.1%}",
            growth <= _GROWTH_LIMIT,
        ),
    ]
    figures: dict[str, object] = {
        "before": before,
        "after": after,
        "rss": [rss_before, rss_open, rss_after, second[1]],
        "late_p50_ms": counts.late_p50_ms,
        "late_p99_ms": counts.late_p99_ms,
        "late_p999_ms": counts.late_p999_ms,
    }
    return Experiment(findings, figures=figures)


def _hold_open(server: Server, streams: int) -> tuple[int, int, int, CrowdCounts]:
    """How many were open, the memory and the threads meanwhile, and how they were served."""
    with Crowd(server.host, server.port, Events("/events?interval=1", streams, 1.0)) as crowd:
        crowd.wait_until_open()
        opened = crowd.wait_until_open()  # ten seconds more, for as many as that
        crowd.begin()
        time.sleep(_WINDOW)  # the window itself
        rss, threads = server.tree.rss(), _counts(server)["threads"]
        return opened, rss, threads, crowd.end()


def _counts(server: Server) -> dict[str, int]:
    counts: dict[str, int] = json.loads(server.request("GET", "/counts"))
    return counts


def _settle(server: Server, tasks: int) -> dict[str, int]:
    """The app's counts, once there are no more tasks than before, or time is up."""
    deadline = time.monotonic() + _SETTLING
    while True:
        counts = _counts(server)
        if counts["tasks"] <= tasks or time.monotonic() > deadline:
            return counts
        time.sleep(0.1)

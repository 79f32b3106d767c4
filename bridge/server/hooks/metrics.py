"""Figures of a process that serves, for Prometheus: counted in plain numbers until somebody asks for them.

`FAMILIES` has the names. No label is the client's to choose: a path is never one. The route is the app's
rule, such as `/user/<id>`, and empty where none has matched; a method that HTTP does not have is "other". The
status is empty if the client left before it. The server's own answers for its health are not counted.
"""

import asyncio
import json
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from bridge.asgi.adapter import WSGIToASGI
from bridge.http.exchange import Exchange, Hook
from bridge.types import override

__all__ = ["FAMILIES", "Family", "Figures", "Metrics", "lasting", "read", "summed"]

Figures: TypeAlias = dict[str, dict[tuple[str, ...], list[float]]]
"""The values of each family, by the values of its labels.

A counter and a gauge have one number. A histogram has one for each bucket, one for what is above the last
bucket, and the sum of all that was observed.
"""

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Family(NamedTuple):
    """The description of figures with one name."""

    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Their upper bounds, in seconds."""


FAMILIES = {
    "bridge_requests": Family("counter", "Requests.", ("method", "route", "status")),
    "bridge_request_duration_seconds": Family(
        "histogram", "To the end of the response.", ("method", "route"), _DURATIONS
    ),
    "bridge_thread_wait_seconds": Family("histogram", "How long calls waited for a thread.", buckets=_WAITS),
    "bridge_requests_in_flight": Family("gauge", "Requests whose response has not ended."),
    "bridge_streams_open": Family("gauge", "Requests that have sent a part of their response."),
    "bridge_websockets": Family("counter", "Websockets whose handshake the app has answered.", ("status",)),
    "bridge_websockets_open": Family("gauge", "Websockets that the app has accepted."),
    "bridge_connections_open": Family("gauge", "Connections, idle ones among them."),
    "bridge_threads_busy": Family("gauge", "Worker threads at work."),
    "bridge_calls_waiting": Family("gauge", "Calls that wait for a worker thread."),
    "bridge_request_bytes": Family("counter", "Bytes of requests' bodies that apps have read."),
    "bridge_response_bytes": Family("counter", "Bytes of responses' bodies."),
    "bridge_disconnects": Family("counter", "Requests whose client left before the end."),
    "bridge_refused_requests": Family("counter", "Requests refused by limits and deadlines.", ("status",)),
    "bridge_loop_blocked": Family(
        "counter", "Times a view has held the event loop for too long.", ("endpoint",)
    ),
    "bridge_worker_restarts": Family("counter", "Workers that replaced others.", ("reason",)),
}
"""All families by their names, to which Prometheus adds `_total` for counters."""

# RFC 9110, 9.3, and PATCH (RFC 5789).
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})

# Seconds between two reports to the process that serves the figures.
_INTERVAL = 0.5

_SWITCHING_PROTOCOLS = 101


class Metrics(Hook):
    """Counts requests and websockets in one process.

    A request that the server refuses counts as refused alone, even if it had begun, and was refused for the
    size of its body. What its call has read, sent and waited counts all the same.

    Args:
        adapters: those whose threads are counted together.
    """

    def __init__(self, adapters: Sequence[WSGIToASGI]) -> None:
        self.connections: Sized = ()
        """The connections that are open."""
        self._adapters = adapters
        self._requests: defaultdict[tuple[str, str, int | None], int] = defaultdict(int)
        self._durations: defaultdict[tuple[str, str], list[float]] = defaultdict(
            lambda: [0] * (len(_DURATIONS) + 2)
        )
        self._waits: list[float] = [0] * (len(_WAITS) + 2)
        self._in_flight: set[Exchange] = set()
        self._streams = self._websockets = 0
        self._received = self._sent = self._disconnects = 0
        self._handshakes: defaultdict[int, int] = defaultdict(int)  # by status
        self._refused: defaultdict[int, int] = defaultdict(int)  # by status

    @override
    def on_request(self, exchange: Exchange) -> None:
        self._in_flight.add(exchange)

    @override
    def on_stream(self, exchange: Exchange) -> None:
        self._streams += 1

    @override
    def on_end(self, exchange: Exchange) -> None:
        self._in_flight.discard(exchange)  # one that was refused may not have begun
        self._streams -= exchange.is_streaming
        self._received += exchange.received
        self._sent += exchange.sent
        call = exchange.call
        if call is not None and call.waited is not None:
            self._waits[bisect_left(_WAITS, call.waited)] += 1
            self._waits[-1] += call.waited
        if exchange.refusal is not None:
            self._refused[exchange.refusal.status] += 1
            return
        self._disconnects += exchange.has_left
        method = exchange.request.method
        if method not in _METHODS:
            method = "other"
        self._requests[method, exchange.route, exchange.status] += 1
        durations = self._durations[method, exchange.route]
        durations[bisect_left(_DURATIONS, exchange.seconds)] += 1
        durations[-1] += exchange.seconds

    @override
    def on_websocket(self, status: int) -> None:
        self._handshakes[status] += 1
        if status == _SWITCHING_PROTOCOLS:
            self._websockets += 1

    @override
    def on_websocket_end(self) -> None:
        self._websockets -= 1

    def figures(self) -> Figures:
        """Return all figures as they are now; any thread may ask."""
        adapters = self._adapters
        blocked: Counter[str] = sum((Counter(each.blocked) for each in adapters), Counter())
        # `list` takes a dict as it is, whatever the event loop adds to it meanwhile.
        return {
            "bridge_requests": {
                (method, route, "" if status is None else str(status)): [count]
                for (method, route, status), count in list(self._requests.items())
            },
            "bridge_request_duration_seconds": {
                labels: values.copy() for labels, values in list(self._durations.items())
            },
            "bridge_thread_wait_seconds": {(): self._waits.copy()},
            "bridge_requests_in_flight": {(): [len(self._in_flight)]},
            "bridge_streams_open": {(): [self._streams]},
            "bridge_websockets": _by_label(self._handshakes),
            "bridge_websockets_open": {(): [self._websockets]},
            "bridge_connections_open": {(): [len(self.connections)]},
            "bridge_threads_busy": {(): [sum(each.busy_threads for each in adapters)]},
            "bridge_calls_waiting": {(): [sum(each.waiting_calls for each in adapters)]},
            "bridge_request_bytes": {(): [self._received]},
            "bridge_response_bytes": {(): [self._sent]},
            "bridge_disconnects": {(): [self._disconnects]},
            "bridge_refused_requests": _by_label(self._refused),
            "bridge_loop_blocked": _by_label(blocked),
        }

    async def keep_reporting(self, folder: Path) -> None:
        """Write the figures to this process's file in a folder until cancelled, and a last time then."""
        file = folder / f"{os.getpid()}.json"
        written: Figures = {}
        try:
            while True:
                written = self._report(file, written)
                await asyncio.sleep(_INTERVAL)
        finally:
            self._report(file, written)

    def _report(self, file: Path, written: Figures) -> Figures:
        figures = self.figures()
        if figures != written:
            text = json.dumps({name: list(values.items()) for name, values in figures.items()})
            whole = file.with_suffix(".new")
            whole.write_text(text)
            whole.replace(file)  # a reader finds all of it, or what was there before
        return figures


def read(file: Path) -> Figures:
    """Return what a process has reported; nothing if it has not."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return {}
    return {
        name: {tuple(labels): numbers for labels, numbers in values}
        for name, values in json.loads(text).items()
    }


def summed(parts: Iterable[Figures]) -> Figures:
    """Add up the figures of several processes."""
    total: Figures = {name: {} for name in FAMILIES}
    for part in parts:
        for name, values in part.items():
            for labels, numbers in values.items():
                before = total[name].get(labels)
                total[name][labels] = (
                    numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]
                )
    return total


def lasting(figures: Figures) -> Figures:
    """Return the figures that count when their process has ended: a gauge of it says nothing any more."""
    return {name: values for name, values in figures.items() if FAMILIES[name].kind != "gauge"}


def _by_label(counts: Mapping[int, int] | Mapping[str, int]) -> dict[tuple[str, ...], list[float]]:
    return {(str(label),): [count] for label, count in list(counts.items())}

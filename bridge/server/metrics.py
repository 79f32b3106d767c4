"""Figures of a process that serves, for Prometheus, by prometheus-client.

| name | what it is |
| --- | --- |
| `bridge_requests_total` | requests, by `method`, `status` and `route` |
| `bridge_request_duration_seconds` | from a request to the end of its response, by `method` and `route` |
| `bridge_thread_wait_seconds` | how long calls waited for their thread |
| `bridge_requests_in_flight` | requests whose response has not ended |
| `bridge_streams_open` | those of them that have sent a part of their response |
| `bridge_websockets_total` | websockets whose handshake the app has answered, by `status`: 101, or another |
| `bridge_websockets_open` | websockets that the app has accepted |
| `bridge_connections_open` | connections, idle ones among them |
| `bridge_threads_busy` | worker threads at work |
| `bridge_calls_waiting` | calls that wait for a worker thread |
| `bridge_request_bytes_total` | bytes of requests' bodies that apps have read |
| `bridge_response_bytes_total` | bytes of responses' bodies |
| `bridge_disconnects_total` | requests whose client left before the end of the response |
| `bridge_refused_requests_total` | requests refused by limits and deadlines, by `status` |
| `bridge_loop_blocked_total` | how often a view has held the event loop for too long, by `endpoint` |
| `bridge_worker_restarts_total` | by `reason`; from the supervisor: see `metrics_endpoint.py` |

No label is the client's to choose: a path is never one. The route is the app's rule, such as `/user/<id>`,
and empty where none has matched; a method that is not of HTTP's is "other". The status is empty if the client
left before there was one. What the server answers for its health is no request of the app's, and not counted.

To count a request in prometheus-client takes 4 us, 11 with several processes. So it is counted in plain
numbers, which are handed over ten times a second.

This module is imported only where there are metrics: it needs prometheus-client, which must not be imported
before PROMETHEUS_MULTIPROC_DIR is set.
"""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from bridge.asgi.adapter import WSGIToASGI
from bridge.http.exchange import Exchange, Hook

__all__ = ["Metrics"]

# RFC 9110, 9.3, and PATCH (RFC 5789).
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER_METHOD = "other"

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Seconds between two reports.
_INTERVAL = 0.1

_SWITCHING_PROTOCOLS = 101


class Metrics(Hook):
    """Counts what goes by in one process, and reports it to prometheus-client.

    A request that the server has refused is counted as that alone, also if it had begun, and was refused for
    the size of its body. What its call has read, sent and waited counts all the same.

    Args:
        adapter: whose threads are counted; None if the app runs without.
        registry: where the figures are registered; a second one with the same figures is refused.

    Raises:
        ValueError: they are registered there already.
    """

    def __init__(self, adapter: WSGIToASGI | None, registry: CollectorRegistry = REGISTRY) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._waits = _Observations(_WAITS)
        self._in_flight: set[Exchange] = set()
        self._streams = self._websockets = 0
        self._received = self._sent = self._disconnects = 0
        self._handshakes: defaultdict[int, int] = defaultdict(int)  # by status
        self._figures = _Figures(registry)
        self._adapter = _AdapterFigures(adapter, registry)

    def on_request(self, exchange: Exchange) -> None:
        """See `Hook`."""
        self._in_flight.add(exchange)

    def on_stream(self, exchange: Exchange) -> None:
        """See `Hook`."""
        self._streams += 1

    def on_end(self, exchange: Exchange) -> None:
        """See `Hook`."""
        self._in_flight.discard(exchange)  # one that was refused may not have begun
        self._streams -= exchange.is_streaming
        self._received += exchange.received
        self._sent += exchange.sent
        call = exchange.call
        if call is not None and call.waited is not None:
            self._waits.add(call.waited)
        if exchange.refusal is not None:
            self._figures.refused.labels(exchange.refusal.status).inc()
            return
        self._disconnects += exchange.has_left
        method = exchange.request.method
        key = (method if method in _METHODS else _OTHER_METHOD, exchange.route)
        series = self._series.get(key)
        if series is None:
            self._series[key] = series = _Series()
        series.statuses[exchange.status] += 1
        series.durations.add(exchange.seconds)

    def on_websocket(self, status: int) -> None:
        """See `Hook`."""
        self._handshakes[status] += 1
        if status == _SWITCHING_PROTOCOLS:
            self._websockets += 1

    def on_websocket_end(self) -> None:
        """See `Hook`."""
        self._websockets -= 1

    async def keep_reporting(self, connections: Callable[[], int]) -> None:
        """Report until cancelled, and a last time then.

        Args:
            connections: says how many are open.
        """
        try:
            while True:
                self.report(connections())
                await asyncio.sleep(_INTERVAL)
        finally:
            self.report(connections())

    def report(self, connections: int) -> None:
        """Hand over what was counted since the last time, and how things stand.

        Args:
            connections: how many are open.
        """
        figures = self._figures
        for (method, route), series in self._series.items():
            series.durations.report_to(figures.duration.labels(method, route))
            for status, count in series.statuses.items():
                figures.requests.labels(method, "" if status is None else status, route).inc(count)
        self._series = {}
        for code, count in self._handshakes.items():
            figures.handshakes.labels(code).inc(count)
        self._handshakes.clear()
        self._waits.report_to(figures.thread_wait)
        self._waits = _Observations(_WAITS)
        figures.request_bytes.inc(self._received)
        figures.response_bytes.inc(self._sent)
        figures.disconnects.inc(self._disconnects)
        self._received = self._sent = self._disconnects = 0
        figures.in_flight.set(len(self._in_flight))
        figures.streams.set(self._streams)
        figures.websockets.set(self._websockets)
        figures.connections.set(connections)
        self._adapter.report()


class _Observations:
    """What a histogram is to be told: how many in each bucket, and the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def report_to(self, histogram: "_Histogram") -> None:
        histogram.observe_all(self._counts, self._sum)


class _Series:
    """What has been counted for one method and route since the last report."""

    def __init__(self) -> None:
        self.statuses: defaultdict[int | None, int] = defaultdict(int)
        self.durations = _Observations(_DURATIONS)


class _Histogram(Histogram):
    """prometheus-client's, which can be told of many observations at once."""

    def observe_all(self, counts: Sequence[int], total: float) -> None:
        # What `observe` does for one, and what its public face cannot do for many.
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def _counter(registry: CollectorRegistry, name: str, about: str, *labels: str) -> Counter:
    return Counter(f"bridge_{name}", about, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, about: str) -> Gauge:
    # The sum of the processes that are alive.
    return Gauge(f"bridge_{name}", about, registry=registry, multiprocess_mode="livesum")


class _Figures:
    """The figures of what goes by, as prometheus-client has them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(_counter, registry)
        gauge = partial(_gauge, registry)
        self.requests = counter("requests_total", "Requests.", "method", "status", "route")
        self.duration = _Histogram(
            "bridge_request_duration_seconds",
            "To the end of the response.",
            ("method", "route"),
            registry=registry,
            buckets=_DURATIONS,
        )
        self.thread_wait = _Histogram(
            "bridge_thread_wait_seconds",
            "How long calls waited for a thread.",
            registry=registry,
            buckets=_WAITS,
        )
        self.in_flight = gauge("requests_in_flight", "Requests whose response has not ended.")
        self.streams = gauge("streams_open", "Requests that have sent a part of their response.")
        self.handshakes = counter(
            "websockets_total", "Websockets whose handshake the app has answered.", "status"
        )
        self.websockets = gauge("websockets_open", "Websockets that the app has accepted.")
        self.connections = gauge("connections_open", "Connections, idle ones among them.")
        self.request_bytes = counter("request_bytes_total", "Bytes of requests' bodies that apps have read.")
        self.response_bytes = counter("response_bytes_total", "Bytes of responses' bodies.")
        self.disconnects = counter("disconnects_total", "Requests whose client left before the end.")
        self.refused = counter(
            "refused_requests_total", "Requests refused by limits and deadlines.", "status"
        )


class _AdapterFigures:
    """The figures of an adapter; without one, they stay at nothing."""

    def __init__(self, adapter: WSGIToASGI | None, registry: CollectorRegistry) -> None:
        self._adapter = adapter
        self._threads_busy = _gauge(registry, "threads_busy", "Worker threads at work.")
        self._calls_waiting = _gauge(registry, "calls_waiting", "Calls that wait for a worker thread.")
        self._loop_blocked = _counter(
            registry, "loop_blocked_total", "Times a view has held the event loop for too long.", "endpoint"
        )
        self._reported: defaultdict[str, int] = defaultdict(int)  # of `loop_blocked`, by endpoint

    def report(self) -> None:
        if self._adapter is None:
            return
        self._threads_busy.set(self._adapter.busy_threads)
        self._calls_waiting.set(self._adapter.waiting_calls)
        for endpoint, count in self._adapter.blocked.items():
            self._loop_blocked.labels(endpoint).inc(count - self._reported[endpoint])
            self._reported[endpoint] = count

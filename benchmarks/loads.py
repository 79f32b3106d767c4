"""What is put on a server: requests from wrk, a crowd of clients, or both at once."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from benchmarks.crowd import Crowd, CrowdCounts, CrowdLoad
from benchmarks.servers import Server
from benchmarks.wrk import WrkCounts, WrkLoad, run_wrk

__all__ = ["Counts", "CrowdAlone", "CrowdBeside", "Load", "Requests", "Run"]

_WARM_UP = 1
# So few that none are left waiting afterwards: what a server has still to do for a thousand that have gone
# would be counted against it.
_WARM_UP_CONNECTIONS = 16
# Seconds between the opening of a crowd and the window: what a server does about it takes Bridge one second
# (a stream is moved off the count of its threads), and waitress some more (it keeps a body in files).
_SETTLING = 2
_FEWEST_SERVED = 0.9


@dataclass(frozen=True)
class Counts:
    """What came of a load in `seconds`.

    `counted` is how many requests or events there were, `failed` the share of requests that were not answered
    as they should be, `failure` says so in words; `events_on_time` is the share of events.
    """

    counted: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    failed: float = 0.0
    events_on_time: float | None = None
    failure: str | None = None


Run: TypeAlias = Callable[[int], Counts]
"""Put the load on the server for so many seconds."""


class Load(Protocol):
    """One kind of load."""

    @property
    def request(self) -> WrkLoad | CrowdLoad:
        """The request that must be answered rightly before anything is measured."""

    def prepared(self, server: Server) -> contextlib.AbstractContextManager[Run]:
        """Warm the server up, and open what is to be open, for as long as the context lasts."""


@dataclass(frozen=True)
class Requests:
    """Requests as fast as they are answered, from wrk."""

    request: WrkLoad

    @contextlib.contextmanager
    def prepared(self, server: Server) -> Iterator[Run]:
        """See `Load`."""
        url = server.url(self.request.path)
        _warm_up(url, self.request)
        yield lambda seconds: _of_requests(run_wrk(url, self.request, seconds))


@dataclass(frozen=True)
class CrowdAlone:
    """A crowd of event streams; what counts is their events."""

    request: CrowdLoad

    @contextlib.contextmanager
    def prepared(self, server: Server) -> Iterator[Run]:
        """See `Load`."""
        with Crowd(server.host, server.port, self.request) as crowd:
            crowd.wait_until_open()

            def run(seconds: int) -> Counts:
                crowd.begin()
                time.sleep(seconds)  # the window itself
                return _of_crowd(crowd.end())

            yield run


@dataclass(frozen=True)
class CrowdBeside:
    """Requests while a crowd is there; what counts is the requests, and that the crowd is served as well."""

    request: WrkLoad
    crowd: CrowdLoad

    @contextlib.contextmanager
    def prepared(self, server: Server) -> Iterator[Run]:
        """See `Load`."""
        url = server.url(self.request.path)
        _warm_up(url, self.request)
        with Crowd(server.host, server.port, self.crowd) as crowd:
            crowd.wait_until_open()
            time.sleep(_SETTLING)

            def run(seconds: int) -> Counts:
                crowd.begin()
                requests = run_wrk(url, self.request, seconds)
                return _of_both(_of_requests(requests), crowd.end())

            yield run


def _warm_up(url: str, load: WrkLoad) -> None:
    run_wrk(url, replace(load, connections=min(load.connections, _WARM_UP_CONNECTIONS)), _WARM_UP)


def _of_requests(counts: WrkCounts) -> Counts:
    attempts = counts.requests + counts.socket_errors + counts.timeouts
    failed = counts.failures / attempts if attempts else 1.0
    return Counts(
        counted=counts.requests,
        seconds=counts.seconds,
        p50_ms=counts.p50_ms,
        p99_ms=counts.p99_ms,
        p999_ms=counts.p999_ms,
        failed=failed,
        failure=_failure_of_requests(counts, failed),
    )


def _failure_of_requests(counts: WrkCounts, failed: float) -> str | None:
    if counts.requests == 0:
        return "no request was answered"
    if counts.failures == 0:
        return None
    kinds = {
        "bad statuses": counts.bad_statuses,
        "socket errors": counts.socket_errors,
        "timeouts": counts.timeouts,
    }
    named = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    return f"{failed:.1%} of the requests failed: {named}"


def _of_crowd(counts: CrowdCounts) -> Counts:
    return Counts(
        counted=counts.arrived,
        seconds=counts.seconds,
        p50_ms=counts.late_p50_ms,
        p99_ms=counts.late_p99_ms,
        p999_ms=counts.late_p999_ms,
        failed=counts.failed / counts.clients,
        events_on_time=_on_time(counts),
        failure=_failure_of_crowd(counts),
    )


def _of_both(requests: Counts, crowd: CrowdCounts) -> Counts:
    return replace(
        requests, events_on_time=_on_time(crowd), failure=requests.failure or _failure_of_crowd(crowd)
    )


def _on_time(counts: CrowdCounts) -> float | None:
    return counts.on_time / counts.expected if counts.expected else None


def _failure_of_crowd(counts: CrowdCounts) -> str | None:
    """A server that serves short requests by letting the crowd wait has not done its work."""
    if counts.served >= _FEWEST_SERVED * counts.clients:
        return None
    reason = f": {counts.failure}" if counts.failure else ""
    return f"only {counts.served:,} of the {counts.clients:,} clients of the crowd were served{reason}"

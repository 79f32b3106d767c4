"""Load that wrk cannot make: clients that read slowly, and open streams of server-sent events."""

import ipaddress
import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

__all__ = [
    "ON_TIME",
    "Crowd",
    "CrowdCounts",
    "CrowdError",
    "CrowdLoad",
    "Events",
    "ReaderRecord",
    "SlowReaders",
    "StreamRecord",
    "Window",
    "count_events",
    "count_readers",
]

ON_TIME = 0.25
"""An event is on time if it comes at most so many seconds after it was due."""

_PATIENCE = 10.0
# For an answer that the child owes at once: it may be busy with the connections of a few thousand clients.
_MARGIN = 30.0
_ROOT = Path(__file__).resolve().parent.parent


class CrowdError(Exception):
    """The process that plays the clients has failed, which says nothing about the server."""


@dataclass(frozen=True)
class Events:
    """Clients that each hold one stream of server-sent events open.

    The body of each event is `data: <due>` and two line feeds: the moment at which the event was due, by
    `time.monotonic()` of the server. A stream's first event is due when its generator begins, each further
    one `interval` later, however late the one before it was.

    Args:
        path: what is asked for.
        count: how many clients.
        interval: the seconds between two events of a stream.
    """

    path: str
    count: int
    interval: float


@dataclass(frozen=True)
class SlowReaders:
    """Clients that each download `path`, again and again, and read slowly.

    Args:
        path: what is asked for.
        count: how many clients.
        bytes_per_second: how much a client reads at most, response headers included.
    """

    path: str
    count: int
    bytes_per_second: int


CrowdLoad: TypeAlias = Events | SlowReaders


@dataclass(frozen=True)
class CrowdCounts:
    """What came of it in the window, which is `seconds` long.

    `served` counts the clients that got what they came for: at least one event on time, or half of the
    bytes that a slow reader would have read. `failed` counts those that were refused, whose connection broke
    (that a stream of events ends counts as that), or that got another status than 200; a client that was
    served before it failed is in both. `failure` is the commonest reason.

    `expected` is the number of events due in the window, up to 250 ms before its end, and `on_time` how many
    of them came at most 250 ms late. A stream is owed events for the whole window, also if it opened in the
    midst of it, ended early or never opened. `arrived` counts the events that came in the window, and the
    latenesses are theirs, in milliseconds; 0 if none came. With slow readers, all five are 0.
    """

    seconds: float
    clients: int
    served: int
    failed: int
    expected: int = 0
    arrived: int = 0
    on_time: int = 0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_p999_ms: float = 0.0
    failure: str | None = None


@dataclass(frozen=True)
class Window:
    """The time that counts, in seconds by `time.monotonic()`."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


@dataclass(frozen=True)
class StreamRecord:
    """The events of one stream, as (due, arrived) by `time.monotonic()`, and why it failed, if it did."""

    events: Sequence[tuple[float, float]]
    failure: str | None = None


@dataclass(frozen=True)
class ReaderRecord:
    """The bytes that one slow reader read in the window, and why it failed, if it did."""

    read: int
    failure: str | None = None


def count_events(records: Sequence[StreamRecord], window: Window, interval: float) -> CrowdCounts:
    """The counts for streams with so many seconds between two events."""
    owed = [_due_in(window, record.events[0][0] if record.events else None, interval) for record in records]
    on_time = [_on_time(record, due, interval) for record, due in zip(records, owed, strict=True)]
    late = sorted(
        arrived - due
        for record in records
        for due, arrived in record.events
        if window.begin <= arrived <= window.end
    )
    failures = _failures(records)
    return CrowdCounts(
        seconds=window.seconds,
        clients=len(records),
        served=sum(count > 0 for count in on_time),
        failed=failures.total(),
        expected=sum(len(due) for due in owed),
        arrived=len(late),
        on_time=sum(on_time),
        late_p50_ms=_percentile(late, 0.5) * 1000,
        late_p99_ms=_percentile(late, 0.99) * 1000,
        late_p999_ms=_percentile(late, 0.999) * 1000,
        failure=_commonest(failures),
    )


def count_readers(records: Sequence[ReaderRecord], window: Window, bytes_per_second: int) -> CrowdCounts:
    """The counts for clients that were to read so many bytes a second."""
    enough = bytes_per_second * window.seconds / 2
    failures = _failures(records)
    return CrowdCounts(
        seconds=window.seconds,
        clients=len(records),
        served=sum(record.read >= enough for record in records),
        failed=failures.total(),
        failure=_commonest(failures),
    )


def _due_in(window: Window, first_due: float | None, interval: float) -> range:
    """The numbers of the events due early enough in the window; 0 is the event that was due first."""
    end = window.end - ON_TIME
    if first_due is None:
        return range(math.floor((end - window.begin) / interval))
    first = math.ceil((window.begin - first_due) / interval)
    return range(first, math.floor((end - first_due) / interval) + 1)


def _on_time(record: StreamRecord, numbers: range, interval: float) -> int:
    """How many of the events with these numbers came on time."""
    if not record.events:
        return 0
    first_due = record.events[0][0]
    on_time = {
        round((due - first_due) / interval) for due, arrived in record.events if arrived - due <= ON_TIME
    }
    return len(on_time.intersection(numbers))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0


def _failures(records: Sequence[StreamRecord] | Sequence[ReaderRecord]) -> Counter[str]:
    return Counter(record.failure for record in records if record.failure is not None)


def _commonest(failures: Counter[str]) -> str | None:
    return failures.most_common(1)[0][0] if failures else None


class Crowd:
    """The clients, in a process of their own that lives within a `with` block.

    Args:
        host: an address of the loopback interface.
        port: of the server, which must listen already.
        load: what the clients do.

    Raises:
        ValueError: the host is not on the loopback interface.
    """

    def __init__(self, host: str, port: int, load: CrowdLoad) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} is not on the loopback interface")
        self._arguments = [host, str(port), type(load).__name__, json.dumps(asdict(load))]
        self._begun: float | None = None

    def __enter__(self) -> "Crowd":
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.crowd_clients", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        except BaseException:
            self._log.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()  # does nothing if it has ended
        self._process.communicate()  # closes the pipes and waits
        self._log.close()

    def wait_until_open(self) -> int:
        """Wait until every client has its response headers and, with `Events`, its first event.

        It does not wait for clients that have failed, nor longer than 10 seconds: a server may be unable to.

        Returns:
            how many are open.

        Raises:
            CrowdError: the clients' process has failed.
        """
        self._tell(f"wait {_PATIENCE}")
        return int(self._answer(_PATIENCE + _MARGIN))

    def begin(self) -> None:
        """Let the window begin now.

        Raises:
            CrowdError: the clients' process has failed.
        """
        self._begun = time.monotonic()
        self._tell("begin")

    def end(self) -> CrowdCounts:
        """Let the window end now, and the clients leave.

        Raises:
            CrowdError: the clients' process has failed, or the window has not begun.
        """
        if self._begun is None:
            raise CrowdError("the window ends before it has begun")
        self._tell(f"end {self._begun!r} {time.monotonic()!r}")
        counts = CrowdCounts(**json.loads(self._answer(_MARGIN)))
        try:
            self._process.wait(_MARGIN)
        except subprocess.TimeoutExpired as error:
            raise CrowdError(f"the clients are still there after {_MARGIN:.0f} s") from error
        return counts

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _answer(self, patience: float) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        if not ready:
            raise CrowdError(f"the clients' process has said nothing for {patience:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        return line

    def _failure(self) -> CrowdError:
        status = self._process.wait(_MARGIN)
        self._log.seek(0)
        return CrowdError(f"the clients' process ended with status {status}: {self._log.read().strip()}")

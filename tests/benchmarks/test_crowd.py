"""How the events and the bytes that a crowd of clients got are counted, from records made by hand."""

from collections.abc import Sequence
from typing import TypeAlias

import pytest

from benchmarks.crowd import (
    ON_TIME,
    CrowdCounts,
    ReaderRecord,
    StreamRecord,
    Window,
    count_events,
    count_readers,
)

# Four seconds, of which an event is owed that is due in the first 3.75. All moments are sums of powers of
# two, so that what is on an edge is on it exactly.
WINDOW = Window(begin=100.0, end=104.0)
QUARTER = 0.25

Event: TypeAlias = tuple[float, float]


def stream(*due: float, late: float | Sequence[float] = 0.0, failure: str | None = None) -> StreamRecord:
    """A stream with events due at these moments, and how late each came."""
    lateness = [late] * len(due) if isinstance(late, float) else late
    return StreamRecord([(moment, moment + by) for moment, by in zip(due, lateness, strict=True)], failure)


def test_what_is_on_time_is_a_quarter_of_a_second_late() -> None:
    assert ON_TIME == QUARTER


EVERY_SECOND = (99.5, 100.5, 101.5, 102.5, 103.5)

# What is in the records, and: served, failed, expected, arrived, on_time.
STREAMS: dict[str, tuple[list[StreamRecord], tuple[int, int, int, int, int]]] = {
    "every event comes at once": ([stream(*EVERY_SECOND)], (1, 0, 4, 4, 4)),
    "as late as may be": ([stream(*EVERY_SECOND, late=QUARTER)], (1, 0, 4, 4, 4)),
    "a little later": ([stream(*EVERY_SECOND, late=QUARTER + 2**-20)], (0, 0, 4, 4, 0)),
    "due at the begin": ([stream(100.0, 101.0, 102.0, 103.0)], (1, 0, 4, 4, 4)),
    "due at the last moment that counts": ([stream(100.75, 101.75, 102.75, 103.75)], (1, 0, 4, 4, 4)),
    "due too late to count": ([stream(99.875, 100.875, 101.875, 102.875, 103.875)], (1, 0, 3, 4, 3)),
    "due before the window, and come in it": (
        [stream(99.875, 100.875, 101.875, 102.875, late=0.125)],
        (1, 0, 3, 4, 3),
    ),
    "come after the window": ([stream(102.5, 103.5, 104.5)], (1, 0, 4, 2, 2)),
    "opened long ago": ([stream(*(50.5 + second for second in range(54)))], (1, 0, 4, 4, 4)),
    "opened in the midst of it": ([stream(102.5, 103.5)], (1, 0, 4, 2, 2)),
    "opened after it": ([stream(104.5)], (0, 0, 4, 0, 0)),
    "never opened": ([stream()], (0, 0, 3, 0, 0)),
    "refused": ([stream(failure="status 503")], (0, 1, 3, 0, 0)),
    "ended before the window": ([stream(98.5, 99.5, failure="ended")], (0, 1, 4, 0, 0)),
    "ended in the midst of it": ([stream(99.5, 100.5, 101.5, failure="ended")], (1, 1, 4, 2, 2)),
    "one left out": ([stream(99.5, 100.5, 102.5, 103.5)], (1, 0, 4, 3, 3)),
    "one comes twice": ([stream(99.5, 100.5, 100.5, 101.5, 102.5, 103.5)], (1, 0, 4, 5, 4)),
    "all in a bunch at the end": (
        [stream(*EVERY_SECOND, late=[4.5, 3.5, 2.5, 1.5, 0.5])],
        (0, 0, 4, 5, 0),
    ),
    "the last of a bunch is on time": (
        [stream(*EVERY_SECOND, late=[4.125, 3.125, 2.125, 1.125, 0.125])],
        (1, 0, 4, 5, 1),
    ),
    "every client is counted": (
        [stream(*EVERY_SECOND), stream(102.5, 103.5), stream(), stream(failure="status 503")],
        (2, 1, 14, 6, 6),
    ),
    "nobody": ([], (0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize(("records", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_events_are_counted(records: list[StreamRecord], expected: tuple[int, int, int, int, int]) -> None:
    counts = count_events(records, WINDOW, interval=1.0)
    assert (counts.served, counts.failed, counts.expected, counts.arrived, counts.on_time) == expected
    assert (counts.clients, counts.seconds) == (len(records), 4.0)


@pytest.mark.parametrize(
    ("interval", "window", "expected"),
    [
        pytest.param(0.5, WINDOW, 8, id="twice a second"),
        pytest.param(10.0, WINDOW, 1, id="less than once in a window"),
        pytest.param(1.0, Window(100.0, 100.125), 0, id="a window too short to be on time in"),
        pytest.param(1.0, Window(100.0, 100.25), 1, id="a window just long enough"),
        pytest.param(0.1, Window(100.0, 103.0), 28, id="an interval that is no sum of powers of two"),
    ],
)
def test_events_are_owed_by_the_schedule(interval: float, window: Window, expected: int) -> None:
    due = 100.0
    moments = []
    while due < window.end:
        moments.append(due)
        due += interval
    counts = count_events([stream(*moments)], window, interval)
    assert (counts.expected, counts.on_time) == (expected, expected)


LATE: dict[str, tuple[list[float], tuple[float, float, float]]] = {
    "none": ([], (0.0, 0.0, 0.0)),
    "one": ([0.5], (500.0, 500.0, 500.0)),
    "four": ([0.125, 0.0, 0.5, 0.25], (125.0, 500.0, 500.0)),
    "a hundred": ([number / 1000 for number in range(1, 101)], (50.0, 99.0, 100.0)),
    "a thousand": ([number / 1000 for number in range(1, 1001)], (500.0, 990.0, 999.0)),
}


@pytest.mark.parametrize(("late", "expected"), LATE.values(), ids=LATE.keys())
def test_lateness_is_in_milliseconds(late: list[float], expected: tuple[float, float, float]) -> None:
    records = [stream(101.0, late=[by]) for by in late]
    counts = count_events(records, WINDOW, interval=1.0)
    assert (counts.late_p50_ms, counts.late_p99_ms, counts.late_p999_ms) == pytest.approx(expected)


def test_lateness_is_that_of_events_that_came_in_the_window() -> None:
    records = [stream(99.0, 102.0, 103.5, late=[0.5, 0.125, 0.75])]
    assert count_events(records, WINDOW, interval=0.5).late_p999_ms == 125.0


ENOUGH = 2000  # half of what a client reads in four seconds at 1,000 bytes a second

# What is in the records, and: served, failed.
READERS: dict[str, tuple[list[ReaderRecord], tuple[int, int]]] = {
    "all of it": ([ReaderRecord(2 * ENOUGH)], (1, 0)),
    "half of it": ([ReaderRecord(ENOUGH)], (1, 0)),
    "less than half": ([ReaderRecord(ENOUGH - 1)], (0, 0)),
    "nothing": ([ReaderRecord(0)], (0, 0)),
    "refused": ([ReaderRecord(0, "status 503")], (0, 1)),
    "served, then cut off": ([ReaderRecord(ENOUGH, "closed")], (1, 1)),
    "several": ([ReaderRecord(4000), ReaderRecord(0), ReaderRecord(3000, "closed")], (2, 1)),
    "nobody": ([], (0, 0)),
}


@pytest.mark.parametrize(("records", "expected"), READERS.values(), ids=READERS.keys())
def test_readers_are_counted(records: list[ReaderRecord], expected: tuple[int, int]) -> None:
    counts = count_readers(records, WINDOW, bytes_per_second=1000)
    served, failed = expected
    failure = next((record.failure for record in records if record.failure), None)
    assert counts == CrowdCounts(4.0, len(records), served, failed, failure=failure)


REASONS = [None, "closed", "status 503", None, "status 503", None, None]


def test_the_commonest_failure_is_told() -> None:
    readers = [ReaderRecord(0, reason) for reason in REASONS]
    streams = [StreamRecord([], reason) for reason in REASONS]
    assert count_readers(readers, WINDOW, 1000).failure == "status 503"
    assert count_events(streams, WINDOW, 1.0).failure == "status 503"

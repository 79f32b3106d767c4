"""What a run has measured, and the file it is kept in."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

__all__ = [
    "REFERENCE",
    "Figure",
    "Results",
    "ResultsError",
    "Round",
    "Sample",
    "WorkloadResults",
    "failures_of",
    "median_of",
    "ratios",
    "values_of",
]

REFERENCE = "bridge-serve"
"""The rival that all others are compared with."""

_FORMAT = 1

Figure: TypeAlias = Literal[
    "rate",
    "cpu_us_per_request",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "peak_rss",
    "growth",
    "failed",
    "events_on_time",
]
"""The name of one figure of a sample."""


class ResultsError(Exception):
    """A file does not hold the results of a run, or lacks what was asked for."""


@dataclass(frozen=True)
class Sample:
    """One contender in one round.

    `rate` is requests a second, or events where a workload counts events; latencies are those of requests, or
    how late events came. Memory is in bytes, summed over the process tree: `rss_before` before the load,
    `peak_rss` the most under it. `failed` is the share of requests not answered as they should be, from 0
    to 1, and `events_on_time` the share of server-sent events that came on time; None where there are none.
    `failure` says in words what was wrong, if anything was; such a sample is not compared with others.
    """

    rate: float = 0.0
    requests: int = 0
    seconds: float = 0.0
    cpu_us_per_request: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    rss_before: int = 0
    peak_rss: int = 0
    failed: float = 0.0
    events_on_time: float | None = None
    failure: str | None = None

    @property
    def growth(self) -> int:
        """The bytes by which resident memory has grown under the load."""
        return self.peak_rss - self.rss_before


Round: TypeAlias = dict[str, Sample]
"""Every contender, measured once, one after the other."""


@dataclass
class WorkloadResults:
    """The rounds of one workload.

    `unit` is what is counted, "requests" or "events"; `skipped` has, for each rival that was left out, the
    reason; `commit` is that of the run, or of a later one in which this was measured anew.
    """

    title: str
    unit: str = "requests"
    skipped: dict[str, str] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    commit: str = ""

    def contenders(self) -> list[str]:
        """Who was measured, in the order of measuring."""
        return list(self.rounds[0]) if self.rounds else []


@dataclass
class Results:
    """A whole run.

    `rivals` has each rival's title by its name; `commands` the command line by the same name, where it has
    one. `layers` has the rounds of the layers, whose contenders `benchmarks.layers` names.
    """

    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    rivals: dict[str, str]
    commands: dict[str, list[str]]
    workloads: dict[str, WorkloadResults] = field(default_factory=dict)
    layers: list[Round] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything so far as JSON.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, and then in its place: a run may be ended at any moment.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n")
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` has written.

        Raises:
            OSError: it cannot be read.
            ResultsError: it is something else.
        """
        try:
            data = json.loads(path.read_text())
            if data.pop("format") != _FORMAT:
                raise ResultsError(f"{path} has results of another format than {_FORMAT}; measure anew")
            workloads = {
                name: WorkloadResults(**{**kept, "rounds": _rounds(kept["rounds"])})
                for name, kept in data.pop("workloads").items()
            }
            return cls(workloads=workloads, layers=_rounds(data.pop("layers")), **data)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ResultsError(f"{path} does not hold the results of a run: {error!r}") from error


def values_of(rounds: list[Round], contender: str, figure: Figure) -> list[float]:
    """A figure of one contender in every round in which it has one and did not fail."""
    samples = [samples[contender] for samples in rounds if contender in samples]
    values = [getattr(sample, figure) for sample in samples if sample.failure is None]
    return [float(value) for value in values if value is not None]


def median_of(rounds: list[Round], contender: str, figure: Figure) -> float | None:
    """The median of these, or None if there are none."""
    values = values_of(rounds, contender, figure)
    return median(values) if values else None


def failures_of(rounds: list[Round], contender: str) -> list[str]:
    """What was wrong with a contender, for the rounds in which something was."""
    samples = [samples[contender] for samples in rounds if contender in samples]
    return [sample.failure for sample in samples if sample.failure is not None]


def ratios(rounds: list[Round], figure: Figure, contender: str, base: str = REFERENCE) -> list[float]:
    """The figure of `base` divided by the contender's, round by round; empty if one of them fails in any.

    Division is round by round because what disturbs a machine disturbs both contenders of one round.
    """
    if failures_of(rounds, contender) or failures_of(rounds, base):
        return []
    found = []
    for samples in rounds:
        if contender in samples and base in samples:
            ours, theirs = (getattr(samples[name], figure) for name in (base, contender))
            if ours is not None and theirs is not None:
                # Memory may not have grown at all: one byte stands for nothing.
                found.append(float(ours) / max(float(theirs), 1.0 if figure == "growth" else 1e-9))
    return found


def _rounds(kept: list[dict[str, dict[str, Any]]]) -> list[Round]:
    return [{name: Sample(**sample) for name, sample in samples.items()} for samples in kept]

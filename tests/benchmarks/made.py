"""Results made by hand, of figures that are easy to reckon with."""

from collections.abc import Mapping, Sequence

from benchmarks.layers import STEPS, contender
from benchmarks.results import Results, Round, Sample, WorkloadResults

FAILED = Sample(failed=1.0, failure="it fell over")


def sample(speed: float | None) -> Sample:
    """Of one that answers so many requests a second, with one core and 64 connections; None: it fails."""
    if speed is None:
        return FAILED
    return Sample(
        rate=speed,
        requests=int(speed),
        seconds=1.0,
        cpu_us_per_request=1e6 / speed,
        p50_ms=32e3 / speed,
        p99_ms=64e3 / speed,
        p999_ms=128e3 / speed,
        rss_before=50_000_000,
        peak_rss=60_000_000,
    )


def rounds_of(speeds: Mapping[str, Sequence[float | None]]) -> list[Round]:
    """As many rounds as each contender has speeds."""
    names = list(speeds)
    return [
        dict(zip(names, map(sample, in_round), strict=True))
        for in_round in zip(*speeds.values(), strict=True)
    ]


def layer_rounds(*costs: Mapping[str, float]) -> list[Round]:
    """A round for each mapping from step to CPU microseconds, served; in process it is half of that."""
    return [
        {contender("served", name): Sample(cpu_us_per_request=cost) for name, cost in each.items()}
        | {contender("in process", name): Sample(cpu_us_per_request=cost / 2) for name, cost in each.items()}
        for each in costs
    ]


COSTS = {step.name: 100.0 + 7.0 * number**2 for number, step in enumerate(STEPS)}
"""A cost for each step of the layers; no two increments are the same."""


def results(
    rounds: list[Round] | None = None,
    *,
    layers: list[Round] | None = None,
    skipped: dict[str, str] | None = None,
    titles: dict[str, str] | None = None,
    settings: dict[str, object] | None = None,
    machine: dict[str, object] | None = None,
) -> Results:
    """A run with these rounds of the workload "hello"."""
    workload = WorkloadResults("Flask hello", skipped=skipped or {}, rounds=rounds or [])
    names = [*workload.contenders(), *workload.skipped]
    return Results(
        date="2026-01-31T12:00:00+00:00",
        machine={"cpu": "a CPU", "cores": 2, "packages": {"flask": "3.1.0"}} | (machine or {}),
        settings={"rounds": len(workload.rounds), "seconds": 1, "versions_of": ["flask"]} | (settings or {}),
        rivals={name: name for name in names} | (titles or {}),
        commands={name: [name, "PORT"] for name in names},
        workloads={"hello": workload} if names else {},
        layers=layers or [],
    )

"""What Bridge is to reach, and whether it does."""

from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.results import REFERENCE, Figure, Results, failures_of, ratios

__all__ = ["GOALS", "Goal", "goal_lines"]


@dataclass(frozen=True)
class Goal:
    """The figure of `ours` is to be at least, or at most, `factor` times the rival's."""

    workload: str
    figure: Figure
    relation: Literal["≥", "≤"]
    factor: float
    rival: str
    ours: str = REFERENCE

    def is_met(self, ratio: float) -> bool:
        """Whether our figure divided by the rival's is good enough."""
        return ratio >= self.factor if self.relation == "≥" else ratio <= self.factor


GOALS: tuple[Goal, ...] = (
    Goal("hello", "rate", "≥", 3.5, "a2wsgi", "bridge"),
    Goal("hello", "rate", "≥", 0.9, "inline", "bridge"),
    Goal("stream", "rate", "≥", 10, "a2wsgi", "bridge"),
    Goal("stream", "rate", "≥", 1, "granian-1"),
    Goal("stream", "rate", "≥", 1, "granian"),
    Goal("async-hello", "rate", "≥", 1, "quart"),
    Goal("async-1000", "rate", "≥", 1, "quart"),
    Goal("async-1000", "rate", "≥", 5, "granian"),
    Goal("async-1000", "rate", "≥", 5, "gunicorn"),
    Goal("upload", "rate", "≥", 2, "a2wsgi", "bridge"),
    *(
        goal
        for workload in ("body", "fresh-body")
        for ours, rival in (("bridge", "a2wsgi"), ("bridge-asyncio", "a2wsgi-asyncio"))
        for goal in (
            Goal(workload, "rate", "≥", 1, rival, ours),
            Goal(workload, "growth", "≤", 0.25, rival, ours),
        )
    ),
)


def goal_lines(results: Results, workload: str) -> list[str]:
    """A line for each goal of the workload whose contenders were measured, judged by the median ratio."""
    return [
        _line(goal, results)
        for goal in GOALS
        if goal.workload == workload
        and {goal.ours, goal.rival} <= set(results.workloads[workload].contenders())
    ]


def _line(goal: Goal, results: Results) -> str:
    rounds = results.workloads[goal.workload].rounds
    text = f"goal: {goal.figure} of {goal.ours} {goal.relation} {goal.factor:g} × {goal.rival}"
    values = ratios(rounds, goal.figure, goal.rival, goal.ours)
    if not values:
        failed = [name for name in (goal.ours, goal.rival) if failures_of(rounds, name)]
        return f"{text}: not judged, for {' and '.join(failed) or 'a figure'} failed"
    verdict = "met" if goal.is_met(median(values)) else "MISSED"
    return f"{text}: {median(values):.2f} ({min(values):.2f}–{max(values):.2f}): {verdict}"

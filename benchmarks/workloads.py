"""What is measured with wrk, on which rivals, and what Bridge is to reach."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.flask_app import KIB, MIB
from benchmarks.wrk import Load

__all__ = ["GOALS", "WORKLOADS", "Goal", "Metric", "Workload"]

Metric: TypeAlias = Literal["rate", "growth"]


@dataclass(frozen=True)
class Workload:
    """A load, who gets it, and how many bytes a right answer has (None: not looked at)."""

    load: Load
    rivals: tuple[str, ...]
    answer_size: int | None = None


@dataclass(frozen=True)
class Goal:
    """The figure of `ours` is to be at least, or at most, `factor` times the rival's."""

    workload: str
    metric: Metric
    relation: Literal["≥", "≤"]
    factor: float
    rival: str
    ours: str = "bridge"

    def is_met(self, ratio: float) -> bool:
        """Whether our figure divided by the rival's is good enough."""
        return ratio >= self.factor if self.relation == "≥" else ratio <= self.factor


_WSGI_RIVALS = ("bridge", "a2wsgi", "granian-1", "granian-40")
# What happens to a large body depends on the loop: asyncio's transport copies it, uvloop's does not.
_LOOPS = ("bridge", "a2wsgi", "bridge-asyncio", "a2wsgi-asyncio")

WORKLOADS: dict[str, Workload] = {
    "hello": Workload(
        Load("/", connections=64),
        ("bridge", "a2wsgi", "inline", "bare-asgi", "granian-1", "granian-40"),
        answer_size=13,
    ),
    "stream": Workload(Load("/stream", connections=16), _WSGI_RIVALS, answer_size=100 * KIB),
    "upload": Workload(
        Load("/upload", connections=8, method="POST", body_size=MIB), (*_WSGI_RIVALS, "bare-asgi")
    ),
    "whole-fresh": Workload(Load("/whole/fresh", connections=4), _LOOPS, answer_size=10 * MIB),
    "whole-static": Workload(Load("/whole/static", connections=4), _LOOPS, answer_size=10 * MIB),
}

GOALS: tuple[Goal, ...] = (
    Goal("hello", "rate", "≥", 3.5, "a2wsgi"),
    Goal("hello", "rate", "≥", 0.9, "inline"),
    Goal("stream", "rate", "≥", 10, "a2wsgi"),
    Goal("stream", "rate", "≥", 1, "granian-1"),
    Goal("stream", "rate", "≥", 1, "granian-40"),
    Goal("upload", "rate", "≥", 2, "a2wsgi"),
    *(
        goal
        for workload in ("whole-fresh", "whole-static")
        for ours, rival in (("bridge", "a2wsgi"), ("bridge-asyncio", "a2wsgi-asyncio"))
        for goal in (
            Goal(workload, "rate", "≥", 1, rival, ours),
            Goal(workload, "growth", "≤", 0.25, rival, ours),
        )
    ),
)

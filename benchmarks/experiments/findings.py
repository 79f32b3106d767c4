"""What the measurements that are not rounds of wrk hand back."""

from dataclasses import dataclass, field

__all__ = ["Experiment", "Finding", "Scale"]


@dataclass(frozen=True)
class Scale:
    """How large the experiments are: the bytes of a long body, how many clients vanish, and stay, and
    how many requests there are.
    """

    body_size: int
    clients: int
    streams: int
    websockets: int
    requests: int


@dataclass(frozen=True)
class Finding:
    """A goal, what was measured, in words, and whether it is met; None if that cannot be told."""

    goal: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Experiment:
    """What one experiment found: lines to read, and the figures behind them."""

    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)

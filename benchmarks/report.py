"""Rounds as tables, goals as lines."""

from statistics import median

from benchmarks.findings import Finding
from benchmarks.rounds import Round, failures_of, ratios, values_of
from benchmarks.workloads import Goal, Metric, Workload

__all__ = ["finding_line", "goal_finding", "table"]

_HEADINGS = (
    "",
    "requests/s",
    "(spread)",
    "Bridge ×",
    "(spread)",
    "CPU µs/req",
    "p99 ms",
    "peak MB",
    "growth MB",
)


def table(workload: Workload, rounds: list[Round]) -> str:
    """One row a rival, medians over the rounds; `Bridge ×` is Bridge's rate divided by the rival's."""
    rows = [_HEADINGS, *(_row(rounds, rival) for rival in workload.rivals)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = []
    for row, rival in zip(rows, (None, *workload.rivals), strict=True):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join([row[0].ljust(len(first)), *rest])
        failures = failures_of(rounds, rival) if rival else []
        if failures:
            line += f"  FAILS in {len(failures)} of {len(rounds)} rounds: {failures[0]}"
        lines.append(line)
    return "\n".join(lines)


def goal_finding(goal: Goal, rounds: list[Round]) -> Finding:
    """Whether Bridge reaches a goal, by the median of the ratios of the rounds."""
    text = f"{goal.workload}: {goal.metric} of {goal.ours} {goal.relation} {goal.factor:g} × {goal.rival}"
    if failures := failures_of(rounds, goal.ours):
        return Finding(text, f"{goal.ours} fails: {failures[0]}", met=False)
    if failures := failures_of(rounds, goal.rival):
        return Finding(text, f"nothing, {goal.rival} fails: {failures[0]}", met=None)
    values = ratios(rounds, goal.metric, goal.rival, goal.ours)
    figures = " to ".join(_figure(rounds, goal.metric, name) for name in (goal.ours, goal.rival))
    measured = f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f}), {figures}"
    return Finding(text, measured, goal.is_met(median(values)))


def finding_line(finding: Finding) -> str:
    """A goal, what was measured, and how it stands."""
    verdict = {True: "met", False: "MISSED", None: "not judged"}[finding.met]
    return f"goal: {finding.goal} … measured {finding.measured}: {verdict}"


def _figure(rounds: list[Round], metric: Metric, rival: str) -> str:
    if metric == "growth":
        return f"{median(values_of(rounds, rival, lambda sample: sample.growth)) / 1e6:.1f} MB"
    return f"{median(values_of(rounds, rival, lambda sample: sample.rate)):,.0f}/s"


def _row(rounds: list[Round], rival: str) -> tuple[str, ...]:
    rates = values_of(rounds, rival, lambda sample: sample.rate)
    failing = failures_of(rounds, rival) or failures_of(rounds, "bridge")
    factors = [] if failing else ratios(rounds, "rate", rival)
    return (
        rival,
        f"{median(rates):,.0f}",
        f"({min(rates):,.0f}–{max(rates):,.0f})",
        f"{median(factors):.2f}" if factors else "–",
        f"({min(factors):.2f}–{max(factors):.2f})" if factors else "",
        f"{median(values_of(rounds, rival, lambda sample: sample.cpu_us_per_request)):,.0f}",
        f"{median(values_of(rounds, rival, lambda sample: sample.p99_ms)):,.1f}",
        f"{median(values_of(rounds, rival, lambda sample: sample.peak_rss)) / 1e6:,.0f}",
        f"{median(values_of(rounds, rival, lambda sample: sample.growth)) / 1e6:,.1f}",
    )

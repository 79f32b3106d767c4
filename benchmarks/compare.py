"""Before and after: what has changed between two runs, with the noise taken into account.

Two runs are made at two times, and a machine is not equally fast at both. What all the rivals have in common
is taken for the machine: the median of how much *they* have changed in a workload is its drift, by which
Bridge's figures are divided. What is left counts as a change only where the rounds before and after do not
overlap: every round of one run is better than every round of the other. With n rounds in each run, that
happens by chance in 2 of (2n choose n) comparisons: 10 % with 3 rounds, 0.8 % with 5.
"""

from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Literal, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.results import Figure, Results, Round, failures_of, median_of, values_of

__all__ = ["Change", "Verdict", "changes", "differences", "print_comparison"]

Verdict: TypeAlias = Literal["better", "worse", "within the noise", "fails now", "fails no more"]

_FIGURES: dict[Figure, bool] = {"rate": True, "cpu_us_per_request": False, "p99_ms": False}
"""The figures compared, and whether more is better."""

_OURS = "bridge"

# With fewer than two rounds on each side, any difference looks clear.
_LIKELY = 1 / 3


@dataclass(frozen=True)
class Change:
    """One figure of one contender before and after.

    `factor` is after divided by before, `corrected` the same without the machine's drift, and `chance` how
    often rounds of no difference at all would be told apart as clearly as that. All are 1 where one of the
    runs failed.
    """

    workload: str
    contender: str
    figure: Figure
    before: float
    after: float
    factor: float
    corrected: float
    chance: float
    verdict: Verdict


def changes(old: Results, new: Results) -> list[Change]:
    """What Bridge's contenders have changed by in all workloads, and layers, that both runs have."""
    found = []
    for name, before, after in _common(old, new):
        ours = [contender for contender in before[0] if contender in after[0] and _is_ours(contender)]
        found += [
            change
            for contender in ours
            for figure in _FIGURES
            if (change := _change(name, contender, figure, before, after)) is not None
        ]
    return found


def differences(old: Results, new: Results) -> list[str]:
    """What else differs between the two runs: machine, kernel, Python, settings and versions of packages."""
    before, after = _conditions(old), _conditions(new)
    return [
        f"{name}: {before.get(name)} → {after.get(name)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def print_comparison(console: Console, old: Results, new: Results) -> None:
    """All changes as one table, the clear ones in colour."""
    for line in differences(old, new):
        console.print(f"not the same in both runs: {line}", highlight=False, markup=False)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("workload", "contender", "figure"):
        table.add_column(heading, no_wrap=True)
    for heading in ("before", "after", "×", "× without drift", "by chance"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in changes(old, new):
        table.add_row(*_cells(change), style=_STYLES[change.verdict])
    console.print(table)


_STYLES: dict[Verdict, str] = {
    "better": "green",
    "worse": "red",
    "within the noise": "",
    "fails now": "red",
    "fails no more": "green",
}


def _cells(change: Change) -> tuple[str, ...]:
    clear = change.verdict in ("better", "worse")
    return (
        change.workload,
        change.contender,
        change.figure,
        f"{change.before:,.1f}",
        f"{change.after:,.1f}",
        f"{change.factor:.2f}",
        f"{change.corrected:.2f}",
        f"{change.chance:.1%}" if clear else "",
        change.verdict,
    )


def _conditions(results: Results) -> dict[str, object]:
    machine, settings = results.machine, results.settings
    packages = machine.get("packages", {})
    return {
        **{name: machine.get(name) for name in ("cpu", "cores", "kernel", "python")},
        **{name: settings.get(name) for name in ("rounds", "seconds", "threads")},
        **{name: packages.get(name) for name in settings.get("versions_of", ())},
    }


def _common(old: Results, new: Results) -> list[tuple[str, list[Round], list[Round]]]:
    pairs = [
        (name, workload.rounds, new.workloads[name].rounds)
        for name, workload in old.workloads.items()
        if name in new.workloads
    ]
    pairs.append(("layers", old.layers, new.layers))
    return [(name, before, after) for name, before, after in pairs if before and after]


def _is_ours(contender: str) -> bool:
    # Of the layers, those that are served are on Bridge, but for the ASGI app.
    return contender.startswith((_OURS, "served: ")) and contender != "served: asgi"


def _change(
    workload: str, contender: str, figure: Figure, before: list[Round], after: list[Round]
) -> Change | None:
    if failures_of(before, contender) or failures_of(after, contender):
        return _change_of_failing(workload, contender, figure, before, after)
    drift = _drift(figure, before, after)
    old, new = values_of(before, contender, figure), values_of(after, contender, figure)
    corrected = [value / drift for value in new]
    chance = 2 / comb(len(old) + len(new), len(old))
    return Change(
        workload,
        contender,
        figure,
        median(old),
        median(new),
        median(new) / median(old) if median(old) else 1.0,
        median(corrected) / median(old) if median(old) else 1.0,
        chance,
        _verdict(old, corrected, more_is_better=_FIGURES[figure])
        if chance <= _LIKELY
        else "within the noise",
    )


def _change_of_failing(
    workload: str, contender: str, figure: Figure, before: list[Round], after: list[Round]
) -> Change | None:
    failed, fails = bool(failures_of(before, contender)), bool(failures_of(after, contender))
    if failed == fails or figure != "rate":
        return None
    old, new = median_of(before, contender, figure) or 0.0, median_of(after, contender, figure) or 0.0
    return Change(
        workload, contender, figure, old, new, 1.0, 1.0, 1.0, "fails now" if fails else "fails no more"
    )


def _drift(figure: Figure, before: list[Round], after: list[Round]) -> float:
    """By which factor the machine has changed: the median over the rivals that failed in neither run."""
    factors = []
    for contender in before[0]:
        if contender in after[0] and not _is_ours(contender):
            old, new = median_of(before, contender, figure), median_of(after, contender, figure)
            if old and new and not failures_of(before, contender) and not failures_of(after, contender):
                factors.append(new / old)
    return median(factors) if factors else 1.0


def _verdict(old: list[float], new: list[float], more_is_better: bool) -> Verdict:
    if min(new) > max(old):
        return "better" if more_is_better else "worse"
    if max(new) < min(old):
        return "worse" if more_is_better else "better"
    return "within the noise"

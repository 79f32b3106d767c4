"""Results as tables: in a terminal, and as Markdown."""

from collections.abc import Iterable
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.layers import STEPS, Place, Step, contender, increments
from benchmarks.results import (
    Figure,
    Results,
    Round,
    WorkloadResults,
    failures_of,
    ratios,
    values_of,
)
from benchmarks.rivals import LIMITS, footnotes

__all__ = ["markdown", "print_layers", "print_workload", "verdicts"]

_OURS = "bridge"

# Above it, the rates are the same as far as the table shows.
_EVEN = 0.995

_HEADINGS = (
    "",
    "{unit}/s",
    "(spread)",
    "Bridge ×",
    "(spread)",
    "CPU µs",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "peak MB",
    "failed",
)
_LAYER_HEADINGS = ("", "served, CPU µs", "more", "(spread)", "in process, CPU µs", "more", "(spread)")


def print_workload(console: Console, results: Results, name: str) -> None:
    """A workload's table, and in words where Bridge is behind."""
    workload = results.workloads[name]
    _print_table(console, f"{name}: {workload.title}", _headings(workload), _rows(results, workload))
    for line in verdicts(results, name):
        console.print(line, highlight=False, markup=False)


def print_layers(console: Console, results: Results) -> None:
    """The table of the layers."""
    title = "layers: the same page with one layer more at a time, 64 connections"
    _print_table(console, title, _LAYER_HEADINGS, _layer_rows(results.layers))


def markdown(results: Results) -> str:
    """All tables of a run, as Markdown, with what they were measured on."""
    machine = results.machine
    lines = [
        f"# Results of {results.date[:10]}",
        "",
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('kernel')}, "
        f"{machine.get('python')}; {results.settings.get('rounds')} rounds of "
        f"{results.settings.get('seconds')} s. Medians of the rounds, least and greatest in brackets. "
        "`Bridge ×` is the rate of `bridge serve` divided by the row's, round by round. "
        "[How it is measured, and how to read it](../README.md).",
    ]
    for name, workload in results.workloads.items():
        lines += ["", f"## {workload.title}", ""]
        lines += _markdown_table(_headings(workload), _rows(results, workload))
        lines += ["", *(f"- {verdict}" for verdict in verdicts(results, name))]
    if results.layers:
        lines += [
            "",
            "## What each layer costs",
            "",
            *_markdown_table(_LAYER_HEADINGS, _layer_rows(results.layers)),
        ]
    versions = ", ".join(f"{package} {version}" for package, version in sorted(_versions(results).items()))
    lines += ["", "## Versions and command lines", "", versions, ""]
    lines += [
        f"- {results.rivals[name]}: `python -m {' '.join(command)}`"
        for name, command in results.commands.items()
    ]
    return "\n".join(lines) + "\n"


def verdicts(results: Results, name: str) -> list[str]:
    """In plain words: behind whom Bridge is, who failed, who was left out, what a mark says."""
    workload = results.workloads[name]
    lines = []
    for rival in workload.contenders():
        title = results.rivals.get(rival, rival)
        failures = failures_of(workload.rounds, rival)
        if failures:
            lines.append(f"{title} fails in {len(failures)} of {len(workload.rounds)} rounds: {failures[0]}")
        elif rival not in LIMITS and not rival.startswith(_OURS):
            lines += _behind(workload, rival, title)
    lines += [
        f"{results.rivals.get(rival, rival)} left out: {reason}" for rival, reason in workload.skipped.items()
    ]
    named = (*workload.contenders(), *workload.skipped)
    return lines + footnotes(results.rivals.get(rival, rival) for rival in named)


def _behind(workload: WorkloadResults, rival: str, title: str) -> Iterable[str]:
    found = ratios(workload.rounds, "rate", rival)
    if found and median(found) < _EVEN:
        sure = "in every round" if max(found) < 1 else "within the noise"
        yield f"Bridge is BEHIND {title}, {sure}: {median(found):.2f} × its rate ({_spread(found, '.2f')})"


def _headings(workload: WorkloadResults) -> tuple[str, ...]:
    found = tuple(heading.format(unit=workload.unit) for heading in _HEADINGS)
    return (*found, "events on time") if _has_events(workload) else found


def _has_events(workload: WorkloadResults) -> bool:
    return any(
        sample.events_on_time is not None for samples in workload.rounds for sample in samples.values()
    )


def _rows(results: Results, workload: WorkloadResults) -> list[tuple[str, ...]]:
    return [_row(results, workload, contender) for contender in workload.contenders()]


def _row(results: Results, workload: WorkloadResults, name: str) -> tuple[str, ...]:
    rounds = workload.rounds
    factors = ratios(rounds, "rate", name)
    cells = (
        results.rivals.get(name, name) + (" (limit)" if name in LIMITS else ""),
        *_with_spread(values_of(rounds, name, "rate"), ",.0f"),
        *_with_spread(factors, ".2f"),
        *(_median(rounds, name, figure, form) for figure, form in _FIGURES),
        f"{_median_of_all(rounds, name):.1%}",
    )
    if not _has_events(workload):
        return cells
    return (*cells, _median(rounds, name, "events_on_time", ".1%"))


_FIGURES: tuple[tuple[Figure, str], ...] = (
    ("cpu_us_per_request", ",.0f"),
    ("p50_ms", ",.1f"),
    ("p99_ms", ",.1f"),
    ("p999_ms", ",.1f"),
    ("peak_rss", "MB"),
)


def _median(rounds: list[Round], name: str, figure: Figure, form: str) -> str:
    values = values_of(rounds, name, figure)
    if not values:
        return "–"
    if form == "MB":
        return f"{median(values) / 1e6:,.0f}"
    return format(median(values), form)


def _median_of_all(rounds: list[Round], name: str) -> float:
    """The share of failed requests, of failing rounds as well."""
    return median(samples[name].failed for samples in rounds)


def _with_spread(values: list[float], form: str) -> tuple[str, str]:
    return (format(median(values), form), f"({_spread(values, form)})") if values else ("–", "")


def _spread(values: list[float], form: str) -> str:
    return f"{min(values):{form}}–{max(values):{form}}"


def _layer_rows(rounds: list[Round]) -> list[tuple[str, ...]]:
    return [
        (step.title, *_layer_cells(rounds, "served", step), *_layer_cells(rounds, "in process", step))
        for step in STEPS
    ]


def _layer_cells(rounds: list[Round], place: Place, step: Step) -> tuple[str, ...]:
    values = values_of(rounds, contender(place, step.name), "cpu_us_per_request")
    if len(values) < len(rounds):
        return ("–", "", "")
    return (f"{median(values):,.0f}", *_with_spread(increments(rounds, place, step), "+,.0f"))


def _print_table(
    console: Console, title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _markdown_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    rule = ["---", *("---:" for _ in headings[1:])]
    return ["| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows)]


def _versions(results: Results) -> dict[str, str]:
    packages = results.machine.get("packages", {})
    return {name: packages[name] for name in results.settings.get("versions_of", []) if name in packages}

"""Draws what a run has measured as SVG, each chart once for light and once for dark pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import Any

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from benchmarks.layers import LAYERS, Bar, bars
from benchmarks.results import REFERENCE, Figure, Results, WorkloadResults, failures_of, ratios, values_of
from benchmarks.rivals import LIMITS, footnotes

__all__ = ["draw"]

_PIXEL = 72 / 96  # in points, which matplotlib counts in
_WIDTH, _MARGIN, _GAP, _BELOW_NOTE, _PANELS, _ROW = 900, 12, 28, 62, 100, 27
_SMALL, _NORMAL, _LARGE = 11 * _PIXEL, 12 * _PIXEL, 15 * _PIXEL
# These stand out on either page; six colours are as many as can be told apart, so that markers differ, too.
_RIVALS = ("#d55e00", "#009e73", "#a371f7", "#b07d00", "#db61a2", "#7d8590")
_MARKERS = "*osD^vPX<phd>8"
_LAYERS = ("#009e73", "#56b4e9", "#d55e00", "#e69f00", "#cc79a7")  # after server and bridge


@dataclass(frozen=True)
class _Theme:
    """The colours for one kind of page."""

    page: str
    text: str
    muted: str
    grid: str
    accent: str
    neutral: str


_THEMES = {
    "light": _Theme("#ffffff", "#1f2328", "#59636e", "#d8dee4", accent="#0969da", neutral="#afb8c1"),
    "dark": _Theme("#0d1117", "#f0f6fc", "#9198a1", "#2a313a", accent="#4493f8", neutral="#6e7681"),
}


class _Sheet:
    """A chart with heading and note, laid out in pixels from its top left corner."""

    def __init__(self, theme: _Theme, height: float, heading: str, note: str) -> None:
        self.theme, self.height = theme, height
        self.figure = matplotlib.figure.Figure(figsize=(_WIDTH / 96, height / 96), dpi=96)
        self.metadata = {"Title": heading, "Description": note, "Creator": None, "Date": None}
        heading = _shortened(heading, _WIDTH - 2 * _MARGIN, _LARGE, "bold")
        self.text(_MARGIN, 20, heading, size=_LARGE, weight="bold")
        self.text(_MARGIN, 42, note, size=_SMALL, color=theme.muted)

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        self.figure.text(left / _WIDTH, 1 - top / self.height, words, va="center_baseline", **style)

    def panel(self, left: float, top: float, width: float, rows: int, row: float) -> Axes:
        """Axes with numbered rows of a height, the middle of the first at 0."""
        size = width / _WIDTH, rows * row / self.height
        axes = self.figure.add_axes((left / _WIDTH, 1 - top / self.height - size[1], *size))
        axes.set(ylim=(rows - 0.5, -0.5), yticks=[], frame_on=False, axisbelow=True)
        axes.grid(axis="x", color=self.theme.grid, linewidth=_PIXEL)
        axes.xaxis.set(ticks_position="top", major_formatter=lambda value, _: f"{value:,.10g}")
        axes.tick_params(length=0, labelsize=_SMALL, labelcolor=self.theme.muted)
        return axes

    def legend(self, marks: list[dict[str, Any]], columns: int) -> None:
        lines = [Line2D([], [], **mark) for mark in marks]
        place = (_MARGIN / _WIDTH, 1 - _BELOW_NOTE / self.height)
        style: dict[str, Any] = {"loc": "upper left", "frameon": False, "borderpad": 0, "borderaxespad": 0}
        self.figure.legend(handles=lines, ncols=columns, bbox_to_anchor=place, **style)


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw `overview`, each workload and `layers`, as `<name>-light.svg` and `<name>-dark.svg`.

    Raises:
        OSError: a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for page, theme in _THEMES.items():
        with matplotlib.rc_context(_settings(theme)):
            for name, sheet in _sheets(results, theme):
                paths.append(directory / f"{name}-{page}.svg")
                sheet.figure.savefig(paths[-1], transparent=True, metadata=sheet.metadata)
    return paths


def _settings(theme: _Theme) -> Any:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "benchmarks",
        # The first comes with matplotlib: widths are taken of it, and so are the same on every machine.
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Segoe UI", "Helvetica Neue", "Arial"],
        "font.size": _NORMAL,
        "text.color": theme.text,
        "lines.markersize": 11 * _PIXEL,
        "lines.markeredgewidth": _PIXEL,
        "text.parse_math": False,
    }


def _sheets(results: Results, theme: _Theme) -> Iterator[tuple[str, _Sheet]]:
    if results.workloads:
        yield "overview", _overview(results.workloads, results.rivals, theme)
    for name, workload in results.workloads.items():
        yield name, _workload(name, workload, results.rivals, theme)
    if results.layers:
        yield "layers", _layers(bars(results.layers), theme)


def _overview(workloads: dict[str, WorkloadResults], titles: dict[str, str], theme: _Theme) -> _Sheet:
    shares = {name: _shares(workload) for name, workload in workloads.items()}
    every = [share for found in shares.values() for share in found.values()]
    marks = _marks(titles, {rival for found in shares.values() for rival in found}, theme)
    labels = {name: [name, *wrap(workload.title, 50)] for name, workload in workloads.items()}
    left = _MARGIN + _GAP + max(_width(line, _SMALL) for lines in labels.values() for line in lines)
    width = _WIDTH - _GAP - left
    low = min([0.5, *every]) / 1.15
    high = max([2.0, low**-0.3, *every]) * 1.15  # the words on the right need their room, too
    lanes = {name: _lanes(found, width / log(high / low)) for name, found in shares.items()}
    heights = {each: 20 + max(15 * len(labels[each]), 12 * len(set(lanes[each].values()))) for each in shares}
    top, end = _BELOW_NOTE + 56 + 18 * -(-len(marks) // 4), sum(heights.values())
    note = "Rate divided by that of bridge serve, median of the rounds. Who fails in a workload has no mark."
    note = " ".join([note, *footnotes(mark["label"] for mark in marks.values())])
    sheet = _Sheet(theme, top + end + _MARGIN, "All workloads, compared with Bridge", note)
    sheet.legend([*marks.values()], 4)
    axes = sheet.panel(left, top, width, 1, end)
    axes.set(xscale="log", xlim=(low, high), ylim=(end, 0))
    _name_sides(axes, theme)
    start = 0
    for name, found in shares.items():
        axes.axhline(start, color=theme.grid, linewidth=_PIXEL, zorder=1)
        middle = start + heights[name] / 2
        _label(sheet, top + middle, labels[name])
        for rival, lane in lanes[name].items():
            axes.plot([found[rival]], [middle + 12 * lane], **marks[rival])
        sheet.text(left, top + middle, "" if found else "nothing to compare", size=_SMALL, color=theme.muted)
        start += heights[name]
    return sheet


def _label(sheet: _Sheet, middle: float, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        style = {"size": _SMALL, "color": sheet.theme.muted} if number else {"weight": "bold"}
        sheet.text(_MARGIN, middle + 15.5 * (number - (len(lines) - 1) / 2), line, **style)


def _shares(workload: WorkloadResults) -> dict[str, float]:
    """The rate of each rival that can be compared, divided by that of the reference."""
    shares = {}
    for name in workload.contenders():
        inverse = ratios(workload.rounds, "rate", name) if name not in (REFERENCE, *LIMITS) else []
        # A rate of zero, theirs or ours, has no place on a logarithmic scale.
        if inverse and all(inverse) and all(values_of(workload.rounds, name, "rate")):
            shares[name] = median(1 / ratio for ratio in inverse)
    return shares


def _marks(titles: dict[str, str], shown: set[str], theme: _Theme) -> dict[str, dict[str, Any]]:
    marks = {}
    for place, name in enumerate([*titles, *sorted(shown - set(titles))]):
        colour = theme.accent if name.startswith("bridge") else _RIVALS[place % len(_RIVALS)]
        style = {"color": colour, "marker": _MARKERS[place % len(_MARKERS)], "markeredgecolor": theme.page}
        marks[name] = {"label": titles.get(name, name), "linestyle": "", **style}
    return {name: mark for name, mark in marks.items() if name in shown}


def _name_sides(axes: Axes, theme: _Theme) -> None:
    axes.xaxis.set(major_locator=LogLocator(2), minor_locator=NullLocator(), major_formatter="{x:.2g}×")
    axes.axvline(1, color=theme.accent, linewidth=2.5 * _PIXEL)
    style: dict[str, Any] = {"color": theme.accent, "weight": "bold", "size": _SMALL}
    for side, words, shift in (("right", "← behind Bridge", -8), ("left", "ahead of Bridge →", 8)):
        axes.annotate(words, (1, 0), (shift, 20), textcoords="offset points", ha=side, **style)


def _lanes(shares: dict[str, float], scale: float) -> dict[str, int]:
    """Moves marks up (below 0) or down where one would hide another."""
    ends: list[float] = []
    lanes = {}
    for name, share in sorted(shares.items(), key=lambda item: item[1]):
        start = log(share) * scale
        lane = next((place for place, end in enumerate(ends) if end <= start), len(ends))
        ends[lane : lane + 1] = [start + 12]
        lanes[name] = (lane + 1) // 2 * (-1 if lane % 2 else 1)
    return lanes


def _workload(name: str, workload: WorkloadResults, titles: dict[str, str], theme: _Theme) -> _Sheet:
    rows = _rows(workload)
    ranked = [rival for rival, reason in rows.items() if not reason]
    note = f"Rounds: {len(workload.rounds)}. A bar is their median, a line goes from least to greatest."
    hollow = ["Hollow: a limit, not a rival."] if set(ranked) & set(LIMITS) else []
    note = " ".join([note, *hollow, *footnotes(titles.get(rival, rival) for rival in rows)])
    sheet = _Sheet(theme, _PANELS + _ROW * len(rows) + _MARGIN, f"{name}: {workload.title}", note)
    labels = [_shortened(titles.get(rival, rival), 240, _NORMAL, "bold") for rival in rows]
    left = _MARGIN + 10 + max((_width(label, _NORMAL, "bold") for label in labels), default=0)
    for place, (rival, label) in enumerate(zip(rows, labels, strict=True)):
        middle = _PANELS + (place + 0.5) * _ROW
        weight = "bold" if rival.startswith("bridge") else "normal"
        colour = theme.muted if rows[rival] else theme.text
        sheet.text(left - 10, middle, label, ha="right", weight=weight, color=colour)
        reason = _shortened(rows[rival], _WIDTH - _MARGIN - left, _SMALL)
        sheet.text(left, middle, reason, size=_SMALL, color=theme.muted)
    _panels(sheet, left, workload, ranked)
    return sheet


def _rows(workload: WorkloadResults) -> dict[str, str]:
    """Every rival, the fastest first, and why it has no bar if it has none."""
    failures = {name: failures_of(workload.rounds, name) for name in workload.contenders()}
    rates = {name: median(values_of(workload.rounds, name, "rate") or [0.0]) for name in failures}
    ordered = sorted(failures, key=lambda name: (bool(failures[name]), -rates[name]))
    measured = {name: f"fails: {failures[name][0]}" if failures[name] else "" for name in ordered}
    return measured | {name: f"left out: {reason}" for name, reason in workload.skipped.items()}


def _panels(sheet: _Sheet, left: float, workload: WorkloadResults, ranked: list[str]) -> None:
    columns: list[tuple[Figure, str, float, float]] = [
        ("rate", f"{workload.unit}/s", 1.0, 1),
        ("cpu_us_per_request", "CPU µs per request", 0.65, 1),
        ("events_on_time", "events on time, %", 0.5, 100),
    ]
    rounds = workload.rounds
    shown = [each for each in columns if any(values_of(rounds, name, each[0]) for name in ranked)]
    room = _WIDTH - _MARGIN - left - _GAP * (len(shown) - 1)
    for figure, heading, weight, factor in shown:
        width = room * weight / sum(each[2] for each in shown)
        axes = sheet.panel(left, _PANELS, width, len(ranked), _ROW)
        sheet.text(left, _PANELS - 28, heading, weight="bold", size=_SMALL)
        table = {name: [value * factor for value in values_of(rounds, name, figure)] for name in ranked}
        for place, (name, values) in enumerate(table.items()):
            _bar(axes, place, name, values, sheet.theme)
        limit = max(factor, *(value for values in table.values() for value in values))
        axes.set_xlim(0, limit * width / (width - 14 - _width(_number(limit), _NORMAL)))
        ticks = MaxNLocator(max(2, int(width / 90))).tick_values(0, limit)
        axes.set_xticks([tick for tick in ticks if tick <= limit])
        left += width + _GAP


def _bar(axes: Axes, place: int, rival: str, values: list[float], theme: _Theme) -> None:
    if values:
        colour = theme.accent if rival.startswith("bridge") else theme.neutral
        face, edge = ("none", theme.muted) if rival in LIMITS else (colour, colour)
        axes.barh(place, median(values), 0.62, facecolor=face, edgecolor=edge, linewidth=_PIXEL)
        axes.plot([min(values), max(values)], [place, place], color=theme.text, linewidth=1.25 * _PIXEL)
        words, end = _number(median(values)), (max(values), place)
        axes.annotate(words, end, (5, 0), textcoords="offset points", va="center_baseline")


def _layers(stacks: list[Bar], theme: _Theme) -> _Sheet:
    colours = dict(zip(LAYERS, (theme.neutral, theme.accent, *_LAYERS), strict=True))
    row, top = 46, _BELOW_NOTE + 54
    note = "CPU µs per request: what it takes with a layer, less what it takes without."
    sheet = _Sheet(theme, top + row * len(stacks) + _MARGIN, "What each layer costs", note)
    marks = [{"color": colours[layer], "label": layer, "marker": "s", "linestyle": ""} for layer in LAYERS]
    sheet.legend(marks, len(LAYERS))
    left = _MARGIN + 10 + max(_width(stack.title, _NORMAL) for stack in stacks)
    width = _WIDTH - left - 80
    axes = sheet.panel(left, top, width, len(stacks), row)
    longest = max(1.0, *(sum(max(part, 0.0) for part in stack.parts.values()) for stack in stacks))
    for place, stack in enumerate(stacks):
        sheet.text(left - 10, top + (place + 0.5) * row, stack.title, ha="right")
        start = 0.0
        for layer, part in stack.parts.items():
            length, words, colour = max(part, 0.0), _number(part), colours[layer]  # below 0 is noise
            axes.barh(place, length, 0.62, start, color=colour, edgecolor=theme.page, linewidth=_PIXEL)
            if _width(words, _SMALL) + 6 < length * width / longest:
                ink, middle = theme.page if layer == "bridge" else "#000000", (start + length / 2, place)
                axes.annotate(words, middle, ha="center", va="center_baseline", size=_SMALL, color=ink)
            start += length
        total = f"{_number(sum(stack.parts.values()))} µs"
        sheet.text(left + start * width / longest + 8, top + (place + 0.5) * row, total, weight="bold")
    axes.set_xlim(0, longest)
    return sheet


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _width(words: str, size: float, weight: str = "normal") -> float:
    font = FontProperties(size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(words, font, False)[0]) / _PIXEL


def _shortened(words: str, room: float, size: float, weight: str = "normal") -> str:
    """One line that fits into so many pixels."""
    line = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    while len(line) > 1 and (width := _width(line, size, weight)) > room:
        line = line[: min(len(line) - 2, int(len(line) * room / width))].rstrip() + "…"
    return line

"""What the tables say, and in words: who is ahead, who fails, who is left out."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.charts import draw
from benchmarks.goals import Goal, goal_lines
from benchmarks.layers import STEPS
from benchmarks.results import Sample, WorkloadResults
from benchmarks.rivals import ON_EVENT_LOOP, RIVALS
from benchmarks.tables import markdown, print_layers, print_workload, verdicts
from tests.benchmarks.made import COSTS, FAILED, layer_rounds, results, rounds_of

OURS = [1000, 1000, 1000]


# In words


@pytest.mark.parametrize(
    ("theirs", "fragments"),
    [
        pytest.param([500, 600, 700], None, id="behind Bridge"),
        pytest.param([1000, 1000, 1000], None, id="as fast"),
        pytest.param([900, 950, 1200], None, id="ahead once"),
        pytest.param([1250, 1300, 2000], ("in every round", "0.77", "0.50–0.80"), id="ahead in every round"),
        pytest.param([1250, 1300, 900], ("within the noise", "0.80", "0.77–1.11"), id="ahead in most rounds"),
    ],
)
def test_who_is_ahead_is_named(theirs: list[float], fragments: tuple[str, ...] | None) -> None:
    run = results(rounds_of({"bridge-serve": OURS, "granian": theirs}), titles={"granian": "granian, fast"})
    lines = verdicts(run, "hello")
    if fragments is None:
        assert lines == []
    else:
        (line,) = lines
        for fragment in ("Bridge is BEHIND granian, fast", *fragments):
            assert fragment in line


@pytest.mark.parametrize("other", ["inline", "bare-asgi", "in-process", "bridge"])
def test_a_limit_and_one_of_ours_are_not_ahead_of_anybody(other: str) -> None:
    assert verdicts(results(rounds_of({"bridge-serve": OURS, other: [5000, 5000, 5000]})), "hello") == []


@pytest.mark.parametrize("name", ["bridge-serve", "granian", "bare-asgi"])
def test_who_fails_is_named_and_not_ranked(name: str) -> None:
    run = results(
        rounds_of({"bridge-serve": OURS} | {name: [5000, None, 5000]}), titles={name: "the broken one"}
    )
    (line,) = verdicts(run, "hello")
    assert "the broken one" in line
    assert "1 of 3 rounds" in line
    assert str(FAILED.failure) in line


def test_nobody_is_ahead_of_one_that_fails() -> None:
    run = results(rounds_of({"bridge-serve": [None, 1000, 1000], "granian": [2000, 2000, 2000]}))
    (line,) = verdicts(run, "hello")
    assert line.startswith("bridge-serve fails")


def test_who_is_left_out_is_named_with_the_reason() -> None:
    run = results(
        rounds_of({"bridge-serve": OURS}),
        skipped={"waitress": "it takes a thread"},
        titles={"waitress": "Wait"},
    )
    (line,) = verdicts(run, "hello")
    assert "Wait left out: it takes a thread" in line


# Marks

NOTE = "† runs the app on its event loop: one blocking view stops all"


@pytest.mark.parametrize("left_out", [False, True], ids=["measured", "left out"])
def test_a_mark_is_explained_once_wherever_it_is_shown(left_out: bool, tmp_path: Path) -> None:
    speeds = {"bridge-serve": OURS} | ({} if left_out else dict.fromkeys(ON_EVENT_LOOP, OURS))
    run = results(
        rounds_of(speeds),
        skipped=dict.fromkeys(ON_EVENT_LOOP, "it waits") if left_out else {},
        titles={name: RIVALS[name].title for name in ON_EVENT_LOOP},
    )
    shown = [" ".join(line) for line in printed(lambda console: print_workload(console, run, "hello"))]
    assert shown.count(NOTE) == 1
    assert markdown(run).count(f"- {NOTE}\n") == 1
    for name in ON_EVENT_LOOP:
        assert any(line.startswith(f"{name} † ") for line in shown), name
    for page in ("light", "dark"):
        chart = tmp_path / f"hello-{page}.svg"
        assert chart in draw(run, tmp_path)
        assert NOTE in chart.read_text()


def test_without_a_mark_nothing_is_explained(tmp_path: Path) -> None:
    run = results(rounds_of({"bridge-serve": OURS, "granian": OURS}), skipped={"waitress": "it waits"})
    assert NOTE not in markdown(run)
    assert not [path for path in draw(run, tmp_path) if NOTE in path.read_text()]


# Goals


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        pytest.param([100, 100, 100], "10.00 (10.00–10.00): met", id="met"),
        pytest.param([100, 125, 1000], "8.00 (1.00–10.00): MISSED", id="missed"),
        pytest.param([100, None, 100], "not judged, for a2wsgi failed", id="one fails"),
    ],
)
def test_a_goal_is_judged_by_the_median(theirs: list[float | None], expected: str) -> None:
    run = results()
    rounds = rounds_of({"bridge": OURS, "a2wsgi": theirs, "other": OURS})
    run.workloads["stream"] = WorkloadResults("Stream", rounds=rounds)
    (line,) = goal_lines(run, "stream")  # those of rivals that were not measured are none
    assert line == f"goal: rate of bridge ≥ 10 × a2wsgi: {expected}"


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        pytest.param(Goal("hello", "rate", "≥", 2, "a2wsgi"), {1.9: False, 2.0: True, 2.1: True}, id="≥"),
        pytest.param(Goal("body", "growth", "≤", 0.5, "a2wsgi"), {0.4: True, 0.5: True, 0.6: False}, id="≤"),
    ],
)
def test_a_goal_is_met_from_its_factor_on(goal: Goal, met: dict[float, bool]) -> None:
    assert {ratio: goal.is_met(ratio) for ratio in met} == met


# Tables


def printed(show: Callable[[Console], None]) -> list[list[str]]:
    """The words of each line."""
    output = StringIO()
    show(Console(file=output, width=170))
    return [line.split() for line in output.getvalue().splitlines()]


WHOLE = results(
    rounds_of({"bridge-serve": OURS, "a2wsgi": [500, 400, 625], "broken": [500, None, 500], "inline": OURS}),
    skipped={"quart": "it is late"},
    layers=layer_rounds(COSTS, COSTS),
)


def test_a_workload_is_shown_with_everybody_in_it() -> None:
    words = printed(lambda console: print_workload(console, WHOLE, "hello"))
    rows = {line[0]: line for line in words if line}
    assert rows["hello:"] == ["hello:", "Flask", "hello"]
    assert rows["bridge-serve"][1:5] == ["1,000", "(1,000–1,000)", "1.00", "(1.00–1.00)"]
    assert rows["a2wsgi"][1:5] == ["500", "(400–625)", "2.00", "(1.60–2.50)"]
    assert rows["inline"][1] == "(limit)"
    assert rows["quart"] == ["quart", "left", "out:", "it", "is", "late"]
    assert ["broken", "fails", "in", "1", "of", "3", "rounds:", *str(FAILED.failure).split()] in words


def test_one_that_fails_has_no_ratio() -> None:
    words = printed(lambda console: print_workload(console, WHOLE, "hello"))
    (row,) = (line for line in words if line[:1] == ["broken"] and line[1] != "fails")
    assert row[1:4] == ["500", "(500–500)", "–"]


def test_one_that_always_fails_has_no_figures() -> None:
    run = results(rounds_of({"bridge-serve": OURS, "broken": [None, None, None]}))
    words = printed(lambda console: print_workload(console, run, "hello"))
    (row,) = (line for line in words if line[:1] == ["broken"] and line[1] != "fails")
    assert set(row[1:-1]) == {"–"}
    assert row[-1] == "100.0%"


def test_events_on_time_have_a_column_where_there_are_events() -> None:
    run = results([{"bridge-serve": Sample(rate=5, events_on_time=0.875), "a2wsgi": Sample(rate=5)}])
    words = printed(lambda console: print_workload(console, run, "hello"))
    assert any(line[-3:] == ["events", "on", "time"] for line in words)
    assert {line[0]: line[-1] for line in words if line and line[0] in ("bridge-serve", "a2wsgi")} == {
        "bridge-serve": "87.5%",
        "a2wsgi": "–",
    }


def test_every_step_of_the_layers_is_shown() -> None:
    lines = [" ".join(line) for line in printed(lambda console: print_layers(console, WHOLE))]
    for step in STEPS:
        assert any(line.startswith(f"{step.title} {COSTS[step.name]:,.0f} ") for line in lines), step.title


def _tables(text: str) -> list[list[str]]:
    """The lines of each table."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block[0].startswith("|")]


def test_markdown_has_a_table_for_each_workload_and_the_layers() -> None:
    run = results(rounds_of({"bridge-serve": OURS, "a2wsgi": OURS}), layers=layer_rounds(COSTS))
    run.workloads["stream"] = WorkloadResults("Streams", rounds=rounds_of({"bridge-serve": OURS}))
    text = markdown(run)
    tables = _tables(text)
    assert [len(table) for table in tables] == [2 + 2, 2 + 1, 2 + len(STEPS)]  # two lines are the head
    for table in tables:
        assert len({line.count("|") for line in table}) == 1, "a row has another number of cells"
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## Flask hello", "## Streams"]


def test_markdown_has_what_the_figures_depend_on() -> None:
    text = markdown(WHOLE)
    for words in (
        "2026-01-31",
        "a CPU",
        "2 cores",
        "3 rounds of 1 s",
        "flask 3.1.0",
        "`python -m a2wsgi PORT`",
    ):
        assert words in text
    for verdict in verdicts(WHOLE, "hello"):
        assert f"\n- {verdict}\n" in text

"""Before and after: the machine's drift is taken out, and what is left is told from noise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from typing import TypeAlias

import pytest
from rich.console import Console

from benchmarks.compare import Change, Verdict, changes, differences, print_comparison
from benchmarks.layers import contender
from benchmarks.results import Figure, Results, Round
from tests.benchmarks.made import COSTS, layer_rounds, results, rounds_of

Speeds: TypeAlias = Mapping[str, Sequence[float | None]]

BEFORE: Speeds = {
    "bridge-serve": [1000, 1020, 980],
    "bridge": [900, 910, 890],
    "a2wsgi": [500, 510, 490],
    "gunicorn": [700, 690, 710],
    "in-process": [5000, 5010, 4990],
}
FIGURES: list[Figure] = ["rate", "cpu_us_per_request", "p99_ms"]


def times(factor: float, *contenders: str, speeds: Speeds = BEFORE) -> Speeds:
    """All speeds, those of some contenders changed by a factor; without names, those of all of them."""
    return {
        name: [value and value * factor for value in values]
        if name in contenders or not contenders
        else values
        for name, values in speeds.items()
    }


def failing(name: str, speeds: Speeds = BEFORE) -> Speeds:
    """One fails in the second round."""
    first, _, *others = speeds[name]
    return {**speeds, name: [first, None, *others]}


def changed(before: Speeds, after: Speeds, name: str = "bridge-serve") -> dict[Figure, Change]:
    """What has changed for a contender, by figure."""
    found = changes(results(rounds_of(before)), results(rounds_of(after)))
    return {change.figure: change for change in found if change.contender == name}


def verdicts_of(before: Speeds, after: Speeds, name: str = "bridge-serve") -> dict[Figure, Verdict]:
    return {figure: change.verdict for figure, change in changed(before, after, name).items()}


RIVALS = ("a2wsgi", "gunicorn", "in-process")
SAME: dict[Figure, Verdict] = dict.fromkeys(FIGURES, "within the noise")
BETTER: dict[Figure, Verdict] = dict.fromkeys(FIGURES, "better")
WORSE: dict[Figure, Verdict] = dict.fromkeys(FIGURES, "worse")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(BEFORE, SAME, id="nothing"),
        pytest.param(times(1.2), SAME, id="a machine 20 % faster"),
        pytest.param(times(0.5), SAME, id="a machine half as fast"),
        pytest.param(times(1.3, "bridge-serve"), BETTER, id="Bridge 30 % faster"),
        pytest.param(times(0.7, "bridge-serve"), WORSE, id="Bridge 30 % slower"),
        pytest.param(times(1.2, *RIVALS), WORSE, id="a machine 20 % faster, and Bridge is not"),
        pytest.param(times(0.8, *RIVALS), BETTER, id="a machine 20 % slower, and Bridge is not"),
        pytest.param(times(1.2, speeds=times(1.3, "bridge-serve")), BETTER, id="both faster, Bridge more"),
        pytest.param(times(3, "gunicorn"), SAME, id="one rival of three"),
        pytest.param(times(1.01, "bridge-serve"), SAME, id="Bridge, by less than the rounds differ"),
        pytest.param(times(1.3, "bridge"), SAME, id="another contender of ours"),
        pytest.param(
            failing("gunicorn", failing("in-process", times(5, "gunicorn", "in-process"))),
            SAME,
            id="rivals that fail are no measure",
        ),
        pytest.param(
            {**BEFORE, "bridge-serve": [1300, 1310, 1019]},
            SAME,
            id="a round is as slow as the fastest before",
        ),
        pytest.param({**BEFORE, "bridge-serve": [1021, 1022, 1023]}, BETTER, id="a little, in every round"),
    ],
)
def test_a_change_is_told_from_drift_and_noise(after: Speeds, expected: dict[Figure, Verdict]) -> None:
    assert verdicts_of(BEFORE, after) == expected


@pytest.mark.parametrize(
    ("figure", "factor", "expected"),
    [
        ("rate", 1.5, "better"),
        ("rate", 0.5, "worse"),
        ("cpu_us_per_request", 1.5, "worse"),
        ("cpu_us_per_request", 0.5, "better"),
        ("p99_ms", 1.5, "worse"),
        ("p99_ms", 0.5, "better"),
    ],
)
def test_each_figure_has_its_direction(figure: Figure, factor: float, expected: Verdict) -> None:
    before, after = rounds_of(BEFORE), rounds_of(BEFORE)
    for samples in after:
        ours = samples["bridge-serve"]
        samples["bridge-serve"] = replace(ours, **{figure: getattr(ours, figure) * factor})
    found = changes(results(before), results(after))
    assert {change.figure: change.verdict for change in found if change.contender == "bridge-serve"} == {
        **SAME,
        figure: expected,
    }


def test_a_change_has_its_figures() -> None:
    change = changed(BEFORE, times(1.2, speeds=times(1.5, "bridge-serve")))["rate"]
    assert (change.workload, change.contender, change.before) == ("hello", "bridge-serve", 1000)
    assert change.after == pytest.approx(1800)
    assert change.factor == pytest.approx(1.8)
    assert change.corrected == pytest.approx(1.5)
    assert change.chance == pytest.approx(2 / 20)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(BEFORE, failing("bridge-serve"), {"rate": "fails now"}, id="fails now"),
        pytest.param(failing("bridge-serve"), BEFORE, {"rate": "fails no more"}, id="fails no more"),
        pytest.param(failing("bridge-serve"), failing("bridge-serve"), {}, id="fails before and after"),
    ],
)
def test_one_that_fails_is_not_compared(
    before: Speeds, after: Speeds, expected: dict[Figure, Verdict]
) -> None:
    assert verdicts_of(before, after) == expected


def test_rounds_may_be_more_or_fewer() -> None:
    assert verdicts_of(BEFORE, {name: values[:2] for name, values in times(1.3, "bridge").items()}) == SAME


def test_without_rivals_there_is_no_drift_to_take_out() -> None:
    ours = {"bridge-serve": BEFORE["bridge-serve"]}
    assert verdicts_of(ours, times(1.2, speeds=ours)) == BETTER


def test_what_happens_by_chance_each_time_is_noise() -> None:
    """One round differs from another always, and of one each all rounds are better, or all are worse."""
    after = {name: [value and value + 1 for value in values[:1]] for name, values in BEFORE.items()}
    found = changed({name: values[:1] for name, values in BEFORE.items()}, after)
    assert {change.chance for change in found.values()} == {1.0}
    assert {figure: change.verdict for figure, change in found.items()} == SAME


def test_only_ours_are_compared_in_workloads_that_both_runs_have() -> None:
    old, new = results(rounds_of(BEFORE)), results(rounds_of(BEFORE))
    old.workloads["old"] = old.workloads["hello"]
    new.workloads["new"] = new.workloads["hello"]
    found = changes(old, new)
    assert {change.workload for change in found} == {"hello"}
    assert {change.contender for change in found} == {"bridge-serve", "bridge"}


def test_one_that_is_new_has_nothing_to_be_compared_with() -> None:
    without = {name: values for name, values in BEFORE.items() if name != "bridge"}
    assert {
        change.contender for change in changes(results(rounds_of(without)), results(rounds_of(BEFORE)))
    } == {"bridge-serve"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(results(), results(), id="nothing measured"),
        pytest.param(results(rounds_of(BEFORE)), results(), id="nothing in common"),
        pytest.param(results(rounds_of(BEFORE)), results(layers=layer_rounds(COSTS)), id="layers in one"),
    ],
)
def test_runs_without_anything_in_common_have_no_changes(old: Results, new: Results) -> None:
    assert changes(old, new) == []


# Layers: those on Bridge are ours, the others tell the drift.


def _layers(drift: float = 1.0, jinja: float = 1.0) -> list[Round]:
    costs = {name: cost * drift for name, cost in COSTS.items()}
    rounds = layer_rounds(
        *({name: cost * noise for name, cost in costs.items()} for noise in (0.99, 1, 1.01))
    )
    for samples in rounds:
        name = contender("served", "jinja")
        cost = samples[name].cpu_us_per_request * jinja
        samples[name] = replace(samples[name], cpu_us_per_request=cost)
    return rounds


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(_layers(), {}, id="nothing"),
        pytest.param(_layers(drift=1.5), {}, id="a slower machine"),
        pytest.param(_layers(jinja=1.5), {"served: jinja": "worse"}, id="one that costs more"),
        pytest.param(_layers(drift=1.5, jinja=0.5), {"served: jinja": "better"}, id="one that costs less"),
    ],
)
def test_layers_are_compared_as_well(after: list[Round], expected: dict[str, Verdict]) -> None:
    found = changes(results(layers=_layers()), results(layers=after))
    assert {change.workload for change in found} == {"layers"}
    assert {change.contender for change in found} == {contender("served", name) for name in COSTS} - {
        "served: asgi"
    }
    assert {
        change.contender: change.verdict for change in found if change.verdict != "within the noise"
    } == expected


# What else differs


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param(results(), [], id="nothing"),
        pytest.param(
            results(machine={"packages": {"flask": "3.1.1"}}), ["flask: 3.1.0 → 3.1.1"], id="a version"
        ),
        pytest.param(results(machine={"packages": {}}), ["flask: 3.1.0 → None"], id="a package that is gone"),
        pytest.param(
            results(machine={"packages": {"flask": "3.1.0", "another": "1.0"}}), [], id="a package not used"
        ),
        pytest.param(results(machine={"cpu": "another"}), ["cpu: a CPU → another"], id="the processor"),
        pytest.param(results(settings={"seconds": 3}), ["seconds: 1 → 3"], id="a setting"),
        pytest.param(
            results(machine={"kernel": "Linux 7"}, settings={"rounds": 5}),
            ["kernel: None → Linux 7", "rounds: 0 → 5"],
            id="several",
        ),
    ],
)
def test_what_else_differs_is_named(new: Results, expected: list[str]) -> None:
    assert differences(results(), new) == expected


# In a terminal


def printed(old: Results, new: Results) -> str:
    output = StringIO()
    print_comparison(Console(file=output, width=170), old, new)
    return output.getvalue()


def test_the_table_says_what_has_changed() -> None:
    after = failing("bridge", times(1.5, "bridge-serve"))
    machine: dict[str, object] = {"packages": {"flask": "3.1.1"}}
    lines = printed(results(rounds_of(BEFORE)), results(rounds_of(after), machine=machine)).splitlines()
    assert any("flask: 3.1.0 → 3.1.1" in line for line in lines)
    rows = [line.split() for line in lines if line.strip().startswith("hello")]
    assert rows == [
        ["hello", "bridge-serve", "rate", "1,000.0", "1,500.0", "1.50", "1.50", "10.0%", "better"],
        [
            "hello",
            "bridge-serve",
            "cpu_us_per_request",
            "1,000.0",
            "666.7",
            "0.67",
            "0.67",
            "10.0%",
            "better",
        ],
        ["hello", "bridge-serve", "p99_ms", "64.0", "42.7", "0.67", "0.67", "10.0%", "better"],
        ["hello", "bridge", "rate", "900.0", "895.0", "1.00", "1.00", "fails", "now"],
    ]


def test_noise_is_called_noise() -> None:
    text = printed(results(rounds_of(BEFORE)), results(rounds_of(times(1.2))))
    assert text.count("within the noise") == 6
    assert "better" not in text
    assert "worse" not in text

"""What a run has measured survives its file, and is divided round by round."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import (
    Figure,
    Results,
    ResultsError,
    Sample,
    failures_of,
    median_of,
    ratios,
    values_of,
)
from tests.benchmarks.made import COSTS, FAILED, layer_rounds, results, rounds_of

WHOLE = results(
    rounds_of({"bridge-serve": [1000, 1100, 990.5], "a2wsgi": [500, None, 480]}),
    layers=layer_rounds(COSTS),
    skipped={"gunicorn": "every stream takes a thread – of 40"},
)


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(WHOLE, id="workloads and layers"),
        pytest.param(results(), id="nothing yet"),
        pytest.param(results([{"bridge-serve": Sample(events_on_time=0.5)}]), id="events"),
    ],
)
def test_what_was_saved_is_loaded(tmp_path: Path, whole: Results) -> None:
    path = tmp_path / "made" / "on demand" / "results.json"
    whole.save(path)
    assert Results.load(path) == whole


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    WHOLE.save(path)
    results().save(path)
    assert Results.load(path) == results()


def _changed(**changes: Any) -> str:
    """A file of results, but for some of it; what is None is left out."""
    data = {"format": 1, "date": "", "machine": {}, "settings": {}, "rivals": {}, "commands": {}}
    data |= {"workloads": {}, "layers": []} | changes
    return json.dumps({name: value for name, value in data.items() if value is not None})


WRONG: dict[str, str | bytes] = {
    "nothing": "",
    "no JSON": "# Results\n",
    "no text": b"\xff\xfe\x00",
    "null": "null",
    "a number": "1",
    "a list": "[]",
    "an empty object": "{}",
    "something else of JSON": '{"name": "bridge", "version": 1}',
    "no format": _changed(format=None),
    "another format": _changed(format=2),
    "no workloads": _changed(workloads=None),
    "no layers": _changed(layers=None),
    "no machine": _changed(machine=None),
    "one field too many": _changed(more=1),
    "workloads in a list": _changed(workloads=[]),
    "a workload without rounds": _changed(workloads={"hello": {"title": "Hello"}}),
    "a workload without title": _changed(workloads={"hello": {"rounds": []}}),
    "rounds that are none": _changed(workloads={"hello": {"title": "Hello", "rounds": 5}}),
    "samples that are none": _changed(layers=[{"served: asgi": 5}]),
    "a sample with another figure": _changed(layers=[{"served: asgi": {"speed": 5}}]),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_file_without_results_is_named(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ResultsError) as caught:
        Results.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_may_be_changed_at_will_is_loaded_as_it_is(tmp_path: Path) -> None:
    """So that the cases above are wrong for the reason they name."""
    path = tmp_path / "kept.json"
    path.write_text(_changed())
    assert Results.load(path).workloads == {}


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Results.load(tmp_path / "nosuch.json")


# Figures

ROUNDS = rounds_of({"bridge-serve": [1000, 1200, 900], "a2wsgi": [500, 400, 600], "broken": [800, None, 800]})
EVENTS = [{"bridge-serve": Sample(rate=5, events_on_time=share), "alone": Sample()} for share in (1.0, 0.5)]
MEMORY = [
    {"bridge-serve": Sample(rss_before=10, peak_rss=40), "grown": Sample(rss_before=10, peak_rss=20)},
    {"bridge-serve": Sample(rss_before=10, peak_rss=40), "grown": Sample(rss_before=10, peak_rss=10)},
    {"bridge-serve": Sample(rss_before=10, peak_rss=10), "grown": Sample(rss_before=10, peak_rss=10)},
]


@pytest.mark.parametrize(
    ("rounds", "figure", "contender", "base", "expected"),
    [
        pytest.param(ROUNDS, "rate", "a2wsgi", "bridge-serve", [2, 3, 1.5], id="round by round"),
        pytest.param(ROUNDS, "rate", "bridge-serve", "a2wsgi", [0.5, 1 / 3, 2 / 3], id="another base"),
        pytest.param(ROUNDS, "p99_ms", "a2wsgi", "bridge-serve", [0.5, 1 / 3, 2 / 3], id="another figure"),
        pytest.param(ROUNDS, "rate", "bridge-serve", "bridge-serve", [1, 1, 1], id="to itself"),
        pytest.param(ROUNDS, "rate", "broken", "bridge-serve", [], id="the contender fails once"),
        pytest.param(ROUNDS, "rate", "a2wsgi", "broken", [], id="the base fails once"),
        pytest.param(ROUNDS, "rate", "nosuch", "bridge-serve", [], id="the contender was not measured"),
        pytest.param(ROUNDS, "rate", "a2wsgi", "nosuch", [], id="the base was not measured"),
        pytest.param([], "rate", "a2wsgi", "bridge-serve", [], id="no rounds"),
        pytest.param(EVENTS, "events_on_time", "alone", "bridge-serve", [], id="one has no such figure"),
        pytest.param(MEMORY, "growth", "grown", "bridge-serve", [3, 30, 0], id="memory that has not grown"),
    ],
)
def test_ratios(
    rounds: list[dict[str, Sample]], figure: Figure, contender: str, base: str, expected: list[float]
) -> None:
    assert ratios(rounds, figure, contender, base) == pytest.approx(expected)


def test_the_reference_is_bridge() -> None:
    assert ratios(ROUNDS, "rate", "a2wsgi") == ratios(ROUNDS, "rate", "a2wsgi", "bridge-serve")


def test_values_of_failing_rounds_are_left_out() -> None:
    assert values_of(ROUNDS, "broken", "rate") == [800, 800]
    assert median_of(ROUNDS, "broken", "rate") == 800
    assert failures_of(ROUNDS, "broken") == [FAILED.failure]


def test_one_that_always_fails_has_no_values() -> None:
    rounds = rounds_of({"broken": [None, None]})
    assert values_of(rounds, "broken", "rate") == []
    assert median_of(rounds, "broken", "rate") is None
    assert failures_of(rounds, "broken") == [FAILED.failure] * 2


@pytest.mark.parametrize(
    ("contender", "expected"), [("bridge-serve", [1.0, 0.5]), ("alone", []), ("nosuch", [])]
)
def test_values_are_those_that_there_are(contender: str, expected: list[float]) -> None:
    assert values_of(EVENTS, contender, "events_on_time") == expected


def test_contenders_are_in_the_order_of_measuring() -> None:
    assert WHOLE.workloads["hello"].contenders() == ["bridge-serve", "a2wsgi"]

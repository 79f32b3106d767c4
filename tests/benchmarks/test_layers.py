"""What each layer costs, from rounds made by hand; and that the apps differ in their layers only."""

from io import StringIO
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console
from werkzeug.test import Client as WerkzeugClient

from benchmarks.apps import bare_asgi, load
from benchmarks.apps.page import html, rows
from benchmarks.charts import draw
from benchmarks.layers import LAYERS, STEPS, Bar, Place, Step, bars, contender, increments
from benchmarks.results import Round, Sample
from benchmarks.rounds import contenders_of_layers
from benchmarks.tables import print_layers
from bridge.testing import Client
from tests.benchmarks.made import COSTS, FAILED, layer_rounds, results

BY_NAME = {step.name: step for step in STEPS}
EQUAL = layer_rounds(COSTS, COSTS, COSTS)
# From one round to the next the machine gets slower, all steps alike, or one of them.
SLOWER = layer_rounds(COSTS, {name: 2 * cost for name, cost in COSTS.items()}, COSTS | {"jinja": 1000.0})


def by_title(rounds: list[Round]) -> dict[str, Bar]:
    return {bar.title: bar for bar in bars(rounds)}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_costs_what_it_takes_beyond_the_one_before(step: Step) -> None:
    before = COSTS[step.before] if step.before else 0.0
    assert increments(EQUAL, "served", step) == [COSTS[step.name] - before] * 3


@pytest.mark.parametrize(
    ("place", "expected"),
    [("served", [COSTS["wsgi"] - COSTS["asgi"]] * 3), ("in process", [COSTS["wsgi"] / 2] * 3)],
)
def test_in_process_the_callable_is_the_first(place: Place, expected: list[float]) -> None:
    assert increments(EQUAL, place, BY_NAME["wsgi"]) == expected


def test_steps_are_compared_round_by_round() -> None:
    gained = COSTS["jinja"] - COSTS["session"]
    assert increments(SLOWER, "served", BY_NAME["jinja"]) == [gained, 2 * gained, 1000.0 - COSTS["session"]]


def test_a_round_in_which_one_of_both_fails_is_not_compared() -> None:
    """As `Sample` says; or one that fails would look like one that costs nothing."""
    rounds = layer_rounds(COSTS, COSTS, COSTS)
    rounds[0][contender("served", "session")] = FAILED
    rounds[1][contender("served", "jinja")] = FAILED
    assert increments(rounds, "served", BY_NAME["jinja"]) == [COSTS["jinja"] - COSTS["session"]]


def test_a_step_that_fails_in_every_round_is_shown_and_drawn_nevertheless(tmp_path: Path) -> None:
    rounds = layer_rounds(COSTS, COSTS)
    for samples in rounds:
        samples[contender("served", "session")] = FAILED
    run = results(layers=rounds)
    output = StringIO()
    print_layers(Console(file=output, width=170), run)
    assert BY_NAME["session"].title in output.getvalue()
    assert {path.name for path in draw(run, tmp_path)} == {"layers-light.svg", "layers-dark.svg"}


@pytest.mark.parametrize(
    ("title", "place", "last"),
    [
        ("sync view, served", "served", "jinja"),
        ("async view, served", "served", "async_jinja"),
        ("sync view, in process", "in process", "jinja"),
        ("async view, in process", "in process", "async_jinja"),
    ],
)
def test_the_parts_of_a_bar_add_up_to_the_whole_page(title: str, place: Place, last: str) -> None:
    whole = median(samples[contender(place, last)].cpu_us_per_request for samples in EQUAL)
    assert sum(by_title(EQUAL)[title].parts.values()) == pytest.approx(whole)


def test_there_are_four_bars() -> None:
    assert list(by_title(EQUAL)) == [
        "sync view, served",
        "async view, served",
        "sync view, in process",
        "async view, in process",
    ]


def test_the_parts_of_a_bar_are_layers_from_the_outside_in() -> None:
    found = by_title(EQUAL)
    assert list(found["async view, served"].parts) == list(LAYERS)
    assert set(LAYERS) - set(found["sync view, served"].parts) == {"async"}
    assert set(LAYERS) - set(found["async view, in process"].parts) == {"server", "bridge"}
    assert set(LAYERS) - set(found["sync view, in process"].parts) == {"server", "bridge", "async"}


def test_a_part_is_what_its_steps_cost() -> None:
    parts = by_title(EQUAL)["sync view, served"].parts
    view = COSTS["wsgi"] / 2  # the callable in process, without server and bridge
    assert parts == pytest.approx(
        {
            "server": COSTS["asgi"] - view,
            "bridge": COSTS["wsgi"] - COSTS["asgi"],
            "Werkzeug": COSTS["routing"] - COSTS["wsgi"],
            "Flask": COSTS["session"] - COSTS["routing"],
            "Jinja2": COSTS["jinja"] - COSTS["session"],
            "view": view,
        }
    )


def test_one_disturbed_round_of_three_does_not_show() -> None:
    disturbed = [*layer_rounds({name: 50 * cost for name, cost in COSTS.items()}), *EQUAL[:2]]
    assert bars(disturbed) == bars(EQUAL)


def test_what_is_measured_is_all_that_the_bars_are_made_of() -> None:
    rounds = [{name: Sample(cpu_us_per_request=100.0) for name in contenders_of_layers()}]
    assert len(bars(rounds)) == 4
    assert increments(rounds, "served", BY_NAME["asgi"]) == [100.0]


# The apps

PAGE = html(rows()).encode()
NAMES = [step.name for step in STEPS if step.name != "asgi"]


@pytest.mark.parametrize("name", [*NAMES, "flask"])
def test_every_wsgi_app_answers_with_the_same_page(name: str) -> None:
    with WerkzeugClient(load(name)).get("/page") as response:
        assert (response.status_code, response.mimetype) == (200, "text/html")
        assert response.data == PAGE


async def test_the_asgi_app_answers_with_the_same_page() -> None:
    async with Client(bare_asgi.app, interface="asgi") as client:
        response = await client.get("/page")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.content == PAGE


@pytest.mark.parametrize("name", ["session", "jinja", "async_session", "async_jinja"])
def test_a_layer_with_a_session_keeps_it(name: str) -> None:
    client = WerkzeugClient(load(name))
    for _ in range(2):
        with client.get("/page") as response:
            assert "session=" in response.headers["Set-Cookie"]

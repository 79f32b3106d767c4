"""The tables of rivals and workloads name what there is, and their apps answer as they are expected to."""

import asyncio
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import pytest
from werkzeug.test import Client as WerkzeugClient

from benchmarks.apps import APPS, bare_asgi, import_string, load, on_asgiref, on_bridge, quart_app
from benchmarks.goals import GOALS, Goal
from benchmarks.materials import material, materials
from benchmarks.results import REFERENCE
from benchmarks.rivals import EVENT_LOOP_MARK, HOST, IN_PROCESS, LIMITS, ON_EVENT_LOOP, RIVALS
from benchmarks.rounds import Contender, contenders_of_layers, contenders_of_workload
from benchmarks.workloads import QUICK_RIVALS, QUICK_WORKLOADS, WORKLOADS, Workload
from benchmarks.wrk import WrkCounts, WrkLoad
from bridge.testing import Client

# Rivals

SERVERS = [name for name in RIVALS if name != IN_PROCESS]


@pytest.mark.parametrize("app", ["flask", "async_flask", "jinja"])
@pytest.mark.parametrize("name", RIVALS)
def test_a_command_has_all_its_places_filled_in(name: str, app: str) -> None:
    command = RIVALS[name].command(app, 8765)
    assert not [part for part in command if "{" in part or "}" in part or not part]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_listens_where_nobody_else_can_reach_it(name: str) -> None:
    assert HOST == "127.0.0.1"
    words = " ".join(RIVALS[name].command("flask", 8765)).replace(":", " ").replace("=", " ").split()
    assert words.count(HOST) == 1
    assert words.count("8765") == 1


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_told_what_to_serve(name: str) -> None:
    # Three serve one app each, which has the routes of all of them that it is measured with.
    names = {"quart": "quart_app", "bare-asgi": "bare_asgi", "starlette": "starlette_app"}
    own = {name: f"benchmarks.apps.{module}:app" for name, module in names.items()}
    command = " ".join(RIVALS[name].command("bare", 8765))
    named = own.get(name, ":bare" if "benchmarks.apps.on_" in command or name == "inline" else None)
    assert (named or import_string("bare")) in command


def test_the_reference_and_the_limits_are_rivals() -> None:
    assert {REFERENCE, IN_PROCESS, *LIMITS} <= set(RIVALS)
    assert len({rival.title for rival in RIVALS.values()}) == len(RIVALS)


def test_those_that_one_blocking_view_stops_are_marked() -> None:
    assert [name for name, rival in RIVALS.items() if rival.title.endswith(EVENT_LOOP_MARK)] == [
        *ON_EVENT_LOOP
    ]


@pytest.mark.parametrize("name", ["hello", "bare", "json", "page", "stream", "upload", "file", "blocking"])
def test_those_on_their_event_loop_take_part_in_what_they_can_serve(name: str) -> None:
    assert set(ON_EVENT_LOOP) <= set(WORKLOADS[name].rivals())


# Workloads


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())
def test_a_workload_names_what_there_is(workload: Workload) -> None:
    assert workload.app in APPS
    assert {*workload.also, *workload.skipped} <= set(RIVALS)
    assert all(workload.skipped.values()), "without a reason"


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())
def test_those_take_part_that_can(workload: Workload) -> None:
    taking_part = workload.rivals()
    assert taking_part[0] == REFERENCE or REFERENCE in workload.skipped
    assert not set(taking_part) & set(workload.skipped)
    assert set(workload.also) - set(workload.skipped) <= set(taking_part)
    assert taking_part == [name for name in RIVALS if name in taking_part]


def test_a_workload_has_the_rivals_of_its_kind_and_those_it_names() -> None:
    workload = Workload(
        "", "async", WORKLOADS["hello"].load, also=("inline",), skipped={"gunicorn": "why not"}
    )
    found = workload.rivals()
    assert "quart" in found  # async only
    assert "inline" in found
    assert "granian-1" not in found  # working only
    assert "bare-asgi" not in found
    assert "gunicorn" not in found


def test_those_measured_are_those_that_take_part_and_are_wanted() -> None:
    hello = WORKLOADS["hello"]
    found = contenders_of_workload(hello, ["quart", "a2wsgi", REFERENCE])
    assert found == {
        name: Contender(name, hello.app, hello.load, hello.answer_size) for name in (REFERENCE, "a2wsgi")
    }


def test_layers_are_measured_on_what_there_is() -> None:
    for name, measured in contenders_of_layers().items():
        assert measured.rival in RIVALS
        assert measured.app in APPS, name
        assert isinstance(measured.load.request, WrkLoad)


def test_a_quick_look_is_at_what_there_is() -> None:
    assert set(QUICK_WORKLOADS) <= set(WORKLOADS)
    assert set(QUICK_RIVALS) <= set(RIVALS)
    for name in QUICK_WORKLOADS:
        assert {REFERENCE} < set(contenders_of_workload(WORKLOADS[name], list(QUICK_RIVALS))), name


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_a_goal_is_for_those_that_are_measured(goal: Goal) -> None:
    assert {goal.ours, goal.rival} <= set(WORKLOADS[goal.workload].rivals())


# What they answer

# The engine of the database stays for as long as its process: it is asked in a run of the command.
ANSWERING = {name: workload for name, workload in WORKLOADS.items() if name not in ("query", "events-10000")}


def asked_of(workload: Workload) -> WrkLoad:
    request = workload.load.request
    assert isinstance(request, WrkLoad)
    return request


@pytest.mark.parametrize("workload", ANSWERING.values(), ids=ANSWERING.keys())
def test_the_app_answers_with_as_much_as_is_expected(
    monkeypatch: pytest.MonkeyPatch, workload: Workload
) -> None:
    asked = asked_of(workload)
    with materials() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        client = WerkzeugClient(load(workload.app))
        with client.open(asked.path, method=asked.method, data=b"x" * asked.body_size) as response:
            assert response.status_code == 200
            size = len(response.data)
    assert size == (workload.answer_size or size)
    assert size > 0


OWN: dict[str, Callable[..., object]] = {"bare-asgi": bare_asgi.app, "quart": quart_app.app}


@pytest.mark.parametrize(
    ("rival", "name"),
    [(rival, name) for rival in OWN for name in ANSWERING if rival in ANSWERING[name].rivals()],
)
async def test_an_app_of_its_own_answers_the_same(rival: str, name: str) -> None:
    asked = asked_of(WORKLOADS[name])
    body = b"x" * asked.body_size
    theirs = WerkzeugClient(load(WORKLOADS[name].app))
    # An async view of Flask needs a thread without an event loop.
    expected = await asyncio.to_thread(theirs.open, asked.path, method=asked.method, data=body)
    with expected:
        async with Client(OWN[rival], interface="asgi") as client:
            answer = await client.request(asked.method, asked.path, content=body)
        assert answer.status_code == expected.status_code
        assert answer.content == expected.data


STREAMING: dict[str, tuple[Callable[..., object], Literal["wsgi", "asgi"]]] = {
    "flask": (load("flask"), "wsgi"),
    "async_flask": (load("async_flask"), "wsgi"),
    **{name: (app, "asgi") for name, app in OWN.items()},
}


@pytest.mark.parametrize("name", STREAMING)
async def test_a_stream_has_one_event_after_the_other(name: str) -> None:
    app, interface = STREAMING[name]
    due = []
    async with (
        Client(app, interface=interface) as client,
        client.stream("GET", "/events?interval=0.0625") as response,
    ):
        lines: Any = response.aiter_lines()  # a generator, for whoever closes it
        assert response.headers["Content-Type"].startswith("text/event-stream")
        async for line in lines:
            if line:
                assert line.startswith("data: ")
                due.append(float(line.removeprefix("data: ")))
            if len(due) == 4:
                await lines.aclose()
    assert [later - earlier for earlier, later in pairwise(due)] == pytest.approx([0.0625] * 3)


@pytest.mark.parametrize("forms", [on_bridge, on_asgiref], ids=lambda forms: str(forms.__name__))
def test_an_adapter_has_every_app_by_its_name(forms: object) -> None:
    for name in APPS:
        assert callable(getattr(forms, name))
    assert not hasattr(forms, "nosuch")


# Materials


def test_materials_are_there_for_the_run_and_gone_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with materials() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        file = material("file.bin")
        assert file.stat().st_size == 10 << 20
        assert sorted(os.listdir(file.parent)) == ["file.bin", "items.sqlite"]
    assert not file.parent.exists()


def test_without_a_run_there_are_no_materials(monkeypatch: pytest.MonkeyPatch) -> None:
    with materials() as environment:
        pass
    for name in environment:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LookupError, match="python -m benchmarks"):
        material("file.bin")


# What wrk counts


def test_everything_that_is_no_right_answer_is_a_failure() -> None:
    counts = WrkCounts(100, 1.0, 1.0, 2.0, 3.0, bad_statuses=1, socket_errors=20, timeouts=300)
    assert counts.failures == 321

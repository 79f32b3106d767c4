"""Steps: their times, their places, and who hears of them."""

import contextvars
import logging
import threading
from collections.abc import Iterator

import pytest

from bridge.trace import StepRecord, Trace, current_step


def clock(*seconds: float) -> Iterator[float]:
    yield 100.0
    for each in seconds:
        yield 100.0 + each


def test_times_are_microseconds_since_the_beginning() -> None:
    ticks = clock(0.000_1, 0.000_25, 0.001)
    trace = Trace(clock=lambda: next(ticks))
    with trace.step("view", "outer"):
        trace.mark("Flask", "inner")
    outer, inner = trace.as_json()
    assert (outer["began"], outer["ended"]) == (100, 1000)
    assert (inner["began"], inner["ended"]) == (250, 250)
    assert (inner["parent"], inner["depth"]) == (outer["id"], 1)


def test_the_listener_hears_of_a_step_as_it_begins_changes_and_ends() -> None:
    heard: list[StepRecord] = []
    trace = Trace(listener=heard.append)
    step = trace.begin("view", "index", facts_are="free")
    step.change("index()", number=1)
    step.end(result=b"x")
    step.end("not twice")
    assert [(each["id"], each["ended"] is None, each["detail"]) for each in heard] == [
        (0, True, ""),
        (0, True, "index()"),
        (0, False, "index()"),
    ]
    assert heard[-1]["facts"] == {"facts_are": "free", "number": 1, "result": "x"}
    assert heard[-1] == trace.as_json()[0]


def test_a_listener_that_fails_is_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def listener(record: StepRecord) -> None:
        calls.append(record)
        raise RuntimeError("broken")

    trace = Trace(listener=listener)
    with caplog.at_level(logging.ERROR):
        trace.mark("ASGI", "one")
        trace.mark("ASGI", "two")
    assert len(calls) == 1
    assert "the listener of a trace failed" in caplog.text
    assert len(trace.as_json()) == 2


def test_an_exception_is_told_and_goes_on() -> None:
    trace = Trace()
    with pytest.raises(KeyError), trace.step("view", "index", "index()"):
        raise KeyError("id")
    assert current_step() is None
    (step,) = trace.as_json()
    assert step["failed"]
    assert step["facts"] == {"error": "KeyError: 'id'"}
    assert step["detail"] == "index() raised KeyError: 'id'"


def test_the_place_goes_with_the_context_to_other_threads_and_nowhere_else() -> None:
    trace = Trace()

    def work() -> None:
        if current_step() is not None:
            trace.mark("Flask", "work")

    with trace.step("view", "index"):
        for target in (contextvars.copy_context().run, lambda function: function()):
            thread = threading.Thread(target=target, args=(work,), name="another")
            thread.start()
            thread.join()
    _, work_step = trace.as_json()
    assert (work_step["thread"], work_step["parent"]) == ("another", 0)


def test_there_is_an_end_to_what_is_kept() -> None:
    trace = Trace()
    for _ in range(5010):
        trace.begin("WSGI", "chunk").end()
    assert (len(trace.steps), trace.missed) == (5000, 10)

"""Steps: their times, and their places."""

import contextvars
import threading
import time

import pytest

from bridge.trace.recording import CURRENT_STEP, Trace


def test_times_are_microseconds_since_the_beginning() -> None:
    trace = Trace(None)
    before = trace.now()
    with trace.begin("view", "outer"):
        trace.begin("Flask", "inner").end()
        time.sleep(0.01)
    outer, inner = trace.steps
    assert 0 <= before <= outer["began"] <= inner["began"] < trace.now()
    assert outer["ended"] is not None
    assert 10_000 <= outer["ended"] - outer["began"] < 10_000_000
    assert (inner["parent"], inner["depth"]) == (outer["id"], 1)


def test_a_step_ends_once_and_earlier_records_stay_as_they_were() -> None:
    trace = Trace(None)
    step = trace.begin("view", "index", facts_are="free")
    before = trace.steps[0].copy()
    step.end("index()", result=b"x")
    step.end("not twice")
    (after,) = trace.steps
    assert (before["ended"], before["detail"], before["facts"]) == (None, "", {"facts_are": "free"})
    assert after["ended"] is not None
    assert (after["detail"], after["facts"]) == ("index()", {"facts_are": "free", "result": "x"})


def test_an_exception_is_told_and_goes_on() -> None:
    trace = Trace(None)
    with pytest.raises(KeyError), trace.begin("view", "index", "index()"):
        raise KeyError("id")
    assert CURRENT_STEP.get() is None
    (step,) = trace.steps
    assert step["failed"]
    assert step["detail"] == "index() raised KeyError: 'id'"


def test_the_place_goes_with_the_context_to_other_threads_and_nowhere_else() -> None:
    trace = Trace(None)

    def work() -> None:
        if CURRENT_STEP.get() is not None:
            trace.begin("Flask", "work").end()

    with trace.begin("view", "index"):
        for target in (contextvars.copy_context().run, contextvars.Context().run):
            thread = threading.Thread(target=target, args=(work,), name="another")
            thread.start()
            thread.join()
    _, work_step = trace.steps
    assert (work_step["thread"], work_step["parent"]) == ("another", 0)

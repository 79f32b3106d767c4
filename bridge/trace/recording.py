"""A trace: the steps of one request, in the order in which they began; and its form as JSON.

The current step is in a context variable. Adapters carry the context of a request to the thread, the greenlet
or the task that calls the app, so code there finds the step, and code elsewhere does not.
"""

import asyncio
import threading
import time
from contextvars import ContextVar
from typing import Any, Literal, Self, TypeAlias, TypedDict

from bridge.trace.facts import Json, describe_error, shown

__all__ = [
    "CURRENT_STEP",
    "LAYERS",
    "Layer",
    "Outcome",
    "ResponseRecord",
    "Step",
    "StepRecord",
    "Trace",
    "TraceRecord",
]

Layer: TypeAlias = Literal["ASGI", "runner", "environ", "WSGI", "Werkzeug", "Flask", "view", "Jinja2"]
LAYERS: tuple[Layer, ...] = ("ASGI", "runner", "environ", "WSGI", "Werkzeug", "Flask", "view", "Jinja2")
"""From the outermost to the innermost, in the order in which a request reaches them."""


class StepRecord(TypedDict):
    """A step as JSON. Times are in whole microseconds since the trace began; `ended` is None while it runs.

    `parent` is the `id` of the step within which it began, `thread` is "loop" or a thread's name.
    """

    id: int
    parent: int | None
    depth: int
    layer: Layer
    name: str
    detail: str
    began: int
    ended: int | None
    thread: str
    failed: bool
    facts: dict[str, Json]


class ResponseRecord(TypedDict):
    """A response as JSON, as far as it came; `body` is its beginning, `size` its number of bytes."""

    status: int
    headers: list[list[str]]
    size: int
    body: str
    complete: bool


Outcome: TypeAlias = Literal["answered", "left", "failed", "running"]
"""`left`: the client did not wait for the rest; `failed`: the response did not come to its end."""


class TraceRecord(TypedDict):
    """A trace as JSON. `error` is why it failed or was left, `duration` the end of the last step."""

    response: ResponseRecord | None
    outcome: Outcome
    error: str
    duration: int
    steps: list[StepRecord]


class Step:
    """One thing that happens. Made by `Trace.begin`; threads may share it.

    Within `with step:`, what begins is part of it. The end of the block ends it; an exception fails it.
    """

    def __init__(self, trace: "Trace", record: StepRecord) -> None:
        self.trace = trace
        self.record = record
        self._outer: Step | None = None

    def __enter__(self) -> Self:
        self._outer = CURRENT_STEP.get()
        CURRENT_STEP.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # Not by a token: that is good for one context only, and an adapter may have several for one call.
        CURRENT_STEP.set(self._outer)
        if isinstance(error, asyncio.CancelledError):
            self.end(f"{self.record['detail']}, cancelled")
        elif error is not None:
            self.end(f"{self.record['detail']} raised {describe_error(error)}", failed=True)
        self.end()

    def end(self, detail: str | None = None, *, failed: bool = False, **facts: object) -> None:
        """End the step, unless it has ended; change its detail, and add facts, made fit to be shown."""
        if self.record["ended"] is None:
            self.record["detail"] = detail or self.record["detail"]
            # A new dict: there may be copies of the record.
            self.record["facts"] = self.record["facts"] | _all_shown(facts)
            self.record["failed"] = failed
            self.record["ended"] = self.trace.now()


CURRENT_STEP: ContextVar[Step | None] = ContextVar("bridge.trace", default=None)
"""The step within which code runs; None where nothing is traced."""


class Trace:
    """The steps of one request to an ASGI application. Made in the thread of the event loop."""

    def __init__(self, app: object) -> None:
        self.app = app
        self.steps: list[StepRecord] = []  # in the order in which they began
        self.scope: dict[str, Any] = {}
        self.runner: Step | None = None
        """The step that says where the WSGI call runs. Once the view is known, its detail says why."""
        self.renders: list[Step] = []
        """Templates that are being rendered; the latest to begin is the first to end."""
        self.client_has_left = False
        """Whether the client did not wait for the end of the response; streams end then."""
        self._lock = threading.Lock()
        self._loop_thread = threading.get_ident()
        self._start = time.perf_counter()

    @property
    def thread(self) -> str:
        """Where this code runs, as in a step."""
        return "loop" if threading.get_ident() == self._loop_thread else threading.current_thread().name

    def now(self) -> int:
        """Microseconds since the trace began."""
        return round((time.perf_counter() - self._start) * 1e6)

    def begin(
        self, layer: Layer, name: str, detail: str = "", *, parent: Step | None = None, **facts: object
    ) -> Step:
        """Begin a step, within the current one if there is no other parent."""
        shown_facts = _all_shown(facts)  # before the step, which then does not take its time
        within = parent or CURRENT_STEP.get()
        outer = within.record if within is not None and within.trace is self else None
        record: StepRecord = {
            "id": 0,
            "parent": None if outer is None else outer["id"],
            "depth": 0 if outer is None else outer["depth"] + 1,
            "layer": layer,
            "name": name,
            "detail": detail,
            "began": self.now(),
            "ended": None,
            "thread": self.thread,
            "failed": False,
            "facts": shown_facts,
        }
        with self._lock:
            record["id"] = len(self.steps)
            self.steps.append(record)
        return Step(self, record)


def _all_shown(facts: dict[str, object]) -> dict[str, Json]:
    return {name: shown(value, name) for name, value in facts.items()}

"""A trace: the steps of one request, in the order in which they began; and its form as JSON.

The step within which code runs is in a context variable. Adapters carry the context of a request to the
thread, the greenlet or the task in which they call the app, so that it is found there, too, and nowhere else.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias, TypedDict

from bridge.trace.facts import Json, shown
from bridge.types import AsyncViews

__all__ = [
    "CURRENT_STEP",
    "LAYERS",
    "Layer",
    "Listener",
    "RequestRecord",
    "ResponseRecord",
    "Step",
    "StepRecord",
    "Trace",
    "TraceRecord",
    "current_step",
    "describe_error",
]

logger = logging.getLogger("bridge")

Layer: TypeAlias = Literal["ASGI", "environ", "runner", "WSGI", "Werkzeug", "Flask", "view", "Jinja2"]
LAYERS: tuple[Layer, ...] = ("ASGI", "environ", "runner", "WSGI", "Werkzeug", "Flask", "view", "Jinja2")
"""From the outermost to the innermost."""

# A stream without an end must not fill the memory.
_MAX_STEPS = 5000


class StepRecord(TypedDict):
    """A step as JSON. Times are in whole microseconds since the trace began."""

    id: int
    """Its place in the trace, from 0."""
    parent: int | None
    """The `id` of the step within which it began."""
    depth: int
    layer: Layer
    name: str
    """What happened, in the field's terms: "http.request", "before_request", "start_response"."""
    detail: str
    """The rest of it in one line, for people."""
    began: int
    ended: int | None
    """None while it runs, or if it never ended; equal to `began` for what only happens."""
    thread: str
    """Where it ran: "loop", or a thread's name."""
    failed: bool
    """Whether it ended by an exception; `detail` and `facts["error"]` say which."""
    facts: dict[str, Json]
    """What the layer held. See `bridge.trace` for what is in it."""


class RequestRecord(TypedDict):
    """The request that was traced."""

    method: str
    path: str
    headers: list[list[str]]
    size: int
    """Bytes of the body."""


class ResponseRecord(TypedDict):
    """What came back."""

    status: int
    headers: list[list[str]]
    size: int
    """Bytes of the body that came."""
    body: str
    """Its beginning."""
    complete: bool
    """Whether it came to its end."""


class TraceRecord(TypedDict):
    """A trace as JSON."""

    format: Literal[1]
    app: str
    adapter: str | None
    """What ran the app: "bridge", "a2wsgi", "asgiref"; None for an ASGI app."""
    request: RequestRecord
    response: ResponseRecord | None
    """None if there was none."""
    outcome: Literal["answered", "left", "failed", "running"]
    """`left`: the client did not wait for the rest; `failed`: the app or the adapter raised, or there was no
    response."""
    error: str
    """Why, if it failed or was left; else empty."""
    duration: int
    """Microseconds to the end."""
    missed: int
    """Steps that there was no room for."""
    steps: list[StepRecord]


Listener: TypeAlias = Callable[[StepRecord], object]
"""Called with a step's record when it begins, changes and ends: the later replaces the one of the same `id`.

It is called in the thread where that happens, one call at a time, so it had better be quick. One that raises
is not called again.
"""


class Step:
    """One thing that happened, or is happening. Made by `Trace.begin`; threads may share it."""

    __slots__ = (
        "began",
        "depth",
        "detail",
        "ended",
        "facts",
        "failed",
        "id",
        "layer",
        "name",
        "parent",
        "thread",
        "trace",
    )

    def __init__(
        self, trace: "Trace", parent: "Step | None", layer: Layer, name: str, detail: str, began: int
    ) -> None:
        self.trace = trace
        self.id = len(trace.steps)
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.layer = layer
        self.name = name
        self.detail = detail
        self.began = began
        self.ended: int | None = None
        self.thread = trace.thread_name()
        self.failed = False
        self.facts: dict[str, Json] = {}

    def change(self, detail: str | None = None, *, thread: str | None = None, **facts: object) -> None:
        """Say more of it. Facts are made fit to be shown."""
        self.trace._change(self, detail, thread, facts, is_end=False)

    def end(self, detail: str | None = None, **facts: object) -> None:
        """Say that it has ended, once; and more of it."""
        self.trace._change(self, detail, None, facts, is_end=True)

    def fail(self, error: BaseException, detail: str | None = None) -> None:
        """Say that it has ended by an exception, if it has not ended yet."""
        if self.ended is None:
            self.failed = True
            said = describe_error(error)
            self.end(f"{self.detail} raised {said}".strip() if detail is None else detail, error=said)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have what begins within a block be part of this step; an exception that leaves it fails it."""
        outer = CURRENT_STEP.get()
        CURRENT_STEP.set(self)
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            # Not by a token: that is good for one context only, and an adapter may have several for one call.
            CURRENT_STEP.set(outer)

    def as_json(self) -> StepRecord:
        """The step as it is now."""
        return {
            "id": self.id,
            "parent": None if self.parent is None else self.parent.id,
            "depth": self.depth,
            "layer": self.layer,
            "name": self.name,
            "detail": self.detail,
            "began": self.began,
            "ended": self.ended,
            "thread": self.thread,
            "failed": self.failed,
            "facts": dict(self.facts),
        }


CURRENT_STEP: ContextVar[Step | None] = ContextVar("bridge.trace", default=None)
"""Set within a call that is traced, in all that has its context."""


def current_step() -> Step | None:
    """The step within which this code runs, or None where nothing is traced."""
    return CURRENT_STEP.get()


class Trace:
    """The steps of one request. Made in the thread of the event loop.

    Args:
        clock: seconds, from any beginning.
        listener: see `Listener`.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.perf_counter, listener: Listener | None = None
    ) -> None:
        self.steps: list[Step] = []
        self.missed = 0
        self.scope: Mapping[str, Any] = {}
        """The ASGI scope with which the application was called."""
        self.adapter: str | None = None
        """The package that runs a WSGI app; None for an ASGI app."""
        self.async_views: AsyncViews = "auto"
        """Where Bridge's adapter has been told to run async views of a Flask app."""
        self.runner: Step | None = None
        """The step that says where the WSGI call runs; who knows more of why may add it."""
        self.client_has_left = False
        """Whether nobody wants more of the response, and streams are to end."""
        self._clock = clock
        self._listener = listener
        self._loop_thread = threading.get_ident()
        self._lock = threading.RLock()
        self._start = clock()

    def now(self) -> int:
        """Microseconds since the trace began."""
        return round((self._clock() - self._start) * 1e6)

    def thread_name(self) -> str:
        """Where this code runs, as a step would say it."""
        return "loop" if threading.get_ident() == self._loop_thread else threading.current_thread().name

    def begin(
        self, layer: Layer, name: str, detail: str = "", *, parent: Step | None = None, **facts: object
    ) -> Step:
        """Begin a step.

        Args:
            layer: whose it is.
            name: what happens.
            detail: the rest of it.
            parent: within which step; that within which this code runs, if none is given.
            facts: what the layer holds.
        """
        return self._add(layer, name, detail, parent, facts, is_moment=False)

    def mark(
        self, layer: Layer, name: str, detail: str = "", *, parent: Step | None = None, **facts: object
    ) -> Step:
        """Record what only happens: a step that ends as it begins. Arguments as for `begin`."""
        return self._add(layer, name, detail, parent, facts, is_moment=True)

    @contextmanager
    def step(
        self, layer: Layer, name: str, detail: str = "", *, parent: Step | None = None, **facts: object
    ) -> Iterator[Step]:
        """Record a block, within which further steps are its own. Arguments as for `begin`."""
        step = self.begin(layer, name, detail, parent=parent, **facts)
        with step.entered():
            yield step
        step.end()

    def as_json(self) -> list[StepRecord]:
        """All steps as they are now, in the order in which they began."""
        with self._lock:
            return [step.as_json() for step in self.steps]

    def _add(
        self,
        layer: Layer,
        name: str,
        detail: str,
        parent: Step | None,
        facts: dict[str, object],
        *,
        is_moment: bool,
    ) -> Step:
        began = self.now()
        if parent is None:
            current = current_step()
            parent = current if current is not None and current.trace is self else None
        safe = {key: shown(value, key) for key, value in facts.items()}
        with self._lock:
            step = Step(self, parent, layer, name, detail, began)
            step.facts = safe
            step.ended = began if is_moment else None
            if step.id < _MAX_STEPS:
                self.steps.append(step)
                self._tell(step)
            else:
                self.missed += 1
        return step

    def _change(
        self, step: Step, detail: str | None, thread: str | None, facts: dict[str, object], *, is_end: bool
    ) -> None:
        now = self.now()
        safe = {key: shown(value, key) for key, value in facts.items()}
        with self._lock:
            if is_end and step.ended is not None:
                return
            if is_end:
                step.ended = now
            if detail is not None:
                step.detail = detail
            if thread is not None:
                step.thread = thread
            step.facts.update(safe)
            if step.id < _MAX_STEPS:
                self._tell(step)

    def _tell(self, step: Step) -> None:
        if self._listener is None:
            return
        try:
            self._listener(step.as_json())
        except Exception:
            self._listener = None
            logger.exception("the listener of a trace failed, and is not called any more")


def describe_error(error: BaseException) -> str:
    """An exception in one line, without secrets."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {shown(lines[0])}" if lines else type(error).__name__

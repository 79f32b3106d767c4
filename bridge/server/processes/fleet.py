"""Decide what a supervisor does about its workers. Pure: no process, no signal, no clock.

`_TRANSITIONS` has what each event makes of a worker.

A fleet lacks a worker where one has left or is gone, and one more while another is spent or is older than the
last HUP. It has one too many as soon as the new one serves.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Backoff", "Event", "Fleet", "Loss", "Member", "State"]


# Seconds of service after which an earlier death means nothing.
_SETTLED = 60.0

_FIRST = 1.0
_LONGEST = 30.0

# For a worker that has served: it can, and a request that kills workers must not leave nobody there for long.
_LONGEST_AFTER_SERVICE = 2.0


class Backoff:
    """Delays the replacement of dead workers: not at first, then longer and longer.

    It counts the death of a worker that was started since the last one. Several that die together, for want
    of memory, for instance, are no reason to leave nobody to serve.
    """

    def __init__(self) -> None:
        self._wait = 0.0
        self._until = 0.0

    def is_over(self, now: float) -> bool:
        """Whether a worker may start."""
        return now >= self._until

    def after(self, started_at: float, died_at: float, *, has_served: bool = False) -> float:
        """Return how many seconds to wait after the death of a worker; both times are those of one clock."""
        if started_at < self._until:
            return max(self._until - died_at, 0.0)
        if died_at - started_at >= _SETTLED:
            self._wait = 0.0
        wait = min(self._wait, _LONGEST_AFTER_SERVICE) if has_served else self._wait
        self._wait = min(max(2 * self._wait, _FIRST), _LONGEST)
        self._until = died_at + wait
        return wait


class State(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    SPENT = "spent"
    STOPPING = "stopping"
    GONE = "gone"


class Event(Enum):
    """An event in a worker's life; the values of the first three are states that it reports."""

    READY = "serving"
    SERVED_ENOUGH = "spent"
    LEAVES = "stopping"  # somebody else has told it to stop
    RETIRED = "retired"  # another has replaced it, or the server stops
    SILENT = "silent"  # it has not answered in time
    EXITED = "exited"
    OVERDUE = "overdue"  # it has not stopped in time


_ENDS = {
    Event.LEAVES: State.STOPPING,
    Event.RETIRED: State.STOPPING,
    Event.SILENT: State.GONE,
    Event.EXITED: State.GONE,
}
_TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STARTING: {Event.READY: State.SERVING, Event.SERVED_ENOUGH: State.SPENT, **_ENDS},
    State.SERVING: {Event.SERVED_ENOUGH: State.SPENT, **_ENDS},
    State.SPENT: _ENDS,
    State.STOPPING: {Event.EXITED: State.GONE, Event.OVERDUE: State.GONE},
    State.GONE: {},
}


@dataclass(eq=False)
class Member:
    """The state of a worker, for its fleet."""

    started_at: float
    generation: int = 0
    """How many HUPs there were before it was started: it may have loaded the app before the next one."""

    state: State = State.STARTING


_Worker = TypeVar("_Worker", bound=Member)


class Loss(NamedTuple):
    """The consequence of the death of a worker that nobody has told to stop."""

    consequence: str
    """In words, for the log."""

    wait: float = 0.0
    """Seconds before another may start."""

    is_new: bool = False
    """Whether the worker was there to replace another."""

    is_final: bool = False
    """Whether no worker can start, so that the server stops."""


@dataclass(eq=False)
class Fleet(Generic[_Worker]):
    """The workers of one supervisor.

    Args:
        wanted: the number of workers that should serve.
    """

    wanted: int
    workers: list[_Worker] = field(default_factory=list)
    """The workers that are not gone, the oldest first."""

    generation: int = 0
    is_restarting: bool = False
    """Whether a HUP is being obeyed."""

    has_served: bool = False
    """Whether any worker has ever served."""

    backoff: Backoff = field(default_factory=Backoff)

    @property
    def active(self) -> list[_Worker]:
        """The workers that nobody has told to stop."""
        return [worker for worker in self.workers if worker.state is not State.STOPPING]

    @property
    def is_ready(self) -> bool:
        """Whether as many as are wanted serve."""
        active = self.active
        return len(active) >= self.wanted and all(each.state is not State.STARTING for each in active)

    def apply(self, worker: _Worker, event: Event) -> bool:
        """Move a worker to its next state; return False if the event changes nothing."""
        state = _TRANSITIONS[worker.state].get(event)
        if state is None:
            return False
        worker.state = state
        self.has_served |= state in (State.SERVING, State.SPENT)
        if state is State.GONE:
            self.workers.remove(worker)
        return True

    def lose(self, worker: _Worker, was: State, now: float, *, could_not_start: bool) -> Loss:
        """Decide what follows from a worker's death.

        Args:
            worker: the worker, which is gone.
            was: its state before.
            now: the time, in seconds.
            could_not_start: whether it has found something wrong with the app, a certificate or a setting.
        """
        is_new = was is State.STARTING and len(self.active) >= self.wanted
        if could_not_start and not self.has_served and not is_new:
            return Loss("stopping", is_final=True)  # it would be the same with every other
        wait = self.backoff.after(worker.started_at, now, has_served=was is not State.STARTING)
        if not is_new:
            return Loss("starting another", wait)
        if worker.generation < self.generation:  # what it has failed of may be mended
            return Loss("starting another for the last HUP", wait, is_new=True)
        for other in self.active:
            other.generation = self.generation
        self.is_restarting = False
        return Loss("the old workers go on", wait, is_new=True)

    def restart(self) -> None:
        """Have all workers replaced by ones that load the app from now on."""
        self.generation += 1
        self.is_restarting = True

    def has_restarted(self) -> bool:
        """Return True once all workers are replaced after `restart`."""
        if self.is_restarting and self.is_ready and not any(map(self.is_old, self.active)):
            self.is_restarting = False
            return True
        return False

    def lacks_worker(self, now: float) -> bool:
        """Whether to start a worker now, because one is missing or needs a replacement."""
        active = self.active
        most = self.wanted + any(map(self.is_old, active))
        return len(active) < most and self.backoff.is_over(now)

    def superfluous(self) -> _Worker | None:
        """Return a worker to retire now: one that another has replaced, or that is not wanted any more."""
        active = self.active
        surplus = len(active) - self.wanted
        if surplus <= 0:
            return None
        old = [worker for worker in active if self.is_old(worker)]
        if not old:
            return active[-1]
        is_replaced = all(each in old or each.state is not State.STARTING for each in active)
        return old[0] if is_replaced or surplus > 1 else None

    def is_old(self, worker: _Worker) -> bool:
        """Whether a worker needs a replacement."""
        return worker.state is State.SPENT or worker.generation < self.generation

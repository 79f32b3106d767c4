"""`processes.fleet`: what each event makes of a worker, and what a fleet lacks or has too many of."""

import pytest

from bridge.server.processes.fleet import Backoff, Event, Fleet, Member, State

# Each event with what it makes of a worker that is starting, serving, spent, stopping, gone; "" for nothing.
TABLE = {
    Event.READY: ("serving", "", "", "", ""),
    Event.SERVED_ENOUGH: ("spent", "spent", "", "", ""),
    Event.LEAVES: ("stopping", "stopping", "stopping", "", ""),
    Event.RETIRED: ("stopping", "stopping", "stopping", "", ""),
    Event.SILENT: ("gone", "gone", "gone", "", ""),
    Event.EXITED: ("gone", "gone", "gone", "gone", ""),
    Event.OVERDUE: ("", "", "", "gone", ""),
}


class Times:
    """A fleet in a test's hands, and the time."""

    def __init__(self, wanted: int = 1) -> None:
        self.fleet: Fleet[Member] = Fleet(wanted)
        self.now = 100.0
        self.adjust()
        for worker in self.fleet.workers:
            self.fleet.apply(worker, Event.READY)

    def adjust(self) -> tuple[list[Member], list[Member]]:
        """Do what a supervisor does twice a second; return who was started, and who retired."""
        started, retired = [], []
        while self.fleet.lacks_worker(self.now):
            started.append(Member(self.now, self.fleet.generation))
            self.fleet.workers.append(started[-1])
        while (worker := self.fleet.superfluous()) is not None:
            self.fleet.apply(worker, Event.RETIRED)
            retired.append(worker)
        return started, retired

    def start_one(self) -> Member:
        (started,), retired = self.adjust()
        assert retired == []
        return started

    def die(self, worker: Member, *, could_not_start: bool = False) -> str:
        """Have a worker die after a second; return what follows, and after how many seconds."""
        self.now += 1
        was = worker.state
        assert self.fleet.apply(worker, Event.EXITED)
        loss = self.fleet.lose(worker, was, self.now, could_not_start=could_not_start)
        self.now += loss.wait
        return f"{loss.consequence} in {loss.wait:g}"


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_events(state: State, event: Event) -> None:
    fleet: Fleet[Member] = Fleet(1)
    worker = Member(0)
    worker.state = state
    fleet.workers.append(worker)
    expected = TABLE[event][list(State).index(state)]
    assert fleet.apply(worker, event) == bool(expected)
    assert worker.state.value == (expected or state.value)
    assert (worker in fleet.workers) == (expected != "gone")


def test_a_spent_worker_is_replaced_when_another_serves() -> None:
    times = Times()
    (spent,) = times.fleet.workers
    times.fleet.apply(spent, Event.SERVED_ENOUGH)
    new = times.start_one()
    assert times.adjust() == ([], [])
    times.fleet.apply(new, Event.READY)
    assert times.adjust() == ([], [spent])
    assert times.fleet.workers == [spent, new]  # until it has ended


def test_a_restart_replaces_one_after_the_other() -> None:
    times = Times(2)
    old = list(times.fleet.workers)
    times.fleet.restart()
    for number in range(2):
        new = times.start_one()
        assert not times.fleet.has_restarted()
        times.fleet.apply(new, Event.READY)
        assert times.fleet.superfluous() is old[number]
        times.fleet.apply(old[number], Event.RETIRED)
    assert [times.fleet.has_restarted(), times.fleet.has_restarted()] == [True, False]


def test_a_restart_that_fails_keeps_the_old_ones() -> None:
    times = Times(2)
    times.fleet.restart()
    assert times.die(times.start_one(), could_not_start=True) == "the old workers go on in 0"
    assert not times.fleet.is_restarting
    assert times.adjust() == ([], [])


def test_a_restart_during_a_restart() -> None:
    """The worker that starts may have loaded the app before the second."""
    times = Times()
    (old,) = times.fleet.workers
    times.fleet.restart()
    first = times.start_one()
    times.fleet.restart()
    assert times.die(first) == "starting another for the last HUP in 0"
    second = times.start_one()
    times.fleet.restart()
    times.fleet.apply(second, Event.READY)
    third, retired = times.adjust()
    assert (len(third), retired) == (0, [old])
    assert times.start_one().generation == 3


def test_a_worker_dies_while_its_replacement_starts() -> None:
    times = Times()
    (old,) = times.fleet.workers
    times.fleet.restart()
    new = times.start_one()
    assert times.die(old) == "starting another in 0"
    assert times.adjust() == ([], [])
    times.fleet.apply(new, Event.READY)
    assert times.fleet.has_restarted()


def test_a_worker_that_leaves_is_missing() -> None:
    times = Times()
    (leaving,) = times.fleet.workers
    times.fleet.apply(leaving, Event.LEAVES)
    times.start_one()
    assert times.fleet.apply(leaving, Event.EXITED)


def test_the_number_of_workers() -> None:
    times = Times(2)
    times.fleet.wanted = 3
    third = times.start_one()
    times.fleet.wanted = 2
    assert times.adjust() == ([], [third])
    times.fleet.restart()
    new = times.start_one()
    times.fleet.wanted = 1
    assert times.adjust()[1] == [times.fleet.workers[0]]
    assert new in times.fleet.active


def test_an_app_that_cannot_be_served() -> None:
    fleet: Fleet[Member] = Fleet(1)
    times = Times()
    times.fleet = fleet
    assert times.die(times.start_one(), could_not_start=True) == "stopping in 0"
    times = Times(2)  # one that has served proves that it can be
    assert times.die(times.fleet.workers[0]) == "starting another in 0"
    assert times.die(times.start_one(), could_not_start=True) == "starting another in 1"


@pytest.mark.parametrize(
    ("lifetimes", "waits"),
    [
        ([1000.0], [0]),
        ([1000.0, 1000.0, 1000.0], [0, 0, 0]),
        ([0.1, 0.1, 0.1], [0, 1, 2]),
        ([0.1] * 8, [0, 1, 2, 4, 8, 16, 30, 30]),
        ([0.1, 0.1, 0.1, 60.0, 0.1], [0, 1, 2, 0, 1]),
        ([59.0, 59.0], [0, 1]),
    ],
)
def test_backoff(lifetimes: list[float], waits: list[float]) -> None:
    backoff = Backoff()
    now = 100.0
    for lifetime, wait in zip(lifetimes, waits, strict=True):
        died_at = now + lifetime
        assert backoff.after(now, died_at) == wait
        assert backoff.is_over(died_at) == (not wait)
        now = died_at + wait
        assert backoff.is_over(now)


def test_workers_that_die_together_die_once() -> None:
    backoff = Backoff()
    assert [backoff.after(100, 101) for _ in range(6)] == [0] * 6
    assert [backoff.after(101, 102), backoff.after(101, 102.25)] == [1, 0.75]
    assert backoff.after(100, 102.5) == 0.5  # one of the first lot
    assert backoff.after(103, 104) == 2


def test_workers_that_have_served_are_started_again_soon() -> None:
    backoff = Backoff()
    deaths = [(10 * number, 10 * number + 5) for number in range(6)]
    assert [backoff.after(*each, has_served=True) for each in deaths] == [0, 1, 2, 2, 2, 2]
    assert backoff.after(70, 75) == 30

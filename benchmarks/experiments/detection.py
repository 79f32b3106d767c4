"""What it costs plain views that their app has async ones: where to run is decided for each request."""

from statistics import median

from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.loads import Requests
from benchmarks.materials import materials
from benchmarks.results import Round, ratios
from benchmarks.rounds import Contender, measure_rounds
from benchmarks.wrk import WrkLoad

__all__ = ["detection"]

_LIMIT = 1.05
_ROUNDS = 7
_SECONDS = 3

_CONTENDERS = {
    "without": Contender("bridge", "flask", Requests(WrkLoad("/", 64))),
    "with": Contender("bridge", "async_flask", Requests(WrkLoad("/plain", 64))),
}


def detection(scale: Scale) -> Experiment:
    """Measure the same plain view in an app without async views and in one with them."""
    rounds: list[Round] = []
    with materials() as environment:
        rounds += measure_rounds(
            _CONTENDERS, rounds=_ROUNDS, seconds=_SECONDS, materials=environment, report=lambda *_: None
        )
    found = ratios(rounds, "cpu_us_per_request", "without", "with")
    finding = Finding(
        "plain views beside async ones: at most 5 % more CPU time",
        f"{median(found) - 1:+.1%} ({min(found) - 1:+.1%} to {max(found) - 1:+.1%})",
        median(found) <= _LIMIT,
    )
    return Experiment([finding], figures={"ratios": found})

"""Measure a workload: every rival once a round, one round after the other."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.servers import Server, ServerError
from benchmarks.workloads import Metric, Workload
from benchmarks.wrk import WrkCounts, WrkError, run_wrk

__all__ = ["Round", "Sample", "failures_of", "measure_rounds", "ratios", "values_of"]

_WARM_UP = 1


@dataclass(frozen=True)
class Sample:
    """One rival in one round.

    `growth` is the peak of the resident memory under load less what was resident before it. `failure` says
    what was wrong, if anything was; such a sample is not compared with others.
    """

    rate: float = 0.0
    requests: int = 0
    seconds: float = 0.0
    cpu_us_per_request: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    rss_before: int = 0
    peak_rss: int = 0
    growth: int = 0
    bad_statuses: int = 0
    socket_errors: int = 0
    timeouts: int = 0
    failure: str | None = None


Round = dict[str, Sample]


def measure_rounds(
    workload: Workload, *, rounds: int, seconds: int, report: Callable[[str], object]
) -> list[Round]:
    """Measure each rival of the workload in each round, on a server started for it.

    Args:
        workload: what to do.
        rounds: how many times.
        seconds: how long each measurement takes, after a warm-up that is not counted.
        report: told of each sample as it comes.
    """
    measured = []
    for number in range(1, rounds + 1):
        samples: Round = {}
        for rival in workload.rivals:
            samples[rival] = sample = _measure(rival, workload, seconds)
            report(f"  round {number}: {rival}: {sample.failure or f'{sample.rate:,.0f}/s'}")
        measured.append(samples)
    return measured


def values_of(rounds: list[Round], rival: str, figure: Callable[[Sample], float]) -> list[float]:
    """A figure of one rival in every round."""
    return [figure(samples[rival]) for samples in rounds]


def failures_of(rounds: list[Round], rival: str) -> list[str]:
    """What was wrong with a rival, for the rounds in which something was."""
    return [failure for samples in rounds if (failure := samples[rival].failure) is not None]


def ratios(rounds: list[Round], metric: Metric, rival: str, base: str = "bridge") -> list[float]:
    """What `base` reached divided by what the rival reached, round by round."""
    found = []
    for samples in rounds:
        ours, theirs = (float(getattr(samples[name], metric)) for name in (base, rival))
        # Memory may not have grown at all: one byte stands for nothing.
        found.append(ours / max(theirs, 1.0))
    return found


def _measure(rival: str, workload: Workload, seconds: int) -> Sample:
    try:
        with Server(rival) as server:
            return _measure_server(server, workload, seconds)
    except (ServerError, WrkError, OSError) as error:
        return Sample(failure=str(error) or repr(error))


def _measure_server(server: Server, workload: Workload, seconds: int) -> Sample:
    load = workload.load
    url = server.url(load.path)
    tree = server.tree
    before = tree.rss()
    tree.reset_peak_rss()
    _check_answer(server, workload)
    run_wrk(url, load, _WARM_UP)
    cpu_before = tree.cpu_seconds()
    counts = run_wrk(url, load, seconds)
    cpu = tree.cpu_seconds() - cpu_before
    peak = tree.peak_rss()
    return Sample(
        rate=counts.requests / counts.seconds,
        requests=counts.requests,
        seconds=counts.seconds,
        cpu_us_per_request=cpu / max(1, counts.requests) * 1e6,
        p50_ms=counts.p50_ms,
        p99_ms=counts.p99_ms,
        rss_before=before,
        peak_rss=peak,
        growth=peak - before,
        bad_statuses=counts.bad_statuses,
        socket_errors=counts.socket_errors,
        timeouts=counts.timeouts,
        failure=_failure(counts),
    )


def _check_answer(server: Server, workload: Workload) -> None:
    """Make one request as wrk will, and look at the size of the answer, which wrk does not."""
    load = workload.load
    answer = server.request(load.method, load.path, b"x" * load.body_size if load.body_size else None)
    if workload.answer_size is not None and len(answer) != workload.answer_size:
        raise ServerError(f"answered {load.path} with {len(answer)} bytes in place of {workload.answer_size}")


def _failure(counts: WrkCounts) -> str | None:
    if counts.requests == 0:
        return "answered no request"
    if counts.failures == 0:
        return None
    return (
        f"of {counts.requests} requests, {counts.bad_statuses} bad statuses, "
        f"{counts.socket_errors} socket errors, {counts.timeouts} timeouts"
    )

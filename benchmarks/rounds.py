"""Measure contenders: each once a round, one round after the other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.crowd import CrowdError
from benchmarks.in_process import InProcessError, call_in_process
from benchmarks.layers import STEPS, contender
from benchmarks.loads import Counts, Load, Requests
from benchmarks.results import Round, Sample
from benchmarks.rivals import IN_PROCESS
from benchmarks.servers import Server, ServerError, environment
from benchmarks.workloads import Workload
from benchmarks.wrk import WrkError, WrkLoad

__all__ = ["Contender", "contenders_of_layers", "contenders_of_workload", "measure_rounds"]


@dataclass(frozen=True)
class Contender:
    """A rival that serves an app under a load; `answer_size` is checked before, unless it is None."""

    rival: str
    app: str
    load: Load
    answer_size: int | None = None


def contenders_of_workload(workload: Workload, rivals: list[str]) -> dict[str, Contender]:
    """Those of the rivals that take part, by their names."""
    return {
        rival: Contender(rival, workload.app, workload.load, workload.answer_size)
        for rival in workload.rivals()
        if rival in rivals
    }


def contenders_of_layers() -> dict[str, Contender]:
    """Every step of the layers, served and in process, under the names that `layers.contender` gives."""
    load = Requests(WrkLoad("/page", connections=64))
    contenders = {}
    for step in STEPS:
        if step.name == "asgi":
            contenders[contender("served", step.name)] = Contender("bare-asgi", "bare", load)
        else:
            contenders[contender("served", step.name)] = Contender("bridge", step.name, load)
            contenders[contender("in process", step.name)] = Contender(IN_PROCESS, step.name, load)
    return contenders


def measure_rounds(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    seconds: int,
    materials: Mapping[str, str],
    report: Callable[[str, Sample], object],
) -> Iterator[Round]:
    """Measure each contender in each round, on a server started for it; yield each round when it is done.

    Args:
        contenders: by name, in the order of measuring.
        rounds: how many.
        seconds: how long each measurement takes, after a warm-up that is not counted.
        materials: what the apps need in their environment.
        report: told of each sample as it comes.
    """
    for _ in range(rounds):
        samples: Round = {}
        for name, measured in contenders.items():
            samples[name] = _measure(measured, seconds, materials)
            report(name, samples[name])
        yield samples


def _measure(measured: Contender, seconds: int, materials: Mapping[str, str]) -> Sample:
    try:
        if measured.rival == IN_PROCESS:
            return _measure_in_process(measured, seconds, materials)
        with Server(measured.rival, measured.app, materials) as server:
            return _measure_server(server, measured, seconds)
    except (CrowdError, InProcessError, ServerError, WrkError, OSError) as error:
        return Sample(failed=1.0, failure=str(error) or repr(error))


def _measure_server(server: Server, measured: Contender, seconds: int) -> Sample:
    _check_answer(server, measured)
    tree = server.tree
    before = tree.rss()
    tree.reset_peak_rss()
    with measured.load.prepared(server) as run:
        cpu_before = tree.cpu_seconds()
        counts = run(seconds)
        cpu = tree.cpu_seconds() - cpu_before
        peak = tree.peak_rss()
    return _sample(counts, cpu, before, peak)


def _sample(counts: Counts, cpu: float, before: int, peak: int) -> Sample:
    return Sample(
        rate=counts.counted / counts.seconds,
        requests=counts.counted,
        seconds=counts.seconds,
        cpu_us_per_request=cpu / max(1, counts.counted) * 1e6,
        p50_ms=counts.p50_ms,
        p99_ms=counts.p99_ms,
        p999_ms=counts.p999_ms,
        rss_before=before,
        peak_rss=peak,
        failed=counts.failed,
        events_on_time=counts.events_on_time,
        failure=counts.failure,
    )


def _measure_in_process(measured: Contender, seconds: int, materials: Mapping[str, str]) -> Sample:
    request = measured.load.request
    if not isinstance(request, WrkLoad):
        raise InProcessError(f"cannot be called as {request} asks for")
    calls = call_in_process(
        measured.app, request.method, request.path, request.body_size, seconds, environment(materials)
    )
    _expect_size(calls.answer_size, measured, request.path)
    return Sample(
        rate=calls.requests / calls.seconds,
        requests=calls.requests,
        seconds=calls.seconds,
        cpu_us_per_request=calls.cpu_seconds / calls.requests * 1e6,
        p50_ms=calls.p50_ms,
        p99_ms=calls.p99_ms,
        p999_ms=calls.p999_ms,
        rss_before=calls.rss_before,
        peak_rss=calls.peak_rss,
    )


def _check_answer(server: Server, measured: Contender) -> None:
    """Make one request as wrk will, and look at the answer, which wrk does not."""
    request = measured.load.request
    if isinstance(request, WrkLoad):
        body = b"x" * request.body_size if request.body_size else None
        _expect_size(len(server.request(request.method, request.path, body)), measured, request.path)


def _expect_size(size: int, measured: Contender, path: str) -> None:
    if measured.answer_size is not None and size != measured.answer_size:
        raise ServerError(f"answered {path} with {size} bytes in place of {measured.answer_size}")

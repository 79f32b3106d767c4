"""A WSGI app called in process, with no server at all: how fast could anybody be?

`python -m benchmarks.in_process APP METHOD PATH BODY_SIZE SECONDS` calls it again and again in one thread,
and prints `Calls` as JSON.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import psutil
from werkzeug.test import EnvironBuilder

from benchmarks.apps import load
from bridge.types import WSGIApplication, WSGIEnvironment

__all__ = ["Calls", "InProcessError", "call_in_process"]

_WARM_UP = 0.5


class InProcessError(Exception):
    """The app failed, or did not answer 200."""


@dataclass(frozen=True)
class Calls:
    """What came of it; seconds of the clock and of the processor, latencies in milliseconds, bytes."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    rss_before: int
    peak_rss: int
    answer_size: int


def call_in_process(
    app: str, method: str, path: str, body_size: int, seconds: int, environment: dict[str, str]
) -> Calls:
    """Run this module in a process of its own.

    Raises:
        InProcessError: it failed.
    """
    command = [sys.executable, "-m", __name__, app, method, path, str(body_size), str(seconds)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, env=environment, check=False
    )
    if result.returncode != 0:
        raise InProcessError(f"in process: {(result.stderr or result.stdout).strip().splitlines()[-1]}")
    return Calls(**json.loads(result.stdout))


def _main(app: str, method: str, path: str, body_size: str, seconds: str) -> None:
    call = _caller(load(app), method, path, int(body_size))
    answer_size = call()
    process = psutil.Process(os.getpid())
    rss_before = process.memory_info().rss
    _time_calls(call, _WARM_UP)
    cpu_before = time.process_time()
    start = time.perf_counter()
    latencies = sorted(_time_calls(call, float(seconds)))
    calls = Calls(
        requests=len(latencies),
        seconds=time.perf_counter() - start,
        cpu_seconds=time.process_time() - cpu_before,
        p50_ms=_percentile(latencies, 0.5),
        p99_ms=_percentile(latencies, 0.99),
        p999_ms=_percentile(latencies, 0.999),
        rss_before=rss_before,
        peak_rss=max(rss_before, process.memory_info().rss),
        answer_size=answer_size,
    )
    print(json.dumps(asdict(calls)))


def _caller(app: WSGIApplication, method: str, path: str, body_size: int) -> Callable[[], int]:
    """A function that makes one request and returns the size of the answer."""
    template: WSGIEnvironment = EnvironBuilder(path, method=method).get_environ()
    if body_size:
        template["CONTENT_LENGTH"] = str(body_size)
    body = b"x" * body_size
    statuses: list[str] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        statuses.append(status)
        return _refuse_to_write

    def call() -> int:
        environ = {**template, "wsgi.input": io.BytesIO(body)}
        answer = app(environ, start_response)
        try:
            size = sum(map(len, answer))
        finally:
            _close(answer)
        if (status := statuses.pop())[:3] != "200":
            raise InProcessError(f"answered {method} {path} with {status}")
        return size

    return call


def _refuse_to_write(chunk: bytes) -> object:
    raise InProcessError("the app calls write(), which is not measured here")


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()


def _time_calls(call: Callable[[], int], seconds: float) -> list[float]:
    """Call until the time is up; how long each call took, in milliseconds."""
    latencies = []
    clock = time.perf_counter
    now = clock()
    end = now + seconds
    while now < end:
        start = now
        call()
        now = clock()
        latencies.append((now - start) * 1e3)
    return latencies


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""What an app costs on Ray Serve: through Bridge, through Ray's own way for FastAPI, and without Ray."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from statistics import median

from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.processes import ProcessTree
from benchmarks.servers import Server
from benchmarks.wrk import WrkLoad, run_wrk

__all__ = ["on_ray"]

_LIMIT = 1.10
_LOAD = WrkLoad("/", 16)
_SECONDS = 3
_OWN = "fastapi"
_APPS = (_OWN, "bridge-fastapi", "bridge-flask")
_VIEWS = ("plain", "async")
_WITHOUT = "bridge serve"


def on_ray(scale: Scale) -> Experiment:
    """Ask the same routes of the apps in turn: each round each of them, those on Ray on one local cluster."""
    rounds = 3 if scale.clients < 10_000 else 7
    cpu: dict[str, list[float]] = {}
    latency: dict[str, list[float]] = {}
    with _cluster() as (url, tree), Server("bridge-serve", "flask") as server:
        targets = {f"{app}/{view}": (f"{url}/{app}/{view}", tree) for view, app in product(_VIEWS, _APPS)}
        targets[_WITHOUT] = (server.url("/"), server.tree)
        for number in range(rounds + 1):
            for name, (address, processes) in targets.items():
                before = processes.cpu_seconds()
                counts = run_wrk(address, _LOAD, _SECONDS)
                assert not counts.failures, f"{name}: {counts}"
                if number:  # the first warms up
                    used = processes.cpu_seconds() - before
                    cpu.setdefault(name, []).append(used / counts.requests * 1e6)
                    latency.setdefault(name, []).append(counts.p50_ms)
    notes, ratios = [], {}
    for name in cpu:
        own = cpu[f"{_OWN}/{'async' if name.endswith('async') else 'plain'}"]
        ratios[name] = median(mine / theirs for mine, theirs in zip(cpu[name], own, strict=True))
        notes.append(
            f"{name:22} {median(cpu[name]):7,.0f} µs of CPU a request, p50 {median(latency[name]):6.1f} ms; "
            f"CPU {ratios[name]:.2f} × FastAPI's own way"
        )
    findings = [
        Finding(
            f"a FastAPI app on Ray, {view}: through Bridge at most 10 % more CPU time",
            f"{ratios[f'bridge-fastapi/{view}'] - 1:+.1%}",
            ratios[f"bridge-fastapi/{view}"] <= _LIMIT,
        )
        for view in _VIEWS
    ]
    return Experiment(findings, notes, figures={"cpu_us_per_request": cpu, "p50_ms": latency})


@contextlib.contextmanager
def _cluster() -> Iterator[tuple[str, ProcessTree]]:
    """A cluster on this machine with the apps of `apps/on_ray.py`: its address, and its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.apps.on_ray", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert any(line.startswith("ready") for line in process.stdout), "Ray did not start"
        try:
            yield f"http://127.0.0.1:{port}", ProcessTree(process.pid)
        finally:
            process.stdin.close()

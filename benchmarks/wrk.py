"""The load generator wrk, and what it counts."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WrkCounts", "WrkError", "WrkLoad", "run_wrk", "wrk_version"]

_TIMEOUT = 10


class WrkError(Exception):
    """wrk could not do its work: it is missing, or nobody listens where it was sent."""


@dataclass(frozen=True)
class WrkLoad:
    """What wrk is to do.

    Args:
        path: what is asked for.
        connections: how many at once, each with one request after the other.
        method: of the request.
        body_size: bytes of the request's body.
    """

    path: str
    connections: int
    method: str = "GET"
    body_size: int = 0


@dataclass(frozen=True)
class WrkCounts:
    """What came of it. A status counts as bad from 400 on, and no answer in ten seconds as a timeout."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    bad_statuses: int
    socket_errors: int
    timeouts: int

    @property
    def failures(self) -> int:
        """Requests that were not answered as they should be."""
        return self.bad_statuses + self.socket_errors + self.timeouts


def run_wrk(url: str, load: WrkLoad, seconds: int) -> WrkCounts:
    """Put the load on a server for so many seconds, from one thread.

    Raises:
        WrkError: it failed.
    """
    command = [_wrk(), "--threads", "1", "--connections", str(load.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", f"{_TIMEOUT}s"]
    command += ["--script", str(Path(__file__).with_name("wrk.lua")), url]
    command += ["--", load.method, str(load.body_size)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if result.returncode != 0:
        raise WrkError(f"wrk failed: {(result.stderr or result.stdout).strip()}")
    return WrkCounts(**json.loads(result.stdout.splitlines()[-1]))


def wrk_version() -> str:
    """The first line of what wrk says about itself.

    Raises:
        WrkError: it is not installed.
    """
    result = subprocess.run([_wrk(), "--version"], capture_output=True, text=True, timeout=10, check=False)
    return (result.stdout or result.stderr).splitlines()[0]


def _wrk() -> str:
    path = shutil.which("wrk")
    if path is None:
        raise WrkError(
            "wrk, which makes the load, is not installed: apt-get install wrk on Debian and Ubuntu, "
            "brew install wrk on macOS, or https://github.com/wg/wrk"
        )
    return path

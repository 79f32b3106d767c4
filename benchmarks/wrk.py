"""The load generator wrk, and what it counts."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "WrkCounts", "WrkError", "run_wrk", "wrk_version"]


class WrkError(Exception):
    """wrk could not do its work: it is missing, or nobody listens where it was sent."""


@dataclass(frozen=True)
class Load:
    """What wrk is to do.

    Args:
        path: what is asked for.
        connections: how many at once, each with one request after the other.
        method: of the request.
        body_size: bytes of the request's body.
        script: the Lua script beside this file; it gets the method and the body's size, and must print what
            `WrkCounts` holds.
    """

    path: str
    connections: int
    method: str = "GET"
    body_size: int = 0
    script: str = "wrk.lua"


@dataclass(frozen=True)
class WrkCounts:
    """What came of it. A status counts as bad from 400 on."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bad_statuses: int
    socket_errors: int
    timeouts: int

    @property
    def failures(self) -> int:
        """Requests that were not answered as they should be."""
        return self.bad_statuses + self.socket_errors + self.timeouts


def run_wrk(url: str, load: Load, seconds: int) -> WrkCounts:
    """Put the load on a server for so many seconds, from one thread.

    Raises:
        WrkError: it failed.
    """
    command = [_wrk(), "--threads", "1", "--connections", str(load.connections)]
    command += ["--duration", f"{seconds}s", "--script", str(Path(__file__).with_name(load.script)), url]
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
        raise WrkError("wrk is not installed; Debian and Ubuntu have it as a package of that name")
    return path

"""What was measured on, and with which versions: without it, figures say nothing."""

import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.wrk import wrk_version

__all__ = ["describe_machine"]


def describe_machine() -> dict[str, object]:
    """Machine, kernel, Python, the state of this repository, and the version of every package installed."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version}",
        "wrk": wrk_version(),
        "commit": _commit(),
        "packages": {package.name: package.version for package in distributions()},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _commit() -> str:
    """The commit measured, with `-dirty` if files have changed since; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except FileNotFoundError:
        return ""
    return result.stdout.strip()

"""What was measured on, and with which versions: without it, figures say nothing."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.wrk import wrk_version

__all__ = ["commit", "describe_machine", "machine_name"]


def machine_name() -> str:
    """Processor and number of cores, fit for the name of a file."""
    model = re.sub(r"\(.*?\)|\bCPU\b|\bProcessor\b|@.*", " ", _cpu_model())
    words = re.findall(r"[a-z0-9]+", model.lower())
    return "-".join([*words, f"{os.cpu_count()}-cores"])


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
        "commit": commit(),
        "packages": {_normalised(package.name): package.version for package in distributions()},
    }


def _normalised(name: str) -> str:
    """A package's name in the one form of the many it may be written in (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def commit() -> str:
    """The commit measured, with `-dirty` if files have changed since; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except FileNotFoundError:
        return ""
    return result.stdout.strip()

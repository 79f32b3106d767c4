"""What a process and its descendants use: CPU seconds and resident memory. Linux only."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["ProcessTree", "end_children"]


class ProcessTree:
    """A process with all its descendants at the time of asking.

    Args:
        pid: the root of the tree.

    Memory is summed over the processes, so that pages which two of them share count twice.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def members(self) -> list[psutil.Process]:
        """The processes of the tree; empty once the root has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        """User and system time so far, that of descendants which have ended included."""
        # children_*: what the ones that have ended and been waited for had used.
        return self._sum(lambda process: sum(process.cpu_times()[:4]))

    def rss(self) -> int:
        """Resident memory now, in bytes."""
        return int(self._sum(lambda process: process.memory_info().rss))

    def peak_rss(self) -> int:
        """The most resident memory since the start or `reset_peak_rss`, in bytes (VmHWM of proc(5))."""
        return int(self._sum(_high_water_mark))

    def reset_peak_rss(self) -> None:
        """Let `peak_rss` begin anew from what is resident now (proc(5), clear_refs)."""
        for process in self.members():
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def end(self, patience: float = 5.0) -> None:
        """Ask the root to end, wait, and kill what is left after `patience` seconds."""
        members = self.members()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root.terminate()
        _, alive = psutil.wait_procs(members, timeout=patience)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _sum(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
                total += figure(process)
        return total


def end_children() -> None:
    """Kill what this process has started and not ended.

    For a process that is interrupted: that may be in the moment in which a child has been started, and who
    started it does not know yet.
    """
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=5.0)


def _high_water_mark(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # a process that has ended and is not yet waited for has no memory

"""How far a run has come, live in a terminal and line by line elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.results import Sample

__all__ = ["MeasuringProgress"]

# Measurements take unequally long: the time left is estimated from the last ten minutes.
_ESTIMATED_OVER = 600.0


class MeasuringProgress:
    """A progress bar at the bottom of the terminal, below the tables that are printed meanwhile.

    Where there is no terminal, a line for each sample goes to the console's file instead.

    Args:
        console: where the tables go as well.
        total: how many samples there will be.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._workload = ""

    def __enter__(self) -> "MeasuringProgress":
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            speed_estimate_period=_ESTIMATED_OVER,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=self._total)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, workload: str) -> None:
        """The samples that come now are of this workload."""
        self._workload = workload
        self._progress.update(self._task, description=workload)

    def advance(self, contender: str, sample: Sample) -> None:
        """One more sample is there."""
        self._done += 1
        self._progress.update(self._task, advance=1, description=f"{self._workload}: {contender}")
        if not self._console.is_terminal:
            outcome = sample.failure or f"{sample.rate:,.0f}/s"
            line = f"{self._done} of {self._total}: {self._workload}: {contender}: {outcome}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

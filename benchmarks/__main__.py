"""Measure Bridge against its rivals: `python -m benchmarks`. The method is in benchmarks/README.md."""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.apps import THREADS
from benchmarks.charts import draw
from benchmarks.compare import print_comparison
from benchmarks.goals import goal_lines
from benchmarks.machine import commit, describe_machine, machine_name
from benchmarks.materials import materials
from benchmarks.processes import end_children
from benchmarks.progress import MeasuringProgress
from benchmarks.results import Results, ResultsError, Round, WorkloadResults
from benchmarks.rivals import IN_PROCESS, RIVALS
from benchmarks.rounds import Contender, contenders_of_layers, contenders_of_workload, measure_rounds
from benchmarks.tables import markdown, print_layers, print_workload
from benchmarks.workloads import QUICK_RIVALS, QUICK_WORKLOADS, WORKLOADS
from benchmarks.wrk import WrkError, wrk_version

__all__ = ["let_sigterm_interrupt", "main"]

_LAYERS = "layers"
_RESULTS = Path(__file__).parent / "results"
_PARTS = _RESULTS / "parts"
_PACKAGES = ("flask", "werkzeug", "jinja2", "sqlalchemy", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True)
class _Settings:
    """What is asked for; `whole` if it is everything, so that the results may be kept as such."""

    workloads: Sequence[str]
    rivals: Sequence[str]
    rounds: int
    seconds: int
    directory: Path
    name: str
    into: Path | None

    def contenders(self) -> dict[str, dict[str, Contender]]:
        """Who is measured under what, in the order of measuring."""
        found = {}
        for name in self.workloads:
            if name == _LAYERS:
                found[name] = contenders_of_layers()
            else:
                found[name] = contenders_of_workload(WORKLOADS[name], list(self.rivals))
        return {name: contenders for name, contenders in found.items() if contenders}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; 2 if that is not possible, else 0."""
    let_sigterm_interrupt()
    options = _parser().parse_args(arguments)
    # A table is wider than the 80 columns that are taken for what is no terminal.
    output = Console(width=None if sys.stdout.isatty() else 170)
    try:
        if options.compare:
            old, new = (Results.load(path) for path in options.compare)
            print_comparison(output, old, new)
        elif options.draw:
            results = Results.load(options.draw)
            _show(output, results)
            _draw(output, results, options.draw)
        else:
            wrk_version()  # now already: better to hear before it all that it is missing
            _measure(output, _settings(options))
    except (OSError, ResultsError, WrkError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _measure(output: Console, settings: _Settings) -> None:
    """Measure everything asked for, keep what there is after each round, show each table when it is whole."""
    contenders = settings.contenders()
    if not contenders:
        raise ResultsError(
            f"nothing to measure: of {', '.join(settings.rivals)}, nobody takes part in "
            f"{', '.join(settings.workloads)}"
        )
    results = _new_results(settings) if settings.into is None else Results.load(settings.into)
    path = settings.into or settings.directory / f"{settings.name}.json"
    total = settings.rounds * sum(map(len, contenders.values()))
    with materials() as environment, MeasuringProgress(output, total) as progress:
        for name, measured in contenders.items():
            progress.begin(name)
            rounds = _begun(results, name, settings)
            for samples in measure_rounds(
                measured,
                rounds=settings.rounds,
                seconds=settings.seconds,
                materials=environment,
                report=progress.advance,
            ):
                rounds.append(samples)
                results.save(path)
            _show_one(output, results, name)
    _draw(output, results, path)


def _begun(results: Results, name: str, settings: _Settings) -> list[Round]:
    """Where the rounds of a workload, or of the layers, are kept."""
    if name == _LAYERS:
        results.layers = []
        return results.layers
    workload = WORKLOADS[name]
    skipped = {rival: why for rival, why in workload.skipped.items() if rival in settings.rivals}
    begun = WorkloadResults(workload.title, workload.unit, skipped, commit=commit())
    results.workloads[name] = begun
    return begun.rounds


def _new_results(settings: _Settings) -> Results:
    packages = sorted({*_PACKAGES, *(rival.version for rival in RIVALS.values())})
    return Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=describe_machine(),
        settings={
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "threads": THREADS,
            "versions_of": packages,
        },
        rivals={name: RIVALS[name].title for name in settings.rivals},
        commands={
            name: RIVALS[name].command("flask", "PORT") for name in settings.rivals if name != IN_PROCESS
        },
    )


def _show(output: Console, results: Results) -> None:
    for name in [*results.workloads, *([_LAYERS] if results.layers else [])]:
        _show_one(output, results, name)


def _show_one(output: Console, results: Results, name: str) -> None:
    if name == _LAYERS:
        print_layers(output, results)
        return
    print_workload(output, results, name)
    for line in goal_lines(results, name):
        output.print(line, highlight=False, markup=False)


def _draw(output: Console, results: Results, path: Path) -> None:
    """Write the charts and the tables beside the results."""
    path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    charts = draw(results, path.parent / "charts")
    output.print(
        f"{path}, {path.with_suffix('.md').name} and {len(charts)} charts are written", soft_wrap=True
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a look: one round of a second, few of everything"
    )
    parser.add_argument(
        "--workload", nargs="+", choices=[*WORKLOADS, _LAYERS], metavar="NAME", help="only these: %(choices)s"
    )
    parser.add_argument(
        "--rival", nargs="+", choices=list(RIVALS), metavar="NAME", help="only these: %(choices)s"
    )
    parser.add_argument("--rounds", type=_number, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=_number, help="how long each time (default: 3)")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="where to write results and charts")
    parser.add_argument(
        "--into", type=Path, metavar="RESULTS", help="measure anew, with --workload, what these results have"
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"), help="compare two results")
    parser.add_argument("--draw", type=Path, metavar="RESULTS", help="show and draw kept results once more")
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _settings(options: argparse.Namespace) -> _Settings:
    quick: bool = options.quick
    whole = not (quick or options.workload or options.rival)
    date = datetime.now(UTC)
    # A part is told from others of its day by the time, and does not replace the charts of the whole.
    name = date.strftime("%Y-%m-%d" if whole else "%Y-%m-%dT%H%M%S")
    return _Settings(
        workloads=options.workload or (QUICK_WORKLOADS if quick else [*WORKLOADS, _LAYERS]),
        rivals=options.rival or (QUICK_RIVALS if quick else list(RIVALS)),
        rounds=options.rounds or (1 if quick else 5),
        seconds=options.seconds or (1 if quick else 3),
        directory=options.output or (_RESULTS if whole else _PARTS),
        name=f"{name}-{machine_name()}",
        into=options.into,
    )


def let_sigterm_interrupt() -> None:
    """Have SIGTERM do what Ctrl-C does, so that the servers are ended then too.

    By way of SIGINT, which a shell lets its background jobs ignore.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        end_children()
        sys.exit(130)

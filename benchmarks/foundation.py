"""Measure Bridge's foundation, the adapter on uvicorn: `python -m benchmarks.foundation`.

Ends with status 1 if a goal is missed. The method is in benchmarks/README.md.
"""

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.findings import Experiment, Finding, Scale
from benchmarks.flask_app import MIB
from benchmarks.long_bodies import long_bodies
from benchmarks.machine import describe_machine
from benchmarks.report import finding_line, goal_finding, table
from benchmarks.rounds import Round, measure_rounds
from benchmarks.servers import RIVALS
from benchmarks.stalled_client import stalled_client
from benchmarks.vanishing_clients import vanishing_clients
from benchmarks.workloads import GOALS, WORKLOADS, Workload

__all__ = ["main"]

EXPERIMENTS: dict[str, Callable[[Scale], Experiment]] = {
    "long-bodies": long_bodies,
    "stalled-client": stalled_client,
    "vanishing-clients": vanishing_clients,
}


@dataclass(frozen=True)
class _Settings:
    names: Sequence[str]
    rounds: int
    seconds: int
    scale: Scale


@dataclass
class _Results:
    """What has been measured so far, on what, and how."""

    settings: _Settings
    machine: dict[str, object] = field(default_factory=describe_machine)
    rivals: dict[str, tuple[str, ...]] = field(default_factory=lambda: RIVALS)
    workloads: dict[str, Workload] = field(default_factory=lambda: WORKLOADS)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    experiments: dict[str, Experiment] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def measure(self, name: str) -> None:
        """Measure one thing and print what came of it."""
        print(f"\n{name}", flush=True)
        if name in WORKLOADS:
            lines, findings = self._measure_workload(name)
        else:
            lines, findings = self._experiment(name)
        self.findings += findings
        print("\n".join([*lines, *map(finding_line, findings)]), flush=True)

    def save(self, path: Path | None) -> None:
        """Write everything so far as JSON, if there is a path to write it to."""
        if path is not None:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def _measure_workload(self, name: str) -> tuple[list[str], list[Finding]]:
        workload = WORKLOADS[name]
        self.rounds[name] = rounds = measure_rounds(
            workload, rounds=self.settings.rounds, seconds=self.settings.seconds, report=_report_progress
        )
        findings = [goal_finding(goal, rounds) for goal in GOALS if goal.workload == name]
        return [table(workload, rounds)], findings

    def _experiment(self, name: str) -> tuple[list[str], list[Finding]]:
        try:
            experiment = EXPERIMENTS[name](self.settings.scale)
        except Exception as error:  # noqa: BLE001  # the next one can still be made
            return [traceback.format_exc()], [
                Finding(name, f"nothing, for it broke off: {error!r}", met=False)
            ]
        self.experiments[name] = experiment
        return experiment.notes, experiment.findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print it, and return 1 if a goal is missed, else 0."""
    _let_sigterm_interrupt()
    options = _parser().parse_args(arguments)
    results = _Results(_settings(options))
    results.save(options.json)  # now already: better to hear of a wrong path before it all
    for name in results.settings.names:
        results.measure(name)
        results.save(options.json)
    return int(any(finding.met is False for finding in results.findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.foundation", description=__doc__)
    parser.add_argument("--rounds", type=_number, help="how often each server is measured (default: 5)")
    parser.add_argument("--seconds", type=_number, help="how long each time (default: 5)")
    parser.add_argument(
        "--only", nargs="+", choices=[*WORKLOADS, *EXPERIMENTS], metavar="NAME", help="one of: %(choices)s"
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second, and small experiments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _settings(options: argparse.Namespace) -> _Settings:
    quick = options.quick
    return _Settings(
        names=options.only or [*WORKLOADS, *EXPERIMENTS],
        rounds=options.rounds or (2 if quick else 5),
        seconds=options.seconds or (1 if quick else 5),
        scale=Scale(64 * MIB, 1_000) if quick else Scale(1024 * MIB, 10_000),
    )


def _report_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _let_sigterm_interrupt() -> None:
    """Have SIGTERM do what Ctrl-C does, so that the servers are ended then too.

    By way of SIGINT, which asyncio knows how to take; an exception raised in its midst may leave it hanging.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

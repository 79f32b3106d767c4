"""Look at Bridge alone: `python -m benchmarks.experiments`. Ends with status 1 if a limit is not kept."""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.__main__ import let_sigterm_interrupt
from benchmarks.apps.sizes import MIB
from benchmarks.experiments.detection import detection
from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.experiments.long_bodies import long_bodies
from benchmarks.experiments.on_ray import on_ray
from benchmarks.experiments.open_streams import open_streams
from benchmarks.experiments.right_answers import right_answers
from benchmarks.experiments.stalled_client import stalled_client
from benchmarks.experiments.vanishing_clients import vanishing_clients
from benchmarks.experiments.websockets import websockets
from benchmarks.machine import describe_machine
from benchmarks.processes import end_children

__all__ = ["main"]

EXPERIMENTS: dict[str, Callable[[Scale], Experiment]] = {
    "long-bodies": long_bodies,
    "stalled-client": stalled_client,
    "vanishing-clients": vanishing_clients,
    "open-streams": open_streams,
    "detection": detection,
    "websockets": websockets,
    "on-ray": on_ray,
    "right-answers": right_answers,
}

_QUICK = Scale(64 * MIB, 1_000, 500, 500, 10_000)
_WHOLE = Scale(1024 * MIB, 10_000, 10_000, 5_000, 200_000)

_VERDICTS = {True: "met", False: "MISSED", None: "not judged"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the experiments asked for and print what they found; 1 if a limit is not kept, else 0."""
    let_sigterm_interrupt()
    options = _parser().parse_args(arguments)
    scale = _QUICK if options.quick else _WHOLE
    made = {}
    for name in options.only or EXPERIMENTS:
        print(f"\n{name}", flush=True)
        made[name] = _make(name, scale)
        _print(made[name])
    if options.json is not None:
        kept = {name: asdict(experiment) for name, experiment in made.items()}
        options.json.write_text(json.dumps({"machine": describe_machine(), **kept}, indent=1) + "\n")
    findings = [finding for experiment in made.values() for finding in experiment.findings]
    return int(any(finding.met is False for finding in findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*EXPERIMENTS], metavar="NAME", help="of: %(choices)s")
    parser.add_argument("--quick", action="store_true", help="small ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser


def _make(name: str, scale: Scale) -> Experiment:
    try:
        return EXPERIMENTS[name](scale)
    except Exception as error:  # noqa: BLE001  # the next one can still be made
        finding = Finding(name, f"nothing, for it broke off: {error!r}", met=False)
        return Experiment([finding], [traceback.format_exc()])


def _print(experiment: Experiment) -> None:
    for note in experiment.notes:
        print(note)
    for finding in experiment.findings:
        print(f"limit: {finding.goal} … measured {finding.measured}: {_VERDICTS[finding.met]}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        end_children()
        sys.exit(130)

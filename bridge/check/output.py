"""What `bridge routes` and `bridge check` print."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from bridge.check.checking import Report
from bridge.check.routes import Placement, Route
from bridge.loading import count_routes

if TYPE_CHECKING:
    from bridge.flask.placement import Hook

__all__ = ["print_report", "print_routes"]

# Requests that are named with a finding; of others, only the number.
_MAX_NAMED = 3


def print_routes(routes: Iterable[Route]) -> None:
    """Print a line for each route: what it is, and where it runs."""
    rows = [("Rule", "Methods", "Endpoint", "Runner")]
    for route in routes:
        # Why it is not the loop, if it is not.
        runner = _by_method(
            route, lambda each: each.runner if each.runner == "loop" else f"{each.runner}: {each.why}"
        )
        rows.append((route.rule, _methods(route), route.endpoint, runner or f"thread: {_reasons(route)}"))
    click.echo("\n".join(_table(rows)))


def print_report(report: Report) -> None:
    """Print what was found in an app."""
    click.echo("\n".join(_report_as_lines(report)))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _methods(route: Route) -> str:
    return ", ".join(each.method for each in route.declared) or "any"


def _by_method(route: Route, tell: Callable[[Placement], str]) -> str:
    """What is so for every method of a route; for each method, if it differs."""
    told = {each.method: tell(each) for each in route.declared}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{method} {what}" for method, what in told.items())


def _report_as_lines(report: Report) -> Iterator[str]:
    routes = f", {count_routes(route.endpoint for route in report.routes)}" if report.routes else ""
    yield f"{report.name}: {report.kind} app{routes}"
    made = len(report.answers)
    yield (
        f"requests: {made} made, see below"
        if made
        else "requests: none made; --request PATH makes one, --all one of each route without arguments"
    )
    yield f"start-up hooks: {'run' if report.ran_lifespan else 'not run; --with-lifespan runs them'}"
    answers = [
        (str(each.request), "-" if each.status is None else str(each.status), each.remark)
        for each in report.answers
    ]
    skipped = [f"not requested: GET {each.rule}, for {each.why}" for each in report.skipped]
    yield from _section("Requests", [*(_table(answers) if answers else ()), *skipped])
    if report.routes:
        rows = [
            (
                route.rule,
                _methods(route),
                _by_method(route, lambda placement: placement.runner) or "thread",
                _reasons(route),
            )
            for route in report.routes
        ]
        yield from _section("Where views run", _table(rows))
    yield from _section("Hops to a thread that async views pay for", _hook_lines(report.routes))
    yield from _section(
        "Exceptions in the app (its own affair, no violations)",
        (
            line
            for each in report.failures
            for line in _finding_lines(each.message, each.requests, "raised in")
        ),
    )
    yield from _section("Remarks", report.remarks)
    yield from _section(
        "Violations of PEP 3333",
        (
            line
            for each in report.violations
            for line in _finding_lines(each.message, each.requests, "shown by")
        ),
    )
    count = len(report.violations)
    found = f"{count} violation{'' if count == 1 else 's'}" if count else "no violation"
    asked = f"{made} request{'' if made == 1 else 's'}"
    yield ""
    yield f"PEP 3333: {found} in {asked}" if made else "PEP 3333: not checked, as no request was made"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A heading and lines; nothing if there are none."""
    shown = [f"  {line}" for line in lines]
    if shown:
        yield from ("", title, *shown)


def _reasons(route: Route) -> str:
    return ", ".join(dict.fromkeys(each.why for each in route.declared)) or "the rule names no methods"


def _hook_lines(routes: Sequence[Route]) -> Iterator[str]:
    """The hooks of the routes on the loop; routes with the same ones together."""
    groups: dict[tuple[tuple[Hook, ...], tuple[Hook, ...]], list[str]] = {}
    for route in routes:
        if route.runs_on_loop:
            groups.setdefault((route.hooks, route.error_hooks), []).append(route.rule)
    for (hooks, error_hooks), rules in groups.items():
        yield f"{', '.join(rules)}: {len(hooks) or 'none'}"
        yield from (f"  {_hook(hook)}" for hook in hooks)
        yield from (f"  {_hook(hook)}, if it comes to that" for hook in error_hooks)


def _hook(hook: "Hook") -> str:
    whose = f" of the blueprint {hook.blueprint}" if hook.blueprint else ""
    return f"{hook.kind} {hook.name}{whose}"


def _finding_lines(message: str, requests: Sequence[str], how: str) -> Iterator[str]:
    yield from message.splitlines()
    named = ", ".join(requests[:_MAX_NAMED])
    more = len(requests) - _MAX_NAMED
    yield f"  {how} {named}" + (f" and {more} more" if more > 0 else "")

"""`bridge routes` and `bridge check`: what an app's routes are, and what is wrong with it."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import click

from bridge.errors import BridgeError
from bridge.interfaces import Interface
from bridge.server.app_errors import BrokenAppError
from bridge.server.checking import Report, check_app
from bridge.server.inspecting import Hook, Placement, Route, Runner, list_routes
from bridge.server.loading import LoadedApp, load_app
from bridge.server.naming import find_app_and_variables
from bridge.server.serving import STARTUP_FAILURE

__all__ = ["check_command", "routes_command"]

_Function: TypeAlias = Callable[..., None]

_HAS_VIOLATIONS = 1

# Requests that are named with a finding; of others, only the number.
_MAX_NAMED = 3


def _options_of_an_app(function: _Function) -> _Function:
    """The argument APP and its options, which mean what they mean to `bridge serve`."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--async-views",
            type=click.Choice(["loop", "thread"]),
            default="loop",
            show_default=True,
            help="Where `bridge serve` is told to run async views.",
        ),
        click.option(
            "--interface",
            type=click.Choice(["auto", "wsgi", "asgi"]),
            envvar="UVICORN_INTERFACE",
            default="auto",
            show_default=True,
            help="What the app speaks, if it cannot be told.",
        ),
        click.option(
            "--app-dir",
            envvar="UVICORN_APP_DIR",
            default="",
            help="Look for APP in this folder.  [default: the current one]",
        ),
        click.option("--factory", is_flag=True, envvar="UVICORN_FACTORY", help="APP is a factory."),
        click.argument("app", required=False, envvar="UVICORN_APP"),
    ):
        function = decorate(function)
    return function


@click.command("routes")
@_options_of_an_app
def routes_command(app: str | None, as_json: bool, async_views: Runner, **options: Any) -> None:
    """List the routes of a Flask APP, and where each runs: on the event loop or in a thread.

    APP is what `bridge serve` takes.
    """
    try:
        routes = list_routes(_load(app, **options), async_views=async_views)
    except BridgeError as error:
        sys.exit(_report_error(error))
    if as_json:
        _print_json([_route_as_json(route) for route in routes])
        return
    rows = [(route.rule, _methods(route), route.endpoint, _runner(route)) for route in routes]
    _print_table(("Rule", "Methods", "Endpoint", "Runner"), rows)


@click.command("check")
@_options_of_an_app
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to wait for each answer.",
)
def check_command(
    app: str | None, as_json: bool, async_views: Runner, timeout: float, **options: Any
) -> None:
    """Send requests to a WSGI APP, and say what of PEP 3333 it breaks, and what runs where.

    They are GET, HEAD, OPTIONS and POST of /, GET of a path that is not there, and GET of the rules of a
    Flask app that have no arguments, 50 at most. The exit code is 1 if there are violations. APP is what
    `bridge serve` takes.
    """
    try:
        report = check_app(_load(app, **options), async_views=async_views, timeout=timeout)
    except BridgeError as error:
        sys.exit(_report_error(error))
    if as_json:
        _print_json(_report_as_json(report))
    else:
        click.echo("\n".join(_report_as_lines(report)))
    sys.exit(_HAS_VIOLATIONS if report.violations else 0)


def _load(app: str | None, *, factory: bool, app_dir: str, interface: str) -> LoadedApp:
    sys.path.insert(0, app_dir or os.getcwd())
    said = None if interface == "auto" else cast(Interface, interface)
    return load_app(app or find_app_and_variables(app_dir), factory=factory, interface=said)


def _report_error(error: BridgeError) -> int:
    if isinstance(error, BrokenAppError):
        click.echo(error.report, nl=False, err=True)
    click.echo(f"bridge: {error}", err=True)
    return STARTUP_FAILURE


# Plain text


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    click.echo("\n".join(_table([head, *rows])))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _methods(route: Route) -> str:
    return ", ".join(each.method for each in route.declared) or "any"


def _runner(route: Route) -> str:
    return _by_method(route, lambda placement: placement.runner) or "thread"


def _by_method(route: Route, tell: Callable[[Placement], str]) -> str:
    """What is so for every method of a route; for each method, if it differs."""
    told = {each.method: tell(each) for each in route.declared}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{method} {what}" for method, what in told.items())


def _report_as_lines(report: Report) -> Iterator[str]:
    yield f"{report.name}: {report.kind} app" + (f", {len(report.routes)} routes" if report.routes else "")
    yield from _section("Requests", _answer_lines(report))
    yield from _section("Where views run", _placement_lines(report.routes))
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
    yield ""
    yield f"PEP 3333: {found} in {len(report.answers)} requests"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A heading and lines; nothing if there are none."""
    shown = [f"  {line}" for line in lines]
    if shown:
        yield from ("", title, *shown)


def _answer_lines(report: Report) -> Iterator[str]:
    rows = [
        (str(each.request), "-" if each.status is None else str(each.status), each.remark)
        for each in report.answers
    ]
    yield from _table(rows)
    for each in report.skipped:
        yield f"not requested: GET {each.rule}, for {each.why}"


def _placement_lines(routes: Sequence[Route]) -> Iterator[str]:
    if routes:
        yield from _table([(each.rule, _methods(each), _runner(each), _reasons(each)) for each in routes])


def _reasons(route: Route) -> str:
    return ", ".join(dict.fromkeys(each.why for each in route.declared)) or "the rule names no methods"


def _hook_lines(routes: Sequence[Route]) -> Iterator[str]:
    """The hooks of the routes on the loop; routes with the same ones together."""
    groups: dict[tuple[tuple[Hook, ...], tuple[Hook, ...]], list[str]] = {}
    for route in routes:
        if any(each.runner == "loop" for each in route.declared):
            groups.setdefault((route.hooks, route.error_hooks), []).append(route.rule)
    for (hooks, error_hooks), rules in groups.items():
        yield f"{', '.join(rules)}: {len(hooks) or 'none'}"
        yield from (f"  {_hook(hook)}" for hook in hooks)
        yield from (f"  {_hook(hook)}, if it comes to that" for hook in error_hooks)


def _hook(hook: Hook) -> str:
    whose = f" of the blueprint {hook.blueprint}" if hook.blueprint else ""
    return f"{hook.kind} {hook.name}{whose}"


def _finding_lines(message: str, requests: Sequence[str], how: str) -> Iterator[str]:
    yield from message.splitlines()
    named = ", ".join(requests[:_MAX_NAMED])
    more = len(requests) - _MAX_NAMED
    yield f"  {how} {named}" + (f" and {more} more" if more > 0 else "")


# JSON


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def _route_as_json(route: Route) -> dict[str, object]:
    return {
        "rule": route.rule,
        "methods": list(route.methods),
        "endpoint": route.endpoint,
        "runner": {each.method: each.runner for each in route.placements},
    }


def _report_as_json(report: Report) -> dict[str, object]:
    return {
        "app": report.name,
        "kind": report.kind,
        "requests": [
            {"request": str(each.request), "status": each.status, "remark": each.remark}
            for each in report.answers
        ],
        "not_requested": [{"rule": each.rule, "why": each.why} for each in report.skipped],
        "violations": [
            {"message": each.message, "requests": list(each.requests)} for each in report.violations
        ],
        "exceptions": [
            {"message": each.message, "requests": list(each.requests)} for each in report.failures
        ],
        "remarks": list(report.remarks),
        "routes": [
            {
                **_route_as_json(route),
                "why": {each.method: each.why for each in route.placements},
                "hops": [_hook_as_json(hook) for hook in _hops(route, route.hooks)],
                "hops_on_error": [_hook_as_json(hook) for hook in _hops(route, route.error_hooks)],
            }
            for route in report.routes
        ],
    }


def _hops(route: Route, hooks: tuple[Hook, ...]) -> tuple[Hook, ...]:
    """The hooks, if requests of the route run on the loop at all."""
    return hooks if any(each.runner == "loop" for each in route.placements) else ()


def _hook_as_json(hook: Hook) -> dict[str, object]:
    return {"hook": hook.kind, "name": hook.name, "blueprint": hook.blueprint}

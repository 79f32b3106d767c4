"""The command line: `bridge serve` and the commands that look before. `options.py` has the settings."""

import importlib.metadata
import inspect
import json
import logging
import os
import sys
from typing import Any

import click
import uvicorn
from click.shell_completion import get_completion_class

from bridge import __version__
from bridge.errors import BridgeError
from bridge.server.app_errors import AppError, BrokenAppError
from bridge.server.application import make_adapter
from bridge.server.checking import check_app
from bridge.server.clashes import check_names
from bridge.server.inspect_output import print_report, print_routes
from bridge.server.inspecting import list_routes
from bridge.server.loading import LoadedApp, load_app
from bridge.server.naming import find_app
from bridge.server.options import (
    InForce,
    SettingsCommand,
    setting_parameters,
    settings_in_force,
    strengths,
    unknown_variables,
    variables_read,
)
from bridge.server.serving import STARTUP_FAILURE, ServeConfig, default_log_config, serve
from bridge.server.settings import ServeSettings, check_settings
from bridge.server.variables import FileVariables, is_on

__all__ = ["bridge", "make_config", "make_settings"]

logger = logging.getLogger("bridge")

# What has a part in serving an app. Not all of them need be installed.
_PARTS = ("uvicorn", "httptools", "uvloop", "flask", "werkzeug", "asgiref", "greenlet")

_INSTALLING_COMPLETION = """
\b
To have the shell complete commands and options:
  bash   echo 'eval "$(bridge completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(bridge completion zsh)"' >> ~/.zshrc
  fish   bridge completion fish > ~/.config/fish/completions/bridge.fish
"""

_OTHER_WAYS = """
APP and the options are settings, which may also come from the environment, as BRIDGE_APP or BRIDGE_LOG_LEVEL,
and from a file in the current folder: app or log-level at the top level of bridge.toml, or else in the table
[tool.bridge] of pyproject.toml. What is typed is stronger than the environment, and that than the file. Paths
in a file are relative to the current folder. `bridge config` shows what is in force, and why.
"""

_AS_SERVED = """
The app is looked at as `bridge serve` would serve it: its other options are taken here, too, and so are its
variables and its file.
"""

# What decides which app it is, and how it runs.
_OF_AN_APP = ("app_dir", "factory", "interface", "adapter", "async_views", "env_file")

_HAS_FINDINGS = 1


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    versions = [f"bridge {__version__}"]
    for part in _PARTS:
        try:
            versions.append(f"{part} {importlib.metadata.version(part)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    versions.append(f"Python {'.'.join(map(str, sys.version_info[:3]))}")
    click.echo(", ".join(versions))
    context.exit()


_version_option = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show versions."
)


class _Commands(click.Group):
    """The commands, all of which end with one line where Bridge cannot do what is asked."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BridgeError as error:
            if isinstance(error, BrokenAppError):
                click.echo(error.report, nl=False, err=True)
            click.echo(f"bridge: {error}", err=True)
            sys.exit(STARTUP_FAILURE)


@click.group(cls=_Commands, epilog=_INSTALLING_COMPLETION)
@_version_option
def bridge() -> None:
    """Run Flask, and any WSGI app, on ASGI."""


@bridge.command("serve", cls=SettingsCommand, params=setting_parameters(), epilog=_OTHER_WAYS)
@_version_option
@click.pass_context
def serve_command(context: click.Context, /, app: str | None, **options: Any) -> None:
    """Serve APP: module:attribute, module:factory(), module, or a .py file.

    Without APP: FLASK_APP, wsgi.py or app.py, as Flask's own command does.
    """
    target = app or _find_app(options)
    check_settings(options, strengths(context))
    check_names(_app_dir(options))
    config = make_config(target, options)  # sets logging up
    if options["env_file"] is None:  # else uvicorn says so
        _tell_variables(variables_read(context), debug=options["debug"])
    sys.exit(serve(config))


@bridge.command(
    "config",
    cls=SettingsCommand,
    params=setting_parameters(),
    short_help="Show the settings in force, and their sources.",
    epilog=_OTHER_WAYS,
)
@click.option("--json", "as_json", is_flag=True, help="Print an object: each setting's value and source.")
@click.pass_context
def config_command(context: click.Context, /, as_json: bool, app: str | None, **options: Any) -> None:
    """Show what `bridge serve` with the same arguments would go by, and where each value comes from.

    Settings at their default come last.
    """
    found = None if app is not None else _found_app(options)
    rows = settings_in_force(context)
    if found is not None:
        rows = [found, *rows[1:]]
    if as_json:
        click.echo(
            json.dumps({row.key: {"value": row.value, "source": row.source} for row in rows}, indent=2)
        )
    else:
        click.echo(_table(rows))
    for variable, meant in unknown_variables().items():
        click.echo(f"bridge: {variable} in the environment is no setting; is {meant} meant?", err=True)


@bridge.command("completion", short_help="Print a shell's completion script.", epilog=_INSTALLING_COMPLETION)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that has a shell complete commands and options."""
    script = get_completion_class(shell)
    assert script is not None  # click has all three
    click.echo(script(bridge, {}, "bridge", "_BRIDGE_COMPLETE").source())


@bridge.command("routes", cls=SettingsCommand, params=setting_parameters(_OF_AN_APP), epilog=_AS_SERVED)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def routes_command(app: str | None, as_json: bool, **options: Any) -> None:
    """List the routes of a Flask APP, and where each runs: on the event loop or in a thread.

    APP is what `bridge serve` takes.
    """
    settings = make_settings(app, options)
    print_routes(list_routes(_load(settings, options), async_views=settings.async_runner), as_json=as_json)


@bridge.command("check", cls=SettingsCommand, params=setting_parameters(_OF_AN_APP), epilog=_AS_SERVED)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to wait for each answer.",
)
def check_command(app: str | None, as_json: bool, timeout: float, **options: Any) -> None:
    """Send requests to a WSGI APP, and say what of PEP 3333 it breaks, and what runs where.

    They are GET, HEAD, OPTIONS and POST of /, GET of a path that is not there, and GET of the rules of a
    Flask app that have no arguments, 50 at most. The exit code is 1 if there are violations. APP is
    what `bridge serve` takes.
    """
    settings = make_settings(app, options)
    loaded = _load(settings, options)
    report = check_app(loaded, adapt=lambda wsgi_app: make_adapter(wsgi_app, settings), timeout=timeout)
    print_report(report, as_json=as_json)
    sys.exit(_HAS_FINDINGS if report.violations else 0)


@bridge.command(
    "trace",
    cls=SettingsCommand,
    params=setting_parameters(_OF_AN_APP),
    short_help="Make a request, and show its way through the app.",
    epilog=_AS_SERVED,
)
@click.argument("request", nargs=-1, metavar="[METHOD] PATH")
@click.option("-H", "request_headers", multiple=True, metavar="'NAME: VALUE'", help="A header field.")
@click.option("-d", "data", multiple=True, metavar="TEXT|@FILE", help="The body; METHOD is POST, then.")
@click.option("--body", "with_body", is_flag=True, help="Print the body of the response, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the end of the response.",
)
def trace_command(
    app: str | None,
    request: tuple[str, ...],
    request_headers: tuple[str, ...],
    data: tuple[str, ...],
    *,
    with_body: bool,
    as_json: bool,
    timeout: float,
    **options: Any,
) -> None:
    """Make one request to APP in memory, and show its way, step by step.

    APP is what `bridge serve` takes; the rest is as for curl. Times are in milliseconds: since the request
    began, and how long a step took. The exit code is 1 if there was no answer. Of headers and keys that may
    hold secrets only the length is shown; the body that --body prints is as it came.
    """
    # Not before: no other command needs it.
    from bridge.server.tracing import parse_request, print_trace, trace

    asked = parse_request(app, request, request_headers, data)
    settings = make_settings(app, options)
    traced = trace(
        _load(settings, options), settings, asked, root_path=options["root_path"], deadline=timeout
    )
    print_trace(traced, as_json=as_json, with_body=with_body, use_colors=options["use_colors"])
    sys.exit(0 if traced.status is not None else _HAS_FINDINGS)


def make_config(app: str | None, options: dict[str, Any]) -> ServeConfig:
    """The configuration that a command line asks for.

    Args:
        app: what to serve, or None to find it.
        options: the parsed options of the command, by their names.

    Raises:
        AppError: there is no app to be found.
    """
    return ServeConfig(make_settings(app, options), **_config_options(options))


def make_settings(app: str | None, options: dict[str, Any]) -> ServeSettings:
    """What of it is Bridge's own. Arguments and errors as for `make_config`."""
    return ServeSettings.from_options(app or _find_app(options), options)


def _config_options(options: dict[str, Any]) -> dict[str, Any]:
    """What of the command line's options `uvicorn.Config` takes, in the form in which it takes them."""
    known = inspect.signature(uvicorn.Config).parameters.keys() - {"app", "factory", "interface"}
    taken = {name: value for name, value in options.items() if name in known}
    for name, value in taken.items():
        if isinstance(value, tuple):
            taken[name] = list(value) or None
    taken["reload"] = options["reload"] or options["debug"]
    taken["headers"] = [tuple(header.split(":", 1)) for header in options["headers"]]
    if taken["log_config"] is None:
        taken["log_config"] = default_log_config(request_id=options["request_id"])
    if options["access_log_format"] is not None:
        taken["access_log"] = False  # uvicorn's own line
    # uvicorn would warn of what has no effect beside the others.
    if taken["reload"]:
        taken["workers"] = 1
    else:
        taken |= dict.fromkeys(("reload_dirs", "reload_includes", "reload_excludes"))
    return taken


def _load(settings: ServeSettings, options: dict[str, Any]) -> LoadedApp:
    """Load the app in this process, with the path that it would be served with."""
    check_names(_app_dir(options))
    sys.path.insert(0, _app_dir(options))
    return load_app(settings.target, factory=settings.factory, interface=settings.interface)


def _tell_variables(files: list[FileVariables], *, debug: bool) -> None:
    """Say which files of variables were read: they may be left over from development."""
    for each in files:
        logger.info("variables from %s: %d", each.file, len(each.names))
        if "FLASK_DEBUG" in each.names and is_on("FLASK_DEBUG") and not debug:
            logger.warning(
                "FLASK_DEBUG in %s has a Flask app in debug mode, in which its own error pages are not shown",
                each.file,
            )


def _app_dir(options: dict[str, Any]) -> str:
    """The folder to import the app from, before all others."""
    folder: str = options["app_dir"] or os.getcwd()
    return folder


def _find_app(options: dict[str, Any]) -> str:
    return find_app(options["app_dir"] or ".")


def _found_app(options: dict[str, Any]) -> InForce:
    """What is served where no setting says it."""
    try:
        found = _find_app(options)
    except AppError:
        return InForce("app", None, "default")
    return InForce("app", found, "FLASK_APP" if os.environ.get("FLASK_APP") else "found")


def _table(rows: list[InForce]) -> str:
    """Lines with a key, a value and a source each, those at their default last."""
    ordered = sorted(rows, key=lambda row: row.is_default)
    cells = [(row.key, row.shown, row.source) for row in ordered]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    return "\n".join(f"{key:{widths[0]}}  {value:{widths[1]}}  {source}" for key, value, source in cells)

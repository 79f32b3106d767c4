"""The command line: `bridge serve`, `config` and `completion`; `options.py` has the settings."""

import importlib
import importlib.metadata
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import click
import uvicorn
from click.shell_completion import get_completion_class

from bridge.errors import BridgeError
from bridge.loading import AppError, BrokenAppError, check_names, find_app
from bridge.server.options import (
    InForce,
    SettingsCommand,
    is_on,
    setting_parameters,
    settings_in_force,
    strengths,
    unknown_variables,
    variables_read,
)
from bridge.server.serving import STARTUP_FAILURE, ServeConfig, default_log_config, serve
from bridge.server.settings import ServeSettings, app_dir_of, check_settings
from bridge.types import override
from bridge.version import __version__

__all__ = ["bridge", "make_config", "make_settings"]

logger = logging.getLogger("bridge")

# What has a part in serving an app. Not all of them need be installed.
_PARTS = ("uvicorn", "uvloop", "flask", "werkzeug", "asgiref", "greenlet")

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
    """The commands; each ends with one line if Bridge cannot do what is asked.

    `later` has the names of those that are imported when asked for, with the module that adds each.
    """

    later: Mapping[str, str] = {}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self.later})

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.later:
            importlib.import_module(self.later[cmd_name])
        return self.commands.get(cmd_name)

    @override
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

    Without APP: what is mounted, or else FLASK_APP, wsgi.py or app.py, as Flask's own command does.
    """
    target = app or ("" if options["mount"] else _find_app(options))
    check_settings(options, strengths(context))
    check_names(app_dir_of(options))
    config = make_config(target, options)  # sets logging up
    if options["env_file"] is None:  # else uvicorn says so
        # They may be left over from development.
        for file, names in variables_read(context).items():
            logger.info("variables from %s: %d", file, len(names))
            if "FLASK_DEBUG" in names and is_on("FLASK_DEBUG") and not options["debug"]:
                logger.warning(
                    "FLASK_DEBUG in %s has a Flask app in debug mode, in which its own error pages are not "
                    "shown",
                    file,
                )
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
    rows = settings_in_force(context)
    if app is None:
        rows[0] = InForce("app", None, "default")
        if not options["mount"]:
            with suppress(AppError):
                source = "FLASK_APP" if os.environ.get("FLASK_APP") else "found"
                rows[0] = InForce("app", _find_app(options), source)
    if as_json:
        click.echo(
            json.dumps({row.key: {"value": row.value, "source": row.source} for row in rows}, indent=2)
        )
    else:
        rows.sort(key=lambda row: row.is_default)
        cells = [(row.key, row.shown, row.source) for row in rows]
        widths = [max(len(row[column]) for row in cells) for column in range(2)]
        for key, value, source in cells:
            click.echo(f"{key:{widths[0]}}  {value:{widths[1]}}  {source}")
    for variable, meant in unknown_variables().items():
        click.echo(f"bridge: {variable} in the environment is no setting; is {meant} meant?", err=True)


@bridge.command("completion", short_help="Print a shell's completion script.", epilog=_INSTALLING_COMPLETION)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that has a shell complete commands and options."""
    script = get_completion_class(shell)
    assert script is not None  # click has all three
    click.echo(script(bridge, {}, "bridge", "_BRIDGE_COMPLETE").source())


def make_config(app: str | Callable[..., Any] | None, options: dict[str, Any]) -> ServeConfig:
    """The configuration that a command line asks for.

    Args:
        app: what to serve, by name or as it is, empty for the mounts alone, or None to find it.
        options: the parsed options of the command, by their names.

    Raises:
        AppError: there is no app to be found.
    """
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
    return ServeConfig(make_settings(app, options), **taken)


def make_settings(app: str | Callable[..., Any] | None, options: dict[str, Any]) -> ServeSettings:
    """Bridge's own part of `make_config`, with the same arguments and errors."""
    return ServeSettings.from_options(_find_app(options) if app is None else app, options)


def _find_app(options: dict[str, Any]) -> str:
    return find_app(options["app_dir"] or ".")

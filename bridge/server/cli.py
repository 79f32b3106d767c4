"""The command line: `bridge serve`, `config` and `completion`; `options.py` has the settings."""

import importlib
import importlib.metadata
import inspect
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import click
import uvicorn
from click.shell_completion import get_completion_class

from bridge.errors import BridgeError
from bridge.loading import AppError, check_names, find_app
from bridge.server.on_ray import serve_on_ray
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
from bridge.server.processes.server import report
from bridge.server.serving import STARTUP_FAILURE, ServeConfig, default_log_config, serve
from bridge.server.settings import ServeSettings, app_dir_of, check_settings, unused_on_ray
from bridge.server.terminal import complain
from bridge.types import override
from bridge.version import DISTRIBUTION, __version__

__all__ = ["bridge", "make_config", "make_settings"]

logger = logging.getLogger("bridge")

# What has a part in serving an app. Not all of them need be installed.
_PARTS = ("uvicorn", "uvloop", "flask", "werkzeug", "asgiref", "greenlet")

# How commands are called that serve an app elsewhere.
_OTHER_SERVERS = ("run", "runserver", "start", "dev")

_INSTALLING_COMPLETION = """
\b
To have the shell complete commands and options:
  bash   echo 'eval "$(bridge completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(bridge completion zsh)"' >> ~/.zshrc
  fish   bridge completion fish > ~/.config/fish/completions/bridge.fish
"""

_OTHER_WAYS = """
APP and the options are settings. They may also come from the environment, as BRIDGE_APP or BRIDGE_LOG_LEVEL,
and from a file in the current folder: bridge.toml, with app or log-level at its top, or else the table
[tool.bridge] of pyproject.toml. The command line overrides the environment, and the environment the file.
uvicorn's variables, such as UVICORN_PORT, count as well. Paths in a file are relative to the current folder.
`bridge config` shows what is in force, and where it comes from.
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
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = shlex.join(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            advice = f"Options follow the command; did you mean: {ctx.info_name} serve {typed}"
            raise click.NoSuchOption(error.option_name, f"{error.message} {advice}", ctx=ctx) from None

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        meant = None
        if name in _OTHER_SERVERS:
            meant = shlex.join(["serve", *rest])
        elif ":" in name or name.endswith(".py"):
            meant = shlex.join(["serve", *args])
        elif name == "help":
            meant = shlex.join([*rest, "--help"])
        if meant is not None and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {name!r}; did you mean: {ctx.info_name} {meant}", ctx)
        return super().resolve_command(ctx, args)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BridgeError as error:
            report(error)
            sys.exit(STARTUP_FAILURE)


@click.group(
    cls=_Commands, epilog=_INSTALLING_COMPLETION, context_settings={"help_option_names": ["-h", "--help"]}
)
@_version_option
def bridge() -> None:
    """Serve and inspect Flask apps, and any other WSGI or ASGI app."""


@bridge.command(
    "serve",
    cls=SettingsCommand,
    params=setting_parameters(),
    short_help="Serve an app, WSGI or ASGI.",
    epilog=_OTHER_WAYS,
)
@_version_option
@click.pass_context
def serve_command(context: click.Context, /, app: str | None, **options: Any) -> None:
    """Serve APP: module:attribute, module:factory(), module, or a .py file.

    Without APP, it serves what --mount names, or else FLASK_APP, wsgi.py or app.py, as `flask run` does.
    """
    target = app or ("" if options["mount"] else _find_app(options))
    check_settings(options, strengths(context))
    check_names(app_dir_of(options))
    config = make_config(target, options)  # sets logging up
    for variable, meant in unknown_variables().items():
        logger.warning("%s in the environment is no setting; is %s meant?", variable, meant)
    if options["env_file"] is None:  # else uvicorn says so
        # They may be left over from development.
        for file, names in variables_read(context).items():
            logger.info("variables from %s: %d", file, len(names))
            if "FLASK_DEBUG" in names and is_on("FLASK_DEBUG") and not options["debug"]:
                logger.warning(
                    "FLASK_DEBUG in %s puts a Flask app into debug mode, which hides its own error pages",
                    file,
                )
    if options["on"] == "ray":
        unused = unused_on_ray(strengths(context))
        if unused:
            logger.info("not used on Ray: %s", ", ".join(unused))
        sys.exit(serve_on_ray(config))
    sys.exit(serve(config))


@bridge.command(
    "config",
    cls=SettingsCommand,
    params=setting_parameters(),
    short_help="Show the settings in force, and where they come from.",
    epilog=_OTHER_WAYS,
)
@click.option("--json", "as_json", is_flag=True, help="Print an object: each setting's value and source.")
@click.option("--changed", is_flag=True, help="Leave out what is at its default.")
@click.pass_context
def config_command(
    context: click.Context, /, as_json: bool, changed: bool, app: str | None, **options: Any
) -> None:
    """Show the settings that `bridge serve` with the same arguments would use, and where each comes from.

    Settings at their default come last.
    """
    rows = settings_in_force(context)
    if app is None:
        rows[0] = InForce("app", None, "default")
        if not options["mount"]:
            with suppress(AppError):
                source = "FLASK_APP" if os.environ.get("FLASK_APP") else "found"
                rows[0] = InForce("app", _find_app(options), source)
    if changed:
        rows = [row for row in rows if not row.is_default]
    if as_json:
        click.echo(
            json.dumps({row.key: {"value": row.value, "source": row.source} for row in rows}, indent=2)
        )
    else:
        rows.sort(key=lambda row: row.is_default)
        cells = [(row.key, row.shown, row.source) for row in rows]
        widths = [max((len(row[column]) for row in cells), default=0) for column in range(2)]
        for key, value, source in cells:
            click.echo(f"{key:{widths[0]}}  {value:{widths[1]}}  {source}")
    for variable, meant in unknown_variables().items():
        complain(f"{variable} in the environment is no setting; is {meant} meant?")


@bridge.command("completion", short_help="Print a shell's completion script.", epilog=_INSTALLING_COMPLETION)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete commands and options."""
    script = get_completion_class(shell)
    assert script is not None  # click has all three
    typed = context.find_root().info_name
    name = typed if typed == DISTRIBUTION else "bridge"
    click.echo(script(bridge, {}, name, "_BRIDGE_COMPLETE").source())


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
        taken["log_config"] = default_log_config(
            request_id=options["request_id"], log_time=options["log_time"]
        )
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

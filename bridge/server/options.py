"""The rows of `settings.py` and uvicorn's own options → the options of a click command.

Variables and files set them, too. The command line is stronger than a variable, and a variable than a file.
The file is `bridge.toml`, with the settings at its top level, or else `pyproject.toml`, with `[tool.bridge]`.
"""

import copy
import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import click
import uvicorn
from click.core import ParameterSource
from uvicorn.main import main as uvicorn_command

from bridge.errors import BridgeError
from bridge.server.gunicorn import in_place_of
from bridge.server.settings import CLUSTER, GRACEFUL_SHUTDOWN, ROWS, UVICORN_GROUPS, Row
from bridge.server.terminal import complain

__all__ = [
    "GROUPS",
    "InForce",
    "SettingsCommand",
    "SettingsError",
    "check_root_path",
    "is_on",
    "parse_settings",
    "setting_parameters",
    "settings_in_force",
    "strengths",
    "unknown_variables",
    "variables_read",
]

GROUPS: dict[str, tuple[str, ...]] = {
    title: (*names, *(row.name for row in ROWS.values() if row.group == title))
    for title, names in UVICORN_GROUPS.items()
}
"""The names of the options that `--help` shows in each group; all others come last, under "Other"."""

_OTHER = "Other"

_SECRETS = frozenset({"ssl_keyfile_password"})

# What a help says of a default that is no value.
_DEFAULT_IN_HELP = re.compile(r"\[default: (.*)\]$")

_PREFIX = "BRIDGE_"

# Seconds for requests in flight when code has changed and somebody waits for it.
_GRACEFUL_RELOAD = 1

# Variables without a prefix. uvicorn reads two of them later than its options, and they must be known here to
# be stronger than a file; the third is gunicorn's.
_OTHER_VARIABLES = {
    "workers": "WEB_CONCURRENCY",
    "forwarded_allow_ips": "FORWARDED_ALLOW_IPS",
    "root_path": "SCRIPT_NAME",
}

# What a file must have for an option, by the name of the option's type: Python's types, and words.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "integer": ((int,), "an integer"),
    "integer range": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "float range": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}

# What came, in words. A bool is an int to Python, so it comes first.
_CALLED: list[tuple[type, str]] = [
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
    (date, "a date or a time"),
    (time, "a date or a time"),
]

# An error shows so many characters of a wrong value.
_SHOWN = 60

_STRENGTHS = {ParameterSource.COMMANDLINE: 3, ParameterSource.ENVIRONMENT: 2, ParameterSource.DEFAULT_MAP: 1}

# The stronger one first.
_VARIABLE_FILES = (".env", ".flaskenv")

# Where a context keeps what files say.
_TABLE = "bridge.server.options.table"
_VARIABLES = "bridge.server.options.variables"

_Json: TypeAlias = str | int | float | bool | list[str] | None


def setting_parameters(shown: Container[str] | None = None) -> list[click.Parameter]:
    """The settings as parameters of a click command: `--config`, the app, uvicorn's options, and ours.

    Args:
        shown: the names of those that `--help` shows; None for all. The others are taken all the same.
    """
    parameters = [
        click.Argument(["app"], required=False, envvar="UVICORN_APP"),
        *_uvicorn_options(),
        *map(_option, ROWS.values()),
    ]
    for parameter in parameters:
        ours = [_PREFIX + key.replace("-", "_").upper() for key in _keys(parameter)]
        others = [_OTHER_VARIABLES[parameter.name]] if parameter.name in _OTHER_VARIABLES else []
        parameter.envvar = [*ours, *_names_of_variables(parameter), *others]  # the strongest first
        if shown is not None and isinstance(parameter, click.Option):
            parameter.hidden = parameter.name not in shown
    config = click.Option(
        ["--config"],
        type=click.Path(dir_okay=False),
        envvar=f"{_PREFIX}CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_file,
        help="A file of settings.  [default: bridge.toml, or else [tool.bridge] in pyproject.toml]",
    )
    return [config, *parameters]  # the file may name another, of variables, which is read next


class SettingsCommand(click.Command):
    """A command with the settings as its parameters.

    It shows them in groups, and says which variable or file has a wrong value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what was typed.

        Raises:
            SettingsError: the file of settings cannot be read, or what it says is wrong.
        """
        typed = [argument.partition("=")[0] for argument in args]
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is None or error.param.name is None:
                raise
            source = ctx.get_parameter_source(error.param.name)
            if source is ParameterSource.DEFAULT_MAP:
                _table_of(ctx).fail(error.param.name, error.message.removesuffix("."))
            if source is ParameterSource.ENVIRONMENT:
                error.param_hint = f"{_variable_in_force(error.param)} in the environment"
            raise
        except click.NoSuchOption as error:
            if in_place_of(error.option_name) is None:
                raise
            answers = [
                f"In place of gunicorn's {option}: {answer.replace('`', '')}."
                for option in dict.fromkeys([error.option_name, *typed])
                if (answer := in_place_of(option)) is not None
            ]
            message = "\n".join([error.message, *answers]) if answers[1:] else f"{error.message} {answers[0]}"
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None
        if ctx.params.get("reload") or ctx.params.get("debug"):
            name = "timeout_graceful_shutdown"
            if ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
                ctx.params[name] = _GRACEFUL_RELOAD
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups; those without a group come last."""
        options = {each.name: each for each in self.get_params(ctx) if isinstance(each, click.Option)}
        grouped = {title: [options.pop(name, None) for name in names] for title, names in GROUPS.items()}
        grouped[_OTHER] = list(options.values())
        for title, members in grouped.items():
            records = [member.get_help_record(ctx) for member in members if member is not None]
            shown = [record for record in records if record is not None]
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown)


@dataclass(frozen=True)
class InForce:
    """What one setting is, and why."""

    key: str
    value: _Json
    source: str
    """`flag`, the name of a variable, a file, or `default`."""
    words: str | None = None
    """What the default is, if the option's help has words for it."""

    @property
    def is_default(self) -> bool:
        """Whether nothing sets it."""
        return self.source == "default"

    @property
    def shown(self) -> str:
        """The default in words, if there are any; the value as a file would have it, or a dash for none."""
        if self.is_default and self.words is not None:
            return self.words
        return "-" if self.value is None else json.dumps(self.value, ensure_ascii=False)


def settings_in_force(context: click.Context) -> list[InForce]:
    """What each setting is in a parsed command line, in the order of `--help`. Secrets are not shown.

    Args:
        context: the context of a `SettingsCommand`.
    """
    parameters = {parameter.name: parameter for parameter in _settings_of(context.command.params)}
    order = ["app", *(name for names in GROUPS.values() for name in names), *parameters]
    # What uvicorn takes where an option is not given and has no default.
    unset = uvicorn.Config("", log_config=None)
    found = []
    for name in dict.fromkeys(order):
        if name not in parameters or name not in context.params:
            continue
        value = context.params[name]
        if value is None:
            value = getattr(unset, name, None)
        elif name in _SECRETS:
            value = "***"
        elif isinstance(value, tuple):
            value = list(value)
        parameter = parameters[name]
        words = _DEFAULT_IN_HELP.search(getattr(parameter, "help", None) or "")
        found.append(
            InForce(
                _keys(parameter)[0],
                value,
                _source(context, parameter),
                None if words is None else words[1],
            )
        )
    return found


def strengths(context: click.Context) -> dict[str, int]:
    """How strong the source of each setting is in a parsed command line; see `settings.check_settings`."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: _STRENGTHS[source] for name, source in sources.items() if source in _STRENGTHS}


def unknown_variables() -> dict[str, str]:
    """Variables that look like ours and are not, each with the one that may have been meant."""
    variables = {each for parameter in setting_parameters() for each in _names_of_variables(parameter)}
    known = sorted(name.removeprefix(_PREFIX) for name in variables if name.startswith(_PREFIX))
    given = sorted(name.removeprefix(_PREFIX) for name in os.environ if name.startswith(_PREFIX))
    found = {name: _nearest(name, known) for name in given if name not in known}
    return {_PREFIX + name: _PREFIX + near for name, near in found.items() if near is not None}


def _uvicorn_options() -> list[click.Parameter]:
    """uvicorn's own options, as its command has them, less the few that mean something else here."""
    options = []
    for parameter in uvicorn_command.params:
        if parameter.name in ("app", "interface", "version"):
            continue
        parameter = copy.copy(parameter)
        if parameter.envvar is None and parameter.name is not None:
            parameter.envvar = f"UVICORN_{parameter.name.upper()}"
        if parameter.name == "workers":
            parameter.type = click.IntRange(min=1)  # uvicorn takes any number, and serves with one worker
        if parameter.name == "timeout_graceful_shutdown" and isinstance(parameter, click.Option):
            parameter.default = int(GRACEFUL_SHUTDOWN)
            parameter.help = (
                "Seconds that requests in flight have when the server stops, after --drain-delay. The end of "
                "the process takes 9 seconds more at most: 5 for the app's lifespan and calls given up, 2 "
                "for busy threads, 2 for functions of atexit."
            )
            parameter.show_default = f"{parameter.default}; {_GRACEFUL_RELOAD} with --reload or --debug"
        if parameter.name == "env_file" and isinstance(parameter, click.Option):
            parameter.help = (
                "A file of environment variables, also for settings.  [default: .env and .flaskenv]"
            )
            parameter.show_default = False
            parameter.is_eager = True  # before variables are looked for
            parameter.callback = _read_variables
        if parameter.name == "root_path" and isinstance(parameter, click.Option):
            parameter.help = (
                "The path below which the app is served. A proxy may remove it or leave it there."
            )
            parameter.callback = _checked(check_root_path)
        if parameter.name == "factory" and isinstance(parameter, click.Option):
            parameter.help = "APP is a function without arguments that returns the app."
        if parameter.name == "app_dir" and isinstance(parameter, click.Option):
            parameter.help = "The folder from which APP is imported.  [default: the current one]"
            parameter.show_default = False
        if parameter.name == "use_colors" and isinstance(parameter, click.Option):
            parameter.help = "Colour the log.  [default: on a terminal, unless NO_COLOR is set]"
        if parameter.name == "ssl_version" and isinstance(parameter, click.Option):
            parameter.help = (
                "One version alone, by its number in ssl.  [default: all from --ssl-min-version on]"
            )
            parameter.show_default = False
        if parameter.name == "headers":
            parameter.callback = _checked(_headers)
        options.append(parameter)
    return options


def _option(row: Row) -> click.Option:
    """The option of a row."""

    # click would show an empty default of an option that is repeated.
    return click.Option(
        [row.option],
        type=row.type,
        default=None if row.multiple else row.default,
        show_default=row.default is not None and not row.multiple,
        multiple=row.multiple,
        # It stands for an option of uvicorn's.
        envvar="UVICORN_INTERFACE" if row.name == "interface" else None,
        callback=None if row.take is None else _checked(row.take, is_kept=True),
        help=row.help,
    )


def _checked(
    take: Callable[[Any], Any], *, is_kept: bool = False
) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback of click's that has a function check a value, and says what is wrong with it.

    Args:
        take: makes the value that is used; raises ValueError for a wrong one.
        is_kept: whether the parsed command line keeps the value as it was typed.
    """

    def check(context: click.Context, parameter: click.Parameter, typed: Any) -> Any:
        try:
            value = take(typed)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return typed if is_kept else value

    return check


def check_root_path(root_path: str) -> str:
    """Return a root path in ASGI's form: empty, or with a slash at its beginning and none at its end.

    Raises:
        ValueError: it cannot be the beginning of a path.
    """
    if not root_path.isascii() or not root_path.isprintable():
        raise ValueError(f"{root_path!r} is not printable ASCII")  # uvicorn would fail at every request
    if set(root_path) & set("?#%"):
        raise ValueError(f"{root_path!r} is not a decoded path: it has one of ? # %")
    inner = root_path.strip("/")
    return f"/{inner}" if inner else ""


def _headers(headers: Sequence[str]) -> Sequence[str]:
    for header in headers:
        if ":" not in header:
            raise ValueError(f"{header!r} is not of the form Name:Value")
    return headers


def _keys(parameter: click.Parameter) -> tuple[str, ...]:
    """How a setting is called in files: as the option is typed, or as uvicorn calls it (`headers`)."""
    names = [parameter.opts[0].lstrip("-"), parameter.name or ""]
    return tuple(dict.fromkeys(name.replace("_", "-") for name in names))


def _names_of_variables(parameter: click.Parameter) -> list[str]:
    declared = parameter.envvar
    return [declared] if isinstance(declared, str) else list(declared or ())


def _variable_in_force(parameter: click.Parameter) -> str:
    return next(name for name in _names_of_variables(parameter) if os.environ.get(name))


def _settings_of(parameters: Iterable[click.Parameter]) -> list[click.Parameter]:
    """Those that files may set, and `bridge config` shows."""
    # What has no variable concerns one call of the command alone: --version, --json.
    return [each for each in parameters if each.name and each.expose_value and _names_of_variables(each)]


# Files, and programs


class SettingsError(BridgeError):
    """A setting in a file, or of a program, is wrong; the message is one line that names both."""


@dataclass(frozen=True)
class _Table:
    """What a file, or a program, says of the settings."""

    name: str
    place: str
    """How a message about one of them begins."""
    values: Mapping[str, Any]
    """The values, by the names of the parameters."""
    keys: Mapping[str, str]
    """How each is spelled there."""

    def fail(self, parameter: str, message: str) -> NoReturn:
        """Say that a value is wrong, though it is of the right kind."""
        raise SettingsError(f"{self.place}'{self.keys[parameter]}': {message}") from None


def parse_settings(settings: Mapping[str, Any], caller: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Take a program's settings, as a file's: neither variables nor a file have a part in them.

    Args:
        settings: the values, by the names of the parameters.
        caller: the function that was called, for messages.

    Returns:
        All options by the names of the parameters, and how strong the source of each is; see `strengths`.

    Raises:
        SettingsError: a name is unknown, or a value is wrong.
    """
    command = SettingsCommand("serve", params=setting_parameters())
    known = [each for each in _settings_of(command.params) if each.name != "app"]
    here = [each for each in known if each.name not in GROUPS[CLUSTER]]  # a program has bridge.ray
    table = _checked_table(
        settings, here, caller, f"{caller}: ", within="in arguments of their own", dash="_"
    )
    for parameter in command.params:
        parameter.envvar = None
    command.params = [each for each in known if each.name != "env_file" or "env_file" in table.values]
    context = click.Context(command, default_map=dict(table.values))
    context.meta[_TABLE] = table
    command.parse_args(context, [])
    return {"app": None, "env_file": None, **context.params}, strengths(context)


def _load_file(name: str | None, known: Iterable[click.Parameter]) -> _Table | None:
    """Read the settings in a file: in [tool.bridge] of a `pyproject.toml`, at the top level of any other.

    Args:
        name: the file; None for `bridge.toml`, or else `pyproject.toml`, if that has settings.
        known: what may be set.

    Raises:
        SettingsError: the file cannot be read, or it is not TOML, or a key is unknown, or given twice, or its
            value is of the wrong kind.
    """
    is_named = name is not None
    name = name or next(filter(os.path.isfile, ("bridge.toml", "pyproject.toml")), None)
    if name is None:
        return None
    try:
        with open(name, "rb") as file:
            found: Any = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: byte {error.start} is not UTF-8, which TOML must be") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name} is not TOML: {error}") from None
    place, within = f"{name}: ", "at the top of this file"
    if Path(name).name == "pyproject.toml":
        place, within = f"{place}[tool.bridge] ", "in [tool.bridge] itself"
        tool = found.get("tool")
        if not isinstance(tool, dict) or "bridge" not in tool:
            if not is_named:
                return None
            raise SettingsError(f"{name} has no settings; they belong in a table [tool.bridge]")
        found = tool["bridge"]
        if not isinstance(found, dict):
            raise SettingsError(f"{name}: 'bridge' must be a table, [tool.bridge]; it is {_call(found)}")
    return _checked_table(found, known, name, place, within=within, dash="-")


def _checked_table(
    found: Mapping[str, Any],
    known: Iterable[click.Parameter],
    name: str,
    place: str,
    *,
    within: str,
    dash: str,
) -> _Table:
    """Check names, and the kinds of values.

    Args:
        found: the values, by their keys.
        known: what may be set.
        name: what says so.
        place: how a message begins.
        within: where settings stand, in advice.
        dash: what stands between the words of a key, in advice.

    Raises:
        SettingsError: a key is unknown, or given twice, or its value is of the wrong kind.
    """
    by_key = {key: parameter for parameter in known for key in _keys(parameter)}
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, value in found.items():
        parameter = by_key.get(key.replace("_", "-"))
        if parameter is None or parameter.name is None:
            near = _nearest(key.replace("_", "-"), by_key)
            advice = (
                f"did you mean '{near.replace('-', dash)}'?" if near else "bridge serve --help has them all"
            )
            if isinstance(value, dict):
                advice = f"settings stand {within}, in no table below"
            raise SettingsError(f"{place}there is no setting '{key}'; {advice}")
        types, wanted = _KINDS.get(parameter.type.name, ((str,), "a string"))
        is_right = _is_of(value, types)
        if isinstance(parameter, click.Option) and parameter.multiple:
            wanted = "a list of strings"
            is_right = isinstance(value, list) and all(_is_of(each, types) for each in value)
        if not is_right:
            came = _call(value, secret=parameter.name in _SECRETS)
            raise SettingsError(f"{place}'{key}' must be {wanted}; it is {came}")
        if parameter.name in keys:
            raise SettingsError(
                f"{place}'{key}' and '{keys[parameter.name]}' are the same setting; keep one of them"
            )
        keys[parameter.name] = key
        values[parameter.name] = value
    return _Table(name, place, values, keys)


def _is_of(value: object, types: tuple[type, ...]) -> bool:
    # A bool is an int to Python, and not to TOML.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _call(value: object, *, secret: bool = False) -> str:
    """What came, in words."""
    called = next((name for kind, name in _CALLED if isinstance(value, kind)), f"a {type(value).__name__}")
    if secret or isinstance(value, dict):
        return called
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{called}: {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + '…'}"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another, if any is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _read_file(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Have click take from the file what neither the command line nor a variable says."""
    if context.resilient_parsing:
        return path  # completion: a wrong file is not its business
    known = _settings_of(context.command.params)
    found = _load_file(path, known)
    if found is not None:
        context.meta[_TABLE] = found
        context.default_map = dict(found.values)
    return path


def _table_of(context: click.Context) -> _Table:
    found: _Table = context.meta[_TABLE]
    return found


def _source(context: click.Context, parameter: click.Parameter) -> str:
    name: Any = parameter.name
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    if source is ParameterSource.ENVIRONMENT:
        return _variable_in_force(parameter)
    if source is ParameterSource.DEFAULT_MAP:
        return _table_of(context).name
    return "default"


# Files of variables: `.env` and `.flaskenv`, as Flask's own command reads them, or that of `--env-file`


def variables_read(context: click.Context) -> dict[str, set[str]]:
    """The files of variables that a command line has read, each with the names that it has set."""
    found: dict[str, set[str]] = context.meta[_VARIABLES]
    return found


def is_on(name: str) -> bool:
    """Whether a variable of Flask's says yes, as Flask reads it."""
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def _read_variables(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Put into the environment what files say, less the variables that are there already.

    By default these are `.env` and `.flaskenv`, in the current folder or the nearest one above that has them.
    `FLASK_SKIP_DOTENV=1` leaves them out. A file that is only found may be somebody else's, and unreadable.

    Raises:
        BridgeError: the file of --env-file cannot be read, or one is not UTF-8, or sets what no variable can
            have.
    """
    if context.resilient_parsing:
        return path
    read: dict[str, set[str]] = context.meta.setdefault(_VARIABLES, {})
    if path is None and is_on("FLASK_SKIP_DOTENV"):
        return path
    try:
        from dotenv import find_dotenv, load_dotenv
    except ModuleNotFoundError:
        install = "pip install python-dotenv"
        if path is not None:
            raise BridgeError(f"--env-file needs python-dotenv, which is not installed: {install}") from None
        found = [name for name in _VARIABLE_FILES if os.path.isfile(name)]
        if found:
            message = f"{' and '.join(found)} cannot be read without python-dotenv: {install}"
            complain(message)
        return path
    for name in _VARIABLE_FILES if path is None else [path]:
        file = find_dotenv(name, usecwd=True) if path is None else path
        if not file:
            continue
        before = set(os.environ)
        failure = f"cannot read the variables in {file}"
        try:
            load_dotenv(file, encoding="utf-8")
        except UnicodeDecodeError:
            raise BridgeError(f"{failure}: it is not UTF-8") from None
        except ValueError as error:  # a NUL, which no variable can have
            raise BridgeError(f"{failure}: {error}") from None
        except OSError as error:
            failure += f": {error.strerror or error}"
            if path is not None:
                raise BridgeError(failure) from None
            complain(f"{failure}; going on without them")
        else:
            read[file] = set(os.environ) - before
    return path

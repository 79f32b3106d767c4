"""The settings, each declared once: as an option of the command line, which variables and files feed, too.

uvicorn's options are taken over from its command, not declared again. The command line is stronger than a
variable, and that than a file.
"""

import copy
import json
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import click
import uvicorn
from click.core import ParameterSource
from uvicorn.main import main as uvicorn_command

from bridge.http.limits import Limits
from bridge.interfaces import Interface
from bridge.server.operating_options import operating_options
from bridge.server.root_path import check_root_path
from bridge.server.settings import FileSettings, Kind, Setting, find_settings, nearest, read_settings
from bridge.server.variables import FileVariables, read_variables

__all__ = [
    "GROUPS",
    "INTERFACES",
    "InForce",
    "SettingsCommand",
    "setting_parameters",
    "settings_in_force",
    "unknown_variables",
    "variables_read",
]

INTERFACES: dict[str, Interface | None] = {
    "auto": None,
    "wsgi": "wsgi",
    "asgi": "asgi",
    "asgi3": "asgi",
    "asgi2": "asgi2",
}

# Where `--help` shows each option. What is named nowhere comes last, under "Other".
GROUPS: dict[str, tuple[str, ...]] = {
    "App": ("app_dir", "factory", "interface", "adapter", "async_views", "lifespan", "env_file"),
    "Workers and threads": (
        "workers",
        "threads",
        "streams",
        "websockets",
        "queue_length",
        "queue_timeout",
        "blocking_threshold",
        "settle_gc",
        "loop",
        "limit_max_requests",
        "limit_max_requests_jitter",
        "supervise",
        "preload",
        "timeout_worker_start",
        "timeout_worker_healthcheck",
        "reset_contextvars",
    ),
    "Addresses": ("bind", "host", "port", "uds", "uds_mode", "fd", "backlog"),
    "Health": ("health", "health_live", "health_ready", "readiness", "drain_delay"),
    "Limits and deadlines": (
        "limit_concurrency",
        "limit_request_line",
        "limit_request_fields",
        "limit_request_field_size",
        "limit_request_head",
        "limit_request_body",
        "h11_max_incomplete_event_size",
        "timeout_first_byte",
        "timeout_request_head",
        "timeout_request_body",
        "timeout_request",
        "timeout_keep_alive",
        "timeout_graceful_shutdown",
    ),
    "TLS": (
        "ssl_keyfile",
        "ssl_certfile",
        "ssl_keyfile_password",
        "ssl_version",
        "ssl_min_version",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ciphers",
    ),
    "Logging": (
        "log_level",
        "log_config",
        "access_log",
        "access_log_format",
        "request_id",
        "use_colors",
    ),
    "Metrics": ("metrics_port", "metrics_host", "server_timing"),
    "Proxies": ("proxy_headers", "forwarded_allow_ips", "clear_forwarded", "root_path"),
    "Development": ("debug", "reload", "reload_dirs", "reload_includes", "reload_excludes", "reload_delay"),
}
_OTHER = "Other"

_SECRETS = frozenset({"ssl_keyfile_password"})

_PREFIX = "BRIDGE_"

# Seconds that requests in flight have to finish after a signal; uvicorn would wait for ever.
_GRACEFUL_SHUTDOWN = 25
# The same for who waits for the code that was just changed.
_GRACEFUL_RELOAD = 1

# Variables without a prefix. uvicorn reads two of them later than its options, and they must be known here to
# be stronger than a file; the third is gunicorn's.
_OTHER_VARIABLES = {
    "workers": "WEB_CONCURRENCY",
    "forwarded_allow_ips": "FORWARDED_ALLOW_IPS",
    "root_path": "SCRIPT_NAME",
}

_KINDS: dict[str, Kind] = {
    "integer": "integer",
    "integer range": "integer",
    "float": "number",
    "float range": "number",
    "boolean": "boolean",
}

# Where a context keeps what files say.
_FILE = "bridge.server.options.file"
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
        *_own_options(),
        *_limit_options(),
        *operating_options(),
    ]
    for parameter in parameters:
        parameter.envvar = _variables(parameter)
        if shown is not None and isinstance(parameter, click.Option):
            parameter.hidden = parameter.name not in shown
    config = click.Option(
        ["--config"],
        type=click.Path(dir_okay=False),
        envvar=f"{_PREFIX}CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_file,
        help="The file of settings.  [default: bridge.toml, or else [tool.bridge] in pyproject.toml]",
    )
    return [config, *parameters]  # the file may name another, of variables, which is read next


class SettingsCommand(click.Command):
    """A command with the settings as its parameters.

    It shows them in groups, and says of a wrong value which variable, or which line of a file, has it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what was typed.

        Raises:
            SettingsError: the file of settings cannot be read, or what it says is wrong.
        """
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is None or error.param.name is None:
                raise
            source = ctx.get_parameter_source(error.param.name)
            if source is ParameterSource.DEFAULT_MAP:
                raise _file_of(ctx).error(error.param.name, error.message.removesuffix(".")) from None
            if source is ParameterSource.ENVIRONMENT:
                error.param_hint = f"{_variable_in_force(error.param)} in the environment"
            raise
        if ctx.params.get("reload") or ctx.params.get("debug"):
            name = "timeout_graceful_shutdown"
            if ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
                ctx.params[name] = _GRACEFUL_RELOAD
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups; what is in none of them comes last."""
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
    """`flag`, the name of a variable, a file and its line, or `default`."""

    @property
    def is_default(self) -> bool:
        """Whether nobody has said anything about it."""
        return self.source == "default"

    @property
    def shown(self) -> str:
        """The value as a file would have it, or a dash for none."""
        return "-" if self.value is None else json.dumps(self.value, ensure_ascii=False)


def settings_in_force(context: click.Context) -> list[InForce]:
    """What each setting is in a parsed command line, in the order of `--help`. Secrets are not shown.

    Args:
        context: the context of a `SettingsCommand`.
    """
    parameters = {parameter.name: parameter for parameter in context.command.params}
    order = ["app", *(name for names in GROUPS.values() for name in names), *parameters]
    settings = {setting.name: setting for setting in _settings_of(context.command.params)}
    # What uvicorn takes where an option is not given and has no default.
    unset = uvicorn.Config("", log_config=None)
    found = []
    for name in dict.fromkeys(order):
        if name not in settings or name not in context.params:
            continue
        value = context.params[name]
        if value is None:
            value = getattr(unset, name, None)
        elif name in _SECRETS:
            value = "***"
        elif isinstance(value, tuple):
            value = list(value)
        found.append(InForce(settings[name].key, value, _source(context, parameters[name])))
    return found


def unknown_variables() -> dict[str, str]:
    """Variables that look like ours and are not, each with the one that may have been meant."""
    variables = {each for parameter in setting_parameters() for each in _names_of_variables(parameter)}
    known = sorted(name.removeprefix(_PREFIX) for name in variables if name.startswith(_PREFIX))
    given = sorted(name.removeprefix(_PREFIX) for name in os.environ if name.startswith(_PREFIX))
    found = {name: nearest(name, known) for name in given if name not in known}
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
        if parameter.name == "timeout_graceful_shutdown" and isinstance(parameter, click.Option):
            parameter.default = _GRACEFUL_SHUTDOWN
            parameter.show_default = f"{_GRACEFUL_SHUTDOWN}; {_GRACEFUL_RELOAD} with --reload or --debug"
        if parameter.name == "env_file" and isinstance(parameter, click.Option):
            parameter.help = "A file of variables, which may be settings, too.  [default: .env and .flaskenv]"
            parameter.show_default = False
            parameter.is_eager = True  # before variables are looked for
            parameter.callback = _read_variables
        if parameter.name == "root_path" and isinstance(parameter, click.Option):
            parameter.help = "The path below which the app is served, whether a proxy takes it off or not."
            parameter.callback = _check_root_path
        if parameter.name == "headers":
            parameter.callback = _check_headers
        options.append(parameter)
    return options


def _own_options() -> list[click.Parameter]:
    """What Bridge adds."""
    return [
        click.Option(
            ["--interface"],
            type=click.Choice(list(INTERFACES)),
            envvar="UVICORN_INTERFACE",
            default="auto",
            show_default=True,
            help="What the app speaks, if it cannot be told.",
        ),
        click.Option(
            ["--adapter"],
            type=click.Choice(["bridge", "a2wsgi", "asgiref"]),
            default="bridge",
            show_default=True,
            help="What runs a WSGI app; the other two are there to compare.",
        ),
        click.Option(
            ["--threads"],
            type=click.IntRange(min=1),
            default=40,
            show_default=True,
            help="How many calls of a WSGI app may run at once.",
        ),
        click.Option(
            ["--streams"],
            type=click.IntRange(min=0),
            default=1000,
            show_default=True,
            help="How many responses more may be streaming for over a second.",
        ),
        click.Option(
            ["--websockets"],
            type=click.IntRange(min=0),
            default=1000,
            show_default=True,
            help="How many websockets a library such as Flask-Sock may serve at once, each in a thread more.",
        ),
        click.Option(
            ["--async-views"],
            type=click.Choice(["auto", "loop", "thread"]),
            default="auto",
            show_default=True,
            help="Where async Flask views run: on the event loop, or in a thread, as Flask has it. "
            "auto: on the loop if every hook is async or known to be safe in any thread; "
            "`bridge routes` says where, and why.",
        ),
        click.Option(
            ["--blocking-threshold"],
            type=click.FloatRange(min=0),
            default=None,
            help="Warn of code that holds the event loop for so many seconds; 0 for never.  "
            "[default: 0.1 for a Flask app with async views on the loop, or in debug mode]",
        ),
        click.Option(
            ["--debug/--no-debug"],
            default=False,
            show_default=True,
            help="Reload, show errors in Werkzeug's debugger, and warn of code that holds the event loop; "
            "on this machine alone.",
        ),
        click.Option(
            ["--ssl-min-version"],
            type=click.Choice(["1.2", "1.3"]),
            default="1.2",
            show_default=True,
            help="The oldest version of TLS that is spoken.",
        ),
        click.Option(
            ["--settle-gc/--no-settle-gc"],
            default=True,
            show_default=True,
            help="Have the garbage collector leave the loaded app alone, and come less often.",
        ),
    ]


def _limit_options() -> list[click.Parameter]:
    """What is accepted of one request."""
    return [
        _limit("--limit-request-line", "request_line", "Bytes of a request's first line; more is a 414."),
        _limit("--limit-request-fields", "header_count", "Header fields of a request; more is a 431."),
        _limit("--limit-request-field-size", "header_size", "Bytes of one header field; more is a 431."),
        _limit("--limit-request-head", "head_size", "Bytes of all header fields; more is a 431."),
        click.Option(
            ["--limit-request-body"],
            type=click.IntRange(min=0),
            default=None,
            help="Bytes of a request's body; more is a 413.  [default: any number]",
        ),
        _deadline("--timeout-first-byte", "first_byte", "Seconds until a connection's first byte."),
        _deadline("--timeout-request-head", "head_time", "Seconds from there to the end of a head."),
        _deadline("--timeout-request-body", "body_pause", "Seconds without a byte of an unfinished body."),
    ]


def _limit(name: str, field: str, meaning: str) -> click.Option:
    return click.Option(
        [name], type=click.IntRange(min=1), default=getattr(Limits(), field), show_default=True, help=meaning
    )


def _deadline(name: str, field: str, meaning: str) -> click.Option:
    return click.Option(
        [name],
        type=click.FloatRange(min=0, min_open=True),
        default=getattr(Limits(), field),
        show_default=True,
        help=f"{meaning}  Then it is a 408.",
    )


def _check_root_path(context: click.Context, parameter: click.Parameter, root_path: str) -> str:
    try:
        return check_root_path(root_path)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--root-path") from None


def _check_headers(
    context: click.Context, parameter: click.Parameter, headers: Sequence[str]
) -> Sequence[str]:
    for header in headers:
        if ":" not in header:
            raise click.BadParameter(f"{header!r} is not of the form Name:Value", param_hint="--header")
    return headers


def _keys(parameter: click.Parameter) -> tuple[str, ...]:
    """How a setting is called in files: as the option is typed, or as uvicorn calls it (`headers`)."""
    names = [parameter.opts[0].lstrip("-"), parameter.name or ""]
    return tuple(dict.fromkeys(name.replace("_", "-") for name in names))


def _variables(parameter: click.Parameter) -> list[str]:
    """The variables that may set a parameter, the strongest first."""
    ours = [_PREFIX + key.replace("-", "_").upper() for key in _keys(parameter)]
    others = [_OTHER_VARIABLES[parameter.name]] if parameter.name in _OTHER_VARIABLES else []
    return [*ours, *_names_of_variables(parameter), *others]


def _names_of_variables(parameter: click.Parameter) -> list[str]:
    declared = parameter.envvar
    return [declared] if isinstance(declared, str) else list(declared or ())


def _variable_in_force(parameter: click.Parameter) -> str:
    return next(name for name in _names_of_variables(parameter) if os.environ.get(name))


def _settings_of(parameters: Iterable[click.Parameter]) -> list[Setting]:
    """What files may say, as the parameters declare it."""
    return [
        Setting(
            name=parameter.name,
            keys=_keys(parameter),
            kind=_KINDS.get(parameter.type.name, "text"),
            repeated=isinstance(parameter, click.Option) and parameter.multiple,
            secret=parameter.name in _SECRETS,
        )
        for parameter in parameters
        # Without a variable of ours it is not a setting, but a wish: --version, --json.
        if parameter.name is not None and parameter.expose_value and _names_of_variables(parameter)
    ]


def _read_file(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Have click take from the file what neither the command line nor a variable says."""
    if context.resilient_parsing:
        return path  # completion: a wrong file is not its business
    known = _settings_of(context.command.params)
    found = find_settings(known) if path is None else read_settings(path, known)
    if found is not None:
        context.meta[_FILE] = found
        context.default_map = dict(found.values)
    return path


def _read_variables(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Read a file of variables, or those that Flask's own command reads: any setting may be in them."""
    if not context.resilient_parsing:
        found, hints = read_variables(path)
        context.meta[_VARIABLES] = found
        for hint in hints:
            click.echo(f"bridge: {hint}", err=True)
    return path


def variables_read(context: click.Context) -> list[FileVariables]:
    """The files of variables that were read for a parsed command line, and what they have set."""
    found: list[FileVariables] = context.meta[_VARIABLES]
    return found


def _file_of(context: click.Context) -> FileSettings:
    found: FileSettings = context.meta[_FILE]
    return found


def _source(context: click.Context, parameter: click.Parameter) -> str:
    name: Any = parameter.name
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "flag"
    if source is ParameterSource.ENVIRONMENT:
        return _variable_in_force(parameter)
    if source is ParameterSource.DEFAULT_MAP:
        return _file_of(context).place(name)
    return "default"

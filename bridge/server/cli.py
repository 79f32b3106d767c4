"""The command line: `bridge serve`. uvicorn's options are taken over from its command, not declared again."""

import copy
import importlib.metadata
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import click
import uvicorn
from uvicorn.main import main as uvicorn_command

from bridge import __version__
from bridge.errors import BridgeError
from bridge.interfaces import Interface
from bridge.server.application import AdapterName, AsyncViews, ServeSettings
from bridge.server.limits import Limits
from bridge.server.naming import find_app
from bridge.server.serving import STARTUP_FAILURE, ServeConfig, default_log_config, serve

__all__ = ["bridge", "make_config"]

_Decorator: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]

_INTERFACES: dict[str, Interface | None] = {
    "auto": None,
    "wsgi": "wsgi",
    "asgi": "asgi",
    "asgi3": "asgi",
    "asgi2": "asgi2",
}

# Seconds that requests in flight have to finish after a signal; uvicorn would wait for ever.
_GRACEFUL_SHUTDOWN = 25


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    click.echo(
        f"bridge {__version__}, uvicorn {importlib.metadata.version('uvicorn')}, "
        f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    )
    context.exit()


_version_option = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show versions."
)


@click.group()
@_version_option
def bridge() -> None:
    """Run Flask, and any WSGI app, on ASGI."""


def _uvicorn_options() -> list[click.Parameter]:
    """uvicorn's own options, as its command has them, less the few that mean something else here."""
    options = []
    for parameter in uvicorn_command.params:
        if parameter.name in ("app", "interface", "version"):
            continue
        parameter = copy.copy(parameter)
        if parameter.envvar is None and parameter.name is not None:
            parameter.envvar = f"UVICORN_{parameter.name.upper()}"
        if parameter.name == "timeout_graceful_shutdown":
            parameter.default = _GRACEFUL_SHUTDOWN
            cast(click.Option, parameter).show_default = True
        options.append(parameter)
    return options


def _limit_option(name: str, field: str, meaning: str) -> _Decorator:
    return click.option(
        name, type=click.IntRange(min=1), default=getattr(Limits(), field), show_default=True, help=meaning
    )


def _deadline_option(name: str, field: str, meaning: str) -> _Decorator:
    return click.option(
        name,
        type=click.FloatRange(min=0, min_open=True),
        default=getattr(Limits(), field),
        show_default=True,
        help=f"{meaning}  Then it is a 408.",
    )


@bridge.command("serve", params=_uvicorn_options())
@click.argument("app", required=False, envvar="UVICORN_APP")
@_version_option
@click.option(
    "--interface",
    type=click.Choice(list(_INTERFACES)),
    envvar="UVICORN_INTERFACE",
    default="auto",
    show_default=True,
    help="What the app speaks, if it cannot be told.",
)
@click.option(
    "--adapter",
    type=click.Choice(["bridge", "a2wsgi", "asgiref"]),
    default="bridge",
    show_default=True,
    help="What runs a WSGI app; the other two are there to compare.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="How many calls of a WSGI app may run at once.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="How many responses more may be streaming for over a second.",
)
@click.option(
    "--async-views",
    type=click.Choice(["loop", "thread"]),
    default="loop",
    show_default=True,
    help="Where requests run whose Flask view is async: on the event loop, or in a thread each.",
)
@click.option(
    "--blocking-threshold",
    type=click.FloatRange(min=0),
    default=None,
    help="Warn of code that holds the event loop for so many seconds; 0 for never.  "
    "[default: 0.1 for a Flask app in debug mode]",
)
@click.option(
    "--settle-gc/--no-settle-gc",
    default=True,
    show_default=True,
    help="Have the garbage collector leave the loaded app alone, and come less often.",
)
@_limit_option("--limit-request-line", "request_line", "Bytes of a request's first line; more is a 414.")
@_limit_option("--limit-request-fields", "header_count", "Header fields of a request; more is a 431.")
@_limit_option("--limit-request-field-size", "header_size", "Bytes of one header field; more is a 431.")
@_limit_option("--limit-request-head", "head_size", "Bytes of all header fields; more is a 431.")
@click.option(
    "--limit-request-body",
    type=click.IntRange(min=0),
    default=None,
    help="Bytes of a request's body; more is a 413.  [default: any number]",
)
@_deadline_option("--timeout-first-byte", "first_byte", "Seconds until a connection's first byte.")
@_deadline_option("--timeout-request-head", "head_time", "Seconds from there to the end of a head.")
@_deadline_option("--timeout-request-body", "body_pause", "Seconds without a byte of an unfinished body.")
def serve_command(app: str | None, **options: Any) -> None:
    """Serve APP: module:attribute, module:factory(), module, or a .py file.

    Without APP: FLASK_APP, wsgi.py or app.py, as Flask's own command does.
    """
    sys.path.insert(0, options["app_dir"] or os.getcwd())
    try:
        code = serve(make_config(app, options))
    except BridgeError as error:
        click.echo(f"bridge: {error}", err=True)
        code = STARTUP_FAILURE
    sys.exit(code)


def make_config(app: str | None, options: dict[str, Any]) -> ServeConfig:
    """The configuration that a command line asks for.

    Args:
        app: what to serve, or None to find it.
        options: the parsed options of the command, by their names.

    Raises:
        AppError: there is no app to be found.
    """
    settings = ServeSettings(
        target=app or _find_app(options),
        factory=options["factory"],
        interface=_INTERFACES[options["interface"]],
        adapter=cast(AdapterName, options["adapter"]),
        threads=options["threads"],
        streams=options["streams"],
        async_views=cast(AsyncViews, options["async_views"]),
        blocking_threshold=options["blocking_threshold"],
        graceful_timeout=options["timeout_graceful_shutdown"],
        settle_gc=options["settle_gc"],
        limits=Limits(
            request_line=options["limit_request_line"],
            header_count=options["limit_request_fields"],
            header_size=options["limit_request_field_size"],
            head_size=options["limit_request_head"],
            body_size=options["limit_request_body"],
            first_byte=options["timeout_first_byte"],
            head_time=options["timeout_request_head"],
            body_pause=options["timeout_request_body"],
        ),
    )
    return ServeConfig(settings, **_config_options(options))


def _find_app(options: dict[str, Any]) -> str:
    """What Flask's own command would serve, which reads .env and .flaskenv before it looks for FLASK_APP."""
    # Comes with uvicorn[standard]; where it is missing, so is what --env-file needs.
    from dotenv import find_dotenv, load_dotenv

    if options["env_file"] is not None:
        load_dotenv(options["env_file"])  # uvicorn reads it as well, but later
    elif not os.environ.get("FLASK_SKIP_DOTENV"):
        for name in (".env", ".flaskenv"):
            found = find_dotenv(name, usecwd=True)
            if found:
                load_dotenv(found)
    return find_app(options["app_dir"] or ".")


def _config_options(options: dict[str, Any]) -> dict[str, Any]:
    """What of the command line's options `uvicorn.Config` takes, in the form in which it takes them."""
    known = inspect.signature(uvicorn.Config).parameters.keys() - {"app", "factory", "interface"}
    taken = {name: value for name, value in options.items() if name in known}
    for name, value in taken.items():
        if isinstance(value, tuple):
            taken[name] = list(value) or None
    taken["headers"] = [_split_header(header) for header in options["headers"]]
    if taken["log_config"] is None:
        taken["log_config"] = default_log_config()
    return taken


def _split_header(header: str) -> tuple[str, str]:
    name, separator, value = header.partition(":")
    if not separator:
        raise click.BadParameter(f"{header!r} is not of the form Name:Value", param_hint="--header")
    return name, value

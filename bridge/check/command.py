"""The commands `bridge routes`, `bridge check` and `bridge trace`."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from bridge.check.checking import Request, check_app
from bridge.check.output import print_report, print_routes
from bridge.check.routes import list_routes
from bridge.check.tracing import parse_request, print_trace
from bridge.interfaces import as_asgi3
from bridge.loading import LoadedApp, check_names, load_app
from bridge.server.application import adapt, make_adapter
from bridge.server.cli import bridge, make_settings
from bridge.server.options import SettingsCommand, setting_parameters
from bridge.server.settings import ServeSettings, app_dir_of
from bridge.trace import trace_request

__all__ = ["check_command", "routes_command", "trace_command"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_AS_SERVED = """
The command takes the app as `bridge serve` would serve it: by the same options, variables and file.
"""

# What decides which app it is, and how it runs.
_OF_AN_APP = ("app_dir", "factory", "interface", "adapter", "async_views", "env_file")

_HAS_FINDINGS = 1

# What a request's target may hold as it is: RFC 3986, and what is escaped already.
_IN_TARGETS = "/?:@!$&'()*+,;=-._~%"


def _timeout(event: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        help=f"Seconds to wait for {event}.",
    )


@bridge.command(
    "routes",
    cls=SettingsCommand,
    params=setting_parameters(_OF_AN_APP),
    short_help="List a Flask app's routes, and where each runs.",
    epilog=_AS_SERVED,
)
def routes_command(app: str | None, **options: Any) -> None:
    """List the routes of a Flask APP, and where each runs: on the event loop or in a thread.

    APP is what `bridge serve` takes.
    """
    settings = make_settings(app, options)
    print_routes(list_routes(_load(settings, options), async_views=settings.async_runner))


@bridge.command(
    "check",
    cls=SettingsCommand,
    params=setting_parameters(_OF_AN_APP),
    short_help="Find where an app breaks PEP 3333.",
    epilog=_AS_SERVED,
)
@click.option(
    "--request",
    "requests",
    multiple=True,
    metavar="'[METHOD] PATH'",
    callback=lambda _context, _parameter, given: tuple(map(_parse, given)),
    help="Make this request, such as /user/7 or 'POST /cart'. Several may be given.",
)
@click.option(
    "--all",
    "all_routes",
    is_flag=True,
    help="Make these: GET, HEAD and OPTIONS of /, GET of a path that is not there, and GET of all routes of "
    "a Flask app without arguments, 50 at most.",
)
@click.option("--with-lifespan", is_flag=True, help="Run the app's start-up and shutdown hooks.")
@_timeout("each answer")
def check_command(
    app: str | None,
    requests: tuple[Request, ...],
    *,
    all_routes: bool,
    with_lifespan: bool,
    timeout: float,
    **options: Any,
) -> None:
    """Say what of a WSGI APP runs where, and what it breaks of PEP 3333 in the requests that you name.

    The app is imported. Nothing in it is called without --request, --all or --with-lifespan: a GET may change
    something, too. APP is what `bridge serve` takes. The exit code is 1 if there are violations.
    """
    settings = make_settings(app, options)
    report = check_app(
        _load(settings, options),
        requests=requests,
        all_routes=all_routes,
        with_lifespan=with_lifespan,
        adapt=lambda wsgi_app: make_adapter(wsgi_app, settings),
        timeout=timeout,
        begin=_show_progress,
    )
    _show_progress("")
    print_report(report)
    sys.exit(_HAS_FINDINGS if report.violations else 0)


def _show_progress(text: str) -> None:
    """Show one line in a terminal, in place of the line before."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


@bridge.command(
    "trace",
    cls=SettingsCommand,
    params=setting_parameters(_OF_AN_APP),
    short_help="Show the way of one request through the app.",
    epilog=_AS_SERVED,
)
@click.argument("request", nargs=-1, metavar="[METHOD] PATH")
@click.option("-H", "request_headers", multiple=True, metavar="'NAME: VALUE'", help="A header field.")
@click.option("-d", "data", multiple=True, metavar="TEXT|@FILE", help="The body; METHOD is POST, then.")
@click.option("--body", "with_body", is_flag=True, help="Print the body of the response, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_timeout("the end of the response")
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
    asked = parse_request(app, request, request_headers, data)
    settings = make_settings(app, options)
    loaded = _load(settings, options)
    traced = asyncio.run(
        trace_request(
            loaded.app if loaded.interface == "wsgi" else as_asgi3(loaded.app, loaded.interface),
            *asked,
            adapt=lambda wsgi_app: adapt(wsgi_app, settings),
            interface="wsgi" if loaded.interface == "wsgi" else "asgi",
            root_path=options["root_path"],
            deadline=timeout,
        )
    )
    print_trace(traced, as_json=as_json, with_body=with_body, use_colors=options["use_colors"])
    sys.exit(0 if traced.exchange.status is not None else _HAS_FINDINGS)


def _parse(given: str) -> Request:
    method, _, path = given.strip().rpartition(" ")
    if not path.startswith("/"):
        raise click.BadParameter(f"{given!r} is no path, such as /user/7, nor a method and a path")
    return Request(method.strip().upper() or "GET", quote(path, safe=_IN_TARGETS))


def _load(settings: ServeSettings, options: dict[str, Any]) -> LoadedApp:
    """Load the app in this process, with the path that it would be served with."""
    folder = app_dir_of(options)
    check_names(folder)
    sys.path.insert(0, folder)
    return load_app(settings.target, factory=settings.factory, interface=settings.interface)

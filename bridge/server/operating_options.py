"""Options of what those decide who run a server: who may wait, where it listens, what it says of itself."""

import re

import click

from bridge.server.hooks.access_log import check_format

__all__ = ["operating_options"]


def operating_options() -> list[click.Parameter]:
    """What those who run a server decide."""
    return [
        click.Option(
            ["--queue-length"],
            type=click.IntRange(min=0),
            default=1000,
            show_default=True,
            help="How many requests may wait for a thread; more are a 503.",
        ),
        click.Option(
            ["--queue-timeout"],
            type=click.FloatRange(min=0),
            default=30.0,
            show_default=True,
            help="Seconds that each may wait for one, before it is a 503; 0 for ever.",
        ),
        click.Option(
            ["--timeout-request"],
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="Seconds that a request may take, with its response, before it is a 504; 0 for ever.",
        ),
        click.Option(
            ["--supervise/--no-supervise"],
            default=None,
            help="Have a process watch over the workers and replace them without a gap, also over one.  "
            "[default: with several workers, or with --limit-max-requests]",
        ),
        click.Option(
            ["--preload/--no-preload"],
            default=False,
            show_default=True,
            help="Load the app once, in the supervisor, and fork the workers, which share its memory then. "
            "While it is loaded it may start no thread or event loop. SIGHUP does not load new code.",
        ),
        click.Option(
            ["--timeout-worker-start"],
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            show_default=True,
            help="Seconds that a worker may take to serve; then it is killed, and another started.",
        ),
        click.Option(
            ["--bind"],
            multiple=True,
            help="Listen on host:port, [IPv6 address]:port, unix:PATH or fd:NUMBER, in the place of the "
            "other options for addresses; may be given several times.",
        ),
        click.Option(
            ["--uds-mode"],
            default="600",
            show_default=True,
            callback=_check_mode,
            help="Who may connect to a unix socket, as octal permissions.",
        ),
        click.Option(
            ["--health/--no-health"],
            default=True,
            show_default=True,
            help="Answer for the server's health, without a thread.",
        ),
        click.Option(
            ["--health-live"],
            default="/-/health/live",
            show_default=True,
            help="The path that says whether the server is alive.",
        ),
        click.Option(
            ["--health-ready"],
            default="/-/health/ready",
            show_default=True,
            help="The path that says whether it should get requests.",
        ),
        click.Option(
            ["--readiness"],
            help="module:function, async or not, that says whether the app can serve.  "
            "[default: that of bridge.flask.Bridge]",
        ),
        click.Option(
            ["--drain-delay"],
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="Seconds to go on serving after a signal, not ready, for load balancers to notice.",
        ),
        click.Option(
            ["--access-log-format"],
            callback=_check_access_log_format,
            help="A line for each request: gunicorn's %(h)s and so on, or json.  [default: uvicorn's line]",
        ),
        click.Option(
            ["--request-id/--no-request-id"],
            default=False,
            show_default=True,
            help="Take each request's id from X-Request-ID, or make one, and answer with it.",
        ),
        click.Option(
            ["--clear-forwarded/--keep-forwarded"],
            default=False,
            show_default=True,
            help="Keep Forwarded, X-Forwarded-For and the like from the app, unless the client is one of "
            "--forwarded-allow-ips. An app that reads them itself, as with Werkzeug's ProxyFix, goes without "
            "then if its proxy is not among those.",
        ),
        click.Option(
            ["--server-timing/--no-server-timing"],
            default=False,
            show_default=True,
            help="Tell clients how long a request waited for a thread, and was in the app: Server-Timing.",
        ),
        click.Option(
            ["--metrics-port"],
            type=click.IntRange(0, 65535),
            default=None,
            help="Serve figures for Prometheus on this port; 0 for any free one.  [default: no figures]",
        ),
        click.Option(
            ["--metrics-host"],
            default="127.0.0.1",
            show_default=True,
            help="The address for them.",
        ),
    ]


def _check_mode(context: click.Context, parameter: click.Parameter, mode: str) -> str:
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise click.BadParameter(f"{mode!r} is not octal permissions, such as 660", param_hint="--uds-mode")
    return mode


def _check_access_log_format(
    context: click.Context, parameter: click.Parameter, format: str | None
) -> str | None:
    if format is not None:
        try:
            check_format(format)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--access-log-format") from None
    return format

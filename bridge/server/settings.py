"""The settings of `bridge serve`: one row each.

A row is a field of `ServeSettings`, and declares all of a setting. `options.py` makes the options, the groups
of `--help`, the variables and the keys of files from the rows. uvicorn's settings come from uvicorn's own
command; only their groups stand here.
"""

import dataclasses
import inspect
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import click

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.mounts import check_prefixes
from bridge.errors import BridgeError
from bridge.http.limits import Limits
from bridge.interfaces import Interface
from bridge.ray import parse_replicas
from bridge.server.hooks.access_log import compile_format
from bridge.types import AsyncViews

__all__ = [
    "CLUSTER",
    "GRACEFUL_SHUTDOWN",
    "ROWS",
    "UVICORN_GROUPS",
    "AdapterName",
    "Row",
    "ServeSettings",
    "TLSVersionName",
    "app_dir_of",
    "check_settings",
    "unused_on_ray",
]

AdapterName: TypeAlias = Literal["bridge", "a2wsgi", "asgiref"]
TLSVersionName: TypeAlias = Literal["1.2", "1.3"]

_INTERFACES: dict[str, Interface | None] = {
    "auto": None,
    "wsgi": "wsgi",
    "asgi": "asgi",
    "asgi3": "asgi",
    "asgi2": "asgi2",
}

# The groups of `--help`, in their order, and uvicorn's settings in each. The rest of uvicorn's come last.
UVICORN_GROUPS: dict[str, tuple[str, ...]] = {
    "App": ("app_dir", "factory", "lifespan", "env_file"),
    "Workers and threads": (
        "workers",
        "loop",
        "limit_max_requests",
        "limit_max_requests_jitter",
        "timeout_worker_healthcheck",
        "reset_contextvars",
    ),
    "Addresses": ("host", "port", "uds", "fd", "backlog"),
    "On a Ray cluster": (),
    "Health": (),
    "Limits and deadlines": (
        "limit_concurrency",
        "h11_max_incomplete_event_size",
        "timeout_keep_alive",
        "timeout_graceful_shutdown",
    ),
    "TLS": (
        "ssl_keyfile",
        "ssl_certfile",
        "ssl_keyfile_password",
        "ssl_version",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ciphers",
    ),
    "Logging": ("log_level", "log_config", "access_log", "use_colors"),
    "Metrics": (),
    "Proxies": ("proxy_headers", "forwarded_allow_ips", "root_path"),
    "Development": ("reload", "reload_dirs", "reload_includes", "reload_excludes", "reload_delay"),
}


@dataclass(frozen=True)
class Row:
    """One setting.

    Args:
        option: how it is typed: `--threads`, or `--preload/--no-preload`.
        default: its value as it would be typed; None for none.
        group: the group of `--help` that shows it.
        help: what it does, in a line or two.
        type: the values that it takes; None for any text.
        multiple: whether it may be typed several times.
        take: makes the server's value of the typed one; raises ValueError for a wrong one.
    """

    option: str
    default: Any
    group: str
    help: str
    type: "click.ParamType[Any] | None"
    multiple: bool
    take: Callable[[Any], Any] | None

    @property
    def name(self) -> str:
        """The name that the parsed command line knows it by."""
        return self.option.partition("/")[0].lstrip("-").replace("-", "_")

    def value(self, typed: Any) -> Any:
        """The server's value of what was typed."""
        return typed if self.take is None else self.take(typed)


def _setting(
    group: str,
    default: Any,
    help: str,
    *,
    option: str | None = None,
    type: "click.ParamType[Any] | None" = None,
    multiple: bool = False,
    take: Callable[[Any], Any] | None = None,
) -> Any:
    """A field of `ServeSettings` with its row; see `Row`. The option has the field's name by default."""

    def row(field: str) -> Row:
        typed = "--" + field.replace("_", "-")
        if isinstance(default, bool):
            typed += f"/--no-{typed[2:]}"
        return Row(option or typed, default, group, help, type, multiple, take)

    return dataclasses.field(default=default if take is None else take(default), metadata={"row": row})


def _of_adapter(name: str) -> Any:
    """The adapter's own default of an argument."""
    return inspect.signature(WSGIToASGI).parameters[name].default


def _positive_or_none(seconds: float) -> float | None:
    """0 stands for no limit."""
    return seconds or None


def _permissions(mode: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", mode):
        raise ValueError(f"{mode!r} is not octal permissions, such as 660")
    return int(mode, 8)


def _mounts(typed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [each.partition("=") for each in typed]
    for prefix, _, target in pairs:
        if not prefix or not target:
            raise ValueError(f"{prefix or target!r} is not of the form PREFIX=APP, as in /api=api:app")
    prefixes = check_prefixes([prefix for prefix, _, _ in pairs])
    return tuple(zip(prefixes, (target for _, _, target in pairs), strict=True))


def _health_path(path: str) -> str | None:
    if path and not path.startswith("/"):
        raise ValueError(f"{path!r} is not a path: it must begin with a slash, or be empty for none")
    return path or None


def _log_format(format: str | None) -> str | None:
    if format is not None:
        compile_format(format)
    return format


_app = partial(_setting, "App")
_workers = partial(_setting, "Workers and threads")
_address = partial(_setting, "Addresses")
CLUSTER = "On a Ray cluster"
"""The group of the settings that a command has, and no program: that calls `bridge.ray.deployment`."""

_ray = partial(_setting, CLUSTER)
_health = partial(_setting, "Health")
_limit = partial(_setting, "Limits and deadlines")
_tls = partial(_setting, "TLS")
_log = partial(_setting, "Logging")
_metrics = partial(_setting, "Metrics")
_proxies = partial(_setting, "Proxies")
_development = partial(_setting, "Development")

_LIMITS = Limits()

_COUNT = click.IntRange(min=0)
_POSITIVE_COUNT = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0)
_POSITIVE_SECONDS = click.FloatRange(min=0, min_open=True)

# Seconds that requests in flight have to finish after a signal; uvicorn would wait for ever.
GRACEFUL_SHUTDOWN: float = _of_adapter("graceful_timeout")


@dataclass(frozen=True)
class ServeSettings:
    """What `bridge serve` adds to uvicorn's settings. Travels to worker processes by pickle.

    The first four are of uvicorn's command, and have no row.
    """

    target: str | Callable[..., Any]
    """What to serve, by name, or an app that a program has; empty for the mounts alone."""
    app_dir: str | None = None
    """The folder to import the app from, before all others; None for none."""
    factory: bool = False
    graceful_timeout: float | None = GRACEFUL_SHUTDOWN

    interface: Interface | None = _app(
        "auto",
        "What the app speaks, if Bridge cannot tell.",
        type=click.Choice(list(_INTERFACES)),
        take=_INTERFACES.__getitem__,
    )
    adapter: AdapterName = _app(
        "bridge",
        "What runs a WSGI app; a2wsgi and asgiref are for comparison.",
        type=click.Choice(get_args(AdapterName)),
    )
    mounts: tuple[tuple[str, str], ...] = _app(
        (),
        "Serve another app, WSGI or ASGI, below a prefix, as in /api=api:app. May be repeated.",
        option="--mount",
        multiple=True,
        take=_mounts,
    )
    async_views: AsyncViews = _app(
        _of_adapter("async_views"),
        "Where async Flask views run: on the event loop, or in a thread, as in Flask. "
        "auto: on the loop if every hook is async or known to be safe in any thread. "
        "`bridge routes` shows where each runs, and why.",
        type=click.Choice(["auto", "loop", "thread"]),
    )

    threads: int = _workers(
        _of_adapter("threads"), "How many calls of a WSGI app run at once.", type=_POSITIVE_COUNT
    )
    streams: int = _workers(
        _of_adapter("streams"), "How many more responses may stream for longer than a second.", type=_COUNT
    )
    websockets: int = _workers(
        _of_adapter("websockets"),
        "How many websockets of libraries such as Flask-Sock may be open; each has its own thread.",
        type=_COUNT,
    )
    queue_length: int | None = _workers(
        1000, "How many requests may wait for a thread. Others get a 503.", type=_COUNT
    )
    queue_timeout: float | None = _workers(
        30.0,
        "Seconds that a request may wait for a thread before it gets a 503; 0 for no limit.",
        type=_SECONDS,
        take=_positive_or_none,
    )
    blocking_threshold: float | None = _workers(
        None,
        "Warn of code that blocks the event loop for this many seconds; 0 for never.  "
        "[default: 0.1 for a Flask app with async views on the loop, or in debug mode]",
        type=_SECONDS,
    )
    settle_gc: bool = _workers(
        True, "Keep the garbage collector away from the loaded app, and run it less often."
    )
    supervise: bool | None = _workers(
        None,
        "Have a supervisor watch the workers, even a single one, and replace them without a gap.  "
        "[default: with several workers, or with --limit-max-requests]",
        option="--supervise/--no-supervise",
    )
    preload: bool = _workers(
        False,
        "Load the app once, in the supervisor, and fork the workers, which then share its memory. "
        "While it loads, the app must start no thread or event loop. SIGHUP does not load new code.",
    )
    worker_start_timeout: float = _workers(
        60.0,
        "Seconds until a new worker must serve; a slower one is killed and replaced.",
        option="--timeout-worker-start",
        type=_POSITIVE_SECONDS,
    )

    binds: tuple[str, ...] = _address(
        (),
        "Listen on host:port, [IPv6 address]:port, unix:PATH or fd:NUMBER, in place of the "
        "options above. May be repeated.",
        option="--bind",
        multiple=True,
        take=tuple[str, ...],
    )
    uds_mode: int = _address(
        "600", "The permissions of a unix socket, in octal: who may connect.", take=_permissions
    )

    on: Literal["ray"] | None = _ray(
        None,
        "Serve on the Ray cluster of RAY_ADDRESS, or the one that runs here, or else on one of this machine "
        "that ends with the command. Needs ray[serve].",
        type=click.Choice(["ray"]),
    )
    replicas: tuple[int, int] = _ray(
        "1",
        "How many processes serve the app there: a number, or a range such as 2..20, within which Ray "
        "follows the load.",
        take=parse_replicas,
    )
    detach: bool = _ray(
        False,
        "End the command once the app serves there, and leave it running; one of the same name is replaced.",
    )

    health: bool = _health(True, "Answer health checks, without a thread.")
    health_live: str | None = _health(
        "/-/health/live", "The path that tells whether the server is alive.", take=_health_path
    )
    health_ready: str | None = _health(
        "/-/health/ready", "The path that tells whether it should get requests.", take=_health_path
    )
    readiness: str | None = _health(
        None,
        "module:function, async or not, that returns whether the app can serve.  "
        "[default: that of bridge.flask.Bridge]",
    )
    drain_delay: float = _health(
        0.0,
        "Seconds to go on serving after a signal, but not ready, until load balancers have noticed.",
        type=_SECONDS,
    )

    limit_request_line: int = _limit(
        _LIMITS.request_line,
        "Bytes in a request's first line. A longer one gets a 414.",
        type=_POSITIVE_COUNT,
    )
    limit_request_fields: int = _limit(
        _LIMITS.header_count, "Header fields in a request. More get a 431.", type=_POSITIVE_COUNT
    )
    limit_request_field_size: int = _limit(
        _LIMITS.header_size, "Bytes in one header field. More get a 431.", type=_POSITIVE_COUNT
    )
    limit_request_head: int = _limit(
        _LIMITS.head_size, "Bytes in all header fields. More get a 431.", type=_POSITIVE_COUNT
    )
    limit_request_body: int | None = _limit(
        _LIMITS.body_size, "Bytes in a request's body. More get a 413.  [default: any number]", type=_COUNT
    )
    timeout_first_byte: float = _limit(
        _LIMITS.first_byte,
        "Seconds to wait for the first byte of a connection; then a 408.",
        type=_POSITIVE_SECONDS,
    )
    timeout_request_head: float = _limit(
        _LIMITS.head_time,
        "Seconds from the first byte of a request to the end of its head; then a 408.",
        type=_POSITIVE_SECONDS,
    )
    timeout_request_body: float = _limit(
        _LIMITS.body_pause,
        "Seconds to wait for the next bytes of a body; then a 408.",
        type=_POSITIVE_SECONDS,
    )
    request_timeout: float | None = _limit(
        0.0,
        "Seconds for a request and its response, before it gets a 504; 0 for no limit.",
        option="--timeout-request",
        type=_SECONDS,
        take=_positive_or_none,
    )

    ssl_min_version: TLSVersionName = _tls(
        "1.2", "The oldest version of TLS that is accepted.", type=click.Choice(get_args(TLSVersionName))
    )

    access_log_format: str | None = _log(
        None,
        "The line for each request: gunicorn's names, such as %(h)s, or json.  [default: uvicorn's line]",
        take=_log_format,
    )
    request_id: bool = _log(
        False, "Take each request's id from X-Request-ID, or make one; log it, and send it back."
    )

    log_time: bool = _log(
        False,
        "Begin each message and each of uvicorn's access lines with the date, the time and the UTC offset.",
    )

    metrics_port: int | None = _metrics(
        None,
        "Serve metrics for Prometheus on this port; 0 for any free one.  [default: no metrics]",
        type=click.IntRange(0, 65535),
    )
    metrics_host: str = _metrics("127.0.0.1", "The address for --metrics-port.")
    server_timing: bool = _metrics(
        False, "Send Server-Timing: how long the request waited for a thread, and how long the app took."
    )

    clear_forwarded: bool = _proxies(
        False,
        "Remove Forwarded, X-Forwarded-For and the like from requests, unless the client is one of "
        "--forwarded-allow-ips. An app that reads them itself, as with Werkzeug's ProxyFix, needs its proxy "
        "in that list.",
        option="--clear-forwarded/--keep-forwarded",
    )

    debug: bool = _development(
        False,
        "Reload when a file changes, show errors in Werkzeug's debugger, and warn of code that blocks the "
        "event loop. Listens on this machine alone.",
    )

    @classmethod
    def from_options(cls, target: str | Callable[..., Any], options: Mapping[str, Any]) -> "ServeSettings":
        """Return the settings of a parsed command line, which has those of variables and files, too.

        Args:
            target: the app to serve.
            options: the values, by the names of the command's parameters.
        """
        values = {field: row.value(options[row.name]) for field, row in ROWS.items()}
        if not options["health"]:
            values |= {"health_live": None, "health_ready": None}
        if not options["access_log"]:
            values["access_log_format"] = None
        return cls(
            target=target,
            app_dir=None if options["app_dir"] is None else app_dir_of(options),
            factory=options["factory"],
            graceful_timeout=options["timeout_graceful_shutdown"],
            **values,
        )

    @property
    def limits(self) -> Limits:
        """What is accepted of one request."""
        return Limits(
            request_line=self.limit_request_line,
            header_count=self.limit_request_fields,
            header_size=self.limit_request_field_size,
            head_size=self.limit_request_head,
            body_size=self.limit_request_body,
            first_byte=self.timeout_first_byte,
            head_time=self.timeout_request_head,
            body_pause=self.timeout_request_body,
        )

    @property
    def async_runner(self) -> AsyncViews:
        """Where async views run: other adapters than Bridge's have a thread for each request."""
        return self.async_views if self.adapter == "bridge" else "thread"


ROWS: dict[str, Row] = {
    field.name: field.metadata["row"](field.name)
    for field in dataclasses.fields(ServeSettings)
    if "row" in field.metadata
}
"""The settings, by the names of their fields."""


def unused_on_ray(strengths: Mapping[str, int]) -> list[str]:
    """Settings that something sets, and that do not apply on a Ray cluster, as options are typed."""
    return [f"--{name.replace('_', '-')}" for name in sorted(strengths) if name not in _ON_RAY]


def app_dir_of(options: Mapping[str, Any]) -> str:
    """The folder to import the app from, before all others; `options` are as for `from_options`."""
    folder: str = options["app_dir"] or os.getcwd()
    return folder


# What applies on a Ray cluster: others concern connections, which Ray's proxies take, or processes here.
_ON_RAY = frozenset(
    {
        *(name for name in UVICORN_GROUPS["App"] if name != "lifespan"),
        *(row.name for row in ROWS.values() if row.group in ("App", CLUSTER)),
        *("app", "host", "port", "root_path", "limit_concurrency", "timeout_graceful_shutdown"),
        *("threads", "streams", "websockets", "queue_length", "queue_timeout", "blocking_threshold"),
        *("readiness", "timeout_worker_start", "log_level", "log_config", "access_log", "use_colors"),
    }
)

_INSTEAD = {
    "--workers": "--replicas says how many processes serve the app",
    "--bind": "Ray's own proxies listen, on --host and --port",
    "--reload": "develop without --on",
    "--debug": "develop without --on",
}

# Each of these says where to listen, and the server would listen on the first alone.
_ADDRESSES = (
    ("bind", ("host", "port", "uds", "fd")),
    ("fd", ("host", "port", "uds")),
    ("uds", ("host", "port")),
)


def check_settings(options: Mapping[str, Any], strengths: Mapping[str, int]) -> None:
    """Refuse settings that exclude each other, and limits that can never be met.

    A setting from a stronger source overrules another on purpose: a typed `--bind` where a file has a port.

    Args:
        options: the values, by the names of the command's parameters.
        strengths: how strong the source of each is that has one: 3 for the command line, 2 for a variable, 1
            for a file.

    Raises:
        BridgeError: the settings cannot be served as they are.
    """
    _check_place(options, strengths)
    workers = options["workers"] or 1
    if options["debug"] and workers > 1:  # the debugger's requests need the frames that an error has left
        raise BridgeError(
            f"--debug and {workers} workers exclude each other: what an error has left is in one of the "
            "processes, and the debugger's next request may reach another; leave --workers out"
        )
    if workers > 1 and options["supervise"] is False and not options["reload"]:
        raise BridgeError(f"--no-supervise is for one worker; --workers is {workers}")
    if options["ssl_keyfile"] and not options["ssl_certfile"]:
        raise BridgeError("--ssl-keyfile needs the certificate, too: --ssl-certfile")
    if options.get("http2") and options["http"] != "zttp":  # uvicorn's, since 0.53
        raise BridgeError(
            "--http2 needs uvicorn's HTTP: --http zttp, with the package zttp (pip install zttp). Bridge's "
            "own is HTTP/1.1; behind a proxy that speaks HTTP/2 to clients, leave --http2 out"
        )
    if options["preload"] and (options["reload"] or options["debug"]):
        raise BridgeError(
            f"--preload and --{'debug' if options['debug'] else 'reload'} exclude each other: an app that "
            "is loaded once is not loaded again; leave one of them out, or say --no-preload"
        )
    for address, others in _ADDRESSES:
        for other in others:
            if address in strengths and strengths[address] == strengths.get(other):
                raise BridgeError(
                    f"--{address} and --{other} exclude each other: both say where to listen; "
                    "leave one of them out"
                )
    if options["health"] and options["health_live"] and options["health_live"] == options["health_ready"]:
        raise BridgeError(
            f"--health-live and --health-ready are both {options['health_live']}: one path cannot say both; "
            "give them two, or leave one of them empty"
        )
    if (
        options["ssl_certfile"]
        and options["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        and not options["ssl_ca_certs"]
    ):
        raise BridgeError(
            "--ssl-cert-reqs 2 turns every client away: the server can verify no certificate without "
            "--ssl-ca-certs; name the authorities there, or leave --ssl-cert-reqs out"
        )

    def means(limit: str, other: str) -> bool:
        return strengths.get(limit, 0) >= max(1, strengths.get(other, 0))

    size, head = options["limit_request_field_size"], options["limit_request_head"]
    if size > head and means("limit_request_field_size", "limit_request_head"):
        raise BridgeError(
            f"--limit-request-field-size {size} can never be met: all fields together may have {head} bytes "
            "(--limit-request-head); lower the first, or raise the second"
        )
    wait, whole = options["queue_timeout"], options["timeout_request"]
    if wait >= whole > 0 and means("queue_timeout", "timeout_request"):
        raise BridgeError(
            f"--queue-timeout {wait:g} can never be met: a request ends after {whole:g} seconds "
            "(--timeout-request); lower the first, or raise the second"
        )


def _check_place(options: Mapping[str, Any], strengths: Mapping[str, int]) -> None:
    """Refuse settings that do not apply where the app is to run, if they are as strong as `--on`."""
    if options["on"] is None:
        for name in ("replicas", "detach"):
            if strengths.get(name, 0) >= 2 and options[name]:
                raise BridgeError(f"--{name} is for a cluster: add --on ray; on this machine, say --workers")
        return
    chosen = {name: strength for name, strength in strengths.items() if strength >= strengths["on"]}
    for option in unused_on_ray(chosen):
        instead = _INSTEAD.get(option, "Ray's own proxies take the connections; leave it out")
        raise BridgeError(f"{option} has no effect with --on ray: {instead}")

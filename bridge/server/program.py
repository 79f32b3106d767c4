"""`bridge.serve`: the server for programs."""

import asyncio
import gc
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypedDict, Unpack

from bridge.errors import BridgeError
from bridge.server.cli import make_config
from bridge.server.options import parse_settings
from bridge.server.processes.supervisors import SIGNALS
from bridge.server.serving import STARTUP_FAILURE
from bridge.server.serving import serve as serve_config
from bridge.server.settings import AdapterName, TLSVersionName, check_settings
from bridge.types import AsyncViews

__all__ = ["Settings", "serve"]

# Objects that a program finds frozen when it begins: 375 in Python 3.12, none in others.
_FROZEN_BY_PYTHON = 1000 if sys.version_info[:2] == (3, 12) else 0


class Settings(TypedDict, total=False):
    """What `serve` takes: the settings of `bridge serve`, each by its name in files, with underscores."""

    # App
    app_dir: str
    factory: bool
    lifespan: Literal["auto", "on", "off"]
    env_file: str
    interface: Literal["auto", "wsgi", "asgi", "asgi3", "asgi2"]
    adapter: AdapterName
    mount: list[str]
    async_views: AsyncViews
    # Workers and threads
    workers: int
    loop: str
    limit_max_requests: int
    limit_max_requests_jitter: int
    timeout_worker_healthcheck: int
    reset_contextvars: bool
    threads: int
    streams: int
    websockets: int
    queue_length: int
    queue_timeout: float
    blocking_threshold: float
    settle_gc: bool
    supervise: bool
    preload: bool
    timeout_worker_start: float
    # Addresses
    host: str
    port: int
    uds: str
    fd: int
    backlog: int
    bind: list[str]
    uds_mode: str
    # Health
    health: bool
    health_live: str
    health_ready: str
    readiness: str
    drain_delay: float
    # Limits and deadlines
    limit_concurrency: int
    h11_max_incomplete_event_size: int
    timeout_keep_alive: int
    timeout_graceful_shutdown: int
    limit_request_line: int
    limit_request_fields: int
    limit_request_field_size: int
    limit_request_head: int
    limit_request_body: int
    timeout_first_byte: float
    timeout_request_head: float
    timeout_request_body: float
    timeout_request: float
    # TLS
    ssl_keyfile: str
    ssl_certfile: str
    ssl_keyfile_password: str
    ssl_version: int
    ssl_cert_reqs: int
    ssl_ca_certs: str
    ssl_ciphers: str
    ssl_min_version: TLSVersionName
    # Logging
    log_level: Literal["critical", "error", "warning", "info", "debug", "trace"]
    log_config: str | dict[str, Any]
    access_log: bool
    log_time: bool
    use_colors: bool
    access_log_format: str
    request_id: bool
    # Metrics
    metrics_port: int
    metrics_host: str
    server_timing: bool
    # Proxies
    proxy_headers: bool
    forwarded_allow_ips: str
    root_path: str
    clear_forwarded: bool
    # Development
    reload: bool
    reload_dirs: list[str]
    reload_includes: list[str]
    reload_excludes: list[str]
    reload_delay: float
    debug: bool
    # Other
    http: str
    http2: bool
    ws: str
    ws_max_size: int
    ws_max_queue: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_per_message_deflate: bool
    server_header: bool
    date_header: bool
    headers: list[str]


def serve(
    app: str | Callable[..., Any], *, stop: threading.Event | None = None, **settings: Unpack[Settings]
) -> None:
    """Serve an app until SIGINT, SIGTERM or `stop` ends the server; then return.

    The settings have the names, values and defaults of `bridge serve`, with underscores: `threads=20`,
    `timeout_request=30`, `bind=["0.0.0.0:80", "unix:/run/app.sock"]`; messages name them as they are typed on
    a command line. Neither a file nor a variable has a part in them. `log_config` may also be a mapping, as
    for `logging.config.dictConfig`; `{"version": 1, "incremental": True}` leaves logging as it is.

    Several workers, `reload` and `debug` start processes that load the app for themselves. They need its
    name, and a program that calls this only `if __name__ == "__main__":`.

    Signals are handled in the main thread alone, which is the only one that gets them from Python. In another
    thread the server needs `stop`, and serves from one process. Afterwards the program has its own handlers
    of signals, and its own settings of the garbage collector, again.

    Args:
        app: a WSGI or an ASGI app, a factory of one, or the name of one of these, such as "shop:app".
        stop: ends the server once it is set, as SIGTERM does. It is for one process.
        settings: see `Settings`.

    Raises:
        BridgeError: an address is taken, the app cannot be loaded or its start has failed, or a setting is
            wrong, needs a package that is not installed, or excludes another. Or an event loop runs in this
            thread already.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # multiprocessing asks the same
        print(
            "bridge: a worker has called bridge.serve() itself, as it imports this program first; call it "
            'under `if __name__ == "__main__":`',
            file=sys.stderr,
        )
        sys.exit(STARTUP_FAILURE)
    _check_loop()
    log_config = settings.get("log_config")
    # Without the first two uvicorn would take them from variables.
    given: dict[str, Any] = {"workers": 1, "forwarded_allow_ips": "127.0.0.1", **settings}
    if isinstance(log_config, dict):
        del given["log_config"]
    options, strengths = parse_settings(given, "bridge.serve()")
    options["app_dir"] = options["app_dir"] or None
    if isinstance(log_config, dict):
        options["log_config"] = log_config
    check_settings(options, strengths)
    _check_processes(app, options, stop)
    with _collector_put_back(), _signals_put_back():
        try:
            code = serve_config(make_config(app, options), in_program=True, stop=stop)
        except SystemExit:  # uvicorn's, when the app's lifespan has failed
            code = STARTUP_FAILURE
    if code:
        raise BridgeError(f"the server could not start (exit code {code}); its log says why")


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BridgeError(
        "bridge.serve() runs an event loop of its own, and one runs in this thread already; call it in "
        "another thread, with `stop`, or serve bridge.WSGIToASGI(app) on that loop"
    )


def _check_processes(
    app: str | Callable[..., Any], options: Mapping[str, Any], stop: threading.Event | None
) -> None:
    """Check that the processes which the settings ask for can serve the app, and be stopped."""
    names = ["debug", "reload", "supervise"]
    if options["workers"] > 1:
        names.append("workers")
    if options["supervise"] is None:
        names.append("limit_max_requests")
    cause = next((f"{name}={options[name]}" for name in names if options[name]), None)
    is_main = threading.current_thread() is threading.main_thread()
    if cause is None:
        if not is_main and stop is None:
            raise BridgeError(
                "bridge.serve() was called outside the main thread, where no signal can end it; give it "
                "stop=threading.Event(), and set that to end it"
            )
    elif not isinstance(app, str):
        raise BridgeError(
            f"{cause} starts processes that load the app for themselves, and need its name, as in "
            f'bridge.serve("module:app"); what came is {app!r}'
        )
    elif not is_main:
        raise BridgeError(f"{cause} starts processes, which signals end; call it in the main thread")
    elif stop is not None:
        raise BridgeError(
            f"{cause} starts processes, which signals end, and not `stop`; leave one of the two out"
        )


@contextmanager
def _collector_put_back() -> Iterator[None]:
    """Have a block settle the garbage collector for the server, and put it back as the program had it."""
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        if frozen <= _FROZEN_BY_PYTHON:  # else the program itself has frozen some
            gc.unfreeze()


@contextmanager
def _signals_put_back() -> Iterator[None]:
    """Have a block handle signals, and put back the program's handlers after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not set by Python
                signal.signal(number, handler)

"""Run uvicorn with our settings: one process, several, or one that reloads.

`ServeConfig` is uvicorn's `Config`, with the app loaded and adapted by Bridge, and its own HTTP.
"""

import asyncio
import copy
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.importer import ImportFromStringError
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bridge.errors import BridgeError
from bridge.http.exchange import Hooks
from bridge.http.server import HTTPServer
from bridge.loading import AppError, check_workers_start, enable_own_loggers
from bridge.monkey_patching import describe_monkey_patching
from bridge.server.application import Application, make_application
from bridge.server.hooks.access_log import PlainLog
from bridge.server.hooks.forwarded import Forwarded
from bridge.server.hooks.metrics import Figures
from bridge.server.hooks.metrics_endpoint import MetricsEndpoint, metrics_endpoint
from bridge.server.processes.preloading import forkable
from bridge.server.processes.server import Server, report
from bridge.server.processes.sockets import address_of, bind, check_addresses, inherited
from bridge.server.processes.supervisors import Reloader, Supervisor
from bridge.server.processes.worker import let_ctrl_c_through
from bridge.server.settings import ServeSettings, TLSVersionName
from bridge.server.stand_in import stand_in
from bridge.server.terminal import bold, has_colors
from bridge.server.websockets.answers import answering
from bridge.server.websockets.upgrade import WebSocketUpgrades

__all__ = ["STARTUP_FAILURE", "ServeConfig", "default_log_config", "serve"]

logger = logging.getLogger("bridge")

_TLS_VERSIONS: dict[TLSVersionName, ssl.TLSVersion] = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


# What uvicorn's protocols for HTTP and websockets import.
_PROTOCOL_PACKAGES = ("h11", "httptools", "websockets", "wsproto", "zttp")

# Objects; some 0.5 MB of garbage in cycles at most, of which Werkzeug's routing makes eight a request.
_YOUNG = 5000


class ServeConfig(uvicorn.Config):
    """uvicorn's configuration, with the app loaded and adapted by Bridge.

    It is pickled for worker processes, which load the app for themselves.

    Args:
        settings: what to serve, and how.
        options: the arguments of `uvicorn.Config`.
    """

    def __init__(self, settings: ServeSettings, **options: Any) -> None:
        self.settings = settings
        self.addresses: list[str] = []
        self.metrics_url: str | None = None
        self.metrics_folder: Path | None = None  # where a process reports figures, if it does not serve them
        self._application: Application | None = None
        with _unsaid("Will watch for changes"):  # `Reloader` says so, once nothing keeps it from that
            super().__init__(settings.target, factory=True, interface="asgi3", **options)

    @property
    def has_supervisor(self) -> bool:
        """Whether a process supervises the workers, even if there is only one."""
        if self.settings.supervise is not None:
            return self.settings.supervise
        return self.workers > 1 or self.limit_max_requests is not None

    @property
    def preloads(self) -> bool:
        """Whether the supervisor loads the app, and forks the workers."""
        return self.settings.preload and self.has_supervisor

    @property
    def use_subprocess(self) -> bool:
        """Whether other processes than this one serve the app."""
        return self.should_reload or self.has_supervisor

    @property
    def application(self) -> Application:
        """The application; there once the app is loaded."""
        assert self._application is not None
        return self._application

    def configure_logging(self) -> None:
        """Set logging up as uvicorn does; `--log-level` applies to Bridge's messages, too.

        It is the first step in each process, and may import modules from the app's folder.

        Raises:
            BridgeError: the file of `--log-config` cannot be used.
        """
        if self.settings.app_dir is not None and sys.path[:1] != [self.settings.app_dir]:
            sys.path.insert(0, self.settings.app_dir)
        try:
            super().configure_logging()
        except Exception as error:  # the file names classes of anybody's
            if isinstance(self.log_config, dict):
                raise
            raise BridgeError(
                f"cannot set up logging by --log-config {self.log_config}: {_chain(error)}"
            ) from None
        enable_own_loggers()  # a file of --log-config may not name them
        if self.log_level is not None:
            level = self.log_level
            logger.setLevel(LOG_LEVELS[level.lower()] if isinstance(level, str) else level)

    def preload(self) -> None:
        """Load the app in this process, before workers are forked from it.

        Raises:
            AppError: the app cannot be loaded, or has started what does not survive a fork.
            BridgeError: the adapter is not installed.
        """
        with forkable():
            self.get_loop_factory()  # imports what makes the event loop, too
            self._make_application()
        # In workers the collector would write to what they share, and so copy it.
        self._settle_garbage()

    def prepare(self) -> None:
        """Load the app.

        With `--reload`, the process goes on, and answers with that error.

        Call this before the event loop runs: an app may call `asyncio.run()` while it is imported.

        Raises:
            AppError: the app cannot be loaded.
            BridgeError: the adapter is not installed.
        """
        if self._application is None:
            try:
                self._make_application()
            except AppError as error:
                if not self.should_reload:
                    raise
                report(error)
                self.stand_in_for(error)
            self._settle_garbage()

    def stand_in_for(self, error: AppError) -> None:
        """Answer requests with an error from now on, in place of the app: somebody is about to mend it."""
        self._application = stand_in(error)
        self.loaded = False  # what was set up for another app

    def _make_application(self) -> None:
        let_ctrl_c_through()
        self._application = make_application(self.settings)

    def _settle_garbage(self) -> None:
        """Have the garbage collector leave alone what is there now, and run less often.

        With 1,000 connections on an async Flask view it took a fifth of the processor, in pauses of up to
        100 ms. A higher threshold of the app's stays, as does a collector that the app has switched off.
        """
        if self.settings.settle_gc:
            gc.collect()
            gc.freeze()
            young, *older = gc.get_threshold()
            if 0 < young < _YOUNG:
                gc.set_threshold(_YOUNG, *older)

    def load(self) -> None:
        """Set up the protocols as the options say.

        Raises:
            BridgeError: they cannot be.
        """
        if self.ws == "websockets":
            # It has no bound for what it keeps, and no back-pressure; uvicorn is about to do the same.
            logger.info("--ws websockets is deprecated in uvicorn: websockets-sansio serves instead")
            self.ws = "websockets-sansio"
        if self.http == "auto":
            self.http = asyncio.Protocol  # Bridge's own, below; not one of uvicorn's, nor httptools
        try:
            super().load()
        except OSError as error:
            if not self.is_ssl:
                raise
            # OpenSSL does not say which file it means.
            files = [str(file) for file in (self.ssl_certfile, self.ssl_keyfile, self.ssl_ca_certs) if file]
            why = _why_no_certificate(str(self.ssl_certfile), self.ssl_keyfile) or error.strerror or error
            raise BridgeError(
                f"cannot use the certificate of --ssl-certfile ({', '.join(files)}): {why}"
            ) from None
        except ModuleNotFoundError as error:
            if error.name not in _PROTOCOL_PACKAGES:
                raise
            raise BridgeError(
                f"the server needs {error.name} for --http {self.http} and --ws {self.ws}, and it is not "
                f"installed: pip install {error.name}"
            ) from None
        except (ValueError, ImportFromStringError) as error:
            raise BridgeError(f"uvicorn cannot be set up as the options say: {error}") from None
        if self.ssl is not None:
            try:
                self.ssl.minimum_version = _TLS_VERSIONS[self.settings.ssl_min_version]
            except ValueError:
                raise BridgeError(
                    f"--ssl-version {self.ssl_version} is one version of TLS alone, which can have no "
                    f"minimum; leave it out: --ssl-min-version {self.settings.ssl_min_version} is the oldest"
                ) from None
        if self.lifespan_class is LifespanOn:
            self.lifespan_class = _Lifespan
        if self.ws_protocol_class is not None:
            self.ws_protocol_class = answering(self.ws_protocol_class)
        if self.http_protocol_class is asyncio.Protocol:
            self._speak_http()
        else:
            logger.info(
                "%s: only uvicorn's own options apply to requests. Limits and deadlines, health, request "
                "ids, --access-log-format, metrics, Server-Timing, --timeout-request and --clear-forwarded "
                "come with --http auto",
                f"--http {self.http}" if isinstance(self.http, str) else self.http_protocol_class.__name__,
            )

    def _speak_http(self) -> None:
        """Make Bridge's own connections, not uvicorn's."""
        application, settings = self.application, self.settings
        if isinstance(self.loaded_app, ProxyHeadersMiddleware):
            self.loaded_app = self.loaded_app.app
        forwarded = Forwarded(
            self.forwarded_allow_ips if self.proxy_headers else None, clear=settings.clear_forwarded
        )
        own = [hook for hook in application.hooks if self.access_log or not isinstance(hook, PlainLog)]
        hooks = Hooks(
            [forwarded, *own],
            wants_call_facts=application.metrics is not None
            or settings.access_log_format is not None
            or settings.server_timing,
        )
        adapter = application.adapter
        make_connection: Any = HTTPServer(
            settings.limits,
            hooks,
            application.make_serve,
            # With wsproto, the app asks for websockets of the server's.
            partial(WebSocketUpgrades, hooks, forwarded, None if self.ws == "wsproto" else adapter),
        )
        self.http_protocol_class = make_connection

    def load_app(self) -> Callable[[], Any]:
        """Return a factory of the ASGI app, for uvicorn."""
        application = self.application
        if self.has_supervisor and not self.preloads:  # which does not know the app
            logger.info("%s", application.description)
        patching = describe_monkey_patching()
        if patching is not None:
            logger.warning("%s", patching)
        return lambda: application.asgi

    def figures(self) -> Figures:
        """Return what this process has counted; nothing before the app is loaded."""
        metrics = None if self._application is None else self._application.metrics
        return {} if metrics is None else metrics.figures()

    def log_addresses(self) -> None:
        """Log what is served, if this process knows, and where the server listens."""
        if self._application is not None:
            logger.info("%s", self._application.description)
        health = self.settings.health_ready or self.settings.health_live
        facts = [
            "debug mode" if self.settings.debug else "",
            "reloads on save" if self.should_reload else "",
            f"{self.workers} worker{'' if self.workers == 1 else 's'}" if not self.should_reload else "",
            f"health at {health}" if health else "",
            f"metrics at {self.metrics_url}" if self.metrics_url else "",
            "Ctrl-C to stop",
        ]
        where, rest = ", ".join(self.addresses), " · ".join(filter(None, facts))
        # No arguments: uvicorn's formatter takes the second message on a terminal.
        logger.info(f"{where} · {rest}", extra={"color_message": f"{bold(where)} · {rest}"})


class _Lifespan(LifespanOn):
    """The app's lifespan, which may configure the app's logging, but not silence uvicorn's about it."""

    failure = "the app's lifespan failed to start"
    """Why; what the app says, if it says something."""

    async def send(self, message: LifespanSendMessage) -> None:
        """Take an event of the app's; see uvicorn."""
        enable_own_loggers()
        if message["type"] == "lifespan.startup.failed":
            self.failure = message.get("message") or self.failure
        await super().send(message)


def default_log_config(*, request_id: bool = False, log_time: bool = False) -> dict[str, Any]:
    """Return uvicorn's logging, with Bridge's messages beside uvicorn's, and access logs without a prefix.

    Args:
        request_id: whether messages begin with the id of the request that they are about.
        log_time: whether messages and uvicorn's access lines begin with the date and time.
    """
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["bridge"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    # uvicorn's formatters would look at standard output alone, and at no NO_COLOR.
    config["formatters"]["default"]["use_colors"] = has_colors(sys.stderr)
    config["formatters"]["access"]["use_colors"] = has_colors(sys.stdout)
    filters = config["handlers"]["default"]["filters"] = []
    if sys.stderr.isatty():
        config["filters"] = {"calm": {"()": "bridge.server.terminal.Calm"}}
        filters.append("calm")
    config["formatters"]["access"]["()"] = "bridge.server.hooks.access_log.PlainFormatter"
    config["formatters"]["plain"] = {"format": "%(message)s"}
    config["handlers"]["requests"] = {
        "class": "logging.StreamHandler",
        "formatter": "plain",
        "stream": "ext://sys.stdout",
    }
    config["loggers"]["bridge.access"] = {"handlers": ["requests"], "level": "INFO", "propagate": False}
    if request_id:
        config.setdefault("filters", {})["request_id"] = {
            "()": "bridge.server.hooks.request_id.RequestIdFilter"
        }
        filters.append("request_id")
        config["handlers"]["access"]["filters"] = ["request_id"]
        config["formatters"]["default"]["fmt"] = "%(levelprefix)s [%(request_id)s] %(message)s"
    if log_time:
        for formatter in (config["formatters"]["default"], config["formatters"]["access"]):
            formatter["fmt"] = f"%(asctime)s {formatter['fmt']}"
            formatter["datefmt"] = "%Y-%m-%dT%H:%M:%S%z"
    return config


def serve(config: ServeConfig, *, in_program: bool = False, stop: threading.Event | None = None) -> int:
    """Serve until a signal ends it; return the exit code.

    Args:
        config: what to serve, and how.
        in_program: whether this process goes on afterwards. Else it ends with the server.
        stop: see `Server`.

    Raises:
        BridgeError: an address cannot be listened on, or the options ask for a package that is not installed;
            in a program also: the app cannot be loaded, or the options contradict each other.
    """
    settings = config.settings
    sockets = [] if settings.binds else inherited(os.environ)
    addresses = [] if sockets else _addresses(config)
    option = "--bind" if settings.binds else None
    sockets = sockets or bind(addresses, uds_mode=settings.uds_mode, option=option)
    made_here = [address.removeprefix("unix:") for address in addresses if address.startswith("unix:")]
    made = {path: os.stat(path).st_ino for path in made_here}
    config.addresses = [address_of(each, tls=config.is_ssl) for each in sockets]
    # SIGTERM ends like Ctrl-C: uvicorn raises the signal again when it has stopped, and by default that
    # would end the process before it can clean up.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if settings.debug:
            check_addresses(sockets)
        with metrics_endpoint(
            settings.metrics_host, settings.metrics_port, has_workers=config.use_subprocess
        ) as endpoint:
            config.metrics_url, config.metrics_folder = endpoint.url, endpoint.folder
            if not config.use_subprocess:
                endpoint.own_figures = config.figures
            if config.use_subprocess:
                return _supervise(config, sockets, endpoint)
            server = Server(config, stop=stop)
            (server.run_in_program if in_program else server.run)(sockets)
            return 0 if server.started else STARTUP_FAILURE
    except KeyboardInterrupt:
        return 0
    finally:
        for each in sockets:
            each.close()
        for path, number in made.items():
            # Another server may be there by now, if somebody has removed this one's socket.
            if os.path.exists(path) and os.stat(path).st_ino == number:
                os.unlink(path)


@contextmanager
def _unsaid(beginning: str) -> Iterator[None]:
    """Keep from the log what uvicorn says in a block with these words."""
    log = logging.getLogger("uvicorn.error")

    def is_other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(beginning)

    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)


def _addresses(config: ServeConfig) -> Sequence[str]:
    """Return those of --bind, else that of --fd, --uds, or --host and --port."""
    if config.settings.binds:
        return config.settings.binds
    if config.fd is not None:
        return [f"fd:{config.fd}"]
    return [f"unix:{config.uds}" if config.uds is not None else f"[{config.host}]:{config.port}"]


def _supervise(config: ServeConfig, sockets: list[socket.socket], metrics: MetricsEndpoint) -> int:
    if config.preloads:
        config.preload()
    else:
        check_workers_start()
        if config.settings.app_dir in sys.path:
            # Workers begin with this process's path, and import the server's modules before the app's folder
            # is on it: no module there can take the place of one of those.
            sys.path.remove(config.settings.app_dir)
    if config.should_reload:
        return Reloader(config, sockets, metrics).run()
    return Supervisor(config, sockets, metrics).run()


def _chain(error: BaseException | None) -> str:
    """What went wrong, and why, in one line."""
    said = ""
    while error is not None:
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason not in said:
            said += f": {reason}" if said else reason
        error = error.__cause__
    return said


def _why_no_certificate(certificate: str, key: str | os.PathLike[str] | None) -> str | None:
    """Say which part is missing in the files of a certificate and its key; None if both are there."""
    try:
        first = Path(certificate).read_text()
        second = first if key is None else Path(key).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    if "-----BEGIN CERTIFICATE-----" not in first:
        swapped = " Are the two files swapped?" if "-----BEGIN CERTIFICATE-----" in second else ""
        return f"there is no PEM certificate in {certificate}.{swapped}"
    if "PRIVATE KEY-----" not in second:
        return f"there is no private key in {key or certificate}; name the key's file with --ssl-keyfile"
    return None

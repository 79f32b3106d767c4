"""Run uvicorn with our settings: one process, several, or one that reloads.

uvicorn's own parts do the work, through the seams it offers: `Config` is subclassed to load the app our way,
`Server` is used as it is, and the supervisors very nearly.
"""

import asyncio
import copy
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.importer import ImportFromStringError
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from bridge.errors import BridgeError
from bridge.http.exchange import Hooks
from bridge.http.server import HTTPServer
from bridge.http.wsgi import WSGIServe
from bridge.monkey_patching import describe_monkey_patching
from bridge.server.access_log import PlainLog
from bridge.server.app_errors import BrokenAppError
from bridge.server.application import Application, make_application
from bridge.server.clashes import check_workers_start
from bridge.server.debugging import check_addresses
from bridge.server.ending_connections import ends_alone
from bridge.server.forwarded import Forwarded
from bridge.server.garbage import settle
from bridge.server.metrics_endpoint import MetricsEndpoint, metrics_endpoint
from bridge.server.own_loggers import enable_own_loggers
from bridge.server.preloading import forkable
from bridge.server.request_scope import RequestScope
from bridge.server.server import Server
from bridge.server.settings import ServeSettings, TLSVersionName
from bridge.server.sockets import address_of, bind, bind_all, inherited
from bridge.server.supervisors import Reloader, Workers
from bridge.server.websocket_answers import SansIOProtocol
from bridge.server.websocket_upgrade import WebSocketUpgrades
from bridge.server.worker import let_ctrl_c_through

if TYPE_CHECKING:
    from bridge.server.metrics import Metrics

__all__ = ["STARTUP_FAILURE", "ServeConfig", "default_log_config", "serve"]

logger = logging.getLogger("bridge")

_TLS_VERSIONS: dict[TLSVersionName, ssl.TLSVersion] = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class ServeConfig(uvicorn.Config):
    """uvicorn's configuration, with the app loaded and adapted by Bridge.

    Args:
        settings: what to serve, and how.
        options: the arguments of `uvicorn.Config`.

    It is pickled to reach worker processes, which load the app for themselves.
    """

    def __init__(self, settings: ServeSettings, **options: Any) -> None:
        self.settings = settings
        self.addresses: list[str] = []
        self.metrics_url: str | None = None
        self._made: Future[Application] | None = None
        super().__init__(settings.target, factory=True, interface="asgi3", **options)

    @property
    def has_supervisor(self) -> bool:
        """Whether a process watches over the workers, even if it is only one."""
        if self.settings.supervise is not None:
            return self.settings.supervise
        return self.workers > 1 or self.limit_max_requests is not None

    @property
    def preloads(self) -> bool:
        """Whether the app is loaded in the supervisor, and workers are forked from it."""
        return self.settings.preload and self.has_supervisor

    @property
    def use_subprocess(self) -> bool:
        """Whether the app is served by other processes than this one."""
        return self.should_reload or self.has_supervisor

    def configure_logging(self) -> None:
        """Set logging up as uvicorn does; `--log-level` holds for Bridge's messages, too.

        It is the first step in each process, and may import what the app's folder has.
        """
        if self.settings.app_dir is not None and sys.path[:1] != [self.settings.app_dir]:
            sys.path.insert(0, self.settings.app_dir)
        super().configure_logging()
        enable_own_loggers()  # a file of --log-config may not name them
        if self.log_level is not None:
            level = self.log_level
            logger.setLevel(LOG_LEVELS[level.lower()] if isinstance(level, str) else level)

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the event loop; the app is loaded first.

        Within the running loop, where uvicorn loads it, an app that calls `asyncio.run()` when it is imported
        or made could not be served.
        """
        factory = super().get_loop_factory()
        self._make_application()
        return factory

    def preload(self) -> None:
        """Load the app in this process, from which workers are forked.

        The garbage collector is told to leave it alone before that: in workers it would write to what they
        share, and so copy it.

        Raises:
            AppError: it cannot be loaded, or this process could not be forked any more.
            BridgeError: the adapter is not installed.
        """
        with forkable():
            self.get_loop_factory()  # imports what makes the event loop, too
            self._make_application().result()
        if self.settings.settle_gc:
            settle()

    def load(self) -> None:
        """Load everything, and have the app told when the server begins to stop."""
        if self.ws == "websockets":
            # It has no bound for what it keeps, and no back-pressure; uvicorn is about to do the same.
            logger.info("--ws websockets is deprecated in uvicorn: websockets-sansio serves in its place")
            self.ws = "websockets-sansio"
        try:
            super().load()
        except OSError as error:
            if not self.is_ssl:
                raise
            sys.exit(_report(_unusable_certificate(self, error)))
        except (ValueError, ImportFromStringError) as error:
            sys.exit(_report(BridgeError(f"uvicorn cannot be set up as the options say: {error}")))
        if self.ssl is not None:
            self._set_minimum_version(self.ssl)
        if self.lifespan_class is LifespanOn:
            self.lifespan_class = _Lifespan
        if self.ws_protocol_class is not None:
            self.ws_protocol_class = ends_alone(self._websocket_class(self.ws_protocol_class))
        if self.http_protocol_class is HttpToolsProtocol:
            self._speak_http()
        else:
            self._let_others_speak_http()

    def _set_minimum_version(self, context: ssl.SSLContext) -> None:
        try:
            context.minimum_version = _TLS_VERSIONS[self.settings.ssl_min_version]
        except ValueError:
            sys.exit(_report(_fixed_version(self)))

    def _speak_http(self) -> None:
        """Bridge's own connections in the place of uvicorn's."""
        application = self._application
        if isinstance(self.loaded_app, ProxyHeadersMiddleware):
            self.loaded_app = self.loaded_app.app
        forwarded = Forwarded(
            self.forwarded_allow_ips if self.proxy_headers else None, clear=self.settings.clear_forwarded
        )
        wants_call_facts = application.metrics is not None or any(
            (self.settings.access_log_format, self.settings.server_timing)
        )
        own = [hook for hook in application.hooks if self.access_log or not isinstance(hook, PlainLog)]
        hooks = Hooks([forwarded, *own], wants_call_facts=wants_call_facts)
        adapter = application.adapter
        self.http_protocol_class = cast(
            "type[asyncio.Protocol]",
            HTTPServer(
                self.settings.limits,
                hooks,
                None if adapter is None else partial(WSGIServe, adapter, RequestScope),
                # With wsproto, the app asks for websockets of the server's.
                partial(WebSocketUpgrades, hooks, forwarded, None if self.ws == "wsproto" else adapter),
            ),
        )

    def _let_others_speak_http(self) -> None:
        """uvicorn's other parsers, or a class of the user's: say what is missing."""
        self.http_protocol_class = ends_alone(self.http_protocol_class)
        logger.info(
            "%s: only uvicorn's own options apply to requests. Limits and deadlines, health, request ids, "
            "--access-log-format, metrics, Server-Timing, --timeout-request and --clear-forwarded come with "
            "--http httptools",
            f"--http {self.http}" if isinstance(self.http, str) else self.http.__name__,
        )

    def _websocket_class(self, uvicorns: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
        """Bridge's websockets in the place of uvicorn's own."""
        if uvicorns is WebSocketsSansIOProtocol:
            return SansIOProtocol
        if self.ws == "wsproto":
            from bridge.server.websocket_wsproto import WSProtoProtocol  # only now is wsproto needed

            return WSProtoProtocol
        return uvicorns

    def load_app(self) -> Callable[[], Any]:
        """Make the application; end the process with one line where that is impossible."""
        try:
            self._application: Application = self._make_application().result()
        except BridgeError as error:
            sys.exit(_report(error))
        if self.settings.settle_gc and not self.preloads:
            settle()
        logger.info("%s", self._application.description)
        patching = describe_monkey_patching()
        if patching is not None:
            logger.warning("%s", patching)
        return lambda: self._application.asgi

    @property
    def metrics(self) -> "Metrics | None":
        """What counts in this process, when the app is loaded; None if nothing does."""
        return self._application.metrics

    def be_ready(self) -> None:
        """Have the readiness path say yes: the app has started."""
        self._application.health.started()

    def be_unready(self) -> None:
        """Have the readiness path say no: the server is about to stop."""
        self._application.health.drain()

    def _make_application(self) -> "Future[Application]":
        """The application, or the error instead of it, which is for `load_app` to raise.

        Raised before the loop runs, it would leave uvicorn's coroutine behind, with a warning about that.
        """
        if self._made is None:
            self._made = Future()
            try:
                let_ctrl_c_through()
                self._made.set_result(make_application(self.settings))
            except BaseException as error:  # noqa: BLE001  # see above
                self._made.set_exception(error)
        return self._made

    def log_addresses(self) -> None:
        """Say where the server listens."""
        workers = "1 worker" if self.workers == 1 or self.reload else f"{self.workers} workers"
        health = self.settings.health_ready or self.settings.health_live
        about_health = f" · health at {health}" if health else ""
        debug = " · debug mode" if self.settings.debug else ""
        about_metrics = f" · metrics at {self.metrics_url}" if self.metrics_url else ""
        addresses = ", ".join(self.addresses)
        logger.info("%s · %s%s%s%s · Ctrl-C to stop", addresses, workers, debug, about_health, about_metrics)


class _Lifespan(LifespanOn):
    """The app's lifespan, which may configure the app's logging; how it went is said all the same."""

    async def send(self, message: LifespanSendMessage) -> None:
        """What the app says of it; see uvicorn."""
        enable_own_loggers()
        await super().send(message)


def default_log_config(*, request_id: bool = False) -> dict[str, Any]:
    """uvicorn's logging, with Bridge's messages where uvicorn's own go, and access logs as they are.

    Args:
        request_id: whether messages are to begin with the id of the request that they are about.
    """
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["bridge"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    config["formatters"]["plain"] = {"format": "%(message)s"}
    config["handlers"]["requests"] = {
        "class": "logging.StreamHandler",
        "formatter": "plain",
        "stream": "ext://sys.stdout",
    }
    config["loggers"]["bridge.access"] = {"handlers": ["requests"], "level": "INFO", "propagate": False}
    config["filters"] = {"cut_short": {"()": "bridge.server.cut_short.CutShortFilter"}}
    config["loggers"]["uvicorn.error"]["filters"] = ["cut_short"]
    if request_id:
        config["filters"]["request_id"] = {"()": "bridge.server.request_id.RequestIdFilter"}
        config["handlers"]["default"]["filters"] = ["request_id"]
        config["handlers"]["access"]["filters"] = ["request_id"]
        config["formatters"]["default"]["fmt"] = "%(levelprefix)s [%(request_id)s] %(message)s"
    return config


def serve(config: ServeConfig) -> int:
    """Serve until a signal ends it; return the exit code.

    Raises:
        BridgeError: an address cannot be listened on, or the options exclude each other, or ask for a
            package that is not installed.
    """
    if config.ssl_keyfile and not config.ssl_certfile:
        raise BridgeError("--ssl-keyfile needs the certificate, too: --ssl-certfile")
    if config.workers > 1 and config.settings.supervise is False:
        raise BridgeError(f"--no-supervise is for one worker; --workers is {config.workers}")
    sockets = _sockets(config)
    made = {path: os.stat(path).st_ino for path in _made_paths(config)}
    config.addresses = [address_of(each, tls=config.is_ssl) for each in sockets]
    # SIGTERM ends like Ctrl-C: uvicorn raises the signal again when it has stopped, and by default that
    # would end the process before it can clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if config.settings.debug:
            check_addresses(sockets)
        with metrics_endpoint(
            config.settings.metrics_host, config.settings.metrics_port, has_workers=config.use_subprocess
        ) as endpoint:
            config.metrics_url = endpoint.url
            return _run(config, sockets, endpoint)
    except KeyboardInterrupt:
        return 0
    finally:
        for each in sockets:
            each.close()
        for path, number in made.items():
            # Another server may be there by now, if somebody has removed this one's socket.
            if os.path.exists(path) and os.stat(path).st_ino == number:
                os.unlink(path)


def _sockets(config: ServeConfig) -> list[socket.socket]:
    """Those of --bind; else those that systemd has opened; else that of --host and --port, --uds or --fd."""
    settings = config.settings
    if settings.binds:
        return bind_all(settings.binds, uds_mode=settings.uds_mode)
    return inherited(os.environ) or bind(
        host=config.host, port=config.port, uds=config.uds, fd=config.fd, uds_mode=settings.uds_mode
    )


def _made_paths(config: ServeConfig) -> list[str]:
    """The unix sockets that were made here, and are to be removed again."""
    if config.settings.binds:
        return [
            address.removeprefix("unix:") for address in config.settings.binds if address.startswith("unix:")
        ]
    return [config.uds] if config.uds is not None and config.fd is None else []


def _run(config: ServeConfig, sockets: list[socket.socket], metrics: MetricsEndpoint) -> int:
    if config.preloads:
        config.preload()
        config.log_addresses()
    elif config.use_subprocess:
        check_workers_start()
        config.log_addresses()
        if config.settings.app_dir in sys.path:
            # Workers begin with this process's path, and import the server's modules before the app's folder
            # is on it: no module there can take the place of one of those.
            sys.path.remove(config.settings.app_dir)
    if config.should_reload:
        Reloader(config, sockets, metrics).run()
        return 0
    if config.has_supervisor:
        supervisor = Workers(config, sockets, metrics)
        supervisor.run()
        return STARTUP_FAILURE if supervisor.has_failed else 0
    server = Server(config)
    server.run(sockets=sockets)
    return 0 if server.started else STARTUP_FAILURE


def _report(error: BridgeError) -> int:
    """Print what was wrong with the app; return the exit code, which is uvicorn's for the same case.

    A worker that ends with STARTUP_FAILURE is not started again, which for a broken app would go on for ever.
    """
    is_worker = multiprocessing.parent_process() is not None
    if isinstance(error, BrokenAppError):
        print(error.report, end="", file=sys.stderr)
    print(f"bridge: {error}", file=sys.stderr)
    return 1 if isinstance(error, BrokenAppError) and not is_worker else STARTUP_FAILURE


def _unusable_certificate(config: ServeConfig, error: OSError) -> BridgeError:
    # OpenSSL does not say which file it means.
    files = [config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs]
    return BridgeError(
        f"cannot use the certificate of --ssl-certfile ({', '.join(str(file) for file in files if file)}): "
        f"{error.strerror or error}"
    )


def _fixed_version(config: ServeConfig) -> BridgeError:
    return BridgeError(
        f"--ssl-version {config.ssl_version} is one version of TLS alone, which can have no minimum; "
        f"leave it out: --ssl-min-version {config.settings.ssl_min_version} says what is spoken"
    )

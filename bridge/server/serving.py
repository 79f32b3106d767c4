"""Run uvicorn with our settings: one process, several, or one that reloads.

uvicorn's own parts do the work, through the seams it offers: `Config` is subclassed to load the app our way,
`Server`, `Multiprocess` and `ChangeReload` are used as they are.
"""

import asyncio
import copy
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.config import LOG_LEVELS, LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload, Multiprocess

from bridge.errors import BridgeError
from bridge.server.application import Application, ServeSettings, make_application
from bridge.server.loading import BrokenAppError
from bridge.server.sockets import address_of, bind

__all__ = ["STARTUP_FAILURE", "ServeConfig", "serve"]

logger = logging.getLogger("bridge")


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
        super().__init__(settings.target, factory=True, interface="asgi3", **options)

    def configure_logging(self) -> None:
        """Set logging up as uvicorn does; `--log-level` holds for Bridge's messages, too."""
        super().configure_logging()
        if self.log_level is not None:
            level = self.log_level
            logger.setLevel(LOG_LEVELS[level.lower()] if isinstance(level, str) else level)

    def load(self) -> None:
        """Load everything, and have the app told when the server begins to stop."""
        super().load()
        self.http_protocol_class = _draining(self.http_protocol_class, self._application.drain)

    def load_app(self) -> Callable[[], Any]:
        """Make the application; end the process with one line where that is impossible."""
        try:
            self._application: Application = make_application(self.settings)
        except BridgeError as error:
            sys.exit(_report(error))
        logger.info("%s", self._application.description)
        if not self.use_subprocess:
            self.log_addresses()
        return lambda: self._application.asgi

    def log_addresses(self) -> None:
        """Say where the server listens."""
        workers = "1 worker" if self.workers == 1 or self.reload else f"{self.workers} workers"
        logger.info("%s · %s · Ctrl-C to stop", ", ".join(self.addresses), workers)


def default_log_config() -> dict[str, Any]:
    """uvicorn's logging, with Bridge's messages where uvicorn's own go."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["bridge"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config


def serve(config: ServeConfig) -> int:
    """Serve until a signal ends it; return the exit code.

    Raises:
        BridgeError: the address cannot be listened on.
    """
    sockets = bind(host=config.host, port=config.port, uds=config.uds, fd=config.fd)
    config.addresses = [address_of(each, tls=config.is_ssl) for each in sockets]
    # SIGTERM ends like Ctrl-C: uvicorn raises the signal again when it has stopped, and by default that
    # would end the process before it can clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(config, sockets)
    except KeyboardInterrupt:
        return 0
    finally:
        for each in sockets:
            each.close()
        if config.uds is not None and os.path.exists(config.uds):
            os.unlink(config.uds)


def _run(config: ServeConfig, sockets: list[socket.socket]) -> int:
    if config.use_subprocess:
        config.log_addresses()
    if config.should_reload:
        ChangeReload(config, target=uvicorn.Server(config).run, sockets=sockets).run()
        return 0
    if config.workers > 1:
        supervisor = Multiprocess(config, sockets=sockets)
        supervisor.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
        return STARTUP_FAILURE if failed else 0
    server = uvicorn.Server(config)
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


def _draining(protocol: type[asyncio.Protocol], on_shutdown: Callable[[], None]) -> type[asyncio.Protocol]:
    """The protocol class, with a call of `on_shutdown` when the server asks a connection to come to its end.

    It is the first that uvicorn lets anybody know of a shutdown; lifespan hears of it when all responses have
    ended, and a stream without an end would wait for that for ever.
    """

    class DrainingProtocol(protocol):  # type: ignore[valid-type,misc]  # the class is known at run time only
        def shutdown(self) -> None:
            on_shutdown()
            super().shutdown()

    return DrainingProtocol

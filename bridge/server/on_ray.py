"""`bridge serve --on ray`: deploy the app to a Ray cluster, show its state, and take it back at the end."""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import BridgeError
from bridge.ray import MARGIN, deployment, import_serve
from bridge.server.application import make_application
from bridge.server.processes.sockets import address_of, bind
from bridge.server.serving import ServeConfig
from bridge.server.settings import ServeSettings
from bridge.types import ASGI3Application

__all__ = ["serve_on_ray"]

logger = logging.getLogger("bridge")

# Seconds between two looks at the state, and that a cluster may take to answer at all.
_PERIOD = 0.5
_PATIENCE = 5.0


def serve_on_ray(config: ServeConfig) -> int:
    """Serve on a Ray cluster until a signal ends it; return the exit code.

    Args:
        config: what to serve; of uvicorn's options, the address, the root path and the limits of requests.

    Raises:
        BridgeError: Ray is not installed, the app cannot be loaded, the cluster cannot be reached or is lost,
            or the deployment does not get healthy. Nothing is left running.
    """
    settings = config.settings
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Here, too: what is wrong with it is said at once, and without a cluster.
        logger.info("%s", make_application(settings).description)
        serve = import_serve()  # after that, Ray's own folders are first on sys.path
        with _cluster(config) as is_local, _deployed(serve, config, is_local=is_local) as name:
            if not settings.detach:
                _watch(serve, name)
    except KeyboardInterrupt:
        pass
    return 0


@contextlib.contextmanager
def _cluster(config: ServeConfig) -> Iterator[bool]:
    """Connect to the cluster at hand, or start one that ends with the block; yields whether it did that."""
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "namespace": "serve"}
    is_local = not _connect(config.settings, options)
    if is_local:
        if config.settings.detach:
            raise BridgeError(
                "--detach needs a cluster that goes on running, and there is none: `ray start --head` starts "
                "one here, and RAY_ADDRESS names another"
            )
        # Ray's proxy would share the port with another server.
        for each in bind([f"[{config.host}]:{config.port}"]):
            config.port = each.getsockname()[1]
            config.addresses = [address_of(each, tls=False)]
            each.close()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logger.info("no Ray cluster at hand: starting one on this machine")
        # A replica takes a CPU of the cluster; the machine's own may be fewer, as for --workers.
        cpus = max(config.settings.replicas[1], os.cpu_count() or 1)
        ray.init("local", include_dashboard=False, num_cpus=cpus, **options)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own, which aborts
    try:
        nodes = sum(node["Alive"] for node in ray.nodes())
        cpus = ray.cluster_resources().get("CPU", 0)
        logger.info("Ray runs, with nodes: %d, CPUs: %g; deploying", nodes, cpus)
        yield is_local
    finally:
        ray.shutdown()


def _connect(settings: ServeSettings, options: dict[str, Any]) -> bool:
    """Connect to the cluster of RAY_ADDRESS, or to one that runs here; return False if there is neither.

    Raises:
        BridgeError: RAY_ADDRESS names one that cannot be used.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS") or "auto"
    if address == "local":
        return False
    try:
        if address != "auto":
            _check_reachable(address)
        # Its nodes get the app's folder. What everybody's processes print there stays there.
        folder = {"working_dir": settings.app_dir}
        ray.init(address, runtime_env=folder, log_to_driver=False, **options)
    except ConnectionError as error:
        if address == "auto":
            return False
        raise BridgeError(
            f"cannot reach the Ray cluster of RAY_ADDRESS={address}: {error}; start it, correct the "
            "variable, or unset it to have a cluster on this machine"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise BridgeError(f"cannot use the Ray cluster at {address}: {_last_line(str(error))}") from None
    return True


def _check_reachable(address: str) -> None:
    """Connect once: Ray itself would try for minutes.

    Raises:
        ConnectionError: nobody listens there.
    """
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if not parts.hostname or not parts.port:
        raise ConnectionError("it is not of the form host:port")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None


@contextlib.contextmanager
def _deployed(serve: Any, config: ServeConfig, *, is_local: bool) -> Iterator[str]:
    """Deploy the app, and wait until it serves; yields its name. The end of the block takes it back."""
    settings = config.settings
    name = _name_of(settings)
    before = serve.status()
    is_new = not before.proxies
    if name in before.applications and not settings.detach:
        raise BridgeError(
            f"an application {name!r} is on the cluster already; --detach replaces it, or end it first"
        )
    try:
        serve.start(
            http_options={"host": config.host, "port": config.port},
            proxy_location="HeadOnly" if is_local else "EveryNode",
            logging_config={"log_level": "CRITICAL"},  # the replicas log their errors themselves
        )
    except (RuntimeError, TimeoutError) as error:
        raise BridgeError(f"Ray's proxies do not start: {_last_line(str(error))}") from None
    place = settings if is_local else replace(settings, app_dir=None)
    options: dict[str, Any] = {"max_ongoing_requests": config.limit_concurrency or settings.threads}
    if settings.graceful_timeout is not None:
        options["graceful_shutdown_timeout_s"] = settings.graceful_timeout + MARGIN
    least, most = settings.replicas
    application = deployment(
        partial(_application, place),
        replicas=f"{least}..{most}",
        check_health=settings.readiness,
        name=name,
        **options,
    )
    is_kept, is_healthy = name in before.applications, False
    try:
        target = serve.RunTarget(
            application,
            name=name,
            route_prefix=config.root_path or "/",
            logging_config={"enable_access_log": config.access_log},
        )
        try:
            serve.run_many([target], wait_for_applications_running=False)
        except Exception as error:  # noqa: BLE001  # Ray's own, such as that of a prefix that is taken
            raise BridgeError(f"Ray does not take {name!r}: {_last_line(str(error))}") from None
        overview = _wait_until_healthy(serve, name, settings.worker_start_timeout)
        count = str(least) if least == most else f"{least}..{most}"
        where = f"{config.addresses[0]}{config.root_path}" if is_local else "at the cluster's proxies"
        facts = [
            f"'{name}' on Ray",
            f"{_states(overview)} of {count} replicas",
            f"{where} (port {config.port})" if is_new and not is_local else where,
            "goes on running" if settings.detach else "Ctrl-C to stop",
        ]
        logger.info("%s", " · ".join(facts))
        is_kept, is_healthy = settings.detach, True
        yield name
    finally:
        if not is_kept:
            _take_back(serve, name, has_streams=is_healthy)
            if is_new and not is_local and not serve.status().applications:
                serve.shutdown()


def _take_back(serve: Any, name: str, *, has_streams: bool) -> None:
    """Delete the application, once its requests have ended."""
    try:
        if has_streams:  # they would hold it until Ray kills the replicas
            serve.get_app_handle(name).broadcast("end_streams").results(timeout_s=_PATIENCE)
        serve.delete(name)
    except Exception as error:  # noqa: BLE001  # Ray's own and those of gRPC
        logger.warning("%r could not be taken off the cluster: %s", name, _last_line(str(error)))


def _application(settings: ServeSettings) -> ASGI3Application:
    """Load and adapt the app, in a replica."""
    if settings.app_dir is not None and sys.path[:1] != [settings.app_dir]:
        sys.path.insert(0, settings.app_dir)
    return make_application(settings).asgi


def _name_of(settings: ServeSettings) -> str:
    """The name of the application on the cluster: that of its module."""
    target = settings.target or settings.mounts[0][1]
    assert isinstance(target, str)  # a command line names it
    return Path(target.partition(":")[0]).stem if os.sep in target else target.partition(":")[0]


def _wait_until_healthy(serve: Any, name: str, timeout: float) -> Any:
    """Wait for all replicas, the least number of them if there is a range; return the state.

    Raises:
        BridgeError: Ray gives up, or the time is over.
    """
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        overview = serve.status().applications[name]
        if overview.status == "RUNNING":
            return overview
        deployed = overview.deployments.get(name)
        message = (deployed and deployed.message) or overview.message
        why = _last_line(message)
        if overview.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise BridgeError(f"{name!r} does not start on Ray: {why}")
        if time.monotonic() > deadline:
            raise BridgeError(
                f"{name!r} is not healthy on Ray after {timeout:g} seconds (--timeout-worker-start); "
                f"replicas: {_states(overview)}{': ' + why if why else ''}"
            )
        if why != said:
            said = why
            logger.info("waiting: %s", why)
        time.sleep(_PERIOD)


def _watch(serve: Any, name: str) -> None:
    """Log each change of the deployment's state.

    Raises:
        BridgeError: somebody has ended the application, or the cluster is lost.
    """
    said = ""
    while True:
        time.sleep(_PERIOD)
        try:
            overview = serve.status().applications.get(name)
        except Exception as error:  # noqa: BLE001  # Ray's own and those of gRPC
            raise BridgeError(f"the Ray cluster is lost: {_last_line(str(error))}") from None
        if overview is None:
            raise BridgeError(f"somebody has ended {name!r} on the cluster")
        state = _states(overview)
        if said and state != said:
            logger.info("replicas: %s", state)
        said = state


def _states(overview: Any) -> str:
    """How many replicas there are in each state: `2 running, 1 starting`."""
    states = [
        f"{count} {state.lower()}"
        for deployed in overview.deployments.values()
        for state, count in deployed.replica_states.items()
        if count
    ]
    return ", ".join(states) or "none"


def _last_line(message: str) -> str:
    """The reason in a message of Ray's, which may be a traceback; without the class of the error."""
    lines = message.strip().splitlines()
    return re.sub(r"^(\w+\.)+\w+: ", "", lines[-1].strip()) if lines else ""

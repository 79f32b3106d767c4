"""Settings → the ASGI application that is served, in each process that serves it."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.mounts import Mounts
from bridge.errors import BridgeError
from bridge.http.exchange import Hook
from bridge.http.server import Serve
from bridge.http.wsgi import WSGIServe
from bridge.interfaces import as_asgi3, is_flask
from bridge.loading import AppError, LoadedApp, count_routes, is_static, load_app, load_function
from bridge.server.hooks.access_log import LogLines, PlainLog
from bridge.server.hooks.health import Health, ReadinessCheck
from bridge.server.hooks.metrics import Metrics
from bridge.server.hooks.request_id import RequestIds
from bridge.server.hooks.request_timeout import RequestTimeout
from bridge.server.hooks.server_timing import ServerTiming
from bridge.server.mounted import serve_mounted
from bridge.server.request_scope import RequestScope
from bridge.server.settings import ServeSettings
from bridge.types import ASGI3Application, WSGIApplication

if TYPE_CHECKING:
    from flask import Flask

__all__ = [
    "Application",
    "adapt",
    "make_adapter",
    "make_application",
]

logger = logging.getLogger("bridge")


@dataclass(frozen=True)
class Application:
    """An ASGI application made of a loaded app, and a line that describes it."""

    asgi: ASGI3Application
    description: str
    health: Health
    """Answers whether the server is ready; one of the hooks."""

    hooks: tuple[Hook, ...] = ()
    """Called for each request, in this order."""

    metrics: Metrics | None = None
    """Counts requests; one of the hooks. The server makes it report."""

    adapter: WSGIToASGI | None = None
    """Bridge's own, if that serves a WSGI app, and no other app is mounted."""

    make_serve: Callable[[dict[str, Any]], Serve] | None = None
    """Makes what serves requests, of the lifespan state; None if that is `asgi`."""


def make_application(settings: ServeSettings) -> Application:
    """Load the app and adapt it.

    Raises:
        AppError: the app cannot be loaded.
        BridgeError: the adapter, or the debugger, is not installed.
    """
    if settings.debug:
        # As `flask run --debug` does: an app may read it while it is imported.
        os.environ["FLASK_DEBUG"] = "1"
    apps: dict[str, LoadedApp] = {}
    if settings.target != "" or not settings.mounts:
        apps[""] = load_app(settings.target, factory=settings.factory, interface=settings.interface)
    for prefix, target in settings.mounts:
        if prefix in apps:
            raise BridgeError(f"--mount /={target}: {apps[''].name} is there already; name one of the two")
        try:
            apps[prefix] = load_app(target)
        except AppError as error:
            error.args = (f"--mount {prefix or '/'}={target}: {error}",)
            raise
    if settings.debug:
        apps = {prefix: _debugged(loaded) for prefix, loaded in apps.items()}
    adapted = {
        prefix: (
            adapt(loaded.app, settings)
            if loaded.interface == "wsgi"
            else as_asgi3(loaded.app, loaded.interface)
        )
        for prefix, loaded in apps.items()
    }
    details = "served as it is, no adapter"
    if any(loaded.interface == "wsgi" for loaded in apps.values()):
        calls = (
            "one request at a time"
            if settings.adapter == "asgiref"
            else f"{settings.threads} thread{'' if settings.threads == 1 else 's'}"
        )
        details = f"adapter {settings.adapter}, {calls}{' for each WSGI app' if len(apps) > 1 else ''}"
    about = []
    for prefix, loaded in apps.items():
        where = f" at {prefix}" if prefix else ""
        routes = f" ({_describe_routes(loaded.app, settings)})" if is_flask(loaded.app) else ""
        about.append(f"{loaded.kind} app '{loaded.name}'{where}{routes}")
    bridged = {prefix: each for prefix, each in adapted.items() if isinstance(each, WSGIToASGI)}
    adapters = {prefix: each for prefix, each in bridged.items() if apps[prefix].interface == "wsgi"}
    asgi: ASGI3Application
    make_serve: Callable[[dict[str, Any]], Serve] | None = None
    if list(apps) == [""]:
        asgi = adapted[""]
        if adapters:
            make_serve = partial(WSGIServe, adapters[""], RequestScope)
    else:
        asgi = mounts = Mounts(adapted, interface="asgi")
        make_serve = partial(serve_mounted, mounts, adapters)
    metrics = Metrics(list(bridged.values())) if settings.metrics_port is not None else None
    check: ReadinessCheck | None = None
    if "" in apps and is_flask(apps[""].app):
        check = getattr(apps[""].app.extensions.get("bridge"), "readiness_check", None)
    if settings.readiness is not None:
        check = load_function(settings.readiness)
    health = Health(live=settings.health_live, ready=settings.health_ready, check=check)
    return Application(
        asgi,
        description=f"{', '.join(about)} · {details}",
        health=health,
        hooks=tuple(_hooks(settings, health, metrics, list(bridged.values()))),
        metrics=metrics,
        adapter=adapters.get("") if len(apps) == 1 else None,
        make_serve=make_serve,
    )


def _debugged(loaded: LoadedApp) -> LoadedApp:
    """Put Werkzeug's debugger around the app, and Flask into debug mode; log the PIN.

    An ASGI app stays as it is.

    Raises:
        BridgeError: Werkzeug is not installed.
    """
    if loaded.interface != "wsgi":
        logger.warning("for an ASGI app, --debug only reloads: Werkzeug's debugger is for WSGI apps")
        return loaded
    try:
        from bridge.server.debugger import Debugger
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "werkzeug":
            raise
        raise BridgeError(
            "--debug needs Werkzeug, whose debugger it is: pip install werkzeug; or use --reload alone"
        ) from None
    app = loaded.app
    if is_flask(app):
        app.debug = True
        debugger = Debugger(app.wsgi_app, app)
        vars(app)["wsgi_app"] = debugger  # as middleware is put around a Flask app: it stays one
    else:
        debugger = Debugger(app, app)
        loaded = replace(loaded, app=debugger)
    if debugger.pin is None:
        logger.warning("the debugger is on, without a PIN, as WERKZEUG_DEBUG_PIN says")
    else:
        logger.warning("the debugger is on, a Python shell for whoever knows its PIN: %s", debugger.pin)
    return loaded


def _hooks(
    settings: ServeSettings, health: Health, metrics: Metrics | None, adapters: Sequence[WSGIToASGI]
) -> Iterator[Hook]:
    """The hooks in their order. One that answers comes first: those behind it are told nothing."""
    if settings.health_live is not None or settings.health_ready is not None:
        yield health
    if settings.request_id:
        yield RequestIds()
    if metrics is not None:
        yield metrics
    if settings.access_log_format is not None:
        yield LogLines(settings.access_log_format)
    else:
        yield PlainLog()
    if settings.server_timing:
        yield ServerTiming(has_threads=bool(adapters))
    if settings.request_timeout is not None:
        yield RequestTimeout(
            settings.request_timeout, lambda: sum(adapter.busy_threads for adapter in adapters)
        )


def _describe_routes(app: "Flask", settings: ServeSettings) -> str:
    # It imports Flask, which is there by now.
    from bridge.flask.placement import is_async_view, place

    every_rule = list(app.url_map.iter_rules())
    rules = [rule for rule in every_rule if not is_static(rule.endpoint)]
    count = count_routes(rule.endpoint for rule in every_rule)
    on_loop = kept = 0
    for rule in rules:
        view = app.view_functions.get(rule.endpoint)
        methods = [method for method in rule.methods or () if view and is_async_view(view, method)]
        if any(place(app, rule, method, settings.async_runner)[0] == "loop" for method in methods):
            on_loop += 1
        elif methods:
            kept += 1
    if not on_loop and (not kept or settings.async_runner == "thread"):
        return count
    where = []
    if len(rules) > on_loop:
        why = f" ({kept} async; `bridge routes` says why)" if kept and settings.async_runner == "auto" else ""
        where.append(f"{len(rules) - on_loop} in threads{why}")
    if on_loop:
        where.append(f"{on_loop} async on the loop")
    return f"{count}: {', '.join(where)}"


def make_adapter(app: WSGIApplication, settings: ServeSettings) -> WSGIToASGI:
    """Bridge's own adapter of a WSGI app, as the settings have it."""
    return WSGIToASGI(
        app,
        threads=settings.threads,
        queue_length=settings.queue_length,
        queue_timeout=settings.queue_timeout,
        streams=settings.streams,
        websockets=settings.websockets,
        async_views=settings.async_runner,
        blocking_threshold=settings.blocking_threshold,
        graceful_timeout=math.inf if settings.graceful_timeout is None else settings.graceful_timeout,
    )


def adapt(app: WSGIApplication, settings: ServeSettings) -> ASGI3Application:
    """The ASGI application made of a WSGI app, by the adapter of the settings.

    Raises:
        BridgeError: it is not installed.
    """
    # The three are typed each in its own way.
    wsgi_app: Any = app
    adapted: Any
    try:
        if settings.adapter == "bridge":
            adapted = make_adapter(app, settings)
        elif settings.adapter == "a2wsgi":
            from a2wsgi import WSGIMiddleware

            middleware: Any = WSGIMiddleware(wsgi_app, workers=settings.threads)  # its types are narrower
            adapted = middleware
        else:
            from asgiref.wsgi import WsgiToAsgi

            adapted = WsgiToAsgi(wsgi_app)  # type: ignore[no-untyped-call]  # asgiref's is not annotated
    except ModuleNotFoundError:
        name = settings.adapter
        raise BridgeError(
            f"--adapter {name} needs the package {name}, which is not installed: pip install {name}"
        ) from None
    asgi: ASGI3Application = adapted
    return asgi

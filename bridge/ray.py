"""`deployment`: an app as a Ray Serve application, on as many machines as a cluster has.

Ray's proxies take the connections, and pass each request on to a replica, a process that has loaded the app.
Bridge makes no cluster of its own. Only a call of `deployment` imports Ray.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.lifespan import running, serve_lifespan
from bridge.asgi.mounts import Mounts
from bridge.errors import BridgeError
from bridge.interfaces import as_asgi3, is_async_callable
from bridge.loading import load_app, load_function
from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application

if TYPE_CHECKING:
    from ray.serve import Application

__all__ = ["MARGIN", "Replica", "deployment", "import_serve", "parse_replicas"]

_ADAPTER = {
    name: parameter.default
    for name, parameter in inspect.signature(WSGIToASGI).parameters.items()
    if name != "app"
}

MARGIN = 5.0
"""Seconds that Ray gives a replica beyond the adapter's own, before it kills the process."""


def deployment(
    app: str | Callable[..., Any],
    *,
    replicas: int | str | None = None,
    check_health: str | Callable[[], object] | None = None,
    **options: Any,
) -> "Application":
    """Make a Ray Serve application of an app, for `ray.serve.run`, `serve run` or `serve deploy`.

    Args:
        app: what to serve, WSGI or ASGI: `module:attribute`, as for `bridge serve`; or a function that takes
            no arguments and returns the app; or an app that can be pickled, which Flask's cannot.
        replicas: how many processes serve the app: a number, or a range such as "2..20", within which Ray
            follows the load.
        check_health: a function, async or not, or its `module:function`. Ray replaces a replica if it
            returns False or raises three times in a row. A loop that is blocked counts as unhealthy anyway.
        options: what `WSGIToASGI` takes, such as `threads`, and what `ray.serve.deployment` takes, such as
            `ray_actor_options`. By default `max_ongoing_requests` is `threads`, so that a request that has
            to wait does so in Ray's proxy, which can pass it on to any replica; and
            `graceful_shutdown_timeout_s` is `graceful_timeout` and five seconds.

    Raises:
        BridgeError: Ray Serve is not installed.
        TypeError: `app` is no app and no function, or cannot be pickled.
        ValueError: `replicas` is neither a number nor a range.

    The app is loaded in each replica, and not here. There its lifespan runs, with a state of its own; async
    views run on the replica's event loop, and others in Bridge's threads.
    """
    serve = import_serve()
    adapter = {name: options.pop(name) for name in _ADAPTER if name in options}
    settings = _ADAPTER | adapter
    options.setdefault("name", "app")
    options.setdefault("max_ongoing_requests", settings["threads"])
    options.setdefault("graceful_shutdown_timeout_s", settings["graceful_timeout"] + MARGIN)
    if replicas is not None:
        least, most = parse_replicas(replicas)
        if least == most:
            options["num_replicas"] = least
        else:
            given = options.get("autoscaling_config") or {}
            options["autoscaling_config"] = {**given, "min_replicas": least, "max_replicas": most}
    if not isinstance(app, str):
        _check_app(app)
    replica: Application = serve.deployment(serve.ingress()(Replica), **options).bind(
        app, adapter, check_health
    )
    return replica


class Replica:
    """What Ray makes in each process that serves the app, on the loop that serves its requests.

    Args:
        app: as for `deployment`.
        adapter: what `WSGIToASGI` gets besides a WSGI app.
        check_health: as for `deployment`.
    """

    def __init__(
        self,
        app: str | Callable[..., Any],
        adapter: Mapping[str, Any],
        check_health: str | Callable[[], object] | None,
    ) -> None:
        self._app = app
        self._adapter = adapter
        self._check = check_health
        self._served: ASGI3Application | None = None
        self._lifespan = AsyncExitStack()

    async def __serve_build_asgi_app__(self) -> ASGI3Application:
        """Load the app and start its lifespan; Ray serves what this returns.

        Ray would run the lifespan itself, but passes no state on to requests, and does not say why it failed.

        Raises:
            BridgeError: the app cannot be loaded, or does not start.
        """
        # An app may call asyncio.run() while it is imported, which no thread with a running loop can.
        self._served = app = await asyncio.to_thread(self._load)
        state = await self._lifespan.enter_async_context(running(app))

        async def serve(scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
            known: Any = scope
            if known["type"] == "lifespan":
                await serve_lifespan(known, receive, send, self._rest_of_life())
            else:
                untyped: Any = app
                await untyped({**known, "state": state.copy()}, receive, send)

        served: Any = serve
        asgi: ASGI3Application = served
        return asgi

    async def check_health(self) -> None:
        """Raise if the app cannot serve. Ray runs this on the loop, so that a blocked one fails, too.

        Raises:
            BridgeError: the app's own check returned False.
        """
        check: Any = self._check
        if check is None:
            return
        # A plain function may block; it may also return an awaitable, as decorated ones do.
        result = check() if is_async_callable(check) else await asyncio.to_thread(check)
        if inspect.isawaitable(result):
            result = await result
        if result is False:
            raise BridgeError("the app's health check returned False")

    async def end_streams(self) -> None:
        """End open event streams and websockets, and those still to come; see `WSGIToASGI.end_streams`.

        A replica that stops waits for its requests, and Ray does not tell it. So broadcast this before.
        """
        if isinstance(self._served, WSGIToASGI | Mounts):
            self._served.end_streams()

    @asynccontextmanager
    async def _rest_of_life(self) -> AsyncIterator[dict[str, Any]]:
        """The lifespan as Ray sees it: it has started, and ends once the replica's requests have."""
        async with self._lifespan:
            yield {}

    def _load(self) -> ASGI3Application:
        if isinstance(self._check, str):
            self._check = load_function(self._check)
        loaded = load_app(self._app)
        if loaded.interface == "wsgi":
            return WSGIToASGI(loaded.app, **self._adapter)
        if self._adapter:
            raise BridgeError(f"{loaded.app!r} is an ASGI app, which takes no {', '.join(self._adapter)}")
        return as_asgi3(loaded.app, loaded.interface)


def parse_replicas(replicas: int | str) -> tuple[int, int]:
    """Return the least and the greatest number of replicas of `3`, `"3"` or `"2..20"`.

    Raises:
        ValueError: it is neither a number nor a range.
    """
    least, separator, most = str(replicas).partition("..")
    bounds = (least, most if separator else least)
    if not all(bound.isascii() and bound.isdigit() for bound in bounds):
        raise ValueError(
            f"{replicas!r} is neither a number of replicas, such as 3, nor a range, such as 2..20"
        )
    low, high = map(int, bounds)
    if not 1 <= low <= high:
        raise ValueError(f"{replicas!r} must begin with 1 or more, and not end below its beginning")
    return low, high


def import_serve() -> Any:
    """Import Ray Serve.

    Raises:
        BridgeError: it is not installed.
    """
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise BridgeError(
            f"Ray Serve is not installed ({error.name} is missing): pip install 'ray[serve]'"
        ) from None
    return serve


def _check_app(app: object) -> None:
    """Refuse here what would fail in every replica.

    Raises:
        TypeError: it is not callable, or cannot be pickled.
    """
    from ray import cloudpickle

    if not callable(app):
        raise TypeError(f"deployment takes an app, its name, or a function that makes it; got {app!r}")
    try:
        cloudpickle.dumps(app)
    except Exception as error:
        raise TypeError(
            f"{app!r} cannot be pickled, as for the processes of Ray it must be ({error}); name it, as in "
            'deployment("module:attribute"), or pass a function that makes it'
        ) from error

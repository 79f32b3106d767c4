"""`Bridge(app)`: lifespan, state and background work of a Flask app."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

from flask import (
    Blueprint,
    Flask,
    Response,
    after_this_request,
    current_app,
    has_app_context,
    has_request_context,
)

from bridge.errors import BridgeError
from bridge.flask.background import Background
from bridge.flask.lifespans import Lifespan, PlainLifespans, hook, lifespan_of
from bridge.flask.placement import kept_in_threads
from bridge.flask.websockets import Handler, WebSocketView, ask_for_upgrade
from bridge.lifespans import NO_EVENT, AppLifespan, entered
from bridge.runners.loop_access import CURRENT_LOOP
from bridge.types import AsyncViews, override

__all__ = ["Bridge", "State"]

_Lifespan: TypeAlias = (
    Callable[[Flask], AbstractAsyncContextManager[Mapping[str, Any] | None]]
    | Callable[[Flask], AsyncIterator[Mapping[str, Any] | None]]
    | Callable[[Flask], Iterator[Mapping[str, Any] | None]]
)
_LifespanT = TypeVar("_LifespanT", bound=_Lifespan)
_Hook: TypeAlias = Callable[[], Awaitable[object] | object]
_HookT = TypeVar("_HookT", bound=_Hook)
_HandlerT = TypeVar("_HandlerT", bound=Handler)
_P = ParamSpec("_P")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as _TypeVar  # whose defaults typing has from Python 3.13 on

    _StateT = _TypeVar("_StateT", default="State")
else:
    _StateT = TypeVar("_StateT")

_NAME = "bridge"

logger = logging.getLogger("bridge")

# Held to change the state of an app.
_changing = threading.Lock()

# Endpoints that a warning names; it counts the others.
_MOST_NAMED = 3


class State(Mapping[str, Any]):
    """The values that the lifespans of an app have yielded: `state.http`, or `state["http"]`.

    Args:
        values: by name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return vars(self)["_values"][name]
        except KeyError:
            known = ", ".join(self._values) or "nothing"
            raise AttributeError(f"no lifespan has yielded {name!r}; there is: {known}") from None


class Bridge(AppLifespan, Generic[_StateT]):
    """A Flask extension for lifespan, background functions and websockets.

    Args:
        app: the Flask app; without it, call `init_app` later, once for each app.

    Type checkers take each value of `state` for `Any`. A protocol tells them more:

        class Clients(Protocol):
            http: httpx.AsyncClient

        bridge: Bridge[Clients] = Bridge(app)  # bridge.state.http is an AsyncClient
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._lifespans: list[Lifespan] = []
        self._plain_lifespans = PlainLifespans()
        # Several loops may serve an app, each in its thread and with its own lifespan. An app's dict is
        # replaced as a whole, under `_changing`, so others read it without.
        self._states: dict[Flask, Mapping[asyncio.AbstractEventLoop, State]] = {}
        self._background = Background()
        self._apps: list[Flask] = []
        self._websockets: list[tuple[str, WebSocketView, dict[str, Any]]] = []  # for apps that come later
        self.readiness_check: Callable[..., object] | None = None
        """The server calls it to learn whether the app can serve; see `readiness`."""

        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make this the extension of an app, as `app.extensions["bridge"]`.

        Raises:
            RuntimeError: the app has one already.
        """
        if app.extensions.setdefault(_NAME, self) is not self:
            raise RuntimeError(f"the app {app.name!r} has a Bridge extension already; make one for each app")
        if app in self._apps:
            return
        self._apps.append(app)
        ask_for_upgrade(app)
        for rule, view, options in self._websockets:
            app.add_url_rule(rule, view_func=view, websocket=True, **options)

    def lifespan(self, function: _LifespanT) -> _LifespanT:
        """Decorate a generator function that yields once, async or not: it lives as long as the server.

        It gets the app. It yields a mapping, which becomes part of `state`, or None. Several are entered in
        the order of their declaration, and left in the opposite one. A function that returns an async context
        manager will do, too. A plain one runs in a thread.

            @bridge.lifespan
            async def clients(app):
                async with httpx.AsyncClient() as http:
                    yield {"http": http}

        Outside Bridge, as under gunicorn's own workers, the first use of `state` in a process enters
        lifespans and hooks, if all of them are plain, and the end of the process leaves them.

        Raises:
            TypeError: the function is a coroutine function.
        """
        self._lifespans.append(lifespan_of(function))
        return function

    def on_startup(self, function: _HookT) -> _HookT:
        """Decorate a function, async or not, that Bridge calls before the first request."""
        self._lifespans.append(hook(function, "startup"))
        return function

    def on_shutdown(self, function: _HookT) -> _HookT:
        """Decorate a function, async or not, that Bridge calls after the last request."""
        self._lifespans.append(hook(function, "shutdown"))
        return function

    @override
    @property
    def has_lifespans(self) -> bool:
        return bool(self._lifespans)

    @property
    def state(self) -> _StateT:
        """The values that the lifespans of the current app have yielded.

        Raises:
            BridgeError: no lifespan is running, and none can run here.
        """
        app = self._current_app()
        states = self._states.get(app)
        if not states:
            if CURRENT_LOOP.get(None) is not None:
                raise BridgeError(f"there is no state, as no lifespan is running: {NO_EVENT}")
            return cast(_StateT, State(self._plain_lifespans.values(app, self._lifespans)))
        if len(states) == 1:
            return cast(_StateT, next(iter(states.values())))
        loop = _current_loop()
        state = None if loop is None else states.get(loop)
        if state is None:
            raise BridgeError(
                f"which state? {len(states)} event loops serve the app, each with its own lifespan, and this "
                "code belongs to none of them; in a thread of your own, start it with "
                "contextvars.copy_context().run"
            )
        return cast(_StateT, state)

    def readiness(self, function: _HookT) -> _HookT:
        """Decorate a function, async or not, that says whether the app can serve.

        The server calls it for each readiness probe. The app is not ready if it returns False or raises.
        """
        self.readiness_check = function
        return function

    def websocket(
        self, rule: str, *, blueprint: Blueprint | None = None, **options: Any
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Decorate `async def handler(ws, **arguments)`, which serves the websockets of a URL rule.

            @bridge.websocket("/chat/<room>")
            async def chat(ws, room):
                async for message in ws:
                    await ws.send(f"{room}: {message}")

        It runs on the server's event loop, and holds no thread. `request`, `session` and `g` work in it, and
        the app's hooks and error handlers as for a view. Until the websocket is accepted, at the latest by
        the first send or receive, `abort(401)` and the like answer the handshake. `ws` is a
        `bridge.flask.WebSocket`.

        Args:
            rule: the URL rule, as for `Flask.route`.
            blueprint: the blueprint that gets the rule; None for the app itself.
            options: those of `Flask.add_url_rule`, such as `endpoint` and `defaults`.

        Raises:
            TypeError: the handler is not async.
        """

        def decorate(handler: _HandlerT) -> _HandlerT:
            view = WebSocketView(handler)
            if blueprint is not None:
                blueprint.add_url_rule(rule, view_func=view, websocket=True, **options)
                return handler
            self._websockets.append((rule, view, options))
            for app in self._apps:
                app.add_url_rule(rule, view_func=view, websocket=True, **options)
            return handler

        return decorate

    def background(self, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call a function, async or not, after the response of the current request.

        It runs in an app context, on the server's event loop if it is async, else in a thread. A shutdown
        waits for it, up to the graceful timeout. The log has its failure. Without a request it begins at
        once.
        """
        app = self._current_app()
        begin = self._background.prepared(app, partial(function, *args, **kwargs))
        if not has_request_context():
            begin()
            return

        @after_this_request
        def begin_after(response: Response) -> Response:
            response.call_on_close(begin)
            return response

    @override
    @asynccontextmanager
    async def running(
        self, app: Flask, graceful_timeout: float, async_views: AsyncViews
    ) -> AsyncIterator[dict[str, Any]]:
        if self._lifespans and async_views == "auto" and (kept := kept_in_threads(app, async_views)):
            more = f" and {len(kept) - _MOST_NAMED} more" if len(kept) > _MOST_NAMED else ""
            logger.warning(
                "the app has a lifespan, which runs on the server's loop, and async views that run in "
                "threads, each on a loop of its own: %s. What the lifespan has made can be awaited there "
                "only by run_on_loop(). `bridge routes` says what keeps them off the server's loop",
                ", ".join(map(repr, kept[:_MOST_NAMED])) + more,
            )
        async with AsyncExitStack() as stack:
            values: dict[str, Any] = {}
            self._set_state(app, State(values))
            stack.callback(self._set_state, app, None)
            for lifespan in self._lifespans:
                values |= await stack.enter_async_context(entered(lifespan.on_loop, app))
                self._set_state(app, State(values))
            try:
                yield values
            finally:
                await self._background.finish(graceful_timeout)

    def _set_state(self, app: Flask, state: State | None) -> None:
        """Set the state of the running loop's lifespan; None at its end."""
        loop = asyncio.get_running_loop()
        with _changing:
            states = {each: kept for each, kept in self._states.get(app, {}).items() if each is not loop}
            if state is not None:
                states[loop] = state
            self._states[app] = states
            if not states:
                del self._states[app]

    def _current_app(self) -> Flask:
        if has_app_context():
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it
            if app.extensions.get(_NAME) is self:
                return app
        apps = list(self._states)
        if len(apps) == 1:
            return apps[0]
        raise BridgeError(
            "which app? There is no application context; use this in a view, or `with app.app_context():`"
        )


def _current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of the server that serves the current request, or the running one; None without either."""
    access = CURRENT_LOOP.get(None)
    if access is not None:
        return access.loop
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None

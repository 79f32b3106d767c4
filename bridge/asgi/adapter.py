"""`WSGIToASGI`: the ASGI application made of a WSGI application."""

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from bridge.asgi.arguments import check_count, check_no_class, check_seconds
from bridge.asgi.environ import build_environ
from bridge.asgi.host import ASGIHost
from bridge.asgi.lifespan import serve_lifespan
from bridge.asgi.loop_state import EngineSettings, LoopState
from bridge.asgi.scope import EARLY_HINTS
from bridge.core.call import Call
from bridge.core.call_facts import TimedCall
from bridge.core.link import plain_answer
from bridge.errors import BridgeError, Overloaded, WebSocketDisconnect
from bridge.interfaces import is_async_callable, is_flask, why_not_callable_as
from bridge.lifespans import NO_EVENT, AppLifespan, entered
from bridge.monkey_patching import describe_monkey_patching
from bridge.runners import early_hints
from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.types import (
    AnyReceive,
    AnyScope,
    AnySend,
    AsyncViews,
    HTTPScope,
    LifespanFactory,
    WSGIApplication,
    WSGIEnvironment,
)
from bridge.websockets.host import WEBSOCKET, HandshakeHost, HostWebSocket
from bridge.websockets.states import GOING_AWAY

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from bridge.flask.views import FlaskViews

__all__ = ["WSGIToASGI"]

logger = logging.getLogger("bridge")

# Seconds that a shutdown waits for calls that the host has given up, at most a quarter of the graceful
# timeout: nothing can end a thread from outside.
_PATIENCE = 3.0

# Seconds that code may hold the loop before a warning: a browser's user begins to notice.
_THRESHOLD = 0.1


class WSGIToASGI:
    """Serve a WSGI application on an ASGI host, such as uvicorn or hypercorn, or mounted in Starlette.

    Args:
        app: the WSGI application (PEP 3333), such as a Flask app.
        threads: how many calls of the app may run at once, for each event loop that serves it. Threads start
            as calls need them.
        queue_length: how many requests may queue once every thread is busy; more get a 503. None: any number.
        queue_timeout: how many seconds a request may queue before it gets a 503; None: any time.
        streams: how many responses more may be streaming for over a second. They no longer count as
            `threads`, so that open streams do not keep short requests waiting.
        websockets: how many websockets of a library, such as Flask-Sock or Flask-SocketIO, may be open, each
            in a thread of its own. More get a 503 at once. They need wsproto.
        lifespan: called with `app` when the host starts; returns an async context manager that lives as
            long as the server. What it yields, a mapping or None, is the ASGI lifespan state, and in the
            environ as `asgi.state`. `"bridge.multiprocess": False` in it says that one process serves the
            app, for `wsgi.multiprocess`, which is true otherwise; `bridge serve` says so itself.
        buffer_size: how many bytes of a response a slow client may be behind before the app has to wait.
        graceful_timeout: how many seconds a shutdown waits for background functions of the Flask extension.
        blocking_threshold: how many seconds code may hold the event loop before a warning names it; 0 for no
            warnings. None: 0.1 for a Flask app that has views on the loop, or is in debug mode, else 0.
        async_views: where the `async def` views of a Flask app run. "thread": as Flask runs them, hooks and
            view in a thread of the request's own. "loop": on the host's event loop, plain hooks in any
            worker thread. "auto": on the loop if all hooks and decorators are async or known to be safe in
            any thread, else in a thread; a view that has blocked the loop twice goes to threads, too. Other
            apps, and other views, always run in threads.

    Raises:
        TypeError: `app` is not callable, is an ASGI application already, is a class such as Flask, or does
            not take two arguments; or another argument has the wrong type.
        ValueError: a number is too small, or `async_views` is something else.

    The constructor starts nothing: threads come with the first request, and end with the lifespan, or when
    nobody holds the adapter any more. It may be pickled, if the app can be, and it works after a fork.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        threads: int = 40,
        queue_length: int | None = None,
        queue_timeout: float | None = None,
        streams: int = 1000,
        websockets: int = 1000,
        lifespan: LifespanFactory | None = None,
        buffer_size: int = 131072,
        async_views: AsyncViews = "auto",
        graceful_timeout: float = 25.0,
        blocking_threshold: float | None = None,
    ) -> None:
        _check_app(app)
        check_count("threads", threads, 1)
        check_count("streams", streams, 0)
        check_count("websockets", websockets, 0)
        check_count("buffer_size", buffer_size, 1)
        check_seconds("graceful_timeout", graceful_timeout)
        if queue_length is not None:
            check_count("queue_length", queue_length, 0)
        if queue_timeout is not None:
            check_seconds("queue_timeout", queue_timeout)
        if blocking_threshold is not None:
            check_seconds("blocking_threshold", blocking_threshold)
        if lifespan is not None and not callable(lifespan):
            raise TypeError(
                f"lifespan must be a function that returns an async context manager, got {lifespan!r}"
            )
        if async_views not in ("auto", "loop", "thread"):
            raise ValueError(f'async_views must be "auto", "loop" or "thread", got {async_views!r}')
        self.app = app
        self.async_views = async_views
        self.graceful_timeout = graceful_timeout
        self.blocking_threshold = blocking_threshold
        self.threads = threads
        self.queue_length = queue_length
        self.queue_timeout = queue_timeout
        self.streams = streams
        self.websockets = websockets
        self.lifespan = lifespan
        self.buffer_size = buffer_size
        self._set_up()

    def _set_up(self) -> None:
        # Guards the two below, which may be looked at without it: they are replaced as a whole.
        self._lock = threading.Lock()
        self._loops: Mapping[asyncio.AbstractEventLoop, LoopState] = {}
        self._has_been_entered = False
        self._views: FlaskViews | Literal[False] | None = None  # None: not looked for yet

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_up()

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve one ASGI scope: `http`, `websocket` or `lifespan`.

        Raises:
            ApplicationError: a response was cut short, so the host must close the connection.
            ValueError: the scope is of another type (ASGI spec, "Applications").
        """
        known: Any = scope
        if known["type"] == "http":
            here = self._here()
            engine = self._engine_of(here, known.get("state") or {})
            environ = build_environ(known, here.lifespan_state)
            host = ASGIHost(known, receive, send)
            if EARLY_HINTS in (known.get("extensions") or ()):
                environ[early_hints.EARLY_HINTS] = early_hints.EarlyHints(host)
            request = self.request_on_loop(environ)
            call = _call(self.app, environ, known, is_queued=request is None)
            if request is not None:
                await self.call_on_loop(call, host, engine, request)
            else:
                await serve_in_thread(call, host, engine, known["method"])
        elif known["type"] == "lifespan":
            await serve_lifespan(known, receive, send, self.lifespan_context())
        elif known["type"] == "websocket":
            websocket = HostWebSocket(known, receive, send)
            with suppress(WebSocketDisconnect):
                await websocket.connect()
                handshake = HandshakeHost(websocket)
                await self._serve_websocket(websocket, handshake)
                await handshake.finish()
        else:
            raise ValueError(
                f"WSGIToASGI serves http, websocket and lifespan, not scopes of type {scope['type']!r}"
            )

    async def _serve_websocket(self, websocket: HostWebSocket, host: HandshakeHost) -> None:
        """Have the app answer the handshake, or use the websocket until its call ends.

        Once the server stops, it refuses the websocket.
        """
        here = self._here()
        if here.streams.are_ending:
            await websocket.close(GOING_AWAY)
            return
        scope = websocket.request
        engine = self._engine_of(here, scope.get("state") or {})
        environ = build_environ(scope, here.lifespan_state)
        environ[WEBSOCKET] = websocket
        request = self.request_on_loop(environ)
        views = self._views
        if not views or request is None:
            await self._serve_library(websocket, host, environ, scope, here)
            return
        self._watch_loop(here, views)
        call = _call(self.app, environ, scope, is_queued=False)
        link = views.new_websocket_link(websocket, call, host, engine, request)
        if not views.needs_one_thread(request):
            await link.serve()
            return
        assert here.websocket_engine is not None
        queue = here.websocket_engine.queue
        try:
            await link.serve_with_one_thread(queue.pool)
        except Overloaded:
            await host.send(*queue.refusal("GET"))

    async def _serve_library(
        self,
        websocket: HostWebSocket,
        host: HandshakeHost,
        environ: WSGIEnvironment,
        scope: HTTPScope,
        here: LoopState,
    ) -> None:
        """Have a thread call the app, with a socket for its websocket library."""
        try:
            # Only here: an app without websockets needs no wsproto.
            from bridge.websockets.pair import WebSocketCall
        except ModuleNotFoundError as error:
            if error.name != "wsproto":
                raise
            logger.error("a websocket needs the package wsproto, which is not installed: pip install wsproto")
            await host.send(*plain_answer(501, b"Not Implemented: see the server's log.", "GET"))
            return
        engine = here.websocket_engine
        assert engine is not None
        library = WebSocketCall(self.app, websocket, engine.mailbox.loop)
        host.before_head = library.settle
        await library.serve(_call(library, environ, scope, is_queued=True), host, engine)

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncIterator[dict[str, Any]]:
        """Run the app's lifespan around a block, and end the worker threads after it; yields the state.

        A mounted adapter never sees lifespan events; enter this from the outer framework's lifespan. It can
        be entered again after its end.

        Raises:
            BridgeError: it is running already, or `lifespan` does not return an async context manager.
        """
        here = self._here()
        if here.is_entered:
            raise BridgeError("the lifespan of this adapter is running already; enter it once at a time")
        here.is_entered = self._has_been_entered = True
        try:
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(entered(self.lifespan, self.app))
                for extension in self._extensions():
                    state |= await stack.enter_async_context(
                        extension.running(self.app, self.graceful_timeout, self.async_views)
                    )
                stack.callback(here.end_watch)
                if self._is_watched_always():
                    self._watch_loop(here, None)
                here.lifespan_state = state
                patience = min(_PATIENCE, self.graceful_timeout / 4)
                try:
                    yield state
                except asyncio.CancelledError:
                    patience = 0  # the host is in a hurry: somebody pressed Ctrl-C again
                    raise
                finally:
                    await self.close(patience)
        finally:
            here.is_entered = False
            here.lifespan_state = {}
            here.streams.are_ending = False  # an engine that outlives this holds the same object

    def _extensions(self) -> list[AppLifespan]:
        """Those of a Flask app that have a part in its lifespan."""
        if not is_flask(self.app):
            return []
        return [each for each in self.app.extensions.values() if isinstance(each, AppLifespan)]

    def _warn_of_missing_lifespan(self) -> None:
        """Say that nobody runs the app's lifespan, if it has one; with the first request."""
        if self._has_been_entered:
            return
        if self.lifespan is not None or any(each.has_lifespans for each in self._extensions()):
            logger.warning("the app's lifespan and start-up hooks have not run: %s", NO_EVENT)

    async def close(self, patience: float = _PATIENCE) -> None:
        """End what is left of calls, and the worker threads, as the end of the lifespan does.

        Args:
            patience: how many seconds to wait for calls that the host has given up.
        """
        here = self._here()
        here.streams.end()
        if self._views:
            await self._views.close(here.loop, patience)
        await here.close_pools(patience)

    # For hosts, such as Bridge's own HTTP

    def engine_of_running_loop(self, state: Mapping[str, Any]) -> Engine:
        """Return what the calls on the running loop share.

        Args:
            state: the server's lifespan state.

        Raises:
            BridgeError: the loop is not asyncio's.
        """
        return self._engine_of(self._here(), state)

    def websocket_engine_of_running_loop(self, state: Mapping[str, Any]) -> Engine:
        """Return what the calls of websockets share that a library serves; see `engine_of_running_loop`."""
        here = self._here()
        self._engine_of(here, state)
        assert here.websocket_engine is not None
        return here.websocket_engine

    def request_on_loop(self, environ: WSGIEnvironment) -> "Rule | None":
        """Return the rule of a request that runs on the loop; None for one that a thread must serve."""
        views = self._find_views() if self._views is None else self._views
        return views.request_on_loop(environ) if views else None

    def call_on_loop(
        self, call: Call, host: Host, engine: Engine, request: "Rule"
    ) -> Coroutine[Any, Any, None]:
        """Make a call on the loop.

        Args:
            call: the call.
            host: its client.
            engine: that of the running loop.
            request: what `request_on_loop` returned.

        Returns:
            The coroutine to await; see `GreenletLink.serve`.
        """
        assert self._views, "request_on_loop comes first"
        self._watch_loop(self._here(), self._views)
        return self._views.new_link(call, host, engine, request).serve()

    @property
    def busy_threads(self) -> int:
        """How many threads are busy, for requests or for calls that have outlived theirs."""
        return sum(engine.pool.busy for engine in self._engines())

    @property
    def waiting_calls(self) -> int:
        """How many calls queue for a thread."""
        return sum(engine.pool.waiting for engine in self._engines())

    def end_streams(self) -> None:
        """End server-sent events and websockets, those that are open and those still to come.

        A server calls this on the event loop before it stops, or they would hold it until their clients
        leave. A client of events sees a complete response; the app's iterable is closed as after a
        disconnect. Websockets close with 1001, in the loop's next step, which their handlers see, too.
        """
        self._here().streams.end()

    @property
    def blocked(self) -> Mapping[str, int]:
        """How often each endpoint of a Flask app has blocked the event loop."""
        return self._views.blocked if self._views else {}

    def _is_watched_always(self) -> bool:
        if self.blocking_threshold is not None:
            return self.blocking_threshold > 0
        return is_flask(self.app) and self.app.debug

    def _watch_loop(self, here: LoopState, views: "FlaskViews | None") -> None:
        """Watch for code that blocks the loop; only while views run on it, unless the user asked for more."""
        threshold = _THRESHOLD if self.blocking_threshold is None else self.blocking_threshold
        if threshold:
            here.watch(threshold, views, is_always_needed=self._is_watched_always())

    def _find_views(self) -> "FlaskViews | Literal[False]":
        """Look whether this is a Flask app; with the first request, as it has all its views by then."""
        with self._lock:
            if self._views is None:
                if is_flask(self.app):
                    # Only here: it imports Flask and greenlet, which other apps do not need.
                    from bridge.flask.views import FlaskViews

                    self._views = FlaskViews(self.app, self.async_views)
                else:
                    self._views = False
            return self._views

    def _here(self) -> LoopState:
        """What there is for the running loop.

        Raises:
            BridgeError: the loop is not asyncio's.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise BridgeError(
                "WSGIToASGI needs an asyncio event loop, and the host runs on another, such as trio's; "
                "choose its asyncio or uvloop worker"
            ) from None
        here = self._loops.get(loop)
        if here is None:
            here = LoopState(loop)
            with self._lock:
                still_open = {each: kept for each, kept in self._loops.items() if not each.is_closed()}
                self._loops = {**still_open, loop: here}
        return here

    def _engine_of(self, here: LoopState, state: Mapping[str, Any]) -> Engine:
        engine = here.engine
        if engine is None or not engine.pool.is_usable:
            self._tell_server(state)
            self._warn_of_missing_lifespan()
            engine = here.make_engines(
                EngineSettings(
                    self.threads,
                    self.streams,
                    self.websockets,
                    self.queue_length,
                    self.queue_timeout,
                    self.buffer_size,
                )
            )
        return engine

    def _engines(self) -> list[Engine]:
        """Those for requests, of all loops."""
        return [each.engine for each in self._loops.values() if each.engine is not None]

    def _tell_server(self, state: Mapping[str, Any]) -> None:
        """Tell Bridge's server of this adapter; on another one, say what monkey patching breaks.

        The server cannot see an adapter within another app. This runs once, as it would cost each request
        0.2 µs.
        """
        adapters: weakref.WeakSet[WSGIToASGI] | None = state.get("bridge.adapters")
        if adapters is not None:
            adapters.add(self)
        elif (patching := describe_monkey_patching()) is not None:
            logger.warning("%s", patching)


def _call(app: WSGIApplication, environ: WSGIEnvironment, scope: HTTPScope, *, is_queued: bool) -> Call:
    """Return the call, timed if a middleware asks for that in the scope."""
    facts: Any = scope.get("bridge.call")
    return Call(app, environ) if facts is None else TimedCall(app, environ, facts, is_queued=is_queued)


def _check_app(app: object) -> None:
    if not callable(app):
        raise TypeError(f"WSGIToASGI takes a WSGI application, a callable; {app!r} is not callable")
    if is_async_callable(app):
        raise TypeError(
            f"WSGIToASGI takes a WSGI application; {app!r} is an async callable, so an ASGI application: "
            "give it to the ASGI host as it is"
        )
    check_no_class("WSGIToASGI", app, "wsgi")
    reason = why_not_callable_as(app, "wsgi")
    if reason is not None:
        raise TypeError(f"WSGIToASGI takes a WSGI application; {app!r} {reason}")

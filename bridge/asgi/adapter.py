"""`WSGIToASGI`: the ASGI application made of a WSGI application."""

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, cast

from bridge.asgi.environ import build_environ
from bridge.asgi.host import ASGIHost
from bridge.asgi.lifespan import serve_lifespan
from bridge.asgi.websocket import HandshakeHost, HostWebSocket
from bridge.blocking import BlockingWatch
from bridge.core.call import Call
from bridge.core.call_facts import TimedCall
from bridge.core.link import plain_answer
from bridge.errors import BridgeError, Overloaded, WebSocketDisconnect
from bridge.interfaces import is_async_callable, is_flask, why_not_callable_as
from bridge.lifespans import AppLifespan, entered
from bridge.monkey_patching import describe_monkey_patching
from bridge.runners.abandoned import describe
from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool
from bridge.types import (
    AnyReceive,
    AnyScope,
    AnySend,
    ASGIReceiveCallable,
    ASGISendCallable,
    AsyncViews,
    HTTPScope,
    LifespanFactory,
    WebSocketReceive,
    WebSocketSend,
    WSGIApplication,
    WSGIEnvironment,
)
from bridge.websockets.websocket import GOING_AWAY, WEBSOCKET

if TYPE_CHECKING:
    from bridge.flask.views import FlaskViews, Request
    from bridge.websockets.link import WebSocketLink

__all__ = ["WSGIToASGI"]

logger = logging.getLogger("bridge")

# Seconds that a shutdown waits for calls the host has given up, at most a quarter of the graceful timeout; a
# thread cannot be ended from outside.
_PATIENCE = 3.0

# Seconds that code may hold the loop before a warning: a browser's user begins to notice.
_THRESHOLD = 0.1


class WSGIToASGI:
    """Serve a WSGI application on an ASGI host, such as uvicorn or hypercorn, or mounted in Starlette.

    Args:
        app: the WSGI application (PEP 3333), such as a Flask app.
        threads: how many calls of the app may run at once. Threads are started as they are needed.
        queue_length: how many requests may wait for a thread; more are answered 503. None for any number.
        queue_timeout: how many seconds each may wait for a thread, before it is answered 503; None for ever.
        streams: how many calls more may run for responses that have been streaming for over a second; they
            no longer count as `threads`, so that open streams do not keep short requests waiting.
        websockets: how many calls more may run for websockets that a library serves, such as Flask-Sock or
            Flask-SocketIO, each in a thread of its own. More are answered 503, at once. They need wsproto.
        lifespan: called with `app` when the host starts; returns an async context manager that lives as
            long as the server. What it yields, a mapping or None, is the ASGI lifespan state and in the
            environ as `asgi.state`. `"bridge.multiprocess": False` in it says that one process serves the
            app, for `wsgi.multiprocess`, which is true where nobody knows; `bridge serve` says so itself.
        buffer_size: how many bytes of a response a slow client may be behind before the app has to wait.
        graceful_timeout: how many seconds a shutdown waits for background functions of the Flask extension.
        blocking_threshold: for how many seconds code may hold the event loop before a warning says where
            that is; 0 for no warnings. None: 0.1 for a Flask app that has views on the loop, or is in debug
            mode, else 0.
        async_views: where requests run whose Flask view is `async def`. "thread": as Flask has it, hooks and
            view in a thread of the request's own. "loop": on the host's event loop, plain hooks in any
            worker thread. "auto": on the loop if all hooks and decorators are async or known to be safe in
            any thread, and else in a thread; a view that has blocked the loop twice goes to threads, too.
            Other apps, and other views, run in threads in any case.

    Raises:
        TypeError: `app` is not callable, is an ASGI application already, or does not take two arguments.
        ValueError: a number is too small, or `async_views` is something else.

    Nothing is started here; threads come with the first request, and end with the lifespan, or when nobody
    holds the adapter any more. It may be pickled, if the app can be, and it works after a fork.
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
        _check_number("threads", threads, 1)
        _check_number("streams", streams, 0)
        _check_number("websockets", websockets, 0)
        if queue_length is not None:
            _check_number("queue_length", queue_length, 0)
        _check_number("buffer_size", buffer_size, 1)
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
        self._state: dict[str, Any] = {}
        self._entered = False
        self._engine: Engine | None = None
        self._websocket_engine: Engine | None = None
        self._finalizer: weakref.finalize[..., WSGIToASGI] | None = None
        self._streams = Streams()
        self._views: FlaskViews | Literal[False] | None = None  # None: not looked for yet
        self._watch: BlockingWatch | None = None
        self._watch_finalizer: weakref.finalize[..., WSGIToASGI] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_up()

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve one ASGI scope: `http`, `websocket` or `lifespan`.

        Raises:
            ApplicationError: a response was cut short; the host must close the connection.
            ValueError: a scope of a type this adapter does not know (ASGI spec, "Applications").
        """
        known: Any = scope
        if known["type"] == "http":
            engine = self.engine_of_running_loop(known.get("state") or {})
            environ = build_environ(known, self._state)
            host = ASGIHost(known, receive, send)
            request = self.request_on_loop(environ)
            call = _call(self.app, environ, known, is_queued=request is None)
            if request is not None:
                await self.call_on_loop(call, host, engine, request)
            else:
                await serve_in_thread(call, host, engine, known["method"])
        elif known["type"] == "lifespan":
            await serve_lifespan(
                known,
                cast(ASGIReceiveCallable, receive),
                cast(ASGISendCallable, send),
                self.lifespan_context(),
            )
        elif known["type"] == "websocket":
            websocket = HostWebSocket(known, cast(WebSocketReceive, receive), cast(WebSocketSend, send))
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

        A server that has begun to stop refuses the websocket.
        """
        if self._streams.are_ending:
            await websocket.close(GOING_AWAY)
            return
        scope = websocket.request
        engine = self.engine_of_running_loop(scope.get("state") or {})
        environ = build_environ(scope, self._state)
        environ[WEBSOCKET] = websocket
        request = self.request_on_loop(environ)
        views = self._views
        if not views or request is None:
            await self._serve_library(websocket, host, environ, scope)
            return
        self._watch_loop(engine.mailbox.loop, views)
        call = _call(self.app, environ, scope, is_queued=False)
        link = views.new_link(call, host, engine, request)
        if not views.needs_one_thread(request):
            await link.serve()
            return
        assert self._websocket_engine is not None
        queue = self._websocket_engine.queue
        try:
            await cast("WebSocketLink", link).serve_with_one_thread(queue.pool)
        except Overloaded:
            await host.send(*queue.refusal("GET"))

    async def _serve_library(
        self, websocket: HostWebSocket, host: HandshakeHost, environ: WSGIEnvironment, scope: HTTPScope
    ) -> None:
        """Have a thread call the app, with a socket for a library that looks for one."""
        try:
            # Not before: an app without websockets needs no wsproto.
            from bridge.websockets.library import WebSocketCall
        except ModuleNotFoundError as error:
            if error.name != "wsproto":
                raise
            logger.error("a websocket needs the package wsproto: pip install 'bridge[websockets]'")
            await host.send(*plain_answer(501, b"Not Implemented: see the server's log.", "GET"))
            return
        engine = self._websocket_engine
        assert engine is not None
        library = WebSocketCall(self.app, websocket, engine.mailbox.loop)
        host.before_head = library.settle
        call = _call(library, environ, scope, is_queued=True)
        await library.serve(call, host, engine)

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncIterator[dict[str, Any]]:
        """Run the app's lifespan around a block, and end the worker threads after it; yields the state.

        Hosts do this through lifespan events. Where those do not reach the adapter, as when it is mounted in
        another framework, its lifespan can enter this instead. It can be entered again afterwards.

        Raises:
            BridgeError: it is entered already, or `lifespan` is not what it should be.
        """
        if self._entered:
            raise BridgeError("the lifespan of this adapter is running already; enter it once at a time")
        self._entered = True
        try:
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(entered(self.lifespan, self.app))
                state |= await stack.enter_async_context(self._running_extensions())
                stack.callback(self._end_watch)
                if self._is_watched_always():
                    self._watch_loop(asyncio.get_running_loop(), None)
                self._state = state
                patience = min(_PATIENCE, self.graceful_timeout / 4)
                try:
                    yield state
                except asyncio.CancelledError:
                    patience = 0  # the host is in a hurry: Ctrl-C was pressed again
                    raise
                finally:
                    self._streams.end()
                    if self._views:
                        await self._views.close(patience)
                    await self._close_pools(patience)
        finally:
            self._entered = False
            self._state = {}
            self._streams.are_ending = False  # not a new one: an engine that is still there has this

    # For hosts, of which one is Bridge's own HTTP

    def engine_of_running_loop(self, state: Mapping[str, Any]) -> Engine:
        """What the calls on the running loop share.

        Args:
            state: the lifespan state as the server has it.

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
        engine = self._engine
        if engine is None or engine.mailbox.loop is not loop or not engine.pool.is_usable:
            engine = self._new_engine(loop, state)
        return engine

    def websocket_engine_of_running_loop(self, state: Mapping[str, Any]) -> Engine:
        """See `engine_of_running_loop`; for the calls of websockets that a library serves."""
        self.engine_of_running_loop(state)
        assert self._websocket_engine is not None
        return self._websocket_engine

    def request_on_loop(self, environ: WSGIEnvironment) -> "Request | None":
        """Identify a request that runs on the loop; None for one that a thread has to serve."""
        views = self._find_views() if self._views is None else self._views
        return views.request_on_loop(environ) if views else None

    def call_on_loop(
        self, call: Call, host: Host, engine: Engine, request: "Request"
    ) -> Coroutine[Any, Any, None]:
        """Make a call on the loop.

        Args:
            call: the call.
            host: its client.
            engine: of the running loop.
            request: what `request_on_loop` has returned.

        Returns:
            The coroutine to await; see `GreenletLink.serve`.
        """
        assert self._views, "it has been looked for the views"
        self._watch_loop(engine.mailbox.loop, self._views)
        return self._views.new_link(call, host, engine, request).serve()

    @property
    def busy_threads(self) -> int:
        """How many threads are at work, for requests or for what has outlived them."""
        return 0 if self._engine is None else self._engine.pool.busy

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for a thread."""
        return 0 if self._engine is None else self._engine.pool.waiting

    def end_streams(self) -> None:
        """End server-sent events and websockets, those that are open and those still to come.

        For a server that is about to stop, on the event loop: they would hold it until their clients leave. A
        client of events sees a complete response; the app's iterable is closed as after a disconnect.
        Websockets are closed with 1001, in the loop's next step; their handlers see that, too.
        """
        self._streams.end()

    @asynccontextmanager
    async def _running_extensions(self) -> AsyncIterator[dict[str, Any]]:
        """Run the lifespans of a Flask app's extensions around a block; yields what they add to the state."""
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for extension in list(self.app.extensions.values()) if is_flask(self.app) else ():
                if isinstance(extension, AppLifespan):
                    state |= await stack.enter_async_context(
                        extension.running(self.app, self.graceful_timeout, self.async_views)
                    )
            yield state

    @property
    def blocked(self) -> Mapping[str, int]:
        """How often each endpoint of a Flask app has blocked the event loop."""
        return self._views.blocked if self._views else {}

    def _is_watched_always(self) -> bool:
        if self.blocking_threshold is not None:
            return self.blocking_threshold > 0
        return is_flask(self.app) and self.app.debug

    def _watch_loop(self, loop: asyncio.AbstractEventLoop, views: "FlaskViews | None") -> None:
        """Watch for code that blocks the loop: always, if asked to, else while there are views on it."""
        watch = self._watch
        if watch is not None and watch.is_awake and watch.suspects is views:
            return
        threshold = _THRESHOLD if self.blocking_threshold is None else self.blocking_threshold
        if not threshold:
            return
        self._end_watch()
        self._watch = watch = BlockingWatch(
            loop, threshold, views, is_always_needed=self._is_watched_always()
        )
        watch.start()
        self._watch_finalizer = weakref.finalize(self, watch.ended.set)
        self._watch_finalizer.atexit = False  # its thread is a daemon

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._watch_finalizer is not None:
            self._watch_finalizer.detach()

    def _find_views(self) -> "FlaskViews | Literal[False]":
        """Look whether this is a Flask app; with the first request, when all its views are there."""
        self._views = False
        if is_flask(self.app):
            # Not before: it imports Flask and greenlet, and an app without either needs neither.
            from bridge.flask.views import FlaskViews

            self._views = FlaskViews(self.app, self.async_views)
        return self._views

    def _new_engine(self, loop: asyncio.AbstractEventLoop, state: Mapping[str, Any]) -> Engine:
        """Make an engine for this loop; with new threads, if there are none, or a fork left them behind."""
        if self._watch is not None and self._watch.loop is not loop:
            self._end_watch()
        engine, websockets = self._engine, self._websocket_engine
        if engine is not None and websockets is not None and engine.pool.is_usable:
            pools = engine.pool, websockets.pool
        else:
            self._forget_engines()
            pools = WorkerPool(self.threads, self.streams), WorkerPool(self.websockets, 0, idle=0)
            self._finalizer = weakref.finalize(self, _close_all, pools)
            self._finalizer.atexit = False  # the threads are daemons, and end with the process
            self._tell_server(state)
        mailbox = Mailbox(loop)
        queue = ThreadQueue(pools[0], self.queue_length, self.queue_timeout)
        self._engine = engine = Engine(queue, mailbox, self._streams, self.buffer_size)
        queue = ThreadQueue(pools[1], 0, None, "`websockets` is how many there may be at once")
        self._websocket_engine = Engine(queue, mailbox, self._streams, self.buffer_size)
        return engine

    def _tell_server(self, state: Mapping[str, Any]) -> None:
        """Make the adapter known to a server that asks, as Bridge's does.

        It cannot see an adapter within another app. With the first request only, as with each it would cost
        0.2 µs. On another server nobody but the adapter says what monkey patching breaks.
        """
        adapters: weakref.WeakSet[WSGIToASGI] | None = state.get("bridge.adapters")
        if adapters is not None:
            adapters.add(self)
        elif (patching := describe_monkey_patching()) is not None:
            logger.warning("%s", patching)

    def _forget_engines(self) -> list[WorkerPool]:
        engines = self._engine, self._websocket_engine
        self._engine = self._websocket_engine = None
        if self._finalizer is not None:
            self._finalizer.detach()
        return [engine.pool for engine in engines if engine is not None]

    async def _close_pools(self, patience: float) -> None:
        """End the worker threads; wait for those that are busy, at most `patience` seconds in all."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        for pool in self._forget_engines():
            if pool.is_usable:
                await _close_pool(pool, end - loop.time())


async def _close_pool(pool: WorkerPool, patience: float) -> None:
    loop = asyncio.get_running_loop()
    empty = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(empty.set)

    threads = pool.close(tell)
    try:
        async with asyncio.timeout(patience):
            await empty.wait()
    except TimeoutError:
        for busy in pool.busy_threads:
            logger.warning(
                "going on without a thread that is busy with a request given up: %s", describe(busy)
            )
        return
    for thread in threads:
        thread.join()  # each has nothing left to do but to return


def _close_all(pools: Iterable[WorkerPool]) -> None:
    for pool in pools:
        pool.close(_do_nothing)


def _do_nothing() -> None:
    pass


def _call(app: WSGIApplication, environ: WSGIEnvironment, scope: HTTPScope, *, is_queued: bool) -> Call:
    """The call, timed if somebody has asked for that in the scope."""
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
    reason = why_not_callable_as(app, "wsgi")
    if reason is not None:
        raise TypeError(f"WSGIToASGI takes a WSGI application; {app!r} {reason}")


def _check_number(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")

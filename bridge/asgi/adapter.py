"""`WSGIToASGI`: the ASGI application made of a WSGI application."""

import asyncio
import logging
import sys
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from typing import TYPE_CHECKING, Any, Literal, cast

from bridge.asgi.call_facts import call_of
from bridge.asgi.lifespan import entered, serve_lifespan
from bridge.asgi.websocket import GOING_AWAY, HostWebSocket
from bridge.blocking import BlockingWatch
from bridge.core.response import plain_answer
from bridge.errors import BridgeError, Overloaded, WebSocketDisconnect
from bridge.interfaces import is_async_callable, is_flask, why_not_callable_as
from bridge.monkey_patching import describe_monkey_patching
from bridge.runners.abandoned import describe
from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.thread_link import ThreadLink
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool
from bridge.types import (
    AnyReceive,
    AnyScope,
    AnySend,
    ASGIReceiveCallable,
    ASGISendCallable,
    AsyncViews,
    HTTPReceive,
    HTTPScope,
    HTTPSend,
    LifespanFactory,
    Scope,
    WebSocketReceive,
    WebSocketSend,
    WSGIApplication,
)

if TYPE_CHECKING:
    from bridge.flask.extension import Bridge
    from bridge.flask.views import FlaskViews
    from bridge.websockets.link import WebSocketLink

__all__ = ["WSGIToASGI"]

logger = logging.getLogger("bridge")

# Seconds that a shutdown waits for calls the host has given up, a quarter of what they had before at most; a
# thread cannot be ended from outside.
_PATIENCE = 3.0

# Seconds; what a browser's user begins to notice.
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
            view in a thread of the request's own. "loop": on the host's event loop, plain hooks in whatever
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
        buffer_size: int = 65536,
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
        self._pool: WorkerPool | None = None
        self._websocket_pool: WorkerPool | None = None
        self._mailbox: Mailbox | None = None
        self._finalizer: weakref.finalize[..., WSGIToASGI] | None = None
        self._streams = Streams()
        self._queue = ThreadQueue(self.queue_length, self.queue_timeout)
        self._websocket_queue = ThreadQueue(0, None, "`websockets` is how many there may be at once")
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
        known = cast(Scope, scope)
        if known["type"] == "http":
            pool = self._pool
            if pool is None or not pool.is_usable:
                pool = self._new_pool()
                self._tell_server(known)
            mailbox = self._mailbox_of_running_loop()
            views = self._find_views() if self._views is None else self._views
            if views and views.runs_on_loop(known):
                self._watch_loop(mailbox.loop, views)
                await views.new_link(
                    known,
                    self._state,
                    cast(HTTPReceive, receive),
                    cast(HTTPSend, send),
                    mailbox=mailbox,
                    pool=pool,
                    streams=self._streams,
                    buffer_size=self.buffer_size,
                ).serve()
                return
            link = ThreadLink(
                call_of(self.app, known, self._state),
                cast(HTTPReceive, receive),
                cast(HTTPSend, send),
                mailbox=mailbox,
                pool=pool,
                streams=self._streams,
                buffer_size=self.buffer_size,
            )
            await self._queue.serve(link, pool, cast(HTTPSend, send), known["method"])
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
                await self._serve_websocket(websocket)
                await websocket.finish()
        else:
            raise ValueError(
                f"WSGIToASGI serves http, websocket and lifespan, not scopes of type {scope['type']!r}"
            )

    async def _serve_websocket(self, websocket: HostWebSocket) -> None:
        """Have the app answer the handshake, or do with the websocket what it likes meanwhile.

        When the server has begun to stop, the websocket is refused.
        """
        if self._streams.are_ending:
            await websocket.close(GOING_AWAY)
            return
        request = websocket.request
        pool = self._pool
        if pool is None or not pool.is_usable:
            pool = self._new_pool()
            self._tell_server(request)
        views = self._find_views() if self._views is None else self._views
        if views and views.runs_on_loop(request):
            mailbox = self._mailbox_of_running_loop()
            self._watch_loop(mailbox.loop, views)
            link = views.new_link(
                request,
                self._state,
                websocket.receive_request,
                websocket.send_response,
                mailbox=mailbox,
                pool=pool,
                streams=self._streams,
                buffer_size=self.buffer_size,
            )
            if not views.needs_one_thread(request):
                await link.serve()
                return
            assert self._websocket_pool is not None
            try:
                await cast("WebSocketLink", link).serve_with_one_thread(self._websocket_pool)
            except Overloaded:
                await self._websocket_queue.refuse(websocket.send_response, request["method"])
        else:
            await self._serve_library(websocket, request)

    async def _serve_library(self, websocket: HostWebSocket, request: HTTPScope) -> None:
        """Have a thread call the app, with a socket for a library that looks for one."""
        try:
            # Not before: an app without websockets needs no wsproto.
            from bridge.websockets.library import WebSocketCall, foreign_async_mode
        except ModuleNotFoundError as error:
            if error.name != "wsproto":
                raise
            await _refuse(
                websocket, "a websocket needs the package wsproto: pip install 'bridge[websockets]'"
            )
            return
        mode = foreign_async_mode(self.app)
        if mode is not None:
            await _refuse(
                websocket,
                f'Socket.IO in async_mode="{mode}" needs a server of {mode}\'s own; '
                'here it is SocketIO(app, async_mode="threading")',
            )
            return
        assert self._websocket_pool is not None
        mailbox = self._mailbox_of_running_loop()
        await WebSocketCall(self.app, websocket, mailbox.loop).serve(
            request,
            self._state,
            mailbox=mailbox,
            pool=self._websocket_pool,
            queue=self._websocket_queue,
            streams=self._streams,
            buffer_size=self.buffer_size,
        )

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncIterator[dict[str, Any]]:
        """Run the app's lifespan around a block, and end the worker threads after it; yields the state.

        Hosts do this through lifespan events. Where those do not reach the adapter, as when it is mounted in
        another framework, that one's lifespan can enter this instead. It can be entered again afterwards.

        Raises:
            BridgeError: it is entered already, or `lifespan` is not what it should be.
        """
        if self._entered:
            raise BridgeError("the lifespan of this adapter is running already; enter it once at a time")
        self._entered = True
        try:
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(entered(self.lifespan, self.app))
                state |= await stack.enter_async_context(self._running_extension())
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
            self._streams = Streams()

    @property
    def busy_threads(self) -> int:
        """How many threads are at work, for requests or for what has outlived them."""
        return 0 if self._pool is None else self._pool.busy

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for a thread."""
        return 0 if self._pool is None else self._pool.waiting

    def end_streams(self) -> None:
        """End what has no end of its own, open or to come: streams of server-sent events, and websockets.

        For a server that is about to stop, on the event loop: such a stream would hold it until its client
        leaves. The client sees a complete response; the app's iterable is closed as after a disconnect.
        Websockets are closed with 1001, in the loop's next step; their handlers see that, too.
        """
        self._streams.end()

    def _running_extension(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """The lifespans of the app's Flask extension, if it has one; nothing is imported that it has not."""
        module = sys.modules.get("bridge.flask.extension")
        if module is not None and is_flask(self.app):
            found: object = self.app.extensions.get("bridge")
            if isinstance(found, module.Bridge):
                extension: Bridge = found
                return extension.running(self.app, self.graceful_timeout, self.async_views)
        return nullcontext({})

    @property
    def blocked(self) -> Mapping[str, int]:
        """How often each endpoint of a Flask app has blocked the event loop."""
        return self._views.blocked if self._views else {}

    def _is_watched_always(self) -> bool:
        if self.blocking_threshold is not None:
            return self.blocking_threshold > 0
        return is_flask(self.app) and self.app.debug

    def _watch_loop(self, loop: asyncio.AbstractEventLoop, views: "FlaskViews | None") -> None:
        """Watch for what blocks the loop: always, if that is wished for, else while there are views on it."""
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

    def _mailbox_of_running_loop(self) -> Mailbox:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise BridgeError(
                "WSGIToASGI needs an asyncio event loop, and the host runs on another, such as trio's; "
                "choose its asyncio or uvloop worker"
            ) from None
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not loop:
            self._mailbox = mailbox = Mailbox(loop)
            if self._watch is not None and self._watch.loop is not loop:
                self._end_watch()
        return mailbox

    def _new_pool(self) -> WorkerPool:
        self._forget_pools()
        self._pool = pool = WorkerPool(self.threads, self.streams)
        self._websocket_pool = WorkerPool(self.websockets, 0, idle=0)
        self._finalizer = weakref.finalize(self, _close_all, (pool, self._websocket_pool))
        self._finalizer.atexit = False  # the threads are daemons, and end with the process
        return pool

    def _tell_server(self, scope: HTTPScope) -> None:
        """Let a server know that wants to, as Bridge's does: it could not see an adapter within another app.

        With the first request only, as with each it would cost 0.2 µs. On another server nobody but the
        adapter says what monkey patching breaks.
        """
        adapters: weakref.WeakSet[WSGIToASGI] | None = scope.get("state", {}).get("bridge.adapters")
        if adapters is not None:
            adapters.add(self)
        elif (patching := describe_monkey_patching()) is not None:
            logger.warning("%s", patching)

    def _forget_pools(self) -> list[WorkerPool]:
        pools = [pool for pool in (self._pool, self._websocket_pool) if pool is not None]
        self._pool = self._websocket_pool = None
        if self._finalizer is not None:
            self._finalizer.detach()
        return pools

    async def _close_pools(self, patience: float) -> None:
        """End the worker threads; wait for those that are busy, at most `patience` seconds in all."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        for pool in self._forget_pools():
            if pool.is_usable:
                await _close_pool(pool, end - loop.time())


async def _close_pool(pool: WorkerPool, patience: float) -> None:
    loop = asyncio.get_running_loop()
    empty = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed, for nobody had the patience
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


async def _refuse(websocket: HostWebSocket, why: str) -> None:
    """Answer 501, and say why in the log."""
    logger.error("%s", why)
    for event in plain_answer(501, b"Not Implemented: see the server's log.", "GET"):
        await websocket.send_response(event)


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

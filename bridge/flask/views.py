"""The views of a Flask app: which requests run on the loop, and what Flask's calls do there.

Flask calls whatever a user has written through `app.ensure_sync`, and async functions through
`app.async_to_sync`; both are documented for overriding ("Using async and await"). `adopt` replaces them on
the app object. Within a call on the loop, they await coroutines there, and send plain functions to a worker
thread. Elsewhere, in a call in a thread and in the test client, they do what Flask's own do.
"""

import asyncio
import inspect
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import Any

from asgiref.sync import AsyncToSync
from flask import Flask, Response, has_request_context, request
from werkzeug.routing import Rule
from werkzeug.wsgi import _RangeWrapper

from bridge.core.body import RequestBody
from bridge.core.call import Call
from bridge.core.files import FileWrapper
from bridge.errors import BridgeError
from bridge.flask.functions import is_flasks_own, is_inline
from bridge.flask.placement import LoopView, hooks_of, middleware_of, place, session_methods
from bridge.flask.routing import Routing
from bridge.runners.engine import Engine
from bridge.runners.greenlet_link import (
    GreenletLink,
    GreenletLoopAccess,
    Greenlets,
    LoopIterable,
    current_greenlet_link,
)
from bridge.runners.host import Host
from bridge.runners.loop_access import CURRENT_LOOP, run_on_loop
from bridge.types import AsyncViews, WSGIEnvironment
from bridge.websockets.host import WEBSOCKET, HostWebSocket
from bridge.websockets.link import WebSocketLink

__all__ = ["FlaskLoopIterable", "FlaskViews", "adopt"]

logger = logging.getLogger("bridge")

# Requests whose runner is remembered. Clients choose all of a request, so number and length have bounds.
_MAX_KEYS = 4096
_MAX_KEY_LENGTH = 256

# Stands for the method of a websocket's request; hosts pass real methods on in upper case.
_WEBSOCKET = "websocket"

# How often an endpoint may block the loop before its requests go to threads.
_MOST_BLOCKED = 2

# Where Flask-Login 0.6 keeps the app's functions.
_OF_LOGIN_MANAGERS = (
    "_user_callback",
    "_request_callback",
    "unauthorized_callback",
    "needs_refresh_callback",
)

_View = Callable[..., Any]

# Held while an app is adopted: two adapters may serve it, each with a loop in its own thread.
_adopting = threading.Lock()


class FlaskLoopIterable(LoopIterable):
    """A `LoopIterable` that may belong to a response of Flask's."""

    on_close: Callable[[], object] | None = None
    """Closes the response, which closes this in turn."""


class FlaskViews:
    """Decides which requests of a Flask app run on the loop, and makes their links.

    Args:
        app: the app; see `adopt`.
        async_views: the user's choice; see `placement`.
    """

    def __init__(self, app: Flask, async_views: AsyncViews) -> None:
        adopt(app)
        self._app = app
        self._async_views = async_views
        # For counts, and for new loops.
        self._lock = threading.Lock()
        # Each loop has its own, as greenlets belong to a thread. The dict is replaced as a whole, so that it
        # may be read without the lock.
        self._greenlets: Mapping[asyncio.AbstractEventLoop, Greenlets] = {}
        self._middleware = middleware_of(app)
        self._may_run_on_loop = any(
            place(app, rule, method, async_views)[0] == "loop"
            for rule in app.url_map.iter_rules()
            for method in rule.methods or ("GET",)
        )
        self._routing = Routing(app)
        # Method, PATH_INFO and host, which decide where a request runs → its rule; None for a thread.
        self._known: dict[tuple[str, str, str], Rule | None] = {}
        self._blocked: Counter[str] = Counter()
        self._needs_one_thread: dict[str, bool] = {}

    def new_link(self, call: Call, host: Host, engine: Engine, rule: Rule) -> GreenletLink:
        """Return the link of a request that runs on the loop, by this rule."""
        return GreenletLink(call, host, engine, self._greenlets_on(engine.mailbox.loop), rule)

    def new_websocket_link(
        self, websocket: HostWebSocket, call: Call, host: Host, engine: Engine, rule: Rule
    ) -> WebSocketLink:
        """Return the link of a websocket that runs on the loop, by this rule."""
        return WebSocketLink(websocket, call, host, engine, self._greenlets_on(engine.mailbox.loop), rule)

    def _greenlets_on(self, loop: asyncio.AbstractEventLoop) -> Greenlets:
        greenlets = self._greenlets.get(loop)
        if greenlets is None:
            greenlets = Greenlets()
            with self._lock:
                still_open = {each: kept for each, kept in self._greenlets.items() if not each.is_closed()}
                self._greenlets = {**still_open, loop: greenlets}
        return greenlets

    async def close(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        """Wait for calls that the host has given up, `patience` seconds at most; drop the idle greenlets.

        Args:
            loop: the running loop, on which the calls are.
            patience: how long.
        """
        await self._greenlets_on(loop).close(patience)

    @property
    def is_busy(self) -> bool:
        """Whether requests run on a loop."""
        return any(greenlets.are_busy for greenlets in self._greenlets.values())

    @property
    def blocked(self) -> Mapping[str, int]:
        """How often each endpoint has blocked the loop so far."""
        return dict(self._blocked)  # a copy, as the thread that watches the loop adds to it

    def request_on_loop(self, environ: WSGIEnvironment) -> Rule | None:
        """Return the rule of a request that runs on the loop; None for one that runs in a thread."""
        if not self._may_run_on_loop:
            return None
        method = _WEBSOCKET if WEBSOCKET in environ else environ["REQUEST_METHOD"]
        host = environ.get("HTTP_HOST", "") if self._routing.goes_by_host else ""
        key = method, environ["PATH_INFO"], host
        known = self._known  # `blame` may put another in its place meanwhile, for what is decided anew
        try:
            return known[key]
        except KeyError:
            rule = self._rule_of(*key)
            if rule is not None and not self._is_on_loop(rule, method):
                rule = None
        if sum(map(len, key)) <= _MAX_KEY_LENGTH:
            if len(known) >= _MAX_KEYS:
                known.clear()
            known[key] = rule
        return rule

    def needs_one_thread(self, rule: Rule) -> bool:
        """Whether plain hooks of this rule's requests may keep something in their thread."""
        endpoint = rule.endpoint
        if endpoint not in self._needs_one_thread:
            hooks = hooks_of(self._app, endpoint)
            self._needs_one_thread[endpoint] = not all(hook.is_safe for hook in hooks)
        return self._needs_one_thread[endpoint]

    # `bridge.blocking.Suspects`

    def step_of(self, task: "asyncio.Task[Any]") -> float | None:
        """Return when the current step of a task's call began."""
        steps = (greenlets.step_of(task) for greenlets in self._greenlets.values())
        return next((step for step in steps if step is not None), None)

    def suspect_of(self, task: "asyncio.Task[Any]") -> GreenletLink | None:
        """Return the link whose call runs in a task, or has started it."""
        links = (greenlets.link_of(task) for greenlets in self._greenlets.values())
        return next((link for link in links if link is not None), None)

    def blame(self, suspect: GreenletLink, threshold: float, place: str, stack: str) -> None:
        """Name the endpoint that blocks the loop, and count that.

        One request counts once. In `auto`, the second time sends the endpoint's requests to threads from then
        on.
        """
        rule, suspect.request = suspect.request, None
        if rule is None:
            return
        endpoint: str = rule.endpoint
        with self._lock:  # each loop has a thread that watches it
            self._blocked[endpoint] += 1
            blocked = self._blocked[endpoint]
        view = self._app.view_functions[endpoint]
        if self._async_views != "auto" or isinstance(view, LoopView):
            what_follows = "await something that does not block, or `await asyncio.to_thread(...)`"
        elif blocked > _MOST_BLOCKED:
            return  # a call from before the second time
        elif blocked < _MOST_BLOCKED:
            what_follows = "if it does so again, its requests go to threads"
        else:
            self._known = {}
            what_follows = "this is the second time, so its requests go to threads from now on"
        logger.warning(
            "the view %r (%s) has blocked the event loop for over %g s, at %s; %s\n%s",
            endpoint,
            view.__module__,
            threshold,
            place,
            what_follows,
            stack,
        )

    def _is_on_loop(self, rule: Rule, method: str) -> bool:
        view = self._app.view_functions.get(rule.endpoint)
        if method == _WEBSOCKET:
            return isinstance(view, LoopView)  # others block, such as Flask-Sock's
        if self._async_views == "auto" and self._blocked[rule.endpoint] >= _MOST_BLOCKED:
            return False
        return place(self._app, rule, method, self._async_views)[0] == "loop"

    def _rule_of(self, method: str, path: str, host: str) -> Rule | None:
        """Return the rule that Flask will find; None if there is none, or middleware calls another app."""
        if self._middleware.leads_elsewhere(path):
            return None
        decoded = path.encode("latin-1").decode("utf-8", "replace")  # as Werkzeug decodes it
        is_websocket = method == _WEBSOCKET
        return self._routing.rule_of(
            decoded, "GET" if is_websocket else method, host, is_websocket=is_websocket
        )


def adopt(app: Flask) -> None:
    """Replace the methods, hooks and functions of an app that Bridge calls elsewhere on the loop; once."""
    with _adopting:
        if not app.extensions.get("bridge.adopted"):
            _adopt(app)
            app.extensions["bridge.adopted"] = True


def _adopt(app: Flask) -> None:
    plain_ensure_sync = app.ensure_sync
    plain_async_to_sync = app.async_to_sync
    plain_make_response = app.make_response
    plain_process_response = app.process_response

    def ensure_sync(function: _View) -> _View:
        link = current_greenlet_link()
        if link is None or inspect.iscoroutinefunction(function):
            return plain_ensure_sync(function)
        if isinstance(function, LoopView) or is_flasks_own(function) or is_inline(function):
            return function
        if any(function in functions for functions in app.template_context_processors.values()):
            return function  # it runs where Flask renders the template
        return partial(_run_in_thread, link, function)

    def make_response(value: Any) -> Response:
        if inspect.iscoroutine(value):
            value.close()
            raise BridgeError(
                f"the view of {request.endpoint!r} returned the coroutine {value.__qualname__!r} without "
                "awaiting it; make the view `async def` and `return await ...`"
            )
        return plain_make_response(value)

    def async_to_sync(function: Callable[..., Coroutine[Any, Any, Any]]) -> _View:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not isinstance(CURRENT_LOOP.get(None), GreenletLoopAccess):
                try:
                    return plain_async_to_sync(function)(*args, **kwargs)
                except BaseException as error:
                    _clear_frames_of_asgiref(error)
                    raise
            if current_greenlet_link() is None and has_request_context():  # in a worker thread
                body = request.environ.get("wsgi.input")
                if isinstance(body, RequestBody):
                    body.receive_all()  # the coroutine must not wait for it on the loop
            return run_on_loop(function(*args, **kwargs))

        if current_greenlet_link() is not None:
            return call  # Flask calls it at once, and `wraps` costs 4 us
        return wraps(function)(call)

    def process_response(response: Response) -> Response:
        response = plain_process_response(response)
        if hasattr(response.response, "__aiter__") and not isinstance(response.response, FlaskLoopIterable):
            raise BridgeError(
                f"a {type(response.response).__name__} was given to Response, which takes plain iterables; "
                "write Response(bridge.flask.stream(...)), or EventSource(...) for server-sent events"
            )
        if isinstance(response.response, _RangeWrapper):
            # The answer to a Range, of a file: hosts can send a part of one themselves.
            part = response.response
            file: object = part.iterable
            if isinstance(file, FileWrapper) and part.seekable and part.byte_range is not None:
                file.seek(part.start_byte)
                file.left = part.byte_range
                response.response = file
        link = current_greenlet_link()
        if link is not None:
            link.answers_on_loop = response.is_sequence
            if isinstance(response.response, FlaskLoopIterable):
                link.answers_on_loop = True
                # Werkzeug would put two iterators around it, and the link would not know it again.
                response.direct_passthrough = True
                response.response.on_close = response.close
        return response

    def shielded(plain: _View) -> _View:
        @wraps(plain)
        def teardown(*args: Any, **kwargs: Any) -> Any:
            access = CURRENT_LOOP.get(None)
            call = partial(plain, *args, **kwargs)
            return call() if access is None else access.shielded(call)

        return teardown

    replacements: dict[str, Any] = {
        "ensure_sync": ensure_sync,
        "async_to_sync": async_to_sync,
        "do_teardown_appcontext": shielded(app.do_teardown_appcontext),
        "do_teardown_request": shielded(app.do_teardown_request),
        "make_response": make_response,
        "process_response": process_response,
    }
    for name, replacement in replacements.items():
        replacement.__wrapped__ = getattr(app, name)  # so that `as_declared` finds the app's own
    vars(app).update(replacements)
    _adopt_preprocessors(app)
    for method in session_methods(app):  # of sessions that are kept elsewhere than in the cookie
        setattr(app.session_interface, method.__name__, _in_thread(method))
    _adopt_login_manager(app)


def _clear_frames_of_asgiref(error: BaseException) -> None:
    """Break the cycle between an error of asgiref's and the frame that raised it.

    The frame holds the thread in which the coroutine ran, which would live until the garbage collector runs.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is AsyncToSync.__call__.__code__:
            frame.clear()


def _adopt_preprocessors(app: Flask) -> None:
    """Have Flask call `url_value_preprocessor` functions through `ensure_sync`, as it calls other hooks.

    It calls them directly: an async one would never run, and a plain one would run on the loop.
    """

    def adopted(function: _View) -> _View:
        return wraps(function)(lambda *args: app.ensure_sync(function)(*args))

    for functions in app.url_value_preprocessors.values():
        functions[:] = map(adopted, functions)


def _adopt_login_manager(app: Flask) -> None:
    """Have a worker thread call the app's functions for Flask-Login, such as the one that loads a user."""
    manager = getattr(app, "login_manager", None)
    if not any(kind.__module__.partition(".")[0] == "flask_login" for kind in type(manager).__mro__):
        return
    for name in _OF_LOGIN_MANAGERS:
        function = getattr(manager, name, None)
        if function is not None:
            setattr(manager, name, _in_thread(function))


def _in_thread(function: _View) -> _View:
    """Return a function that a worker thread runs, if its call is on the loop."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        link = current_greenlet_link()
        return function(*args, **kwargs) if link is None else _run_in_thread(link, function, *args, **kwargs)

    return call


def _run_in_thread(link: GreenletLink, function: _View, *args: Any, **kwargs: Any) -> Any:
    return link.run_in_thread(partial(function, *args, **kwargs))

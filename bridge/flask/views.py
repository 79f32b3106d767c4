"""Flask apps with `async def` views: which requests run on the loop, and what Flask does there.

Flask calls whatever a user has written through `app.ensure_sync`, and what is async through
`app.async_to_sync`, both documented for overriding ("Using async and await"). Here both are replaced on the
app object. Within a call on the loop, coroutines are awaited there, and functions that are not async go to a
worker thread. Anywhere else, in a call that runs in a thread and in the test client, they do what they did.
`placement` says which calls run on the loop.

This module imports Flask, and is imported only where there is a Flask app.
"""

import asyncio
import inspect
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import Any, TypeAlias, cast

from asgiref.sync import AsyncToSync
from flask import Flask, Response, has_request_context, request
from werkzeug.routing import Rule
from werkzeug.wsgi import _RangeWrapper

from bridge.core.body import RequestBody
from bridge.core.call import Call
from bridge.core.files import FileWrapper
from bridge.errors import BridgeError
from bridge.flask.functions import is_flasks_own, is_inline
from bridge.flask.middleware import middleware_of
from bridge.flask.placement import LoopView, hooks_of, place, session_methods
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
from bridge.websockets.link import WebSocketLink
from bridge.websockets.websocket import WEBSOCKET

__all__ = ["FlaskLoopIterable", "FlaskViews", "Request", "adopt"]

logger = logging.getLogger("bridge")

# Requests whose runner is remembered. Clients choose all of it, so they are bounded in
# number and in length.
_MAX_KEYS = 4096
_MAX_KEY_LENGTH = 256

# In the place of a method in what is remembered; hosts pass methods on in upper case.
_WEBSOCKET = "websocket"

# How often an endpoint may block the loop before its requests go to threads.
_MOST_BLOCKED = 2

# Where Flask-Login 0.6 keeps functions that are not its own.
_OF_LOGIN_MANAGERS = (
    "_user_callback",
    "_request_callback",
    "unauthorized_callback",
    "needs_refresh_callback",
)

_View = Callable[..., Any]
Request: TypeAlias = tuple[str, str, str]
"""A request, as far as it decides where it runs: method, PATH_INFO, host."""


class FlaskLoopIterable(LoopIterable):
    """One that belongs to a response of Flask's, if it has one."""

    on_close: Callable[[], object] | None = None
    """Has the response closed, which closes this in turn."""


class FlaskViews:
    """The views of a Flask app, as far as it matters where they run.

    Args:
        app: the app; its `ensure_sync` and `async_to_sync` are replaced here, once.
        async_views: what the user has chosen; see `placement`.
    """

    def __init__(self, app: Flask, async_views: AsyncViews) -> None:
        adopt(app)
        self._app = app
        self._async_views = async_views
        self._engine: Engine | None = None
        self._greenlets = Greenlets()
        self._middleware = middleware_of(app)
        self._may_run_on_loop = any(
            place(app, rule, method, async_views)[0] == "loop"
            for rule in app.url_map.iter_rules()
            for method in rule.methods or ("GET",)
        )
        self._routing = Routing(app)
        self._known: dict[Request, bool] = {}
        self._blocked: Counter[str] = Counter()
        self._needs_one_thread: dict[str, bool] = {}

    def new_link(self, call: Call, host: Host, engine: Engine, request: Request) -> GreenletLink:
        """The link of a request that runs on the loop; the arguments are those of `GreenletLink`."""
        if self._engine is not engine:  # another loop, perhaps in another thread, to which greenlets belong
            self._engine = engine
            self._greenlets = Greenlets()
        websocket = call.environ.get(WEBSOCKET)
        if websocket is None:
            return GreenletLink(call, host, engine, self._greenlets, request)
        return WebSocketLink(websocket, call, host, engine, self._greenlets, request)

    async def close(self, patience: float) -> None:
        """Wait for calls that the host has given up, `patience` seconds at most; let go of what is kept."""
        await self._greenlets.close(patience)
        self._engine = None

    @property
    def is_busy(self) -> bool:
        """Whether there are requests on the loop."""
        return self._greenlets.are_busy

    @property
    def blocked(self) -> Mapping[str, int]:
        """How often each endpoint has blocked the loop, until now."""
        return dict(self._blocked)  # a copy, as the thread that watches adds to it

    def request_on_loop(self, environ: WSGIEnvironment) -> Request | None:
        """The request, if it runs on the loop: by Werkzeug's routing, and by what Flask then calls."""
        if not self._may_run_on_loop:
            return None
        # All that decides: method, path, and the host, if that matters to the app.
        method = _WEBSOCKET if WEBSOCKET in environ else environ["REQUEST_METHOD"]
        host = environ.get("HTTP_HOST", "") if self._routing.goes_by_host else ""
        request = method, environ["PATH_INFO"], host
        found = self._known.get(request)
        if found is None:
            rule = self._rule_of(*request)
            found = rule is not None and self._is_on_loop(rule, method)
            if sum(map(len, request)) <= _MAX_KEY_LENGTH:
                if len(self._known) >= _MAX_KEYS:
                    self._known.clear()
                self._known[request] = found
        return request if found else None

    def needs_one_thread(self, request: Request) -> bool:
        """Whether plain hooks are called for this request that may keep something in their thread."""
        rule = self._rule_of(*request)
        if rule is None:
            return False
        found = self._needs_one_thread.get(rule.endpoint)
        if found is None:
            found = any(not hook.is_safe for hook in hooks_of(self._app, rule.endpoint))
            self._needs_one_thread[rule.endpoint] = found
        return found

    def step_of(self, task: "asyncio.Task[Any]") -> float | None:
        """When the step began that a call is at; see `bridge.blocking.Suspects`."""
        return self._greenlets.step_of(task)

    def suspect_of(self, task: "asyncio.Task[Any]") -> GreenletLink | None:
        """The link whose call has begun a task; see `bridge.blocking.Suspects`."""
        return self._greenlets.link_of(task)

    def blame(self, suspect: GreenletLink, threshold: float, place: str, stack: str) -> None:
        """Name the endpoint that blocks the loop, and count that; see `bridge.blocking.Suspects`.

        One request counts once. In `auto`, requests of an endpoint that has done so twice go to threads from
        then on.
        """
        request, suspect.request = cast("Request | None", suspect.request), None
        rule = None if request is None else self._rule_of(*request)
        if rule is None:
            return
        endpoint = rule.endpoint
        self._blocked[endpoint] += 1
        view = self._app.view_functions[endpoint]
        if self._async_views != "auto" or isinstance(view, LoopView):
            what_follows = "await something that does not block, or `await asyncio.to_thread(...)`"
        elif self._blocked[endpoint] > _MOST_BLOCKED:
            return  # a call that was on the loop before; all has been said
        elif self._blocked[endpoint] < _MOST_BLOCKED:
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
            return isinstance(view, LoopView)  # others, such as Flask-Sock's, block
        if self._async_views == "auto" and self._blocked[rule.endpoint] >= _MOST_BLOCKED:
            return False
        return place(self._app, rule, method, self._async_views)[0] == "loop"

    def _rule_of(self, method: str, path: str, host: str) -> Rule | None:
        """The rule that Flask will find; None if there is none, or another app is called."""
        if self._middleware.leads_elsewhere(path):
            return None
        is_websocket = method == _WEBSOCKET
        decoded = path.encode("latin-1").decode("utf-8", "replace")  # as Werkzeug decodes it
        return self._routing.rule_of(
            decoded, "GET" if is_websocket else method, host, is_websocket=is_websocket
        )


def adopt(app: Flask) -> None:
    """Replace what has to run elsewhere within a call by Bridge; once for an app."""
    if app.extensions.get("bridge.adopted"):
        return
    app.extensions["bridge.adopted"] = True
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
            return function  # a part of the code that renders a template, wherever that runs
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
            if current_greenlet_link() is None:  # in a worker thread, for a call on the loop
                _receive_body()
            return run_on_loop(function(*args, **kwargs))

        if current_greenlet_link() is not None:
            return call  # Flask uses it at once, and `wraps` costs 4 us
        return wraps(function)(call)

    def process_response(response: Response) -> Response:
        response = plain_process_response(response)
        if hasattr(response.response, "__aiter__") and not isinstance(response.response, FlaskLoopIterable):
            raise BridgeError(
                f"a {type(response.response).__name__} was given to Response, which takes plain iterables; "
                "write Response(bridge.flask.stream(...)), or EventSource(...) for server-sent events"
            )
        if isinstance(response.response, _RangeWrapper):
            response.response = _part_of_file(response.response)
        link = current_greenlet_link()
        if link is not None:
            link.answers_on_loop = response.is_sequence
            if isinstance(response.response, FlaskLoopIterable):
                link.answers_on_loop = True
                # Without the two iterators that Werkzeug puts around it, it can be known again.
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
        replacement.__wrapped__ = getattr(app, name)  # for who asks what the app itself has there
    vars(app).update(replacements)
    _adopt_preprocessors(app)
    _adopt_sessions(app)
    _adopt_login_manager(app)


def _part_of_file(answer: _RangeWrapper) -> _RangeWrapper | FileWrapper:
    """The answer to a Range as a part of a file, which hosts can send themselves, if it is one."""
    file: object = answer.iterable
    if not isinstance(file, FileWrapper) or not answer.seekable or answer.byte_range is None:
        return answer
    file.seek(answer.start_byte)
    file.left = answer.byte_range
    return file


def _receive_body() -> None:
    """Before a coroutine runs for a call that is made in a thread: what it reads must not stop the loop."""
    body = request.environ.get("wsgi.input") if has_request_context() else None
    if isinstance(body, RequestBody):
        body.receive_all()


def _clear_frames_of_asgiref(error: BaseException) -> None:
    """Let go of what asgiref holds with an error that it has raised, and that holds it in turn.

    Among that is the thread in which the coroutine ran: it would go on until the garbage collector comes.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is AsyncToSync.__call__.__code__:
            frame.clear()


def _adopt_preprocessors(app: Flask) -> None:
    """Have `url_value_preprocessor` functions called as all others are, which Flask does not.

    It calls them as they are: one that is async would never run, and a plain one would be on the loop.
    """
    for functions in app.url_value_preprocessors.values():
        functions[:] = [_called_as_others(app, function) for function in functions]


def _called_as_others(app: Flask, function: _View) -> _View:
    @wraps(function)
    def preprocess(*args: Any) -> Any:
        return app.ensure_sync(function)(*args)

    return preprocess


def _adopt_sessions(app: Flask) -> None:
    """Have sessions that are kept elsewhere than in the cookie opened and saved in a worker thread."""
    for method in session_methods(app):
        setattr(app.session_interface, method.__name__, _in_thread(method))


def _adopt_login_manager(app: Flask) -> None:
    """Have the functions that Flask-Login is told to call, to load a user say, called in a worker thread."""
    manager = getattr(app, "login_manager", None)
    if not any(kind.__module__.partition(".")[0] == "flask_login" for kind in type(manager).__mro__):
        return
    for name in _OF_LOGIN_MANAGERS:
        function = getattr(manager, name, None)
        if function is not None:
            setattr(manager, name, _in_thread(function))


def _in_thread(function: _View) -> _View:
    """A function that is called in a worker thread, if its call is on the loop."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        link = current_greenlet_link()
        return function(*args, **kwargs) if link is None else _run_in_thread(link, function, *args, **kwargs)

    return call


def _run_in_thread(link: GreenletLink, function: _View, *args: Any, **kwargs: Any) -> Any:
    return link.run_in_thread(partial(function, *args, **kwargs))

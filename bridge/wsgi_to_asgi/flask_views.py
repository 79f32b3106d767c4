"""Flask apps with `async def` views: which requests run on the loop, and what Flask does there.

Flask calls whatever a user has written through `app.ensure_sync`, and what is async through
`app.async_to_sync`, both documented for overriding ("Using async and await"). Here both are replaced on the
app object: within a call by Bridge, coroutines are awaited on the host's loop, and functions that are not
async go to a worker thread if the call runs on the loop. Anywhere else, such as in the test client, they do
what they did.

This module imports Flask, and is imported only where there is a Flask app.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import Any

from flask import Flask, Response, has_request_context, request, templating
from flask import views as flask_views
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect, Rule

from bridge.errors import BridgeError
from bridge.types import HTTPReceive, HTTPScope, HTTPSend
from bridge.wsgi_to_asgi.body import RequestBody
from bridge.wsgi_to_asgi.call import LoopIterable
from bridge.wsgi_to_asgi.greenlet_link import GreenletLink, Greenlets, current_greenlet_link
from bridge.wsgi_to_asgi.loop_access import CURRENT_LOOP, run_on_loop
from bridge.wsgi_to_asgi.mailbox import Mailbox
from bridge.wsgi_to_asgi.streams import Streams
from bridge.wsgi_to_asgi.threads import WorkerPool
from bridge.wsgi_to_asgi.websocket import WEBSOCKET
from bridge.wsgi_to_asgi.websocket_link import WebSocketLink

__all__ = [
    "FlaskLoopIterable",
    "FlaskViews",
    "LoopView",
    "adopt",
    "async_rules",
    "is_async_view",
    "is_flasks_own",
]

# Paths whose runner is remembered. Clients choose them, so they are bounded in number and in length.
_MAX_PATHS = 4096
_MAX_PATH_LENGTH = 256

# In the place of a method in what is remembered; hosts pass methods on in upper case.
_WEBSOCKET = "websocket"

_View = Callable[..., Any]

_FLASKS_OWN = (flask_views.__file__, templating.__file__)


class FlaskLoopIterable(LoopIterable):
    """One that belongs to a response of Flask's, if it has one."""

    on_close: Callable[[], object] | None = None
    """Has the response closed, which closes this in turn."""


class LoopView(ABC):
    """A view for websockets that is called on the loop, and there waits for coroutines by itself."""

    @abstractmethod
    def __call__(self, **arguments: Any) -> Any:
        """Answer the handshake."""


class FlaskViews:
    """The views of a Flask app, as far as it matters where they run.

    Args:
        app: the app; its `ensure_sync` and `async_to_sync` are replaced here, once.
        on_loop: whether requests of async views are to run on the loop; a `LoopView` does in any case.
    """

    def __init__(self, app: Flask, *, on_loop: bool) -> None:
        adopt(app)
        self._app = app
        self._mailbox: Mailbox | None = None
        self._greenlets = Greenlets()
        self._async_endpoints = {
            rule.endpoint
            for rule in async_rules(app)
            if on_loop or isinstance(app.view_functions[rule.endpoint], LoopView)
        }
        self._adapter: MapAdapter | None = None
        self._goes_by_host = app.url_map.host_matching or app.subdomain_matching
        self._known: dict[tuple[str, str, str], bool] = {}

    def new_link(
        self,
        scope: HTTPScope,
        state: Mapping[str, Any],
        receive: HTTPReceive,
        send: HTTPSend,
        *,
        mailbox: Mailbox,
        pool: WorkerPool,
        streams: Streams,
        buffer_size: int,
    ) -> GreenletLink:
        """The link of a request that runs on the loop; the arguments are those of `GreenletLink`."""
        if self._mailbox is not mailbox:  # another loop, perhaps in another thread, to which greenlets belong
            self._mailbox = mailbox
            self._greenlets = Greenlets()
        link = WebSocketLink if WEBSOCKET in scope else GreenletLink
        return link(
            self._app,
            self._greenlets,
            scope,
            state,
            receive,
            send,
            mailbox=mailbox,
            pool=pool,
            streams=streams,
            buffer_size=buffer_size,
        )

    async def close(self, patience: float) -> None:
        """Wait for calls that the host has given up, `patience` seconds at most; let go of what is kept."""
        await self._greenlets.close(patience)
        self._mailbox = None

    def runs_on_loop(self, scope: HTTPScope) -> bool:
        """Whether this request's view is async, by Werkzeug's routing of its path.

        Middleware of the app may change the path after this; whatever comes then still runs right, if not
        in the cheapest place.
        """
        if not self._async_endpoints:
            return False
        path = _path(scope)
        host = _host(scope) if self._goes_by_host else ""
        method = _WEBSOCKET if WEBSOCKET in scope else scope["method"]
        key = (method, path, host)
        found = self._known.get(key)
        if found is None:
            found = self._matches_async_view(method, path, host)
            if len(path) + len(host) <= _MAX_PATH_LENGTH:
                if len(self._known) >= _MAX_PATHS:
                    self._known.clear()
                self._known[key] = found
        return found

    def _matches_async_view(self, method: str, path: str, host: str) -> bool:
        is_websocket = method == _WEBSOCKET
        http_method = "GET" if is_websocket else method
        try:
            rule, _ = self._adapter_for(host).match(
                path, http_method, return_rule=True, websocket=is_websocket
            )
        except (HTTPException, RequestRedirect):
            return False
        view = self._app.view_functions.get(rule.endpoint)
        if rule.endpoint not in self._async_endpoints or view is None:
            return False
        # Other views for websockets, such as Flask-Sock's, block.
        return isinstance(view, LoopView) if is_websocket else is_async_view(view, method)

    def _adapter_for(self, host: str) -> MapAdapter:
        """The one that Flask would match a request with; one for all, if hosts do not matter to the app."""
        if not self._goes_by_host:
            if self._adapter is None:
                self._adapter = self._app.url_map.bind("localhost")
            return self._adapter
        environ = {
            "HTTP_HOST": host,
            "PATH_INFO": "/",
            "REQUEST_METHOD": "GET",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        adapter = self._app.create_url_adapter(self._app.request_class(environ))
        assert adapter is not None  # it is None where there is no request
        return adapter


def async_rules(app: Flask) -> list[Rule]:
    """The rules whose view is async for one of their methods at least, those for websockets among them."""
    return [
        rule
        for rule in app.url_map.iter_rules()
        if (view := app.view_functions.get(rule.endpoint)) is not None
        and any(is_async_view(view, method) for method in rule.methods or ("GET",))
    ]


def _path(scope: HTTPScope) -> str:
    path, root_path = scope["path"], scope.get("root_path", "").rstrip("/")
    if root_path and (path == root_path or path.startswith(root_path + "/")):
        return path[len(root_path) :]
    return path


def _host(scope: HTTPScope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def is_async_view(view: _View, method: str) -> bool:
    """Whether a view function is async, or Flask's own for a class whose method is."""
    if isinstance(view, LoopView):
        return True
    if inspect.iscoroutinefunction(view):
        return True
    view_class = getattr(view, "view_class", None)
    if view_class is None or not is_flasks_own(view):
        return False
    if inspect.iscoroutinefunction(view_class.dispatch_request):
        return True
    if view_class.dispatch_request is not flask_views.MethodView.dispatch_request:
        return False
    handler = getattr(view_class, method.lower(), None)
    if handler is None and method == "HEAD":
        handler = getattr(view_class, "get", None)
    return inspect.iscoroutinefunction(handler)


def is_flasks_own(function: _View) -> bool:
    """Whether it is code of Flask's that does no more than call a view's method, or fill a dict."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename in _FLASKS_OWN


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
        if isinstance(function, LoopView) or is_flasks_own(function):
            return function
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
            if CURRENT_LOOP.get(None) is None:
                return plain_async_to_sync(function)(*args, **kwargs)
            if current_greenlet_link() is None:
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

    replacements = {
        "ensure_sync": ensure_sync,
        "async_to_sync": async_to_sync,
        "do_teardown_appcontext": shielded(app.do_teardown_appcontext),
        "do_teardown_request": shielded(app.do_teardown_request),
        "make_response": make_response,
        "process_response": process_response,
    }
    vars(app).update(replacements)
    _adopt_preprocessors(app)
    _adopt_sessions(app)


def _receive_body() -> None:
    """Before a coroutine runs for a call that is made in a thread: what it reads must not stop the loop."""
    body = request.environ.get("wsgi.input") if has_request_context() else None
    if isinstance(body, RequestBody):
        body.receive_all()


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
    interface = app.session_interface
    if type(interface) is SecureCookieSessionInterface:
        return
    for name in ("open_session", "save_session"):
        plain = getattr(interface, name)

        def call(*args: Any, plain: _View = plain, **kwargs: Any) -> Any:
            link = current_greenlet_link()
            return plain(*args, **kwargs) if link is None else _run_in_thread(link, plain, *args, **kwargs)

        setattr(interface, name, call)


def _run_in_thread(link: GreenletLink, function: _View, *args: Any, **kwargs: Any) -> Any:
    return link.run_in_thread(partial(function, *args, **kwargs))

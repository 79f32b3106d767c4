"""A Flask app → where each of its views runs, and why: on the event loop, or in a thread. Pure.

Flask calls the hooks, the view and the teardown of a request in one thread, which no other request has
meanwhile. Apps rely on that: only the thread that made a sqlite3 connection may close it, and
`scoped_session` finds its session by the thread. A view on the event loop shares its thread with all others,
and plain hooks beside it run in worker threads. So in `auto`, the default, a request runs on the loop only if
nothing that Flask calls for it can tell the difference:

- The view is async. Its decorators are marked, or those of a known extension.
- So is every hook that applies to it, of the app and of its blueprints: URL preprocessors, before, after,
  teardown, receivers of Flask's signals, the session interface, converters of its URL, and overridden methods
  of Flask. They are async, marked by `any_thread`, or a known extension's.
- Middleware around the app is known to call this app, or marked.

`loop` asks for the first and the last of these; `thread` sends all requests to threads. Views that the
extension makes for websockets always run on the loop.

Error handlers do not count, as a worker thread calls plain ones. Nor do context processors: Flask, and so
Bridge, calls them where it renders a template.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from blinker import NamedSignal
from flask import Flask, signals
from flask import views as flask_views
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule

from bridge.flask.functions import (
    as_declared,
    is_flasks_own,
    is_inline,
    is_marked,
    is_safe,
    layers,
    module_of,
    name_of,
    name_of_decorator,
)
from bridge.flask.routing import own_converters
from bridge.types import AsyncViews

__all__ = [
    "Hook",
    "LoopView",
    "Middleware",
    "Runner",
    "error_hooks_of",
    "hooks_of",
    "is_async_view",
    "kept_in_threads",
    "middleware_of",
    "place",
    "session_methods",
]

Runner: TypeAlias = Literal["loop", "thread"]

_Function: TypeAlias = Callable[..., Any]


# The methods of Flask that requests call, and that a subclass may override, or an extension replace on the
# app.
_OVERRIDABLE = (
    "request_context",
    "app_context",
    "create_url_adapter",
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "ensure_sync",
    "async_to_sync",
    "finalize_request",
    "make_response",
    "process_response",
    "raise_routing_exception",
    "handle_user_exception",
    "handle_http_exception",
    "handle_exception",
    "log_exception",
    "do_teardown_request",
    "do_teardown_appcontext",
)

# Looked up in the class alone; on the app, a replacement is middleware.
_OVERRIDABLE_IN_CLASS = ("__call__", "wsgi_app")

_SIGNALS = tuple(each for each in vars(signals).values() if isinstance(each, NamedSignal))

# Kinds of hooks that Flask calls without `ensure_sync`, and so in the view's thread.
_CALLED_AS_THEY_ARE = ("url_defaults", "receiver of", "overridden method")

# Modules whose middleware calls the app that it wraps, no other one, and never waits.
_KNOWN_MIDDLEWARE = ("bridge", "opentelemetry", "werkzeug.middleware.proxy_fix")

# Where middleware keeps the app that it wraps: as an attribute, or as a variable of its closure.
_NAMES_OF_THE_APP = ("app", "wsgi_app", "application", "_app", "__wrapped__")


class LoopView(ABC):
    """A view for websockets, which Bridge calls on the loop, and which awaits its handler by itself."""

    @abstractmethod
    def __call__(self, **arguments: Any) -> Any:
        """Answer the handshake."""


@dataclass(frozen=True)
class Hook:
    """A plain function that Flask calls for a request, besides its view."""

    kind: str
    """How the app declares it: "before_request", "errorhandler(404)", …"""
    name: str
    module: str
    blueprint: str | None
    """The blueprint whose routes it is for; None for all of the app."""
    is_safe: bool
    """Whether it may run in any thread: it is marked, or a known extension's."""
    hops: bool
    """Whether a request on the loop goes to a worker thread for it, instead of calling it on the loop."""

    def __str__(self) -> str:
        kind = _KINDS.get(self.kind, self.kind)
        return f"{kind} {self.name!r} ({self.module})"


_KINDS = {
    "url_value_preprocessor": "URL value preprocessor",
    "url_defaults": "url_defaults function",
    "before_request": "before_request function",
    "after_request": "after_request function",
    "teardown_request": "teardown function",
    "teardown_appcontext": "teardown function",
}


def place(app: Flask, rule: Rule, method: str, async_views: AsyncViews) -> tuple[Runner, str]:
    """Return where requests of a rule run, and why.

    Args:
        app: the Flask app.
        rule: one of its rules.
        method: the request's, in upper case.
        async_views: the user's choice.
    """
    view = app.view_functions.get(rule.endpoint)
    if view is None:
        return "thread", "the endpoint has no view"
    if isinstance(view, LoopView):
        return "loop", "the view is async"
    # View.as_view() makes a plain function; the user has written its class.
    what = "the view" if getattr(view, "view_class", None) is None else f"the view's {method}"
    if not is_async_view(view, method):
        return "thread", f"{what} is not async"
    if async_views == "thread":
        return "thread", "async_views is thread"
    goes_by_host = app.url_map.host_matching or app.subdomain_matching
    if not goes_by_host and rule.subdomain != app.url_map.default_subdomain:
        return "thread", "no request reaches it, as the app does not match subdomains"
    unknown = middleware_of(app).unknown
    if unknown is not None:
        return "thread", (
            f"the app is behind middleware {unknown}, which may lead elsewhere; "
            "mark it with @bridge.flask.any_thread if it calls this app alone, and never waits"
        )
    decorator = _plain_decorator(view)
    if decorator is not None:
        return "thread", (
            f"decorator {name_of_decorator(decorator)!r} ({module_of(decorator)}) around the view is "
            "plain; make it async, or mark it with @bridge.flask.any_thread if it never waits, and calls the "
            "view by ensure_sync"
        )
    if async_views == "auto":
        # Flask calls the converters before all hooks.
        converters = [
            Hook("URL converter", name_of(each), module_of(each), None, is_safe(each), hops=False)
            for each in own_converters(rule)
        ]
        names = [str(hook) for hook in (*converters, *hooks_of(app, rule.endpoint)) if not hook.is_safe]
        if names:
            *others, last = names
            what_if, it = "is plain; if it keeps nothing in its", "it"
            if others:
                last = f"{', '.join(others)} and {last}"
                what_if, it = "are plain; if they keep nothing in their", "them"
            return "thread", (
                f"{last} {what_if} thread, make {it} async, mark {it} with @bridge.flask.any_thread, or ask "
                "for --async-views loop"
            )
    return "loop", f"{what} is async"


def kept_in_threads(app: Flask, async_views: AsyncViews) -> list[str]:
    """Return the endpoints whose views are async, but run in threads."""
    found = {
        rule.endpoint: None
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ("GET",)
        if (view := app.view_functions.get(rule.endpoint)) is not None
        and is_async_view(view, method)
        and place(app, rule, method, async_views)[0] == "thread"
    }
    return list(found)


# Views


def is_async_view(view: _Function, method: str) -> bool:
    """Whether a view is async below its decorators, or is Flask's own for a class whose method is.

    Args:
        view: the view function.
        method: the request's, in upper case.
    """
    if isinstance(view, LoopView):
        return True
    view_class = getattr(view, "view_class", None)
    for layer in layers(view):
        if inspect.iscoroutinefunction(layer):
            return True
        if view_class is not None and is_flasks_own(layer):
            handler = view_class.dispatch_request
            if handler is flask_views.MethodView.dispatch_request:
                handler = getattr(view_class, method.lower(), None)
                if handler is None and method == "HEAD":
                    handler = getattr(view_class, "get", None)
            return inspect.iscoroutinefunction(handler)
    return False


def _plain_decorator(view: _Function) -> _Function | None:
    """Return the outermost unknown plain wrapper of an async view."""
    for layer in layers(view):
        if inspect.iscoroutinefunction(layer) or is_flasks_own(layer):
            return None
        if not is_inline(layer):
            return layer
    return None


# Hooks


def hooks_of(app: Flask, endpoint: str) -> list[Hook]:
    """Return the plain functions that Flask calls for each request of an endpoint, besides its view."""
    blueprints = _blueprints_of(endpoint)
    hooks: list[Hook] = []
    for kind, functions in (
        ("url_value_preprocessor", app.url_value_preprocessors),
        ("url_defaults", app.url_default_functions),
        ("before_request", app.before_request_funcs),
        ("after_request", app.after_request_funcs),
        ("teardown_request", app.teardown_request_funcs),
    ):
        for blueprint in blueprints:
            hooks += _plain(kind, functions.get(blueprint, ()), blueprint)
    hooks += _plain("teardown_appcontext", app.teardown_appcontext_funcs)
    for signal in _SIGNALS:
        hooks += _plain(f"receiver of {signal.name.replace('-', '_')}", signal.receivers_for(app))
    hooks += _plain("overridden method", _overridden(app))
    hooks += _plain("session method", session_methods(app))
    return hooks


def error_hooks_of(app: Flask, endpoint: str) -> list[Hook]:
    """Return the plain error handlers of an endpoint: those of its blueprints, and the app's."""
    return [
        hook
        for blueprint in _blueprints_of(endpoint)
        for code, handlers in app.error_handler_spec.get(blueprint, {}).items()
        for kind, handler in handlers.items()
        for hook in _plain(f"errorhandler({code or kind.__name__})", (handler,), blueprint)
    ]


def session_methods(app: Flask) -> list[_Function]:
    """Return the methods that open and save sessions, if they are not those of Flask's cookies."""
    interface = app.session_interface
    return [
        getattr(interface, name)
        for name in ("open_session", "save_session")
        if getattr(type(interface), name) is not getattr(SecureCookieSessionInterface, name)
    ]


def _blueprints_of(endpoint: str) -> tuple[str | None, ...]:
    """Return the keys under which Flask looks for hooks: the app's, and those of the nested blueprints."""
    parts = endpoint.split(".")[:-1]
    return None, *(".".join(parts[: count + 1]) for count in range(len(parts)))


def _overridden(app: Flask) -> Iterator[_Function]:
    for name in _OVERRIDABLE:
        method = as_declared(getattr(app, name))
        if getattr(method, "__func__", method) is not getattr(Flask, name):
            yield method
    for name in _OVERRIDABLE_IN_CLASS:
        method = getattr(type(app), name)
        if method is not getattr(Flask, name):
            yield method


def _plain(kind: str, functions: Iterable[_Function], blueprint: str | None = None) -> Iterator[Hook]:
    for function in functions:
        hook = as_declared(function)
        if not inspect.iscoroutinefunction(hook) and not is_flasks_own(hook):
            hops = not kind.startswith(_CALLED_AS_THEY_ARE) and not is_inline(hook)
            yield Hook(kind, name_of(hook), module_of(hook), blueprint, is_safe(hook), hops)


# Middleware, by `app.wsgi_app = Middleware(app.wsgi_app)`


@dataclass(frozen=True)
class Middleware:
    """The middleware around a Flask app's own `wsgi_app`.

    Args:
        unknown: the first unknown one, described; None if all are known.
        dispatchers: those of Werkzeug's, which call other apps below some paths.
    """

    unknown: str | None = None
    dispatchers: tuple[DispatcherMiddleware, ...] = ()

    def leads_elsewhere(self, path: str) -> bool:
        """Whether a request of this path reaches another app.

        Args:
            path: the environ's PATH_INFO.
        """
        for dispatcher in self.dispatchers:
            prefix = path  # Werkzeug's dispatcher looks in the same way
            while "/" in prefix and prefix not in dispatcher.mounts:
                prefix = prefix.rpartition("/")[0]
            if prefix in dispatcher.mounts:
                return True
        return False


def middleware_of(app: Flask) -> Middleware:
    """Return the middleware around the app's `wsgi_app`."""
    dispatchers = []
    layer: Any = vars(app).get("wsgi_app")
    while layer is not None and getattr(layer, "__self__", None) is not app:
        module = module_of(layer)
        if isinstance(layer, DispatcherMiddleware):
            dispatchers.append(layer)
        elif not is_marked(layer) and not any(
            module == known or module.startswith(known + ".") for known in _KNOWN_MIDDLEWARE
        ):
            code = getattr(layer, "__code__", None)
            # With the name of the function that made it: by itself, it is often called "wrapper".
            name = name_of(layer) if code is None else code.co_qualname.replace(".<locals>", "")
            return Middleware(f"{name!r} ({module})")
        layer = _app_within(layer, app)
    return Middleware(dispatchers=tuple(dispatchers))


def _app_within(layer: Any, app: Flask) -> Any:
    """Return what middleware wraps, other than the app as a whole; None if that is not visible."""
    code = getattr(layer, "__code__", None)
    closure = getattr(layer, "__closure__", None) or ()
    variables = dict(zip(code.co_freevars, closure, strict=True)) if code is not None else {}
    for name in _NAMES_OF_THE_APP:
        within = variables[name].cell_contents if name in variables else getattr(layer, name, None)
        if callable(within) and within is not app:
            return within
    return None

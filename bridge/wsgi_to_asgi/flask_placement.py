"""A Flask app → where each of its views runs, and why: on the event loop, or in a thread as Flask has it.

Flask calls hooks, view and teardown of a request in one thread, which nobody else has meanwhile. Apps rely on
that without knowing: a sqlite3 connection may be closed only in the thread that made it, and a
`scoped_session` is found again by the thread. A view on the event loop shares its thread with all others, and
plain hooks beside it run in worker threads. So in `auto`, the default, a request goes to the loop only if
nothing that Flask calls for it can tell the difference:

- The view is async. Decorators around it are those of an extension in the table below, or marked.
- So is every hook that applies to it, of the app and of its blueprints: URL preprocessors, before, after,
  teardown, receivers of Flask's signals, the session interface, converters of its URL, and methods of Flask
  that are overridden. They are async, marked by `any_thread`, or come from an extension in the table.
- No middleware around the app leads elsewhere: it is one that was looked at, or marked.

`loop` asks for the first and the last of these, `thread` sends all requests to threads. Views that the
extension makes for websockets are on the loop in any case.

Pure: the app is only looked at. Error handlers and context processors do not count. Where they are plain a
worker thread calls them, one at a time.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from blinker import NamedSignal
from flask import Flask, signals, templating
from flask import views as flask_views
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule

from bridge.types import AsyncViews
from bridge.wsgi_to_asgi.flask_routing import own_converters

__all__ = [
    "Hook",
    "LoopView",
    "Middleware",
    "Runner",
    "any_thread",
    "error_hooks_of",
    "hooks_of",
    "is_async_view",
    "is_flasks_own",
    "is_inline",
    "kept_in_threads",
    "middleware_of",
    "place",
    "session_methods",
]

Runner: TypeAlias = Literal["loop", "thread"]

_Function: TypeAlias = Callable[..., Any]
_FunctionT = TypeVar("_FunctionT", bound=_Function)

_FLASKS_OWN = (flask_views.__file__, templating.__file__)

# Packages whose functions were looked at, each held by a test. They keep what they know of a request in its
# contexts and context variables, and nothing in the thread.
_KNOWN_HOOKS = frozenset({"bridge", "flask_login", "flask_sqlalchemy", "flask_wtf", "opentelemetry"})

# Of these, whose hooks do not wait for anything, so that they need no worker thread either. Their decorators
# call the view by `ensure_sync`, as Flask's documentation has it, which awaits it on the loop.
_KNOWN_INLINE = frozenset({"bridge", "flask_login"})

# Middleware that calls the app it is around, and no other, and waits for nothing.
_KNOWN_MIDDLEWARE = frozenset({"bridge", "opentelemetry", "werkzeug.middleware.proxy_fix"})

# Where middleware keeps the app that it is around: as an attribute, or as a variable of its closure.
_NAMES_OF_THE_APP = ("app", "wsgi_app", "application", "_app", "__wrapped__")

# What of Flask a subclass may override, or an extension replace on the app, that is called for requests.
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

# Looked up in the class alone, or middleware if it is replaced on the app.
_OVERRIDABLE_IN_CLASS = ("__call__", "wsgi_app")

_SIGNALS = tuple(each for each in vars(signals).values() if isinstance(each, NamedSignal))

# Kinds of hooks that Flask calls without `ensure_sync`, and so in the thread of the view.
_CALLED_AS_THEY_ARE = ("url_defaults", "receiver of", "overridden method")

_MARK = "__bridge_any_thread__"

_ADVICE = "make {it} async, mark {it} with @bridge.flask.any_thread, or ask for --async-views loop"


class LoopView(ABC):
    """A view for websockets that is called on the loop, and there waits for coroutines by itself."""

    @abstractmethod
    def __call__(self, **arguments: Any) -> Any:
        """Answer the handshake."""


def any_thread(function: _FunctionT) -> _FunctionT:
    """Mark something plain that may be called in any thread, so that it does not keep async views in threads.

        @app.before_request
        @any_thread
        def count():
            counter.add(1)

    A hook (before, after, teardown, URL value preprocessor) may so run in another thread than the rest of its
    request. It must not keep anything in the thread, such as a sqlite3 connection or a `threading.local`.
    All else runs on the event loop itself, and must not wait: receivers of signals, `url_defaults`, URL
    converters, overridden methods of Flask, a decorator's wrapper, and middleware around `app.wsgi_app`. The
    last three must call nothing but what they are around.

    Args:
        function: a function, a method, or a class or an instance with `__call__`.

    Returns:
        the same object.

    Raises:
        TypeError: no attribute can be set on it, such as on a builtin.
    """
    marked: Any = function.__func__ if inspect.ismethod(function) else function
    try:
        # Itself, since `functools.wraps` copies attributes: what wraps a marked function is not marked.
        setattr(marked, _MARK, marked)
    except AttributeError:
        raise TypeError(
            f"any_thread() cannot mark {function!r}; wrap it in a function, and mark that"
        ) from None
    return function


@dataclass(frozen=True)
class Hook:
    """A plain function that Flask calls with a request, apart from its view."""

    kind: str
    """What it was declared as: "before_request", "errorhandler(404)", …"""
    name: str
    module: str
    blueprint: str | None
    """The blueprint whose routes it is for; None for all of the app."""
    is_safe: bool
    """Whether it may run in any thread: it is marked, or of an extension that was looked at."""
    hops: bool
    """Whether a request on the loop goes to a worker thread for it; else it is called on the loop."""

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
    """Where requests of a rule run, and why.

    Args:
        app: the Flask app.
        rule: one of its rules.
        method: of the request, in upper case.
        async_views: what the user has chosen.
    """
    view = app.view_functions.get(rule.endpoint)
    if view is None:
        return "thread", "the endpoint has no view"
    if isinstance(view, LoopView):
        return "loop", "the view is async"
    # What View.as_view() makes is plain in itself; its class is what somebody has written.
    what = "the view" if getattr(view, "view_class", None) is None else f"the view's {method}"
    if not is_async_view(view, method):
        return "thread", f"{what} is not async"
    if async_views == "thread":
        return "thread", "async_views is thread"
    if not _is_reachable(app, rule):
        return "thread", "no request reaches it, as the app does not match subdomains"
    middleware = middleware_of(app)
    if middleware.unknown is not None:
        return "thread", (
            f"the app is behind middleware {middleware.unknown}, which may lead elsewhere; "
            "mark it with @bridge.flask.any_thread if it calls this app alone, and never waits"
        )
    decorator = _plain_decorator(view)
    if decorator is not None:
        return "thread", (
            f"decorator {_name_of_decorator(decorator)!r} ({_module_of(decorator)}) around the view is "
            "plain; make it async, or mark it with @bridge.flask.any_thread if it never waits, and calls the "
            "view by ensure_sync"
        )
    if async_views == "auto":
        hooks = [hook for hook in (*_converters_of(rule), *hooks_of(app, rule.endpoint)) if not hook.is_safe]
        if hooks:
            return "thread", _why_of_hooks(hooks)
    return "loop", f"{what} is async"


def kept_in_threads(app: Flask, async_views: AsyncViews) -> list[str]:
    """The endpoints whose views are async, and run in threads all the same."""
    found = {
        rule.endpoint: None
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ("GET",)
        if (view := app.view_functions.get(rule.endpoint)) is not None
        and is_async_view(view, method)
        and place(app, rule, method, async_views)[0] == "thread"
    }
    return list(found)


def _why_of_hooks(hooks: list[Hook]) -> str:
    names = [str(hook) for hook in hooks]
    if len(names) == 1:
        return f"{names[0]} is plain; if it keeps nothing in its thread, {_ADVICE.format(it='it')}"
    named, advice = f"{', '.join(names[:-1])} and {names[-1]}", _ADVICE.format(it="them")
    return f"{named} are plain; if they keep nothing in their thread, {advice}"


def _is_reachable(app: Flask, rule: Rule) -> bool:
    """Whether Flask ever matches a rule of this host or subdomain."""
    goes_by_host = app.url_map.host_matching or app.subdomain_matching
    return goes_by_host or rule.subdomain == app.url_map.default_subdomain


# Views


def is_async_view(view: _Function, method: str) -> bool:
    """Whether a view is async, in whatever decorators, or Flask's own for a class whose method is.

    Args:
        view: the view function.
        method: of the request, in upper case.
    """
    if isinstance(view, LoopView):
        return True
    view_class = getattr(view, "view_class", None)
    for layer in _layers(view):
        if inspect.iscoroutinefunction(layer):
            return True
        if view_class is not None and is_flasks_own(layer):
            return _is_async_class(view_class, method)
    return False


def _is_async_class(view_class: Any, method: str) -> bool:
    if inspect.iscoroutinefunction(view_class.dispatch_request):
        return True
    if view_class.dispatch_request is not flask_views.MethodView.dispatch_request:
        return False
    handler = getattr(view_class, method.lower(), None)
    if handler is None and method == "HEAD":
        handler = getattr(view_class, "get", None)
    return inspect.iscoroutinefunction(handler)


def _layers(function: _Function) -> Iterator[_Function]:
    """A function, and what it says it is wrapped around, from the outside to the inside."""
    seen: set[int] = set()
    layer: Any = function
    while layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__wrapped__", None)


def _plain_decorator(view: _Function) -> _Function | None:
    """The outermost plain wrapper of an async view that nothing is known about."""
    for layer in _layers(view):
        if inspect.iscoroutinefunction(layer) or is_flasks_own(layer):
            return None
        if not is_inline(layer):
            return layer
    return None


def is_flasks_own(function: _Function) -> bool:
    """Whether it is code of Flask's that does no more than call a view's method, or fill a dict."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename in _FLASKS_OWN


def is_inline(function: _Function) -> bool:
    """Whether a plain function may be called on the loop itself: it never waits, but by `ensure_sync`."""
    function = _as_declared(function)
    if _package_of(function) in _KNOWN_INLINE:
        return True
    # Of what is marked, wrappers of views; a hook may wait.
    return _is_marked(function) and any(
        inspect.iscoroutinefunction(layer) or is_flasks_own(layer) for layer in _layers(function)
    )


# Hooks


def hooks_of(app: Flask, endpoint: str) -> list[Hook]:
    """The plain functions that Flask calls for each request of an endpoint, beside its view."""
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
    """The plain error handlers of an endpoint: of its blueprints, and of the app."""
    return [
        hook
        for blueprint in _blueprints_of(endpoint)
        for code, handlers in app.error_handler_spec.get(blueprint, {}).items()
        for kind, handler in handlers.items()
        for hook in _plain(f"errorhandler({code or kind.__name__})", (handler,), blueprint)
    ]


def _converters_of(rule: Rule) -> Iterator[Hook]:
    """The converters of its URL that are the app's own; Flask calls them before all hooks."""
    for each in own_converters(rule):
        yield Hook("URL converter", _name_of(each), _module_of(each), None, _is_safe(each), hops=False)


def session_methods(app: Flask) -> list[_Function]:
    """The methods by which sessions are opened and saved, if they are not those of Flask's cookies."""
    interface = app.session_interface
    return [
        getattr(interface, name)
        for name in ("open_session", "save_session")
        if getattr(type(interface), name) is not getattr(SecureCookieSessionInterface, name)
    ]


def _blueprints_of(endpoint: str) -> tuple[str | None, ...]:
    """The keys under which Flask looks for hooks: the app's, and those of the blueprint and what it is in."""
    parts = endpoint.split(".")[:-1]
    return None, *(".".join(parts[: count + 1]) for count in range(len(parts)))


def _overridden(app: Flask) -> Iterator[_Function]:
    for name in _OVERRIDABLE:
        method = _as_declared(getattr(app, name))
        if getattr(method, "__func__", method) is not getattr(Flask, name):
            yield method
    for name in _OVERRIDABLE_IN_CLASS:
        method = getattr(type(app), name)
        if method is not getattr(Flask, name):
            yield method


def _plain(kind: str, functions: Iterable[_Function], blueprint: str | None = None) -> Iterator[Hook]:
    for function in functions:
        hook = _as_declared(function)
        if not inspect.iscoroutinefunction(hook) and not is_flasks_own(hook):
            hops = not kind.startswith(_CALLED_AS_THEY_ARE) and not is_inline(hook)
            yield Hook(kind, _name_of(hook), _module_of(hook), blueprint, _is_safe(hook), hops)


def _as_declared(function: _Function) -> _Function:
    """What somebody has written: Bridge puts functions of its own around some."""
    while _package_of(function) == "bridge" and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _is_safe(function: _Function) -> bool:
    return _is_marked(function) or _package_of(function) in _KNOWN_HOOKS


def _is_marked(function: _Function) -> bool:
    candidates: list[Any] = [function, type(function)]
    if isinstance(function, partial):
        candidates.append(function.func)
    owner = getattr(function, "__self__", None)  # of a method: its class may be marked as a whole
    if owner is not None:
        candidates += [getattr(function, "__func__", None), type(owner), owner]
    return any(vars(each).get(_MARK) is each for each in candidates if hasattr(each, "__dict__"))


# Middleware


@dataclass(frozen=True)
class Middleware:
    """What is around a Flask app's own `wsgi_app`.

    Args:
        unknown: the first of which nothing is known, described; None if there is none.
        dispatchers: those of Werkzeug's, which lead to other apps below some paths.
    """

    unknown: str | None = None
    dispatchers: tuple["DispatcherMiddleware", ...] = ()

    def leads_elsewhere(self, path: str) -> bool:
        """Whether a request of this path reaches another app.

        Args:
            path: the environ's PATH_INFO.
        """
        return any(_mount_of(dispatcher, path) for dispatcher in self.dispatchers)


def middleware_of(app: Flask) -> Middleware:
    """What has been put around the app, by `app.wsgi_app = Middleware(app.wsgi_app)`."""
    dispatchers = []
    layer: Any = vars(app).get("wsgi_app")
    while layer is not None and getattr(layer, "__self__", None) is not app:
        if isinstance(layer, DispatcherMiddleware):
            dispatchers.append(layer)
        elif not _is_marked(layer) and not _is_known_middleware(layer):
            return Middleware(_described(layer))
        layer = _app_within(layer, app)
    return Middleware(dispatchers=tuple(dispatchers))


def _is_known_middleware(layer: Any) -> bool:
    module = _module_of(layer)
    return any(module == known or module.startswith(known + ".") for known in _KNOWN_MIDDLEWARE)


def _app_within(layer: Any, app: Flask) -> Any:
    """What middleware is around, which is not the app as a whole; None where it cannot be seen."""
    code = getattr(layer, "__code__", None)
    closure = getattr(layer, "__closure__", None) or ()
    variables = dict(zip(code.co_freevars, closure, strict=True)) if code is not None else {}
    for name in _NAMES_OF_THE_APP:
        within = variables[name].cell_contents if name in variables else getattr(layer, name, None)
        if callable(within) and within is not app:
            return within
    return None


def _mount_of(dispatcher: "DispatcherMiddleware", path: str) -> bool:
    """Whether Werkzeug's dispatcher has another app for this path, by its own way of looking."""
    while "/" in path:
        if path in dispatcher.mounts:
            return True
        path = path.rpartition("/")[0]
    return path in dispatcher.mounts


# Names


def _described(middleware: Any) -> str:
    code = getattr(middleware, "__code__", None)
    # Within what has made it: by itself, it is often called "wrapper".
    name = _name_of(middleware) if code is None else code.co_qualname.replace(".<locals>", "")
    return f"{name!r} ({_module_of(middleware)})"


def _name_of(function: Any) -> str:
    if isinstance(function, partial):
        return _name_of(function.func)
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name.rpartition("<locals>.")[2]


def _name_of_decorator(wrapper: Any) -> str:
    """The name of what has made a wrapper, which itself has that of what it is around."""
    code = getattr(wrapper, "__code__", None)
    if code is None:
        return _name_of(wrapper)
    maker, _, name = code.co_qualname.rpartition(".<locals>.")
    return str(maker or name).replace(".<locals>", "")


def _module_of(function: Any) -> str:
    """The module whose code it is, which `functools.wraps` does not change."""
    if isinstance(function, partial):
        return _module_of(function.func)
    function = getattr(function, "__func__", function)
    code_globals = getattr(function, "__globals__", None)
    if code_globals is not None:
        return str(code_globals.get("__name__", ""))
    is_named = hasattr(function, "__qualname__")
    return str(getattr(function if is_named else type(function), "__module__", ""))


def _package_of(function: Any) -> str:
    return _module_of(function).partition(".")[0]

"""A Flask app → where each of its views runs, and why: on the event loop, or in a thread as Flask has it.

Flask calls hooks, view and teardown of a request in one thread, which nobody else has meanwhile. Apps rely on
that without knowing: a sqlite3 connection may be closed only in the thread that made it, and a
`scoped_session` is found again by the thread. A view on the event loop shares its thread with all others, and
plain hooks beside it run in worker threads. So in `auto`, the default, a request goes to the loop only if
nothing that Flask calls for it can tell the difference:

- The view is async. Decorators around it are those of an extension that was looked at, or marked.
- So is every hook that applies to it, of the app and of its blueprints: URL preprocessors, before, after,
  teardown, receivers of Flask's signals, the session interface, converters of its URL, and methods of Flask
  that are overridden. They are async, marked by `any_thread`, or come from an extension in the table.
- No middleware around the app leads elsewhere: it is one that was looked at, or marked.

`loop` asks for the first and the last of these, `thread` sends all requests to threads. Views that the
extension makes for websockets are on the loop in any case.

Pure: the app is only looked at. Error handlers do not count: a worker thread calls those that are plain.
Nor do context processors, which Flask calls where a template is rendered; here, too.
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
from werkzeug.routing import Rule

from bridge.flask.functions import (
    as_declared,
    is_flasks_own,
    is_inline,
    is_safe,
    layers,
    module_of,
    name_of,
    name_of_decorator,
)
from bridge.flask.middleware import middleware_of
from bridge.flask.routing import own_converters
from bridge.types import AsyncViews

__all__ = [
    "Hook",
    "LoopView",
    "Runner",
    "error_hooks_of",
    "hooks_of",
    "is_async_view",
    "kept_in_threads",
    "place",
    "session_methods",
]

Runner: TypeAlias = Literal["loop", "thread"]

_Function: TypeAlias = Callable[..., Any]


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

_ADVICE = "make {it} async, mark {it} with @bridge.flask.any_thread, or ask for --async-views loop"


class LoopView(ABC):
    """A view for websockets that is called on the loop, and there waits for coroutines by itself."""

    @abstractmethod
    def __call__(self, **arguments: Any) -> Any:
        """Answer the handshake."""


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
            f"decorator {name_of_decorator(decorator)!r} ({module_of(decorator)}) around the view is "
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
    for layer in layers(view):
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


def _plain_decorator(view: _Function) -> _Function | None:
    """The outermost plain wrapper of an async view that nothing is known about."""
    for layer in layers(view):
        if inspect.iscoroutinefunction(layer) or is_flasks_own(layer):
            return None
        if not is_inline(layer):
            return layer
    return None


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
        yield Hook("URL converter", name_of(each), module_of(each), None, is_safe(each), hops=False)


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

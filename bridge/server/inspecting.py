"""A Flask app → its routes, where each runs and why, and the plain hooks that an async view pays for.

The app is only looked at, not called; what it does is for `checking`.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bridge.errors import BridgeError
from bridge.interfaces import is_flask
from bridge.server.loading import LoadedApp
from bridge.wsgi_to_asgi.adapter import WSGIToASGI

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

__all__ = ["Hook", "Placement", "Route", "Runner", "list_routes", "with_article"]

Runner: TypeAlias = Literal["loop", "thread"]


@dataclass(frozen=True)
class Hook:
    """A plain function of the app's that is called with a request, apart from its view."""

    kind: str
    """What it was declared as: "before_request", "errorhandler(404)", …"""
    name: str
    blueprint: str | None
    """The blueprint whose routes it is for; None for all of the app."""


@dataclass(frozen=True)
class Placement:
    """Where requests with one method run, and why."""

    method: str
    runner: Runner
    why: str


@dataclass(frozen=True)
class Route:
    """A rule of a Flask app."""

    rule: str
    endpoint: str
    placements: tuple[Placement, ...]
    """One for each method, in the order of their names."""
    implied: frozenset[str]
    """Methods that nobody has asked for: Flask adds HEAD and OPTIONS."""
    hooks: tuple[Hook, ...]
    """Those that each request on the loop goes to a thread for."""
    error_hooks: tuple[Hook, ...]
    """Those that it goes to a thread for when it fails."""

    @property
    def methods(self) -> tuple[str, ...]:
        """All its methods."""
        return tuple(placement.method for placement in self.placements)

    @property
    def declared(self) -> tuple[Placement, ...]:
        """The placements of the methods that were asked for; of all, if none was."""
        return tuple(each for each in self.placements if each.method not in self.implied) or self.placements


def list_routes(loaded: LoadedApp, *, async_views: Runner = "loop") -> tuple[Route, ...]:
    """The routes of a Flask app, sorted by their rules.

    Args:
        loaded: the app, or a `WSGIToASGI` made of it, which knows better where its async views run.
        async_views: where requests of async views run.

    Raises:
        BridgeError: it is no Flask app.
    """
    app: object = loaded.app
    if isinstance(app, WSGIToASGI):
        async_views = app.async_views
        app = app.app
    if not is_flask(app):
        raise BridgeError(
            f"{loaded.name} is {with_article(loaded.kind)} app without routes that can be listed; "
            "name the Flask app itself, if there is one in it"
        )
    flask_app = app  # the closure below needs the narrowed type
    rules = sorted(flask_app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint))
    return tuple(_route(flask_app, rule, async_views) for rule in rules)


def with_article(kind: str) -> str:
    """A kind of app, to be read in a sentence: "a Flask", "an ASGI"."""
    return f"{'an' if kind[0] == 'A' else 'a'} {kind}"


def _route(app: "Flask", rule: "Rule", async_views: Runner) -> Route:
    methods = sorted(rule.methods or ())
    implied = {"HEAD"} if "GET" in methods else set()
    if getattr(rule, "provide_automatic_options", False):
        implied.add("OPTIONS")
    blueprints = _blueprints_of(rule.endpoint)
    return Route(
        rule.rule,
        rule.endpoint,
        tuple(Placement(method, *_place(app, rule, method, async_views)) for method in methods),
        frozenset(implied),
        tuple(_hooks(app, blueprints)),
        tuple(_error_hooks(app, blueprints)),
    )


def _place(app: "Flask", rule: "Rule", method: str, async_views: Runner) -> tuple[Runner, str]:
    # These import Flask, which is there by now. The adapter decides by the same function.
    from bridge.wsgi_to_asgi.flask_views import is_async_view

    view = app.view_functions.get(rule.endpoint)
    if view is None:
        return "thread", "the endpoint has no view"
    is_async = is_async_view(view, method)
    if is_async and async_views == "thread":
        return "thread", "async_views is thread"
    if is_async and not _is_reachable(app, rule):
        return "thread", "no request reaches it, as the app does not match subdomains"
    runner: Runner = "loop" if is_async else "thread"
    # What View.as_view() makes is plain in itself; its class is what somebody has written.
    what = "the view" if getattr(view, "view_class", None) is None else f"the view's {method}"
    return runner, f"{what} is {'async' if is_async else 'not async'}"


def _is_reachable(app: "Flask", rule: "Rule") -> bool:
    """Whether Flask, and the adapter with it, ever matches a rule of this host or subdomain."""
    goes_by_host = app.url_map.host_matching or app.subdomain_matching
    return goes_by_host or rule.subdomain == app.url_map.default_subdomain


def _blueprints_of(endpoint: str) -> tuple[str | None, ...]:
    """The keys under which Flask looks for hooks: the app's, and those of the blueprint and what it is in."""
    parts = endpoint.split(".")[:-1]
    return None, *(".".join(parts[: count + 1]) for count in range(len(parts)))


def _hooks(app: "Flask", blueprints: tuple[str | None, ...]) -> Iterator[Hook]:
    """The plain hooks of every request, kind by kind."""
    for kind, functions in (
        ("url_value_preprocessor", app.url_value_preprocessors),
        ("before_request", app.before_request_funcs),
        ("after_request", app.after_request_funcs),
        ("teardown_request", app.teardown_request_funcs),
    ):
        for blueprint in blueprints:
            for function in functions.get(blueprint, ()):
                yield from _hop(kind, function, blueprint)
    for function in app.teardown_appcontext_funcs:
        yield from _hop("teardown_appcontext", function, None)

    from flask.sessions import SecureCookieSessionInterface

    session_interface = app.session_interface
    if type(session_interface) is not SecureCookieSessionInterface:
        yield Hook("session", f"{type(session_interface).__name__}.open_session", None)
        yield Hook("session", f"{type(session_interface).__name__}.save_session", None)


def _error_hooks(app: "Flask", blueprints: tuple[str | None, ...]) -> Iterator[Hook]:
    for blueprint in blueprints:
        for code, handlers in app.error_handler_spec.get(blueprint, {}).items():
            for kind, handler in handlers.items():
                yield from _hop(f"errorhandler({code or kind.__name__})", handler, blueprint)


def _hop(kind: str, function: Callable[..., Any], blueprint: str | None) -> Iterator[Hook]:
    from bridge.wsgi_to_asgi.flask_views import is_flasks_own

    if not inspect.iscoroutinefunction(function) and not is_flasks_own(function):
        yield Hook(kind, getattr(function, "__qualname__", repr(function)), blueprint)

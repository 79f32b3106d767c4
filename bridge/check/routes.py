"""A Flask app → its routes, where each runs and why, and the plain hooks that an async view pays for.

The app is only looked at, not called; what it does is for `checking`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.asgi.adapter import WSGIToASGI
from bridge.errors import BridgeError
from bridge.interfaces import is_flask
from bridge.loading import LoadedApp
from bridge.types import AsyncViews

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

    from bridge.flask.placement import Hook, Runner

__all__ = ["Placement", "Route", "list_routes", "with_article"]


@dataclass(frozen=True)
class Placement:
    """Where requests with one method run, and why."""

    method: str
    runner: "Runner"
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
    hooks: tuple["Hook", ...]
    """Those that each request on the loop goes to a thread for."""
    error_hooks: tuple["Hook", ...]
    """Those that it goes to a thread for when it fails."""

    @property
    def runs_on_loop(self) -> bool:
        """Whether requests with one of the methods at least run on the loop."""
        return any(each.runner == "loop" for each in self.placements)

    @property
    def declared(self) -> tuple[Placement, ...]:
        """The placements of the methods that were asked for; of all, if none was."""
        return tuple(each for each in self.placements if each.method not in self.implied) or self.placements


def list_routes(app: "LoadedApp | Flask", async_views: AsyncViews = "auto") -> tuple[Route, ...]:
    """The routes of a Flask app, sorted by their rules.

    Args:
        app: the app as it was loaded, or a `WSGIToASGI` made of it, which knows better where its async views
            run; or the app itself.
        async_views: where requests of async views run.

    Raises:
        BridgeError: it is no Flask app.
    """
    found: object = app.app if isinstance(app, LoadedApp) else app
    if isinstance(found, WSGIToASGI):
        async_views = found.async_views
        found = found.app
    if not is_flask(found):
        assert isinstance(app, LoadedApp)
        raise BridgeError(
            f"{app.name} is {with_article(app.kind)} app without routes that can be listed; "
            "name the Flask app itself, if there is one in it"
        )
    flask_app = found  # the closure below needs the narrowed type
    rules = sorted(flask_app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint))
    return tuple(_route(flask_app, rule, async_views) for rule in rules)


def with_article(kind: str) -> str:
    """A kind of app, to be read in a sentence: "a Flask", "an ASGI"."""
    return f"{'an' if kind[0] == 'A' else 'a'} {kind}"


def _route(app: "Flask", rule: "Rule", async_views: AsyncViews) -> Route:
    # It imports Flask, which is there by now. The adapter decides by the same function.
    from bridge.flask.placement import error_hooks_of, hooks_of, place

    methods = sorted(rule.methods or ())
    implied = {"HEAD"} if "GET" in methods else set()
    if getattr(rule, "provide_automatic_options", False):
        implied.add("OPTIONS")
    return Route(
        rule.rule,
        rule.endpoint,
        tuple(Placement(method, *place(app, rule, method, async_views)) for method in methods),
        frozenset(implied),
        tuple(hook for hook in hooks_of(app, rule.endpoint) if hook.hops),
        tuple(hook for hook in error_hooks_of(app, rule.endpoint) if hook.hops),
    )

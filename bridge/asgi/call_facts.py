"""What becomes known of a WSGI call, for whoever has asked for it in the scope."""

# As in call.py, which says why.
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bridge.asgi.scope_view import ScopeView
from bridge.core.call import Link, run_call
from bridge.types import HTTPScope, StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["CallFacts", "call_of"]


@dataclass(slots=True)
class CallFacts:
    """What is known of one call; a middleware puts one into the scope as `bridge.call`.

    Args:
        begun: when the call began, by `time.perf_counter()`. Known before the app sends anything; from then
            on `ran` is to come, too.
        waited: how many seconds the call was in the queue for a thread; None for one on the event loop.
        ran: how many seconds the call took, to the end of the app's `close()`. Known when the ASGI call
            returns.
        route: the rule by which Flask has found the view, such as `/user/<id>`. Known when the response
            begins. Empty if no rule has matched, or the app is not a Flask app.

    None is for what has not happened: the app is not a WSGI app, or the call never got as far.
    """

    begun: float | None = None
    waited: float | None = None
    ran: float | None = None
    route: str = ""


def call_of(app: WSGIApplication, scope: HTTPScope, state: Mapping[str, Any]) -> Callable[[Link], None]:
    """How a link makes the call. What becomes known is written into `scope["bridge.call"]`, if that is there.

    Args:
        app: the WSGI application.
        scope: the ASGI scope of the request.
        state: the lifespan state.
    """
    # In its place from here on: a `partial` shows what it holds, and a frame what it closes over.
    view = ScopeView(scope)
    facts: CallFacts | None = view.scope.get("bridge.call")
    if facts is None:
        return partial(run_call, app, view, state)
    asked = time.perf_counter()

    def run(link: Link) -> None:
        facts.begun = begun = time.perf_counter()
        if link.on_loop is None:
            facts.waited = begun - asked
        try:
            run_call(partial(_call_for_route, facts, app), view, state, link)
        finally:
            facts.ran = time.perf_counter() - begun

    return run


def _call_for_route(
    facts: CallFacts, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Any:
    """Call the app; note the route as the response begins, as Flask lets go of the request soon after."""

    def start(*args: Any, **options: Any) -> Callable[[bytes], object]:
        facts.route = _route_of(environ)
        return start_response(*args, **options)

    return app(environ, start)


def _route_of(environ: WSGIEnvironment) -> str:
    # Werkzeug's request puts itself there, and Flask's has the rule.
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return "" if rule is None else str(rule.rule)

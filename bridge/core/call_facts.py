"""The facts of one WSGI call, collected if the scope asks for them."""

# As in core/call.py, which says why.
from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bridge.core.call import Call
from bridge.core.link import Link
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment, override

__all__ = ["CallFacts", "TimedCall"]


@dataclass(slots=True)
class CallFacts:
    """What is known of one call; a middleware puts one into the scope as `bridge.call`.

    Args:
        begun: when the call began, by `time.perf_counter()`. Known before the app sends anything; then
            `ran` follows, too.
        waited: how many seconds the call was in the queue for a thread; None for one on the event loop.
        ran: how many seconds the call took, to the end of the app's `close()`. Known when the ASGI call
            returns.
        route: the rule by which Flask has found the view, such as `/user/<id>`. Known when the response
            begins, or when the server has ended it without the app. Empty if no rule has matched, or the app
            is not a Flask app.
        prefix: where the app is mounted, with which `route` begins.
        environ: that of the call, while it runs.

    None is for what has not happened: the app is not a WSGI app, or the call never got as far.
    """

    begun: float | None = None
    waited: float | None = None
    ran: float | None = None
    route: str = ""
    prefix: str = ""
    environ: WSGIEnvironment | None = field(default=None, repr=False)  # error reporters print facts

    def note_route(self) -> None:
        """Note the rule, if the app has found one by now; any thread may call this."""
        environ = self.environ  # the call may end meanwhile, in its own thread
        if not self.route and environ is not None:
            # Werkzeug's request puts itself there, and Flask's has the rule.
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            self.route = "" if rule is None else f"{self.prefix}{rule.rule}"


class TimedCall(Call):
    """A call that fills in its `CallFacts`.

    Args:
        app: the WSGI application.
        environ: the request.
        facts: the facts to fill in.
        is_queued: whether the call is about to wait for a thread.
    """

    __slots__ = ("_asked", "_facts")

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, facts: CallFacts, *, is_queued: bool
    ) -> None:
        super().__init__(app, environ)
        self._facts = facts
        self._asked = time.perf_counter() if is_queued else None

    @override
    def start(self, link: Link) -> Iterable[bytes]:
        facts = self._facts
        facts.begun = begun = time.perf_counter()
        facts.environ = self.environ
        if self._asked is not None:
            facts.waited = begun - self._asked
        self.app = partial(_call_for_route, facts, self.app)
        return super().start(link)

    @override
    def report(self) -> None:
        self._facts.environ = None  # it leads back to the facts
        if self._facts.begun is not None:
            self._facts.ran = time.perf_counter() - self._facts.begun
        super().report()


def _call_for_route(
    facts: CallFacts, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Any:
    """Call the app; note the route as the response begins, as Flask lets go of the request soon after."""

    def start(*args: Any, **options: Any) -> Callable[[bytes], object]:
        facts.note_route()
        return start_response(*args, **options)

    return app(environ, start)

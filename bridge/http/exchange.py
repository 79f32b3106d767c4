"""A request and its response, and the hooks by which a server sees to more than serving it.

A connection makes an `Exchange` for each request and calls the hooks. A request is refused, answered by a
hook, or served:

    on_request ──┬─► (served) ──► on_head ──► on_stream ──► on_end
                 └─► an answer in the app's place; no hook is told more
    refused ─────► on_refused ─────────────────────────────► on_end, with `refusal` set

Hooks run on the event loop, and must not block it.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Any, Protocol, TypeAlias

from bridge.core.call_facts import CallFacts
from bridge.core.link import Head, Part
from bridge.http.limits import Refusal
from bridge.http.request import Request

__all__ = ["Answer", "Cuttable", "Exchange", "Hook", "Hooks"]

logger = logging.getLogger("bridge")

Answer: TypeAlias = Part | Awaitable[Part]
"""A whole response instead of the app's, now or later."""


class Cuttable(Protocol):
    """Something that serves a request, and can be stopped."""

    def cut(self, answer: Part) -> None:
        """Stop serving it: give this answer if the response has not begun, else cut the connection."""

    def hint(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Send these fields as early hints, if the response has not begun."""


class Exchange:
    """One request and its response.

    Args:
        request: the request.
        context: the context variables that it is served with. A hook may set more of them.
    """

    __slots__ = (
        "begun",
        "call",
        "context",
        "ended",
        "has_left",
        "head",
        "is_streaming",
        "received",
        "refusal",
        "request",
        "request_id",
        "scope",
        "sent",
        "serving",
    )

    def __init__(self, request: Request, context: Context) -> None:
        self.request = request
        self.context = context
        self.begun = time.perf_counter()
        self.ended = 0.0
        """When the response ended or the client left, by `time.perf_counter()`; 0 before."""
        self.call: CallFacts | None = None
        """What is known of the WSGI call; None if nobody asked for it, or there is none."""
        self.scope: Any = None
        """The ASGI scope; None for a WSGI app."""
        self.request_id: str | None = None
        self.refusal: Refusal | None = None
        """Why the server answered instead of the app: the request broke a rule or a limit."""
        self.head: Head | None = None
        """The response's head, as it was sent; None before."""
        self.received = 0
        """Bytes of the body that the app has taken."""
        self.sent = 0
        """Bytes of the response's body."""
        self.is_streaming = False
        """Whether a part of the response was sent, and more was to come."""
        self.has_left = False
        """Whether the client left before the end of the response."""
        self.serving: Cuttable | None = None
        """What serves it; None before and after."""

    @property
    def status(self) -> int | None:
        """The response's; None if the client left before there was one. 500 for an app that gave none."""
        if self.head is not None:
            return self.head.status
        if self.refusal is not None:
            return self.refusal.status
        return 500 if self.ended and not self.has_left else None

    @property
    def seconds(self) -> float:
        """From the request to the end of the response, or to when the client left."""
        return self.ended - self.begun

    @property
    def route(self) -> str:
        """The rule that matched the request, such as `/user/<id>`; empty if none did, or if it is not known.

        Flask's rule; for ASGI apps, the path of the route that Starlette or FastAPI leaves in the scope.
        """
        if self.call is not None:
            return self.call.route
        path = getattr(self.scope.get("route"), "path", "") if self.scope is not None else ""
        return path if isinstance(path, str) else ""

    def hint(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Send these fields as early hints, if it is being served, and the response has not begun."""
        if self.serving is not None:
            self.serving.hint(fields)

    def end(self, *, has_left: bool = False) -> None:
        """Note the end of the response, or that the client left before it; the first call counts."""
        if not self.ended:
            if self.call is not None:
                self.call.note_route()  # an answer in the app's place may come sooner than the app's
            self.ended = time.perf_counter()
            self.has_left = has_left


class Hook:
    """Sees to something for every request; here it does nothing."""

    def on_request(self, exchange: Exchange) -> Answer | None:
        """A request has passed the limits; return an answer to give instead of the app's, or None."""

    def on_refused(self, exchange: Exchange, refusal: Refusal) -> Refusal:
        """The server refuses the request, known to other hooks or not; return what it answers."""
        return refusal

    def on_head(self, exchange: Exchange, head: Head) -> Head:
        """A response begins; return its head, this one or another."""
        return head

    def on_stream(self, exchange: Exchange) -> None:
        """A part of the response has left, and more will follow; called once."""

    def on_end(self, exchange: Exchange) -> None:
        """It is over, and all is known of it; comes once for each request, refused ones among them.

        The response has ended, the client has left, or the app has failed. A WSGI call has ended, too.
        """

    def on_websocket(self, status: int) -> None:
        """The app has answered the handshake of a websocket: by 101, or by another status."""

    def on_websocket_end(self) -> None:
        """A websocket is over that was answered by 101."""


class Hooks:
    """The hooks of a server, in their order, without calls for those that do nothing.

    Args:
        hooks: the hooks.
    """

    __slots__ = (
        "_end",
        "head",
        "refused",
        "request",
        "stream",
        "wants_call_facts",
        "websocket",
        "websocket_end",
    )

    def __init__(self, hooks: Iterable[Hook] = (), *, wants_call_facts: bool = False) -> None:
        hooks = list(hooks)
        self.request: list[Callable[[Exchange], Answer | None]] = _overridden(hooks, "on_request")
        self.refused: list[Callable[[Exchange, Refusal], Refusal]] = _overridden(hooks, "on_refused")
        self.head: list[Callable[[Exchange, Head], Head]] = _overridden(hooks, "on_head")
        self.stream: list[Callable[[Exchange], None]] = _overridden(hooks, "on_stream")
        self.websocket: list[Callable[[int], None]] = _overridden(hooks, "on_websocket")
        self.websocket_end: list[Callable[[], None]] = _overridden(hooks, "on_websocket_end")
        self._end: list[Callable[[Exchange], None]] = _overridden(hooks, "on_end")
        self.wants_call_facts = wants_call_facts
        """Whether a hook needs to know of the WSGI call: see `Exchange.call`."""

    def websocket_answered(self, status: int) -> None:
        """Tell that the app has answered the handshake of a websocket."""
        for on_websocket in self.websocket:
            on_websocket(status)

    def websocket_ended(self) -> None:
        """Tell that a websocket is over that was answered by 101."""
        for on_websocket_end in self.websocket_end:
            on_websocket_end()

    def end(self, exchange: Exchange) -> None:
        """Tell that an exchange is over, in its context; a hook that fails does not stop the others."""
        if not self._end:
            return
        context = exchange.context.copy()  # a task may be in the other
        for on_end in self._end:
            try:
                context.run(on_end, exchange)
            except Exception:
                logger.exception("a hook of the server failed")


def _overridden(hooks: Iterable[Hook], name: str) -> list[Any]:
    return [getattr(hook, name) for hook in hooks if getattr(type(hook), name) is not getattr(Hook, name)]

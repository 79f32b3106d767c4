"""Requests and their responses as they go by, watched once for all who want to know of them.

`Exchanges` is an ASGI middleware that watches. What it sees it tells to its observers: the access log, the
metrics.
"""

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from bridge.core.call_facts import CallFacts
from bridge.server.request_id import REQUEST_ID
from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPReceive,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
    HTTPSend,
    Scope,
    WebSocketScope,
)

__all__ = ["Exchange", "Exchanges", "Observer"]

_SWITCHING_PROTOCOLS = 101


class Observer:
    """What wants to know of exchanges; here it does nothing about them. Called on the event loop."""

    def begun(self, exchange: "Exchange") -> None:
        """A request has come."""

    def streaming(self, exchange: "Exchange") -> None:
        """A part of its response has been sent, and more is to come."""

    def ended(self, exchange: "Exchange") -> None:
        """It is over, and all is known of it; comes once for each that has begun.

        The response has ended, the client has left, or the app has failed. For what `WSGIToASGI` serves, the
        call has ended, too.
        """

    def websocket_answered(self, status: int) -> None:
        """The app has answered the handshake of a websocket: by 101, or by another status."""

    def websocket_opened(self) -> None:
        """The app has accepted a websocket."""

    def websocket_closed(self) -> None:
        """Such a one is over."""


class Exchanges:
    """ASGI middleware that watches what goes by.

    Args:
        app: the ASGI application.
        observers: whom it tells.
    """

    def __init__(self, app: ASGI3Application, observers: Sequence[Observer]) -> None:
        self._app = cast(Any, app)  # asgiref's types know less events than are there
        self._observers = observers

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._watch_http(scope, cast(HTTPReceive, receive), cast(HTTPSend, send))
        elif scope["type"] == "websocket":
            await self._watch_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _watch_http(self, scope: HTTPScope, receive: HTTPReceive, send: HTTPSend) -> None:
        facts = cast(Any, scope).get("bridge.call")  # of somebody further out, who watches as well
        if facts is None:
            facts = CallFacts()
            scope = cast(HTTPScope, {**scope, "bridge.call": facts})
        exchange = Exchange(scope, facts, receive, send, self._observers)
        for observer in self._observers:
            observer.begun(exchange)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.finish()

    async def _watch_websocket(
        self, scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        status: int | None = None

        async def watch(event: ASGISendEvent) -> None:
            nonlocal status
            await send(event)
            if status is None:
                status = _status_of(event)
                self._tell_answered(status)

        try:
            await self._app(scope, receive, watch)
        finally:
            if status is None:
                self._tell_answered(500)  # the host's answer, if the client is still there
            elif status == _SWITCHING_PROTOCOLS:
                for observer in self._observers:
                    observer.websocket_closed()

    def _tell_answered(self, status: int) -> None:
        for observer in self._observers:
            observer.websocket_answered(status)
            if status == _SWITCHING_PROTOCOLS:
                observer.websocket_opened()


class Exchange:
    """A request and its response as they go by; what can be said about them."""

    __slots__ = (
        "_ended",
        "_observers",
        "_receive",
        "_send",
        "begun",
        "call",
        "has_left",
        "is_streaming",
        "received",
        "request_id",
        "response_headers",
        "scope",
        "sent",
        "status",
    )

    def __init__(
        self,
        scope: HTTPScope,
        call: CallFacts,
        receive: HTTPReceive,
        send: HTTPSend,
        observers: Sequence[Observer],
    ) -> None:
        self.scope = scope
        self.call = call
        self.request_id = REQUEST_ID.get()
        self.status: int | None = None
        self.response_headers: Iterable[tuple[bytes, bytes]] = ()
        self.received = 0  # bytes of the body
        self.sent = 0  # bytes of the body
        self.has_left = False
        self.is_streaming = False  # a part of the response has been sent, and there was more to come
        self._receive = receive
        self._send = send
        self._observers = observers
        self._ended = 0.0
        self.begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the request to the end of the response, or to when the client left."""
        return self._ended - self.begun

    @property
    def route(self) -> str:
        """What the request was routed by, such as `/user/<id>`; empty if it was by nothing, or none can say.

        Flask's rule; for ASGI apps, the path of the route that Starlette or FastAPI leaves in the scope.
        """
        if self.call.route:
            return self.call.route
        path = getattr(cast(Any, self.scope).get("route"), "path", "")
        return path if isinstance(path, str) else ""

    async def receive(self) -> HTTPRequestSideEvent:
        """The host's `receive`."""
        try:
            event = await self._receive()
        except ConnectionError:
            self._leave()
            raise
        if event["type"] == "http.request":
            self.received += len(event.get("body", b""))
        elif event["type"] == "http.disconnect":
            self._leave()
        return event

    async def send(self, event: HTTPResponseEvent) -> None:
        """The host's `send`. What it raises has not been sent.

        That of `Cycle` has an attribute `disconnected`, which says whether the client has left.
        """
        if event["type"] == "http.response.start":
            headers = event.get("headers", ())
            if not isinstance(headers, list | tuple):
                headers = list(headers)  # an iterator can be read but once
                event = {**event, "headers": headers}
            self.response_headers = headers
        try:
            await self._send(event)
        except OSError as error:
            # A middleware may raise a TimeoutError for reasons of its own.
            if not isinstance(error, TimeoutError):
                self._leave()
            raise
        # ASGI tells it to those who receive. Apps that are busy do not, and to do it for them would take a
        # task for every request. Where the host does not say, nothing is known of the clients of such apps.
        if getattr(self._send, "disconnected", False):
            self._leave()
        if self._ended:
            return
        if event["type"] == "http.response.body":
            if self.scope["method"] != "HEAD":
                self.sent += len(event.get("body", b""))
            if not event.get("more_body", False):
                self._end()
            elif not self.is_streaming:
                self._begin_to_stream()
        elif event["type"] == "http.response.start":
            self.status = event["status"]
        elif event["type"] == "http.response.pathsend":
            if self.scope["method"] != "HEAD":
                self.sent += _size_of_file(event["path"])
            self._end()

    def finish(self) -> None:
        """The app's call has ended, one way or another."""
        if self.status is None and not self.has_left:
            self.status = 500  # the host's answer to an app that has failed, or forgotten to answer
        if not self._ended:
            self._ended = time.perf_counter()
        self._tell_once()

    def _begin_to_stream(self) -> None:
        self.is_streaming = True
        for observer in self._observers:
            observer.streaming(self)

    def _leave(self) -> None:
        """The client has gone; after the response's end it may."""
        if not self._ended:
            self.has_left = True
            self._end()

    def _end(self) -> None:
        self._ended = time.perf_counter()
        # A call of WSGIToASGI is about to end, too, and its time is known only then. Other apps may go on
        # with something else for as long as they like.
        if self.call.begun is None:
            self._tell_once()

    def _tell_once(self) -> None:
        observers, self._observers = self._observers, ()
        for observer in observers:
            observer.ended(self)


def _status_of(event: Any) -> int:
    """That of the answer to a websocket's handshake which an event begins."""
    if event["type"] == "websocket.accept":
        return _SWITCHING_PROTOCOLS
    if event["type"] == "websocket.close":
        return 403  # as the ASGI spec has it
    return cast(int, event["status"])


def _size_of_file(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0

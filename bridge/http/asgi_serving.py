"""A request that an ASGI app serves: exchange → scope, `receive` and `send` (ASGI spec, HTTP)."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from bridge.http.exchange import Exchange
from bridge.http.http1 import checked_fields, checked_head, checked_trailers
from bridge.http.loop_serving import LoopServing
from bridge.http.request import Request
from bridge.runners.host import PARTS_PER_TURN
from bridge.types import override

if TYPE_CHECKING:
    from bridge.http.connection import Connection

__all__ = ["ASGIServing", "make_scope"]

_EARLY_HINTS = "http.response.early_hint"
_TRAILERS = "http.response.trailers"

# uvicorn's, for what it says of an app.
logger = logging.getLogger("uvicorn.error")


class ASGIServing(LoopServing):
    """See `Serving`.

    Args:
        connection: as for `Serving`.
        exchange: as for `Serving`.
        app: the ASGI app.
        state: the lifespan state.
    """

    __slots__ = (
        "_app",
        "_body_is_given",
        "_is_told",
        "_parts",
        "_state",
        "_trailers",
        "_unsent_head",
        "_wants_trailers",
    )

    def __init__(self, connection: "Connection", exchange: Exchange, app: Any, state: dict[str, Any]) -> None:
        super().__init__(connection, exchange)
        self._app = app
        self._state = state
        self._body_is_given = False  # to the app, its end included
        self._unsent_head = b""
        self._wants_trailers = False  # the app, behind its body
        self._trailers: list[tuple[bytes, bytes]] | None = None  # once the body is complete, if it does
        self._parts = 0  # since the loop's last turn
        self._is_told = False  # the hooks, of the end

    @override
    def start(self) -> None:
        self.serve = self._call
        super().start()

    async def _call(self) -> None:
        scope = make_scope(self.exchange.request, self._state.copy())
        if self._server.hooks.wants_call_facts:
            self.exchange.scope = scope
        await self._app(scope, self.receive, self.send_event)

    def _log(self, failure: BaseException) -> None:
        logger.error("Exception in ASGI application\n", exc_info=failure)

    def _log_missing(self) -> None:
        missing = "completing" if self.exchange.head is not None else "starting"
        logger.error("ASGI callable returned without %s response.", missing)

    @property
    @override
    def head_is_out(self) -> bool:
        return super().head_is_out and not self._unsent_head

    @override
    def fail(self) -> None:
        self._flush_head()
        super().fail()

    # The app's

    async def receive(self) -> dict[str, Any]:
        """Receive an event, as the ASGI spec says."""
        while self.connection is not None and (
            self._body_is_given or not (self._pieces or self.body_has_come)
        ):
            self.send_continue()
            await self.change()
        if self.connection is None:
            return {"type": "http.disconnect"}
        pieces, self._pieces = self._pieces, []
        was_full = not self.has_room
        self._size = 0
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.exchange.received += len(data)
        self._body_is_given = self.body_has_come
        if was_full:
            self.connection.go_on_reading()
        return {"type": "http.request", "body": data, "more_body": not self._body_is_given}

    async def send_event(self, event: Any) -> None:
        """See ASGI.

        Raises:
            RuntimeError: the app has sent an event out of turn, an ill-formed header, or a body that does not
                have the length that it said.
        """
        while (connection := self.connection) is not None and connection.outlet.is_behind:
            self._parts = 0
            await connection.outlet.drain()
        if self._parts >= PARTS_PER_TURN:
            self._parts = 0
            await asyncio.sleep(0)
        self._parts += 1  # also those that nobody takes: an app may never look whether anybody does
        if self.connection is None:
            if self.is_complete:
                raise RuntimeError(
                    f"the app sent {event['type']!r} after its response was complete; nothing may follow"
                )
            return  # the client has left, which the app learns when it receives
        if event["type"] == _EARLY_HINTS:
            self.hint(checked_fields((b"link", link) for link in event["links"]))
        elif self.exchange.head is None:
            if event["type"] != "http.response.start":
                raise RuntimeError(f"the app sent {event['type']!r} first; a response begins with its start")
            # The head waits for the first part of the body, until the loop's next turn at most (ASGI spec,
            # "Response Start"): one write in place of two.
            self._unsent_head = self.begin(checked_head(event["status"], event.get("headers", ())))
            self._wants_trailers = event.get("trailers", False)
            self._server.loop.call_soon(self._flush_head)
        elif self._trailers is not None:
            self._send_trailers(event)
        elif event["type"] != "http.response.body":
            raise RuntimeError(f"the app sent {event['type']!r} in the middle of its response's body")
        else:
            more = event.get("more_body", False)
            if self._wants_trailers and not more:
                self._trailers = []
                more = True
            self.write(self._unsent_head, event.get("body", b""), more)
            self._unsent_head = b""  # if that raises, it is sent before the connection is cut

    def _send_trailers(self, event: Any) -> None:
        """End the response with trailers; without them, if the client does not take any (RFC 9110, 6.5.1)."""
        if event["type"] != _TRAILERS:
            raise RuntimeError(f"the app sent {event['type']!r} in place of the trailers that it announced")
        assert self._trailers is not None, "the body is complete"
        self._trailers += checked_trailers(event.get("headers", ()))
        if not event.get("more_trailers", False):
            self.write(b"", b"", False, self._trailers if self.exchange.request.takes_trailers else ())

    def _complete(self, connection: "Connection") -> None:
        super()._complete(connection)
        self.wake()
        # The app may go on with something else for as long as it likes.
        self._is_told = True
        self._server.hooks.end(self.exchange)

    @override
    def leave(self, reason: str) -> None:
        super().leave(reason)
        if not self._is_told:
            self._is_told = True
            self._server.hooks.end(self.exchange)

    def _tell_end(self) -> None:
        if self._is_told:
            self._server.tasks.discard(self)
        else:
            self._is_told = True  # the end of the connection, if that was cut, has still to come
            super()._tell_end()

    def _flush_head(self) -> None:
        """Send the head by itself, if no part of the body has taken it along."""
        head, self._unsent_head = self._unsent_head, b""
        if head and self.connection is not None:
            self.connection.outlet.write(head)


def make_scope(request: Request, state: dict[str, Any]) -> dict[str, Any]:
    """Make the ASGI scope of a request (ASGI spec, "HTTP Connection Scope").

    Args:
        request: the request.
        state: the lifespan state, for this request alone.
    """
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "server": request.server,
        "client": request.client,
        "scheme": request.scheme,
        "method": request.method,
        "root_path": request.root_path,
        "path": request.decoded_path,
        "raw_path": request.path,
        "query_string": request.query,
        "headers": request.headers,
        "state": state,
    }
    extensions: dict[str, dict[str, Any]] = {}
    if request.version == "1.1":
        extensions = {_EARLY_HINTS: {}, _TRAILERS: {}}
    if request.tls is not None:
        extensions["tls"] = {**request.tls}
    scope["extensions"] = extensions
    return scope

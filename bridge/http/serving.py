"""One request being served, by a thread, a task or an ASGI app: the way of its response to the connection."""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bridge.core.link import Head, Part, plain_answer
from bridge.http.exchange import Exchange
from bridge.http.http1 import CONTINUE, ResponseEncoder, early_hints
from bridge.runners import reasons

if TYPE_CHECKING:
    from bridge.http.connection import Connection

__all__ = ["Serving"]

logger = logging.getLogger("bridge")

# Bytes of a body that are not copied to be written together with the head.
_LARGE = 65536

_FAILED = b"Internal Server Error"
_STOPPED = b"Service Unavailable: the server stops, and the request took too long."


class Serving:
    """One request, from its head to the end of its response and of the call that makes it.

    A connection gives it the body (`feed`) and tells it about the client (`leave`, `resume`). A subclass
    makes the response, and sends it by `send_part`, or by `begin` and `write`.

    Args:
        connection: where the request has come from.
        exchange: the request and what is known of its response.
    """

    __slots__ = (
        "_encoder",
        "_expects_continue",
        "_server",
        "connection",
        "exchange",
        "is_complete",
    )

    def __init__(self, connection: "Connection", exchange: Exchange) -> None:
        self.connection: Connection | None = connection
        """Where the response goes; None when it is complete, or nobody takes it any more."""
        self.exchange = exchange
        self.is_complete = False
        """Whether the last part of the response was sent."""
        self._server = connection.server
        self._encoder: ResponseEncoder | None = None  # once the response has begun
        self._expects_continue = exchange.request.expects_continue

    # For the connection

    def start(self) -> None:
        """Begin to serve; `feed` may have been called before."""
        raise NotImplementedError

    @property
    def has_room(self) -> bool:
        """Whether more of the body can be fed now."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """More of the body has come; b"" is its end."""
        raise NotImplementedError

    def resume(self) -> None:
        """The client was behind, and has caught up."""

    def leave(self, reason: str) -> None:
        """The client is gone: nobody takes the response any more."""
        self.connection = None
        self.exchange.end(has_left=True)

    @property
    def writes_by_itself(self) -> bool:
        """Whether a thread is writing to the socket."""
        return False

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can go on after the response; known when that has begun."""
        return self._encoder is not None and self._encoder.keep_alive

    @property
    def head_is_out(self) -> bool:
        """Whether the client gets nothing more that would stand before the head of the response."""
        return self._encoder is not None

    @property
    def ends_with_connection(self) -> bool:
        """Whether the client takes the end of the connection for that of the response."""
        return self._encoder is not None and self._encoder.ends_with_connection

    # For hooks, and a server that stops

    def cut(self, answer: Part) -> None:
        """Stop serving it: give this answer if the response has not begun, else cut the connection."""
        connection = self.connection
        if connection is not None:
            if self.exchange.head is None:
                self.send_part(*answer)
            else:
                self.cut_connection()
        self.leave(reasons.CANCELLED)
        self.finish()

    def hint(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Send early hints (RFC 8297): before the head, and to a client that takes them and is not behind.

        HTTP/1.0 has no 1xx responses (RFC 9110, 15.2).
        """
        connection = self.connection
        can_be_sent = not self.head_is_out and self.exchange.request.version == "1.1"
        if connection is not None and can_be_sent and not connection.outlet.is_behind:
            connection.outlet.write(early_hints(fields))

    def cancel(self, msg: Any | None = None) -> None:
        """Cut it soon, as the server stops and has waited long enough; see `asyncio.Task`."""
        answer = plain_answer(503, _STOPPED, self.exchange.request.method)
        asyncio.get_running_loop().call_soon(self.cut, answer)

    # For subclasses

    def begin(self, head: Head) -> bytes:
        """Begin the response; return its head in bytes, for `write`.

        Raises:
            IllFormedResponse: see `ResponseEncoder.head`.
        """
        for on_head in self._server.hooks.head:
            head = on_head(self.exchange, head)
        return self._encode(head)

    def _encode(self, head: Head, *, ends: bool = False) -> bytes:
        """Begin the response without telling the hooks; `ends`: the connection ends with it."""
        connection, exchange = self.connection, self.exchange
        assert connection is not None, "nobody takes the response"
        request = exchange.request
        # After `Expect: 100-continue` the client may send the body that nobody has asked for, or the next
        # request (RFC 9110, 10.1.1).
        keep_alive = not (ends or request.client_closes or connection.is_last or self._expects_continue)
        encoder = ResponseEncoder(request.method, request.version, keep_alive=keep_alive)
        encoded = encoder.head(head, self._server.default_fields)
        self._encoder = encoder
        exchange.head = head
        return encoded

    def write(
        self, head: bytes, data: bytes, more: bool, trailers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Write a part of the response, behind a head that has not been written, and before its trailers.

        Raises:
            IllFormedResponse: the body does not have the length that the head says.
        """
        connection, encoder = self.connection, self._encoder
        assert connection is not None
        assert encoder is not None, "the response has begun"
        body = encoder.body(data, more, trailers)
        exchange = self.exchange
        if encoder.has_body:
            exchange.sent += len(data)
        # A large part is not copied: it leaves by itself.
        if head and len(body) > _LARGE:
            connection.outlet.write(head)
            connection.outlet.write(body)
        elif head or body:
            connection.outlet.write(head + body)
        if not more:
            self._complete(connection)
        elif not exchange.is_streaming:
            exchange.is_streaming = True
            for on_stream in self._server.hooks.stream:
                on_stream(exchange)

    def send_part(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the response; the client must still be there.

        Raises:
            IllFormedResponse: as `begin` and `write`.
        """
        self.write(b"" if head is None else self.begin(head), data, more)

    def file_sent(self, size: int) -> None:
        """Note that the whole body has left as a file of so many bytes, past `write`."""
        connection, encoder = self.connection, self._encoder
        assert connection is not None
        assert encoder is not None, "the response has begun"
        encoder.pass_by(size, more=False)
        self.exchange.sent += size
        self._complete(connection)

    def send_continue(self) -> None:
        """Ask a client that waits for it to send the body (RFC 9110, 10.1.1).

        Once the response has begun, a 100 would be read as a part of it. The client knows from the response
        that it need not wait any longer.
        """
        if self._expects_continue and self._encoder is None and self.connection is not None:
            self._expects_continue = False
            self.connection.outlet.write(CONTINUE)

    def fail(self) -> None:
        """End the response of an app that has failed: by a 500, or by cutting the connection."""
        if self.connection is not None:
            if self.exchange.head is None:
                self.send_part(*plain_answer(500, _FAILED, self.exchange.request.method))
            else:
                self.cut_connection()

    def cut_connection(self) -> None:
        """End the connection so that the client sees that the response is not whole."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.exchange.end()
            connection.cut(self)

    def finish(self) -> None:
        """The call is over, too; the first time counts."""
        exchange = self.exchange
        if exchange.serving is not None:
            exchange.serving = None
            exchange.end()
            self._tell_end()

    def _tell_end(self) -> None:
        self._server.tasks.discard(self)
        self._server.hooks.end(self.exchange)

    def _complete(self, connection: "Connection") -> None:
        self.connection = None
        self.is_complete = True
        self.exchange.end()
        connection.on_response_complete(self)

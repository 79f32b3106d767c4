"""One connection of the server: HTTP/1.1 (RFC 9112) on a socket, from bytes to requests being served.

The rules:

- One request is served at a time. What comes behind it waits unread, up to `_MOST_UNREAD`; then the client
  has to wait. So answers leave in order, and a refusal waits for its turn like any answer.
- `RequestReader` reads what has come. The connection keeps the limits and deadlines, makes the `Request`, and
  starts a `Serving` once the whole read is parsed: no thread wakes before it has work.
- No app sees a refused request. The server answers with a status and a sentence, and ends the connection.
- The client gets time to read the last answer of a connection: see `lingering`.
- A client may close its own direction after its last request. A client that has left altogether looks the
  same until the server sends something. So the app is told after a second without a write.
"""

import asyncio
import http
import logging
from collections.abc import Awaitable
from contextvars import Context
from typing import TYPE_CHECKING

from bridge.core.call import request_name
from bridge.core.link import Head, Part, plain_answer
from bridge.http.deadline import Deadline
from bridge.http.exchange import Answer, Exchange
from bridge.http.http1 import ResponseEncoder
from bridge.http.limits import (
    Refusal,
    check_head,
    check_unfinished_head,
    too_large,
    trailers_too_large,
)
from bridge.http.lingering import Lingering
from bridge.http.loop_serving import LoopServing
from bridge.http.outlet import Outlet
from bridge.http.reader import Refused, RequestReader
from bridge.http.request import Request
from bridge.http.request_line import RequestLine, read_request_target, replace_host
from bridge.http.serving import Serving
from bridge.http.tls import describe_tls
from bridge.http.websocket_handshake import check_handshake
from bridge.runners import reasons
from bridge.types import override

if TYPE_CHECKING:
    import socket

    from bridge.http.server import HTTPServer

__all__ = ["Connection"]

logger = logging.getLogger("bridge")

# Seconds after its last answer for which a stopping server keeps a connection: one more request may be on its
# way, and its client could not tell whether it was served (RFC 9112, 9.5).
_LAST_CHANCE = 1.0

# Seconds without a write after which a half-closed client counts as gone.
_HALF_CLOSED = 1.0

# Bytes kept of the requests behind the one being served.
_MOST_UNREAD = 65536

_FAILED = b"Internal Server Error"
_BUSY = Refusal(503, "The server is busy with other requests.")
_LATE = {
    "first byte": Refusal(408, "The connection was open, and no request came."),
    "head": Refusal(408, "The head of the request did not arrive in time."),
    "body": Refusal(408, "The body of the request stopped coming."),
}
_CUT_SHORT = Refusal(400, "The connection was closed before the request was whole (RFC 9112, 8).")


class Connection(asyncio.Protocol):
    """One connection; made by an `HTTPServer`.

    Args:
        server: holds what all connections share.
    """

    __slots__ = (
        "_arrival",
        "_deadline",
        "_ends",
        "_handshake",
        "_has_eof",
        "_is_over",
        "_reader",
        "_serving",
        "_unread",
        "is_last",
        "outlet",
        "plain_socket",
        "server",
        "transport",
    )

    transport: asyncio.Transport
    outlet: Outlet
    _ends: "_Ends"

    def __init__(self, server: "HTTPServer") -> None:
        self.server = server
        self._arrival = _Arrival()
        self._deadline = Deadline(server.loop, self._on_late)
        self._reader = RequestReader(self)
        self._serving: Serving | None = None  # until its response is complete, and its request, too
        self._handshake: Request | None = None  # for a websocket
        self._unread = b""  # what has come behind the request that is served
        self._has_eof = False  # the client has closed its direction
        self._is_over = False  # nothing that comes is read any more
        self.is_last = False
        """Whether the server stops, and the connection ends with this request."""
        self.plain_socket: socket.socket | None = None
        """The socket, if what is sent to it is what the client gets: without TLS."""

    # Called by the transport

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as servers have it
        server = self.server
        self.transport = transport
        self.outlet = Outlet(transport, server.loop)
        self._ends = _Ends(transport, server.settings.certificate)
        if self._ends.scheme == "http":
            self.plain_socket = transport.get_extra_info("socket")
        server.connections.add(self)
        self._deadline.expect("first byte", server.limits.first_byte)
        if server.is_stopping:  # it was on its way when the server stopped listening
            self._close_soon()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._is_over = True
        self._deadline.close()
        self._reader.close()
        serving, self._serving = self._serving, None
        self.outlet.close()
        if serving is not None and not serving.is_complete:
            serving.leave(reasons.LEFT)

    @override
    def pause_writing(self) -> None:
        self.outlet.is_behind = True

    @override
    def resume_writing(self) -> None:
        self.outlet.resume()
        if self._serving is not None:
            # Later, as it may end the connection: asyncio's transport, closed within this call, would end
            # twice and log an error.
            self.server.loop.call_soon(self._serving.resume)

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._unread or self._is_answering():
            self._unread += data
            if len(self._unread) > _MOST_UNREAD:
                self.transport.pause_reading()
            return
        if (
            data[0] in b"\r\n"
            and self._serving is None
            and not self._reader.in_head
            and not data.replace(b"\r\n", b"")
        ):
            return  # no request begins with empty lines alone: what is waited for has still to come
        self._read(data)

    def eof_received(self) -> bool:
        """See asyncio's `Protocol`; a client that is served may close its direction."""
        self._has_eof = True
        if self._is_over or self.plain_socket is None:
            return False
        if self._is_answering():
            self._wait_for_half_closed()
            return True
        if self._reader.in_head or self._reader.in_body:
            self._refuse(_CUT_SHORT)
            return True
        return bool(self._unread)

    def _is_answering(self) -> bool:
        """Whether a request is whole, and its response is not."""
        return self._serving is not None and not self._reader.in_body

    # Reading

    def _read(self, data: bytes) -> None:
        reader = self._reader
        self._arrival.beside += len(data)
        try:
            self._unread = reader.read(data)
            self._check_what_came(reader)
        except Refused as error:
            self._refuse(error.refusal)

    def _check_what_came(self, reader: RequestReader) -> None:
        """After each read: start what can start, and set the deadline for what is still missing."""
        server, deadline = self.server, self._deadline
        if reader.in_head:
            refusal = check_unfinished_head(
                server.limits, target_size=reader.line_size, size=self._arrival.beside
            )
            if refusal is not None:
                raise Refused(refusal)
            if deadline.what != "head":
                deadline.expect("head", server.limits.head_time)
            return
        if reader.in_body:
            if self._arrival.beside > server.limits.head_size:
                raise Refused(trailers_too_large(server.limits))
            if deadline.what != "body":
                deadline.expect("body", server.limits.body_pause)
            self._arrival.last_data = server.loop.time()
        else:
            deadline.what = ""
        if self._handshake is not None:
            self._become_websocket()
            return
        if self._arrival.exchange is not None:
            self._start(self._arrival.exchange)
        serving = self._serving
        if serving is None:
            return
        if not reader.in_body:
            if serving.is_complete:
                self._go_on()
        elif serving.connection is not None and not serving.has_room:
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read on, for more of the body or for the next request."""
        if len(self._unread) <= _MOST_UNREAD:
            self.transport.resume_reading()

    # Called by the reader

    def on_head(
        self, line: RequestLine, headers: list[tuple[bytes, bytes]], *, client_closes: bool, upgrades: bool
    ) -> bool:
        """See `reader.Sink`."""
        server = self.server
        self._arrival.headers = headers
        _, method, target, version = line
        refusal = check_head(server.limits, method=method, target=target, version=version, headers=headers)
        if refusal is not None:
            raise Refused(refusal)
        wanted = read_request_target(method, target)
        if isinstance(wanted, Refusal):
            raise Refused(wanted)
        limit = server.settings.limit_concurrency
        if limit is not None and len(server.tasks) >= limit:
            raise Refused(_BUSY)
        if wanted.host is not None:
            replace_host(headers, wanted.host)
        request = Request(method.decode("ascii"), wanted.path, wanted.query, version, headers)
        self._ends.complete(request, server.settings.root_path)
        if upgrades and self._is_handshake(request):
            refusal = check_handshake(headers)
            if refusal is not None:
                raise Refused(refusal)
            self._handshake = request
            return True
        arrival = self._arrival
        arrival.size = arrival.trailers = arrival.beside = 0
        if version == "1.1" and self._reader.has_body:  # in 1.0 it is ignored (RFC 9110, 10.1.1)
            request.expects_continue = any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in headers
            )
        request.client_closes = client_closes
        arrival.exchange = Exchange(request, server.new_context())
        return False

    def _is_handshake(self, request: Request) -> bool:
        """Whether the request is the handshake of a websocket, and those are served (RFC 6455, 4.2.1)."""
        wanted = [value.strip().lower() for value in request.values(b"upgrade")]
        if wanted != [b"websocket"]:
            return False
        if not self.server.settings.serves_websockets:
            logger.warning(
                "a client asks for a websocket, and none are served: --ws none, or neither the package "
                "websockets nor wsproto is installed"
            )
            return False
        if request.method == "GET" and request.version == "1.1":
            return True
        if request.version == "1.0":
            logger.warning(
                "a websocket's handshake in HTTP/1.0 from %s is no handshake (RFC 9110, 7.8); a proxy must "
                "speak 1.1 to this server (nginx: proxy_http_version 1.1)",
                self._ends.client_name,
            )
        # The app must not see the field where there can be no upgrade (RFC 6455, 4.2.1; RFC 9110, 7.8).
        request.headers[:] = [field for field in request.headers if field[0] != b"upgrade"]
        return False

    def on_trailer(self, size: int) -> None:
        """See `reader.Sink`."""
        self._arrival.trailers += size
        if self._arrival.trailers > self.server.limits.head_size:
            raise Refused(trailers_too_large(self.server.limits))

    def on_body(self, data: bytes) -> None:
        """See `reader.Sink`."""
        arrival = self._arrival
        arrival.size += len(data)
        arrival.beside = 0
        limit = self.server.limits.body_size
        if limit is not None and arrival.size > limit:
            raise Refused(too_large(self.server.limits))
        serving = self._serving
        if serving is None:
            arrival.pieces.append(data)
        elif serving.connection is not None:
            serving.feed(data)

    def on_message_complete(self) -> None:
        """See `reader.Sink`."""
        self._arrival.beside = 0
        serving = self._serving
        if serving is not None and serving.connection is not None:
            serving.feed(b"")

    # A request, and its response

    def _start(self, exchange: Exchange) -> None:
        """Have the request served, or answered by a hook, with what has come of its body."""
        arrival = self._arrival
        arrival.exchange = None
        arrival.headers = []
        serving: Serving
        try:
            for on_request in self.server.hooks.request:
                answer = on_request(exchange)
                if answer is not None:
                    serving = _HookServing(self, exchange, answer)
                    break
            else:
                serving = self.server.serve(self, exchange)
        except Exception:
            logger.exception("%s: the server failed to serve the request", exchange.request.method)
            serving = _HookServing(self, exchange, plain_answer(500, _FAILED, exchange.request.method))
        self._serving = serving
        if arrival.pieces:
            pieces, arrival.pieces = arrival.pieces, []
            for piece in pieces:
                serving.feed(piece)
        if not self._reader.in_body:
            serving.feed(b"")
        serving.start()

    def on_response_complete(self, serving: Serving) -> None:
        """A response has been sent: end the connection, or go on with what is behind it."""
        self.server.state.total_requests += 1
        if self.transport.is_closing() or serving is not self._serving:
            return
        if not serving.keeps_alive or self._is_over:
            self._end(client_closes=serving.exchange.request.client_closes)
        elif not self._reader.in_body and not self._reader.in_head:
            self._go_on()
        else:  # the rest of the body is read, and dropped
            self.transport.resume_reading()
            if self.is_last:
                self._close_soon()

    def _go_on(self) -> None:
        """Wait for the next request, or read it, if it has come."""
        self._serving = None
        self._arrival.beside = 0
        if self._unread:
            self.server.loop.call_soon(self._read_unread)
        elif self._has_eof:
            self._end(client_closes=True)
        else:
            self._deadline.expect("keep-alive", self.server.settings.keep_alive)
            self.transport.resume_reading()
            if self.is_last:  # the response had begun before the server stopped, and did not say so
                self._close_soon()

    def _read_unread(self) -> None:
        if self._is_over:
            return
        data, self._unread = self._unread, b""
        self.transport.resume_reading()
        self._read(data)
        if self._has_eof and not self._is_over:
            if self._is_answering():
                self._wait_for_half_closed()
            elif self._serving is None or self._reader.in_body:
                if self._reader.in_head or self._reader.in_body:
                    self._refuse(_CUT_SHORT)
                elif not self._unread:
                    self._end(client_closes=True)

    def cut(self, serving: Serving) -> None:
        """End the connection within a response: the client must not take what it has for all of it."""
        self._is_over = True
        if serving.ends_with_connection:
            self.transport.abort()  # the end in good order would be that of the response
        else:
            self.transport.close()

    def _end(self, *, client_closes: bool = False) -> None:
        """Close the connection, its last answer written; first linger, if the client may be sending."""
        in_body = self._reader.in_body
        self._is_over = True
        self._deadline.close()
        self._unread = b""
        self._serving = None
        transport, server = self.transport, self.server
        self.outlet.flush()
        # With TLS, nothing can be sent after the end, and asyncio reads for a while when it closes.
        if not self._has_eof and (in_body or (not client_closes and transport.can_write_eof())):
            self._reader.close()
            transport.resume_reading()
            Lingering(transport, connections=server.connections, lingering=server.lingering).begin()
            server.connections.discard(self)
        else:
            transport.close()

    # A websocket

    def _become_websocket(self) -> None:
        """Serve a handshake that was checked: here, or in a library that takes the connection over."""
        request, self._handshake = self._handshake, None
        assert request is not None
        # Not in the context of the request before, at whose end this one may be read.
        self._serving = self.server.new_context().run(self.server.serve_websocket, self, request)
        if self._serving is not None:
            self._serving.start()

    def give_away(self) -> bytes:
        """Give the transport to another protocol, for good; return what has come and was not read."""
        self._is_over = True
        self._deadline.close()
        self._reader.close()
        self.server.connections.discard(self)
        return self.take_unread()

    def take_unread(self) -> bytes:
        """Take what has come behind the request that is served."""
        unread, self._unread = self._unread, b""
        return unread

    # The end of the server

    def shutdown(self) -> None:
        """Come to an end, as the server stops."""
        self.server.is_stopping = True
        if self._serving is not None and not self._serving.is_complete:
            self.is_last = True
        else:
            self._close_soon()

    def _close_soon(self) -> None:
        """Close the connection, unless a request comes that is the last one."""
        self.is_last = True
        left = _LAST_CHANCE
        waits = {"keep-alive": self.server.settings.keep_alive, "first byte": self.server.limits.first_byte}
        if self._deadline.what in waits:
            left -= waits[self._deadline.what] - self._deadline.left
        self.server.loop.call_later(max(left, 0.0), self._close_if_unused)

    def _close_if_unused(self) -> None:
        serving = self._serving
        if self._is_over or self._unread:
            return
        if serving is None:
            self.transport.close()
        elif serving.is_complete:  # the rest of the body is not worth waiting for
            self._end()

    # Deadlines

    def _on_late(self, what: str) -> None:
        if what == "keep-alive":
            self.transport.close()
        elif what == "half-closed":
            # Nothing more is written while the client is behind; what is on its way finds out whether it is
            # there.
            serving, outlet = self._serving, self.outlet
            is_silent = not outlet.has_written and not outlet.is_behind
            if serving is not None and is_silent and not serving.writes_by_itself:
                self.cut(serving)
        elif what == "body":
            self._body_is_late()
        else:
            self._refuse(_LATE[what])

    def _body_is_late(self) -> None:
        # Not moved for every read: looked at again when it is due.
        pause = self.server.limits.body_pause
        left = self._arrival.last_data + pause - self.server.loop.time()
        serving = self._serving
        if serving is not None and serving.connection is not None and not serving.has_room:
            left = pause  # it is the app that is late
        if left > 0:
            self._deadline.expect("body", left)
        else:
            self._refuse(_LATE["body"])

    def _wait_for_half_closed(self) -> None:
        self.outlet.has_written = False
        self._deadline.expect("half-closed", _HALF_CLOSED)

    # Refusing

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in the app's place, and close; or only close, where an answer has begun."""
        if self._is_over or self.transport.is_closing():
            return
        self._is_over = True
        self._deadline.close()
        serving = self._serving
        if serving is not None:
            exchange = serving.exchange
        else:
            exchange = self._arrival.exchange or Exchange(self._refused_request(), Context())
        for on_refused in self.server.hooks.refused:
            refusal = on_refused(exchange, refusal)
        request = exchange.request
        exchange.context.copy().run(
            logger.warning,
            "refused %s from %s: %d. %s",
            request_name(request.method, request.decoded_path) if request.method else "a request",
            self._ends.client_name,
            refusal.status,
            refusal.reason,
        )
        has_answer = serving is not None and serving.exchange.head is not None
        if serving is not None and serving.is_complete:  # the request whose body nobody wanted
            self._end()
            return
        exchange.refusal = refusal
        exchange.end()
        if serving is not None:  # the app has it
            serving.leave(reasons.LEFT)
        else:
            self.server.hooks.end(exchange)
        if serving is not None and has_answer:
            self.cut(serving)
            return
        self.outlet.write(self._answer(refusal))
        self._end()

    def _refused_request(self) -> Request:
        """As much of a request as could be read."""
        _, method, target, version = self._reader.line
        path, _, query = target.partition(b"?")
        request = Request(method.decode("ascii"), path, query, version, self._arrival.headers)
        self._ends.complete(request, "")
        return request

    def _answer(self, refusal: Refusal) -> bytes:
        fields = [*refusal.headers]
        if refusal.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            fields.append((b"retry-after", b"1"))
        method = self._reader.line.method.decode("ascii")
        head, text, _ = plain_answer(refusal.status, refusal.reason.encode(), method, *fields)
        assert head is not None, "it is a whole answer"
        encoder = ResponseEncoder(method, "1.1", keep_alive=False)
        return encoder.head(head, self.server.default_fields) + encoder.body(text, more=False)


class _Ends:
    """The two ends of a connection: client and server, with their addresses and what TLS knows of them."""

    __slots__ = ("client", "scheme", "server", "tls")

    def __init__(self, transport: asyncio.Transport, certificate: str | None) -> None:
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        over_tls = transport.get_extra_info("ssl_object")
        self.scheme = "http" if over_tls is None else "https"
        self.tls = None if over_tls is None else describe_tls(over_tls, certificate)
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(client, list | tuple) and len(client) >= 2:
            self.client = str(client[0]), int(client[1])
        if isinstance(server, list | tuple) and len(server) >= 2:
            self.server = str(server[0]), int(server[1])
        elif isinstance(server, str):
            self.server = server, None

    def complete(self, request: Request, root_path: str) -> None:
        """Say in a request who is at both ends, and put the root path before its path.

        That is for a proxy that takes it off. A path that begins with it already stays as it is, and so does
        `*`: the server as a whole is not below it.
        """
        request.client, request.server, request.scheme = self.client, self.server, self.scheme
        request.tls = self.tls
        if root_path and request.path != b"*":
            request.root_path = root_path
            path = request.decoded_path
            if path != root_path and not path.startswith(root_path + "/"):
                request.path = root_path.encode("ascii") + request.path

    @property
    def client_name(self) -> str:
        """The client, for a log line."""
        return self.client[0] if self.client else "a unix socket"


class _Arrival:
    """The parts of a request that have come."""

    __slots__ = (
        "beside",
        "exchange",
        "headers",
        "last_data",
        "pieces",
        "size",
        "trailers",
    )

    def __init__(self) -> None:
        self.exchange: Exchange | None = None  # of a head that is whole, until it is served
        self.headers: list[tuple[bytes, bytes]] = []  # of the head, until the request is served
        self.pieces: list[bytes] = []  # of the body, until it is served
        self.size = 0  # bytes of the body
        self.trailers = 0
        self.beside = 0  # bytes of a head, or since the last part of a body: chunk headers, trailers
        self.last_data = 0.0  # when some of the body has come, in the loop's time


class _HookServing(LoopServing):
    """A request that a hook answers; of the hooks, no other knows of it."""

    __slots__ = ("_answer",)

    def __init__(self, connection: Connection, exchange: Exchange, answer: Answer) -> None:
        super().__init__(connection, exchange)
        self._answer = answer

    def start(self) -> None:
        answer = self._answer
        if isinstance(answer, tuple):
            self.exchange.serving = self
            self.send_part(*answer)
            self.finish()
        else:
            self.serve = lambda: self._give(answer)
            super().start()

    async def _give(self, answer: Awaitable[Part]) -> None:
        part = await answer
        if self.connection is not None:
            await self.send(*part)

    def begin(self, head: Head) -> bytes:
        return self._encode(head)

    def _tell_end(self) -> None:
        self._server.tasks.discard(self)

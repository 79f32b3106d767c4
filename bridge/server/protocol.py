"""uvicorn's HTTP protocol on httptools, with the limits and deadlines that it has not.

No app sees a request that is refused here. The answer is the server's: a status, a sentence,
`Connection: close`. The client has time to read it, as it has for an app's last answer: see `lingering`.
"""

import asyncio
import http
import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from bridge.http.limits import (
    BAD_REQUEST,
    Limits,
    Refusal,
    check_head,
    check_unfinished_head,
    too_large,
    trailers_too_large,
)
from bridge.http.lingering import Lingering
from bridge.http.request_target import RequestTarget, read_request_target, replace_host
from bridge.http.websocket_handshake import check_handshake, read_handshake
from bridge.server.cycle import Cycle
from bridge.server.framing import FramedProtocol, Refused
from bridge.server.websocket_answers import MOST_EARLY, WebSocketAnswers

__all__ = ["BridgeProtocol", "make_protocol"]

logger = logging.getLogger("bridge")

# Seconds that a connection of a server that stops is kept since its last answer, for one last request: it may
# be on its way already, and whether it has been served its client could not tell (RFC 9112, 9.5).
_LAST_CHANCE = 1.0

_BUSY = Refusal(503, "The server is busy with other requests.")
_FIRST_BYTE_TIMEOUT = Refusal(408, "The connection was open, and no request came.")
_HEAD_TIMEOUT = Refusal(408, "The head of the request did not arrive in time.")
_BODY_TIMEOUT = Refusal(408, "The body of the request stopped coming.")


class BridgeProtocol(FramedProtocol):
    """One connection.

    A class of its own for each server is made by `make_protocol`, which sets what is asked for below.
    """

    limits: Limits
    is_stopping: bool
    lingering: set[Lingering]
    on_refusal: Callable[[int], None]

    # Beside uvicorn's attributes, in the object's dict, they would make each connection 1 KB larger.
    __slots__ = (
        "_body_size",
        "_deadline",
        "_is_over",
        "_last_data",
        "_size_beside_body",
        "_trailers_size",
        "_upgrade",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_over = False  # nothing that comes is read any more
        self._body_size = 0
        self._trailers_size = 0
        self._size_beside_body = 0  # of a head, or since the last part of a body: chunk headers, trailers
        self._deadline: tuple[str, asyncio.TimerHandle] | None = None  # for what, and when it is over
        self._last_data = 0.0
        # Of a websocket that waits for its turn: its context, and what has come after the handshake.
        self._upgrade: tuple[Context, bytearray] | None = None

    # Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See asyncio's `Protocol`."""
        super().connection_made(transport)
        self._expect("first byte", self.limits.first_byte, self._first_byte_is_late)
        if self.is_stopping:  # it was on its way when the server stopped listening
            self._close_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio's `Protocol`."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; answer what is refused."""
        if self._is_over:
            return
        if self._upgrade is not None:
            self._keep_for_websocket(data)
            return
        if data[0] in b"\r\n" and not self._in_head and not self._in_body and not data.replace(b"\r\n", b""):
            return  # no request begins with empty lines alone: who is waited for has still to come
        self._unset_keepalive_if_required()
        self._size_beside_body += len(data)
        try:
            after_handshake = self.parse(data)
            if after_handshake is None:
                self._check_what_came()
            else:
                self._take_handshake(after_handshake)
        except Refused as error:
            self._refuse(error.refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, Refused) else BAD_REQUEST)

    # A websocket

    def _take_handshake(self, after_it: bytes) -> None:
        """Let it be a websocket, or wait until the answers before it have been sent (RFC 9112, 9.3.2).

        What is left of a response would be written among its frames.
        """
        self._expect_nothing()
        if self._is_at_work():
            self._upgrade = copy_context(), bytearray(after_it)
            self.flow.pause_reading()
        else:
            self._become_websocket(after_it)

    def _keep_for_websocket(self, data: bytes) -> None:
        """Keep what a client has sent that should have waited for its 101 (RFC 6455, 4.1)."""
        assert self._upgrade is not None
        _, early = self._upgrade
        early += data
        if len(early) > MOST_EARLY:
            self.flow.pause_reading()

    def _become_websocket(self, early: bytes) -> None:
        """Hand the connection, with the handshake that was looked at, to what serves websockets."""
        transport = self.transport
        self.flow.resume_reading()
        kind: Any = self.ws_protocol_class
        if not issubclass(kind, WebSocketAnswers):
            self.handle_websocket_upgrade()
            if early and not transport.is_closing():
                cast(asyncio.Protocol, transport.get_protocol()).data_received(early)
            return
        self.connections.discard(self)
        handshake = read_handshake(self.headers)
        scope: Any = self.scope
        facts = {name: scope[name] for name in ("headers", "path", "raw_path", "query_string")}
        facts["subprotocols"] = [name.decode("ascii") for name in handshake.subprotocols]
        websocket = kind(self.config, self.server_state, self.app_state)
        websocket.connection_made(transport)
        transport.set_protocol(websocket)
        if self.flow.write_paused:  # by an answer before: the transport has told this protocol alone
            websocket.pause_writing()
            self.flow.resume_writing()
        websocket.take_handshake(handshake, facts, early)

    # A request, and its response

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the app; see uvicorn, which has not had a choice of context in all versions."""
        context = Context() if getattr(self.config, "reset_contextvars", True) else None
        task = self.loop.create_task(cycle.run_asgi(app), context=context)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _on_answered(self, cycle: Cycle) -> None:
        """A response has been sent: end the connection, or go on with what is behind it."""
        if self.transport.is_closing():
            self.server_state.total_requests += 1
            return
        if not cycle.keep_alive or (self._is_over and not self.pipeline):
            self.server_state.total_requests += 1
            self._end(client_closes=cycle.client_closes)
            return
        self.on_response_complete()
        if self._upgrade is not None and not self._is_at_work():
            self._unset_keepalive_if_required()
            context, early = self._upgrade
            context.run(self._become_websocket, bytes(early))  # not in that of the request before

    def _end(self, *, client_closes: bool = False) -> None:
        """Close the connection, its last answer written; first linger, if the client may be sending."""
        self._is_over = True
        self._expect_nothing()
        self._unset_keepalive_if_required()
        self.flow.resume_writing()  # an app may wait for it, and the transport tells this protocol no more
        self.pipeline.clear()
        # With TLS, nothing can be sent after the end, and asyncio reads for a while when it closes.
        if self._in_body or (not client_closes and self.transport.can_write_eof()):
            self.flow.resume_reading()
            Lingering(self.transport, connections=self.connections, lingering=self.lingering).begin()
            self.connections.discard(self)
        else:
            self.transport.close()

    # The end of the server

    @classmethod
    def abort_lingering(cls) -> None:
        """End the connections whose last answer has been sent, and whose clients have not closed them."""
        for connection in list(cls.lingering):
            connection.abort()

    def shutdown(self) -> None:
        """Come to an end, as the server stops."""
        type(self).is_stopping = True
        if self._is_at_work():
            super().shutdown()
        else:
            self._close_soon()

    def _is_at_work(self) -> bool:
        """Whether there is a request that an app has been given, and has not answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _close_soon(self) -> None:
        """Close the connection, unless a request comes that is the last one."""
        left = self._idle_since() + _LAST_CHANCE - self.loop.time()
        self.loop.call_later(max(left, 0.0), self._close_if_unused)

    def _idle_since(self) -> float:
        """When the last answer was complete, or else when the connection was made, in the loop's time."""
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        if self._deadline is not None and self._deadline[0] == "first byte":
            return self._deadline[1].when() - self.limits.first_byte
        return self.loop.time()

    def _close_if_unused(self) -> None:
        if not self._is_at_work() and not self._is_over:
            self.transport.close()

    # Called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer, is whole."""
        if not self._in_body:
            # The parser leaves the whitespace behind a value, which is no part of it (RFC 9112, 5.1).
            super().on_header(name, value.rstrip(b" \t"))
            return
        # A trailer (RFC 9110, 6.5), which uvicorn takes for a header: a client could set X-Forwarded-For
        # after a proxy has looked.
        self._trailers_size += len(name) + len(value)
        if self._trailers_size > self.limits.head_size:
            raise Refused(trailers_too_large(self.limits))

    def on_headers_complete(self) -> None:
        """Let the app have the request, if its head is as it has to be."""
        parser = self.parser
        _, method, target, version = self._line
        refusal = check_head(self.limits, method=method, target=target, version=version, headers=self.headers)
        if refusal is not None:
            raise Refused(refusal)
        wanted = read_request_target(method, target)
        if isinstance(wanted, Refusal):
            raise Refused(wanted)
        # uvicorn counts connections, too, those that are kept open and idle among them.
        if self.limit_concurrency is not None and len(self.tasks) >= self.limit_concurrency:
            raise Refused(_BUSY)
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        self._set_target(wanted)
        if parser.should_upgrade():
            if self._should_upgrade():
                refusal = check_handshake(self.headers)
                if refusal is not None:
                    raise Refused(refusal)
                self._in_head = False
                return
            self._hide_upgrade_to_websocket()
        self._in_head = False
        self._in_body = True
        self._body_size = self._trailers_size = self._size_beside_body = 0
        self._let_app_have_request(client_closes=self._is_last_of_client())

    def _is_last_of_client(self) -> bool:
        """Whether the client wants no answer after this one's (RFC 9112, 9.3)."""
        if not self.parser.should_keep_alive():
            return True
        if self.scope["http_version"] != "1.0":
            return False
        # There the parser takes keep-alive for more than close.
        options = (
            option for name, value in self.headers if name == b"connection" for option in value.split(b",")
        )
        return any(option.strip(b" \t").lower() == b"close" for option in options)

    def _hide_upgrade_to_websocket(self) -> None:
        """Let nobody see the field of a request that cannot be a handshake, so that it is ignored.

        That is one of another method, or of HTTP/1.0 (RFC 6455, 4.2.1; RFC 9110, 7.8).
        """
        wanted = [value.strip().lower() for name, value in self.headers if name == b"upgrade"]
        if wanted != [b"websocket"] or self.ws_protocol_class is None:
            return
        if self.scope["http_version"] == "1.0":
            logger.warning(
                "a websocket's handshake in HTTP/1.0 from %s is no handshake (RFC 9110, 7.8); a proxy must "
                "speak 1.1 to this server (nginx: proxy_http_version 1.1)",
                self._client_name(),
            )
        self.headers[:] = [field for field in self.headers if field[0] != b"upgrade"]

    def _set_target(self, target: RequestTarget) -> None:
        """Let the app have the request's target."""
        scope = self.scope
        path = target.path.decode("ascii")
        root_path = "" if path == "*" else self.root_path  # the server as a whole is not below it
        scope["path"] = root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = root_path.encode("ascii") + target.path
        scope["query_string"] = target.query
        if target.host is not None:
            replace_host(self.headers, target.host)

    def _let_app_have_request(self, *, client_closes: bool) -> None:
        """Start the app on this request, or queue it behind the ones before."""
        scope = self.scope
        is_last = client_closes or self.is_stopping
        cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            # Of HTTP/1.0 it is ignored (RFC 9110, 10.1.1).
            expect_100_continue=self.expect_100_continue and scope["http_version"] != "1.0",
            keep_alive=not is_last,
            on_response=self._on_answered,
        )
        cycle.client_closes = client_closes
        is_turn = not self._is_at_work()
        self.cycle = cycle
        if is_turn:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Let the app have a part of the body, if there may be so much."""
        self._size_beside_body = 0
        limit = self.limits.body_size
        if limit is not None:
            self._body_size += len(body)
            if self._body_size > limit:
                raise Refused(too_large(self.limits))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._size_beside_body = 0
        super().on_message_complete()

    # Deadlines

    def _check_what_came(self) -> None:
        """After each read: is there anything left to wait for, and until when?"""
        if self._is_over:
            return
        if self._in_head:
            line_so_far = self._line_so_far or self._line.target
            refusal = check_unfinished_head(
                self.limits, target_size=len(line_so_far), size=self._size_beside_body
            )
            if refusal is not None:
                raise Refused(refusal)
            if not self._expects("head"):
                self._expect("head", self.limits.head_time, self._head_is_late)
        elif self._in_body:
            if self._size_beside_body > self.limits.head_size:
                raise Refused(trailers_too_large(self.limits))
            self._last_data = self.loop.time()
            if not self._expects("body"):
                self._expect("body", self.limits.body_pause, self._body_is_late)
        else:
            self._expect_nothing()

    def _expect(self, what: str, seconds: float, otherwise: Callable[[], None]) -> None:
        self._expect_nothing()
        self._deadline = what, self.loop.call_later(seconds, otherwise)

    def _expects(self, what: str) -> bool:
        return self._deadline is not None and self._deadline[0] == what

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline[1].cancel()
            self._deadline = None

    def _first_byte_is_late(self) -> None:
        self._refuse(_FIRST_BYTE_TIMEOUT)

    def _head_is_late(self) -> None:
        self._refuse(_HEAD_TIMEOUT)

    def _body_is_late(self) -> None:
        # Not moved for every read: looked at again when it is due.
        left = self._last_data + self.limits.body_pause - self.loop.time()
        if self.flow.read_paused:  # it is the app that is late
            left = self.limits.body_pause
        if left > 0:
            self._expect("body", left, self._body_is_late)
        else:
            self._refuse(_BODY_TIMEOUT)

    # Refusing

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in the app's place, and close; or only close, where an answer has begun."""
        self._is_over = True
        self._expect_nothing()
        if self.transport.is_closing():
            return
        logger.warning(
            "refused a request from %s: %d. %s", self._client_name(), refusal.status, refusal.reason
        )
        self.on_refusal(refusal.status)
        if self._may_answer():
            self.transport.write(self._answer(refusal))
            self._end()

    def _may_answer(self) -> bool:
        """Whether it is this request's turn, and nothing of an answer has been sent; deal with it if not."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._in_body):
            return True
        if cycle.response_complete:  # to this request, whose body nobody wanted
            self._end()
            return False
        if self._in_head:  # an earlier request is being answered: the connection ends with that answer
            cycle.keep_alive = False
            return False
        if self.pipeline:  # so it is, and this request waits behind it
            self.pipeline.popleft()
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
            return False
        return True

    def _answer(self, refusal: Refusal) -> bytes:
        status = http.HTTPStatus(refusal.status)
        text = refusal.reason.encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
            *refusal.headers,
        ]
        if refusal.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        lines = [b"HTTP/1.1 %d %s" % (refusal.status, status.phrase.encode())]
        lines += [name + b": " + value for name, value in headers]
        # To HEAD, there is no body (RFC 9110, 9.3.2).
        return b"\r\n".join([*lines, b"", b"" if self._line.method == b"HEAD" else text])

    def _client_name(self) -> str:
        return self.client[0] if self.client else "a unix socket"


def make_protocol(
    limits: Limits, on_refusal: Callable[[int], None] = lambda status: None
) -> type[BridgeProtocol]:
    """The class of a server's connections, for `uvicorn.Config.http_protocol_class`.

    Args:
        limits: what a request may be.
        on_refusal: called with the status of each request that is refused here, which no app sees.
    """
    members = {
        "__slots__": (),
        "limits": limits,
        "is_stopping": False,
        "lingering": set(),
        "on_refusal": staticmethod(on_refusal),
    }
    return type("BridgeProtocol", (BridgeProtocol,), members)

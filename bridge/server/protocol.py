"""uvicorn's HTTP protocol on httptools, with the limits and deadlines that it has not.

What is refused here no app sees. The answer is the server's: a status, a sentence, `Connection: close`. What
the client still sends is read and thrown away for a moment, since a socket that is closed with bytes unread
is reset, and the client may never see the answer (RFC 9112, 9.6).
"""

import asyncio
import http
import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.server.limits import (
    BAD_REQUEST,
    Limits,
    Refusal,
    check_head,
    check_unfinished_head,
    too_large,
    trailers_too_large,
)
from bridge.server.websocket_answers import WebSocketAnswers
from bridge.server.websocket_handshake import check_handshake, read_handshake

__all__ = ["BridgeProtocol", "make_protocol"]

logger = logging.getLogger("bridge")

# Seconds that a client has to read a refusal, while what it sends is thrown away.
_LINGER = 2.0

# Seconds that a connection of a server that stops is kept since its last answer, for one last request: it may
# be on its way already, and whether it has been served its client could not tell (RFC 9112, 9.5).
_LAST_CHANCE = 1.0

_BUSY = Refusal(503, "The server is busy with other requests.")
_FIRST_BYTE_TIMEOUT = Refusal(408, "The connection was open, and no request came.")
_HEAD_TIMEOUT = Refusal(408, "The head of the request did not arrive in time.")
_BODY_TIMEOUT = Refusal(408, "The body of the request stopped coming.")


class _Refused(Exception):
    """Ends the parsing of a request from within a callback."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class BridgeProtocol(HttpToolsProtocol):
    """One connection.

    A class of its own for each server is made by `make_protocol`, which sets what is asked for below.
    """

    limits: Limits
    is_stopping: bool
    on_refusal: Callable[[int], None]

    # Beside uvicorn's attributes, in the object's dict, they would make each connection 1 KB larger.
    __slots__ = (
        "_body_size",
        "_deadline",
        "_early",
        "_expected",
        "_head_size",
        "_in_body",
        "_in_head",
        "_is_refused",
        "_last_data",
        "_max_requests",
        "_size_beside_body",
        "_trailers_size",
        "_upgrade_context",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # uvicorn counts connections, too, those that are kept open and idle among them.
        self._max_requests, self.limit_concurrency = self.limit_concurrency, None
        self._is_refused = False
        self._in_head = False
        self._in_body = False
        self._head_size = 0
        self._body_size = 0
        self._trailers_size = 0
        self._size_beside_body = 0  # received since the last part of a body: chunk headers, trailers
        self._deadline: asyncio.TimerHandle | None = None
        self._expected = ""
        self._early = b""  # behind the handshake of a websocket, and in one read with it
        self._last_data = 0.0
        self._upgrade_context: Context | None = None  # of a websocket that waits for its turn

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
        if self._is_refused or self._upgrade_context is not None:
            return
        self._unset_keepalive_if_required()
        if self._in_body:
            self._size_beside_body += len(data)
        else:
            self._head_size += len(data)
        try:
            self.parser.feed_data(data)
            self._check_what_came()
        except _Refused as error:
            self._refuse(error.refusal)
        except httptools.HttpParserUpgrade as upgrade:
            self._expect_nothing()
            self._early = data[upgrade.args[0] :]
            if not self._should_upgrade():
                self._unsupported_upgrade_warning()
            elif self._is_at_work():
                self._upgrade_context = copy_context()
                self.flow.pause_reading()
            else:
                self.handle_websocket_upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _Refused) else BAD_REQUEST)

    def on_response_complete(self) -> None:
        """A response has been sent; a websocket that waits behind it has its turn.

        It must wait (RFC 9112, 9.3.2): what is left of the response would be written among its frames.
        """
        super().on_response_complete()
        context = self._upgrade_context
        if context is not None and not self._is_at_work() and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            context.run(self.handle_websocket_upgrade)  # not in that of the request before

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection, and a handshake that was looked at, to what serves websockets: see uvicorn."""
        kind: Any = self.ws_protocol_class
        if not issubclass(kind, WebSocketAnswers):
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        handshake = read_handshake(self.headers)
        scope: Any = self.scope
        facts = {name: scope[name] for name in ("headers", "path", "raw_path", "query_string")}
        facts["subprotocols"] = [name.decode("ascii") for name in handshake.subprotocols]
        websocket = kind(self.config, self.server_state, self.app_state)
        websocket.connection_made(self.transport)
        self.transport.set_protocol(websocket)
        websocket.take_handshake(handshake, facts, self._early)

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
        if self._expected == "first byte" and self._deadline is not None:
            return self._deadline.when() - self.limits.first_byte
        return self.loop.time()

    def _close_if_unused(self) -> None:
        if not self._is_at_work() and not self._is_refused:
            self.transport.close()

    # Called by the parser

    def on_message_begin(self) -> None:
        """A request begins: see httptools' `HttpRequestParser`."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer, is whole."""
        if not self._in_body:
            super().on_header(name, value)
            return
        # A trailer (RFC 9110, 6.5), which uvicorn takes for a header: a client could set X-Forwarded-For
        # after a proxy has looked.
        self._trailers_size += len(name) + len(value)
        if self._trailers_size > self.limits.head_size:
            raise _Refused(trailers_too_large(self.limits))

    def on_headers_complete(self) -> None:
        """Let the app have the request, if its head is as it has to be."""
        refusal = check_head(
            self.limits,
            method=self.parser.get_method(),
            target=self.url,
            version=self.parser.get_http_version(),
            headers=self.headers,
        )
        is_websocket = self.parser.should_upgrade() and self._asks_for_websocket()
        if refusal is None and is_websocket:
            refusal = check_handshake(self.headers)
        if refusal is not None:
            raise _Refused(refusal)
        if is_websocket:
            self._read_target()
        if self._max_requests is not None and len(self.tasks) >= self._max_requests:
            raise _Refused(_BUSY)
        self._in_head = False
        self._in_body = True
        self._body_size = self._trailers_size = self._size_beside_body = 0
        super().on_headers_complete()
        if self.is_stopping:
            self.cycle.keep_alive = False

    def _asks_for_websocket(self) -> bool:
        """Whether it is the handshake of a websocket: a GET request of HTTP/1.1 (RFC 6455, 4.2.1).

        In any other the field Upgrade is ignored (RFC 9110, 7.8): nobody sees it.
        """
        if not self._should_upgrade():
            return False
        version = self.parser.get_http_version()
        if self.parser.get_method() == b"GET" and version != "1.0":
            return True
        if version == "1.0":
            logger.warning(
                "a websocket's handshake in HTTP/1.0 from %s is no handshake (RFC 9110, 7.8); a proxy must "
                "speak 1.1 to this server (nginx: proxy_http_version 1.1)",
                self._client_name(),
            )
        self.headers[:] = [field for field in self.headers if field[0] != b"upgrade"]
        return False

    def _read_target(self) -> None:
        """Say in the scope what is asked for, as uvicorn does for other requests."""
        url = httptools.parse_url(self.url)
        scope: Any = self.scope
        scope["path"] = self.root_path + unquote(url.path.decode("ascii"))
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""

    def on_body(self, body: bytes) -> None:
        """Let the app have a part of the body, if there may be so much."""
        self._size_beside_body = 0
        limit = self.limits.body_size
        if limit is not None:
            self._body_size += len(body)
            if self._body_size > limit:
                raise _Refused(too_large(self.limits))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._head_size = 0
        super().on_message_complete()

    # Deadlines

    def _check_what_came(self) -> None:
        """After each read: is there anything left to wait for, and until when?"""
        if self._in_head:
            refusal = check_unfinished_head(self.limits, target_size=len(self.url), size=self._head_size)
            if refusal is not None:
                raise _Refused(refusal)
            if self._expected != "head":
                self._expect("head", self.limits.head_time, self._head_is_late)
        elif self._in_body:
            if self._size_beside_body > self.limits.head_size:
                raise _Refused(trailers_too_large(self.limits))
            self._last_data = self.loop.time()
            if self._expected != "body":
                self._expect("body", self.limits.body_pause, self._body_is_late)
        else:
            self._expect_nothing()

    def _expect(self, what: str, seconds: float, otherwise: Callable[[], None]) -> None:
        self._expect_nothing()
        self._expected = what
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._expected = ""

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
        self._is_refused = True
        self._expect_nothing()
        if self.transport.is_closing():
            return
        logger.warning(
            "refused a request from %s: %d. %s", self._client_name(), refusal.status, refusal.reason
        )
        self.on_refusal(refusal.status)
        if self._may_answer():
            self._answer_and_close(refusal)

    def _may_answer(self) -> bool:
        """Whether it is this request's turn, and nothing of an answer has been sent; deal with it if not."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._in_body):
            return True
        if cycle.response_complete:  # to this request, whose body nobody wanted
            self.transport.close()
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

    def _answer_and_close(self, refusal: Refusal) -> None:
        self._unset_keepalive_if_required()
        self.transport.write(self._answer(refusal))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER, self.transport.close)

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
        return b"\r\n".join([*lines, b"", text])

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
        "on_refusal": staticmethod(on_refusal),
    }
    return type("BridgeProtocol", (BridgeProtocol,), members)

"""A websocket on a socket that a library for WSGI servers uses: Flask-Sock, Flask-SocketIO, others.

Such a library takes the request's socket out of the environ, where Werkzeug's server puts it, and runs a
websocket server on it. Here it gets the client's connection itself: the server stops reading, a thread calls
the app, and the library writes its 101 and its frames. An app that answers with a response instead, before
anything was written, is served as any other.

`client_socket` does the rest of the server's work: it sends the Close (RFC 6455, 5.5.1) when the server stops
or the call ends, and limits the size of messages. Instead of pings, the kernel notices a client that is gone.
When the library has closed its socket, the connection ends as after any last answer: see `http.lingering`.

The server's Close has the code 1001 when it stops; 1000 when the call ends, or 1011 if it has failed; and
1011 if the library has only closed its socket.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO

from bridge.core.call import Call
from bridge.core.link import Head, Part, plain_answer
from bridge.http.connection import Connection
from bridge.http.exchange import Exchange
from bridge.http.thread_serving import ThreadServing
from bridge.runners import reasons
from bridge.runners.engine import Engine
from bridge.runners.host import PART_COST
from bridge.server.websockets.client_socket import ClientSocket
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment, override
from bridge.websockets.library import call_app
from bridge.websockets.states import GOING_AWAY, INTERNAL_ERROR, NORMAL

__all__ = ["LibraryWebSocket"]

logger = logging.getLogger("bridge")

_SOCKET = "werkzeug.socket"

_STOPPING = b"Service Unavailable: the server stops."

# Seconds that a library has to close its socket, as the websocket has been closed from here.
_CLOSE_TIMEOUT = 10.0

# The largest values that Linux takes: seconds, and an option of any kind.
_LONGEST_KEEPALIVE = 32767
_LARGEST_INT = 2**31 - 1


class LibraryWebSocket(ThreadServing):
    """Serves a handshake, and the websocket after it, by a thread and the client's socket.

    Args:
        connection: the connection of the handshake, without TLS.
        exchange: the handshake.
        app: the WSGI application.
        environ: the handshake, for the app.
        engine: the threads for websockets.
        config: uvicorn's, with its options for websockets.
    """

    __slots__ = ("_client", "_close_code", "_close_timer", "_config", "_is_given", "_told")

    def __init__(
        self,
        connection: Connection,
        exchange: Exchange,
        app: WSGIApplication,
        environ: WSGIEnvironment,
        engine: Engine,
        config: Any,
    ) -> None:
        super().__init__(connection, exchange, Call(partial(_call, app), environ), engine)
        self._config = config
        self._client: ClientSocket | None = None  # during the call
        self._is_given = False  # the library has the connection, or may take it at any time
        self._close_code = NORMAL  # for the end of the call
        self._close_timer: asyncio.TimerHandle | None = None
        self._told: int | None = None  # the status that the hooks know

    def start(self) -> None:
        """Start once all that was written before is out."""
        connection = self.connection
        assert connection is not None
        self._server.tasks.add(self)
        self.exchange.serving = self
        self.feed(b"")
        connection.transport.pause_reading()
        connection.outlet.when_empty(self._give)

    def _give(self) -> None:
        """Give the connection to the library, and call the app in a thread."""
        connection = self.connection
        if connection is None or connection.transport.is_closing():
            self.finish()
        elif self._engine.streams.are_ending:
            connection.transport.resume_reading()
            self.send_part(*plain_answer(503, _STOPPING, "GET"))
            self.finish()
        else:
            assert isinstance(self._work, Call)
            self._is_given = True
            self._client = client = ClientSocket(
                os.dup(_fileno(connection)),
                connection.take_unread(),
                self._config.ws_max_size,
                on_answer=lambda status: self._call_soon(self._library_has_answered, status),
                on_closed=lambda unsent: self._call_soon(self._library_is_done, unsent),
            )
            _have_kernel_look_after(client, self._config.ws_ping_interval, self._config.ws_ping_timeout)
            self._work.environ[_SOCKET] = client
            self._engine.streams.links.add(self)
            super().start()

    # The response, or the library's own

    def begin(self, head: Head) -> bytes:
        """Encode the head of a response; hooks for requests do not learn of it."""
        encoded = self._encode(head, ends=True)
        self.exchange.is_streaming = True
        self._tell(head.status)
        return encoded

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """Return None: no file answers a handshake."""
        return None

    def _look(self) -> None:
        if self._is_given:
            parts, is_finished = self.link.take()
            if not (parts or is_finished):
                return
            if not self._take_back():
                for head, _, _ in parts:
                    if head is not None and head.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        self._close_code = INTERNAL_ERROR
                self.link.sent(sum(len(data) + PART_COST for _, data, _ in parts if isinstance(data, bytes)))
                if is_finished:
                    self._call_has_ended()
                return
            if parts and self.connection is not None:
                self._write(parts)
        super()._look()

    def _take_back(self) -> bool:
        """Take the connection back; return False if the library has written to it."""
        if self._is_given:
            client = self._client
            if client is None or not client.withdraw():
                return False
            self._let_client_go()
            client.close()
            self._is_given = False
            connection = self.connection
            if connection is not None:
                os.set_blocking(_fileno(connection), False)
                connection.transport.resume_reading()
        return True

    def _let_client_go(self) -> None:
        """Drop the socket, which closes as soon as no library holds it."""
        assert isinstance(self._work, Call)
        self._work.environ.pop(_SOCKET, None)
        self._client = None

    def _library_has_answered(self, status: int) -> None:
        self._tell(status)
        if self._engine.streams.are_ending:
            self.end()

    # The end

    def _call_has_ended(self) -> None:
        client = self._client
        if client is None:
            return  # this was done before
        if self.link.failure is not None:
            self._close_code = INTERNAL_ERROR
        self.link.failure = None  # its traceback leads here
        if client.status is not None:  # `_library_has_answered` may still be on its way
            self._tell(client.status)
        self._close(client, self._close_code)
        self._let_client_go()
        self._stop_counting()
        self.finish()

    def _library_is_done(self, unsent: bytes) -> None:
        """End the connection, as the library has closed its socket, however long the call goes on."""
        connection = self.connection
        if connection is None or not self._is_given or self._take_back():
            return  # the app has a response to give, as the library has written nothing
        self._cancel_timer()
        os.set_blocking(_fileno(connection), False)
        if unsent:
            connection.outlet.write(unsent)
        self._complete(connection)

    def end(self) -> None:
        """Close the websocket, as soon as there is one: the server stops."""
        if self._client is None:
            super().end()
        else:
            self._close(self._client, GOING_AWAY)

    @override
    def cut(self, answer: Part) -> None:
        if self._take_back():
            super().cut(answer)
        else:
            self._abort()
            self.leave(reasons.CANCELLED)
            self.finish()

    @override
    def leave(self, reason: str) -> None:
        self._cancel_timer()
        if self.connection is not None:
            self._server.state.total_requests += 1  # as `Connection.on_response_complete` does otherwise
        super().leave(reason)

    def _close(self, client: ClientSocket, code: int) -> None:
        client.send_close_soon(code)
        if self._close_timer is None and self.connection is not None and client.has_begun:
            self._close_timer = self._engine.mailbox.loop.call_later(_CLOSE_TIMEOUT, self._abort)

    def _cancel_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _abort(self) -> None:
        """End the connection, and whatever the library is doing with it."""
        connection = self.connection
        if connection is not None:
            # Not by the library's descriptor, which it may have closed while a thread waits on it.
            with suppress(OSError), socket.socket(fileno=os.dup(_fileno(connection))) as ending:
                ending.shutdown(socket.SHUT_RDWR)
            connection.transport.abort()

    def _tell(self, status: int) -> None:
        if self._told is None:
            self._told = status
            request = self.exchange.request
            client = "{}:{}".format(*request.client) if request.client else ""
            what = "[accepted]" if status == HTTPStatus.SWITCHING_PROTOCOLS else status
            logger.info('%s - "WebSocket %s" %s', client, request.target, what)
            self._server.hooks.websocket_answered(status)

    def _tell_end(self) -> None:
        self._server.tasks.discard(self)
        self._engine.streams.links.discard(self)
        self._tell(HTTPStatus.INTERNAL_SERVER_ERROR)  # unless there was an answer before the client left
        if self._told == HTTPStatus.SWITCHING_PROTOCOLS:
            self._server.hooks.websocket_ended()

    def _call_soon(self, do: Any, argument: Any) -> None:
        """Call a function on the loop, from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._engine.mailbox.loop.call_soon_threadsafe(do, argument)


def _call(app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return call_app(app, environ, start_response, lambda: getattr(environ.get(_SOCKET), "has_begun", False))


def _fileno(connection: Connection) -> int:
    assert connection.plain_socket is not None
    return connection.plain_socket.fileno()


def _have_kernel_look_after(client: socket.socket, interval: float | None, timeout: float | None) -> None:
    """Have the kernel end a connection whose client does not answer in time, instead of pings."""
    if not interval or client.family == socket.AF_UNIX:
        return
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_KEEPIDLE": min(interval, _LONGEST_KEEPALIVE)}
    if timeout is not None:
        options |= {"TCP_KEEPINTVL": min(timeout, _LONGEST_KEEPALIVE), "TCP_KEEPCNT": 1}
        # For data that the client does not acknowledge, in milliseconds.
        options |= {"TCP_USER_TIMEOUT": min((interval + timeout) * 1000, _LARGEST_INT)}
    for name, value in options.items():
        if hasattr(socket, name):  # systems differ
            client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(int(value), 1))

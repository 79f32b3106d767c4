"""uvicorn's websockets, and how a library for WSGI servers gets the connection of one.

Flask-Sock and its like are websocket servers themselves, which read and write a socket. On other hosts they
get one end of a pair, and each message is parsed and made three times. Here they have the connection itself,
as on a WSGI server; uvicorn's transport is paused meanwhile. It brought Flask-Sock's echo from 0.39 of its
rate on gunicorn to 0.95.

What the server is for, it still does: it answers the handshake, with the fields that middleware has added;
closes the websocket when it stops; and limits messages (`--ws-max-size`). In the place of pings the kernel
finds out that a client is gone, within the same time (`--ws-ping-interval`, `--ws-ping-timeout`). There is no
compression.
"""

import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected

from bridge.server.client_socket import ClientSocket
from bridge.server.websocket_answers import SansIOProtocol

__all__ = ["BridgeWebSocketProtocol"]

# RFC 6455, 7.4.1; the first is what uvicorn says.
_SERVICE_RESTART = 1012
_INTERNAL_ERROR = 1011

# What Linux takes: seconds, and an option of any kind.
_LONGEST_KEEPALIVE = 32767
_LARGEST_INT = 2**31 - 1


class BridgeWebSocketProtocol(SansIOProtocol):
    """One websocket, whose scope has the extension `bridge.connection`."""

    _client: ClientSocket | None = None
    _is_given = False
    _is_library_done = False

    async def run_asgi(self) -> None:
        """Call the app: see uvicorn."""
        if self.scheme == "ws":
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions["bridge.connection"] = self
        await super().run_asgi()

    def hand_over(self, handshake: Callable[[bytes], bool]) -> socket.socket:
        """Give the connection away, if the app accepts the websocket; see `Connection`."""
        fileno = os.dup(self.transport.get_extra_info("socket").fileno())
        self._client = ClientSocket(fileno, handshake, self._tell_closed, self.config.ws_max_size)
        return self._client

    def abort(self) -> None:
        """End the connection, and whatever the library is doing with it."""
        if self._client is not None and not self.disconnected:
            # Not the library's descriptor, which it may have closed with a thread still waiting on it.
            with (
                suppress(OSError),
                socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as connection,
            ):
                connection.shutdown(socket.SHUT_RDWR)
        self.transport.abort()

    # Called by uvicorn

    def data_received(self, data: bytes) -> None:
        """See asyncio's `Protocol`."""
        if self._client is None or not self._is_open:
            super().data_received(data)
        elif self._is_given:
            self._client.discard(data)
            self._close_if_over()
        else:
            self._early += data

    def send(self, message: Any) -> Coroutine[Any, Any, None]:  # a coroutine sooner
        """See ASGI."""
        return super().send(message) if self._client is None else self._send_for(self._client, message)

    async def _send_for(self, client: ClientSocket, message: Any) -> None:
        if message["type"] == "websocket.accept":
            await self._accept(client, message)
            return
        if message["type"] == "websocket.close":
            await self.writable.wait()  # as in `_accept`, which comes first: it may be given away now
            if self._is_given:
                self._close(client, message.get("code", 1000), message.get("reason") or "")
                return
        await super().send(message)

    def shutdown(self) -> None:
        """The server stops: see uvicorn. Where that is Bridge's, the adapter has closed it already."""
        if self._client is None or not self._is_given:
            super().shutdown()
        else:
            self._close(self._client, _SERVICE_RESTART, "")

    # The connection goes there, and comes back

    async def _accept(self, client: ClientSocket, message: Any) -> None:
        if self.transport.is_closing():
            raise ClientDisconnected
        self.read_paused = True
        self.transport.pause_reading()
        self.transport.set_write_buffer_limits(0)
        self.response.headers.pop("Sec-WebSocket-Extensions", None)
        await super().send(message)
        self.stop_keepalive()
        # Until all is out: what the library writes goes behind it, and a transport that has something left
        # would wait in `send()` for the client. If it is of an answer before, the protocol of that was told.
        if self.transport.get_write_buffer_size():
            self.writable.clear()
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self._is_given = True
        self._have_kernel_look_after(client)
        client.open(self._early)

    def _take_early(self) -> None:
        if self._client is None:  # else it is for the library
            super()._take_early()

    def _have_kernel_look_after(self, client: ClientSocket) -> None:
        """Have a connection end whose client does not answer: in the place of pings."""
        interval, timeout = self.config.ws_ping_interval, self.config.ws_ping_timeout
        if not interval or client.family == socket.AF_UNIX:
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = {"TCP_KEEPIDLE": min(interval, _LONGEST_KEEPALIVE)}
        if timeout is not None:
            options |= {"TCP_KEEPINTVL": min(timeout, _LONGEST_KEEPALIVE), "TCP_KEEPCNT": 1}
            # For what was sent to it, in milliseconds.
            options |= {"TCP_USER_TIMEOUT": min((interval + timeout) * 1000, _LARGEST_INT)}
        for name, value in options.items():
            if hasattr(socket, name):  # systems differ
                client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(int(value), 1))

    def _close(self, client: ClientSocket, code: int, reason: str) -> None:
        if self.close_timer is None and not self.disconnected:
            self.close_sent = True
            self.close_timer = self.loop.call_later(self.close_timeout, self.abort)
            client.say_close(code, reason)
            if self._is_library_done:
                self._take_back(client)

    def _tell_closed(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            self.loop.call_soon_threadsafe(self._library_is_done)

    def _library_is_done(self) -> None:
        client = self._client
        assert client is not None
        self._is_library_done = True
        if self.disconnected or not self._is_given:
            return
        if self.close_timer is not None:
            self._take_back(client)
        else:  # however long the call goes on; if a Close has been said, this says no other
            self._close(client, _INTERNAL_ERROR, "")

    def _take_back(self, client: ClientSocket) -> None:
        """Read on, until the client has said its Close: reset meanwhile, it might never see ours."""
        os.set_blocking(self.transport.get_extra_info("socket").fileno(), False)
        self.transport.write(client.unsent_close)
        if not self._close_if_over():
            self.transport.resume_reading()

    def _close_if_over(self) -> bool:
        is_over = self._client is not None and self._client.has_heard_close
        if is_over:
            self.transport.close()
        return is_over

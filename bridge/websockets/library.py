"""The call of a WSGI app that answers a websocket through a library: Flask-Sock, Flask-SocketIO, others.

Such a library takes the socket of the request out of the environ, where Werkzeug's server has put it, and
writes its 101 and its frames there. So it gets a socket, blocking as it expects, and a *wire* joins that to
the websocket: a pair of sockets on any host (`websocket_pair`), or the client's own connection where the host
offers it (`websocket_handover`).
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from bridge.asgi.call_facts import call_of
from bridge.asgi.websocket import NORMAL, HostWebSocket
from bridge.errors import WebSocketDisconnect
from bridge.interfaces import is_flask
from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.thread_link import ThreadLink
from bridge.runners.thread_queue import ThreadQueue
from bridge.runners.threads import WorkerPool
from bridge.types import HTTPResponseEvent, HTTPScope, StartResponse, WSGIApplication, WSGIEnvironment
from bridge.websockets.handover import ClientWire
from bridge.websockets.pair import PairWire

__all__ = ["WebSocketCall", "foreign_async_mode"]


class _Wire(Protocol):
    """Joins the socket that a library has to the websocket."""

    socket: socket.socket
    """The library's."""

    @property
    def key(self) -> str:
        """The Sec-WebSocket-Key that the library is to see."""

    def start(self) -> None:
        """Begin; the call is about to be made."""

    async def settle(self) -> None:
        """Let all that the library has written reach the websocket."""

    async def finish(self) -> None:
        """The call has ended: settle, and take the socket back if no library has it."""

    def end(self) -> None:
        """The server stops: close the websocket with 1001, as soon as it is open."""

    async def close(self) -> None:
        """End what is still going on; raises what has failed there."""


class WebSocketCall:
    """One call of the app, in a thread, for one websocket.

    Args:
        app: the WSGI application.
        websocket: the websocket, whose `websocket.connect` has been received.
        loop: the running loop.
    """

    def __init__(
        self, app: WSGIApplication, websocket: HostWebSocket, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._websocket = websocket
        offered = websocket.offered_connection
        self._wire: _Wire = (
            PairWire(websocket, loop) if offered is None else ClientWire(websocket, loop, offered)
        )

    async def serve(
        self,
        request: HTTPScope,
        state: Mapping[str, Any],
        *,
        mailbox: Mailbox,
        pool: WorkerPool,
        queue: ThreadQueue,
        streams: Streams,
        buffer_size: int,
    ) -> None:
        """Make the call; returns when it has ended, and what the library has sent is with the host.

        Raises:
            ApplicationError: the app's response, in place of a 101, was cut short.
            Exception: what the host's `send` or `receive` raised.
        """
        link = ThreadLink(
            call_of(self._call, request, state),
            self._websocket.receive_request,
            self._send_response,
            mailbox=mailbox,
            pool=pool,
            streams=streams,
            buffer_size=buffer_size,
        )
        streams.links.add(self._wire)
        self._wire.start()
        try:
            await queue.serve(link, pool, self._send_response, request["method"])
            await self._wire.finish()
        finally:
            streams.links.discard(self._wire)
            await self._wire.close()

    def _call(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["werkzeug.socket"] = self._wire.socket
        environ["HTTP_SEC_WEBSOCKET_KEY"] = self._wire.key
        try:
            return self._app(environ, start_response)
        except ConnectionError:
            # How engineio ends each call, so that Werkzeug's server does not answer.
            if self._websocket.state == "handshake":
                raise
            raise WebSocketDisconnect(NORMAL) from None

    async def _send_response(self, event: HTTPResponseEvent) -> None:
        """As `HostWebSocket.send_response`; but what came before, such as a 101, is taken first."""
        if event["type"] == "http.response.start":
            await self._wire.settle()
        await self._websocket.send_response(event)


def foreign_async_mode(app: WSGIApplication) -> str | None:
    """The async mode of the app's Socket.IO server, if it is one that needs a server of its own.

    eventlet's and gevent's run on their own loops, and take their websockets from their own servers.
    """
    extension = app.extensions.get("socketio") if is_flask(app) else None
    server = getattr(extension, "server", None) or getattr(app, "engineio_app", None)
    mode = getattr(server, "async_mode", None)
    return mode if isinstance(mode, str) and mode != "threading" else None

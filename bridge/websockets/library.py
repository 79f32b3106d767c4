"""The call of a WSGI app that answers a websocket through a library: Flask-Sock, Flask-SocketIO, others.

Such a library takes the socket of the request out of the environ, where Werkzeug's server has put it, and
writes its 101 and its frames there. So it gets a socket, blocking as it expects, and a *wire* joins that to
the websocket: a pair of sockets on any host (`pair`), or the client's own connection where the host
offers it (`handover`).
"""

import asyncio
import socket
from collections.abc import Iterable
from typing import Protocol

from bridge.errors import WebSocketDisconnect
from bridge.interfaces import is_flask
from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.runners.thread_link import Work
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from bridge.websockets.handover import ClientWire
from bridge.websockets.pair import PairWire
from bridge.websockets.websocket import NORMAL, WebSocket

__all__ = ["WebSocketCall", "foreign_async_mode"]


class _Wire(Protocol):
    """Joins the socket that a library has to the websocket."""

    socket: socket.socket
    """The library's end."""

    @property
    def key(self) -> str:
        """The Sec-WebSocket-Key for the library."""

    def start(self) -> None:
        """Begin; the call is about to be made."""

    async def settle(self) -> None:
        """Let all that the library has written reach the websocket."""

    async def finish(self) -> None:
        """The call has ended: settle, and take the socket back if no library has it."""

    def end(self) -> None:
        """The server stops: close the websocket with 1001, as soon as it is open."""

    async def close(self) -> None:
        """End the tasks that still run; raise the error of one that has failed."""


class WebSocketCall:
    """The app with a socket for its library, and the wire that joins this to one websocket.

    Args:
        app: the WSGI application.
        websocket: the websocket, whose `websocket.connect` has been received.
        loop: the running loop.
    """

    def __init__(self, app: WSGIApplication, websocket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._websocket = websocket
        offered = websocket.offered_connection
        self._wire: _Wire = (
            PairWire(websocket, loop) if offered is None else ClientWire(websocket, loop, offered)
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the app, in a worker thread, with a socket for its library."""
        environ["werkzeug.socket"] = self._wire.socket
        environ["HTTP_SEC_WEBSOCKET_KEY"] = self._wire.key
        try:
            return self._app(environ, start_response)
        except ConnectionError:
            # engineio ends each call by this, so that Werkzeug's server does not answer.
            if self._websocket.state == "handshake":
                raise
            raise WebSocketDisconnect(NORMAL) from None

    async def serve(self, work: Work, host: Host, engine: Engine) -> None:
        """Have the call made; return when it has ended and the host has what the library has sent.

        Args:
            work: the call that has this as its app.
            host: the handshake.
            engine: the threads for it.

        Raises:
            ApplicationError: the app's response, in place of a 101, was cut short.
            Exception: what the host has raised.
        """
        engine.streams.links.add(self._wire)
        self._wire.start()
        try:
            await serve_in_thread(work, host, engine, "GET")
            await self._wire.finish()
        finally:
            engine.streams.links.discard(self._wire)
            await self._wire.close()

    async def settle(self) -> None:
        """Have all that the library has written, such as a 101, reach the websocket."""
        await self._wire.settle()


def foreign_async_mode(app: WSGIApplication) -> str | None:
    """The async mode of the app's Socket.IO server, if it is one that needs a server of its own.

    eventlet's and gevent's run on their own loops, and take their websockets from their own servers.
    """
    extension = app.extensions.get("socketio") if is_flask(app) else None
    server = getattr(extension, "server", None) or getattr(app, "engineio_app", None)
    mode = getattr(server, "async_mode", None)
    return mode if isinstance(mode, str) and mode != "threading" else None

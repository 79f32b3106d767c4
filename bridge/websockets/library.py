"""The call of a WSGI app that answers a websocket through a library: Flask-Sock, Flask-SocketIO, others.

Such a library takes the socket of the request out of the environ, where Werkzeug's server has put it, and
writes its 101 and its frames there. So it gets a socket, blocking as it expects: one of a pair, which a
`PairWire` joins to the websocket. Bridge's own server gives it the client's connection in the place of that.
"""

import asyncio
from collections.abc import Iterable

from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.runners.thread_link import Work
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from bridge.websockets.library_app import call_app
from bridge.websockets.pair import PairWire
from bridge.websockets.websocket import WebSocket

__all__ = ["WebSocketCall"]


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
        self._wire = PairWire(websocket, loop)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the app, in a worker thread, with a socket for its library."""
        environ["werkzeug.socket"] = self._wire.socket
        environ["HTTP_SEC_WEBSOCKET_KEY"] = self._wire.key
        return call_app(self._app, environ, start_response, lambda: self._websocket.state != "handshake")

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
        try:
            await serve_in_thread(work, host, engine, "GET")
            await self._wire.finish()
        finally:
            engine.streams.links.discard(self._wire)
            await self._wire.close()

    async def settle(self) -> None:
        """Have all that the library has written, such as a 101, reach the websocket."""
        await self._wire.settle()

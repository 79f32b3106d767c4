"""Calls an app whose websocket a library serves, such as Flask-Sock or Flask-SocketIO."""

import logging
from collections.abc import Callable, Iterable

from bridge.errors import WebSocketDisconnect
from bridge.interfaces import is_flask
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from bridge.websockets.states import NORMAL

__all__ = ["call_app"]

logger = logging.getLogger("bridge")


def call_app(
    app: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    has_answered: Callable[[], bool],
) -> Iterable[bytes]:
    """Call the app, in a worker thread; answer 501 if its Socket.IO server needs a web server of its own.

    Args:
        app: the WSGI application.
        environ: the handshake, with the library's socket.
        start_response: takes the app's response.
        has_answered: says whether the library has answered the handshake.

    Raises:
        WebSocketDisconnect: the app raised a ConnectionError after the library had answered.
    """
    # eventlet's and gevent's servers run on their own loops, and get their websockets from their own servers.
    extension = app.extensions.get("socketio") if is_flask(app) else None
    server = getattr(extension, "server", None) or getattr(app, "engineio_app", None)
    mode = getattr(server, "async_mode", None)
    if isinstance(mode, str) and mode != "threading":
        logger.error(
            'Socket.IO in async_mode="%s" needs a server of %s\'s own; '
            'here it is SocketIO(app, async_mode="threading")',
            mode,
            mode,
        )
        start_response("501 Not Implemented", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"Not Implemented: see the server's log."]
    try:
        return app(environ, start_response)
    except ConnectionError:
        # engineio raises it at the end of each call, so that Werkzeug's server sends no response.
        if not has_answered():
            raise
        raise WebSocketDisconnect(NORMAL) from None

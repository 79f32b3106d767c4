"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it.
"""

from bridge.asgi.adapter import WSGIToASGI
from bridge.errors import ApplicationError, BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.runners.loop_access import run_on_loop
from bridge.version import __version__

__all__ = [
    "ApplicationError",
    "BridgeError",
    "ClientDisconnected",
    "WSGIToASGI",
    "WebSocketDisconnect",
    "__version__",
    "run_on_loop",
]

"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it.
"""

from bridge.errors import ApplicationError, BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.version import __version__
from bridge.wsgi_to_asgi.adapter import WSGIToASGI
from bridge.wsgi_to_asgi.loop_access import run_on_loop

__all__ = [
    "ApplicationError",
    "BridgeError",
    "ClientDisconnected",
    "WSGIToASGI",
    "WebSocketDisconnect",
    "__version__",
    "run_on_loop",
]

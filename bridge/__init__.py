"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it.

The rooms: `core` makes a WSGI call, `runners` say what waiting means, `asgi` and `http` are the hosts,
`flask` and `websockets` what they offer beyond WSGI, `server` is the command. Imports run in that direction
only.
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

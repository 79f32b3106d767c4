"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it.
"""

from bridge.errors import ApplicationError, BridgeError, ClientDisconnected
from bridge.wsgi_to_asgi.adapter import WSGIToASGI

__all__ = ["ApplicationError", "BridgeError", "ClientDisconnected", "WSGIToASGI", "__version__"]

__version__ = "0.1.0"

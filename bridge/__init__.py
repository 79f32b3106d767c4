"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it. `ASGIToWSGI`
is the way back, and `Mounts` puts several apps below prefixes.

The rooms: `core` makes a WSGI call, `runners` say what waiting means, `asgi` and `http` are the hosts,
`flask` and `websockets` what they offer beyond WSGI, `server` is the command. Imports run in that direction
only.
"""

from typing import TYPE_CHECKING, Any

from bridge.asgi.adapter import WSGIToASGI
from bridge.errors import ApplicationError, BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.runners.loop_access import run_on_loop
from bridge.version import __version__

if TYPE_CHECKING:
    from bridge.asgi.mounts import Mounts
    from bridge.asgi.reverse import ASGIToWSGI, wsgi

__all__ = [
    "ASGIToWSGI",
    "ApplicationError",
    "BridgeError",
    "ClientDisconnected",
    "Mounts",
    "WSGIToASGI",
    "WebSocketDisconnect",
    "__version__",
    "run_on_loop",
    "wsgi",
]


def __getattr__(name: str) -> Any:
    """Import the other direction when somebody asks for it: no ASGI host needs it."""
    if name in ("ASGIToWSGI", "wsgi"):
        from bridge.asgi import reverse

        return getattr(reverse, name)
    if name == "Mounts":
        from bridge.asgi.mounts import Mounts

        return Mounts
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

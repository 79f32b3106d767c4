"""Bridge: Flask, and any WSGI app, on ASGI.

`application = WSGIToASGI(flask_app)` is an ASGI application; `bridge serve app:app` serves it, and so does
`bridge.serve("app:app")` in a program. `ASGIToWSGI` is the way back, and `Mounts` puts several apps below
prefixes.

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
    from bridge.server.program import serve

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
    "serve",
    "wsgi",
]


def __getattr__(name: str) -> Any:
    """Import the server, and the other direction, when somebody asks for them: no ASGI host needs them."""
    if name in ("ASGIToWSGI", "wsgi"):
        from bridge.asgi import reverse

        return getattr(reverse, name)
    if name == "Mounts":
        from bridge.asgi.mounts import Mounts

        return Mounts
    if name == "serve":
        try:
            from bridge.server.program import serve
        except ModuleNotFoundError as error:
            if error.name not in ("click", "uvicorn"):
                raise
            raise ModuleNotFoundError(
                f"bridge.serve needs {error.name}, which is not installed: pip install {error.name}",
                name=error.name,
            ) from None
        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

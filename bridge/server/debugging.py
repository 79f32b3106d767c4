"""`--debug`: who may have Werkzeug's debugger, and around which apps it is put.

Nothing of Werkzeug's is imported before an app needs it.
"""

import ipaddress
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import replace

from bridge.errors import BridgeError
from bridge.interfaces import is_flask
from bridge.server.loading import LoadedApp

__all__ = ["announce_debug_mode", "check_addresses", "check_processes", "debugged"]

logger = logging.getLogger("bridge")


def check_processes(workers: int) -> None:
    """See to it that there is one process, for the debugger's requests to find what an error has left.

    Args:
        workers: how many processes are to serve.

    Raises:
        BridgeError: they are several.
    """
    if workers > 1:
        raise BridgeError(
            f"--debug and {workers} workers exclude each other: what an error has left is in one of the "
            "processes, and the debugger's next request may reach another; leave --workers out"
        )


def check_addresses(sockets: Iterable[socket.socket]) -> None:
    """See to it that the debugger can be reached from this machine alone.

    Args:
        sockets: those that the server listens on.

    Raises:
        BridgeError: one is no TCP socket of loopback (127.0.0.0/8 or ::1).
    """
    for each in sockets:
        if not _is_loopback(each):
            raise BridgeError(
                f"--debug does not listen on {_name(each)}: the debugger is a Python shell for whoever knows "
                "its PIN, so only this machine may reach it; use --host 127.0.0.1, or leave --debug out"
            )


def announce_debug_mode() -> None:
    """Set FLASK_DEBUG, as `flask run --debug` does: the app's own code may ask while it is imported."""
    os.environ["FLASK_DEBUG"] = "1"


def debugged(loaded: LoadedApp) -> LoadedApp:
    """The app with Werkzeug's debugger around it, and Flask's in debug mode; the PIN goes to the log.

    An ASGI app stays as it is.

    Raises:
        BridgeError: Werkzeug is not installed.
    """
    if loaded.interface != "wsgi":
        logger.warning("--debug reloads an ASGI app, and no more: Werkzeug's debugger is for WSGI apps")
        return loaded
    try:
        from bridge.server.debugger import Debugger
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "werkzeug":
            raise
        raise BridgeError(
            "--debug needs Werkzeug, whose debugger it is: pip install werkzeug; or use --reload alone"
        ) from None
    app = loaded.app
    if is_flask(app):
        app.debug = True
        debugger = Debugger(app.wsgi_app, app)
        vars(app)["wsgi_app"] = debugger  # as middleware is put around a Flask app: it stays one
    else:
        debugger = Debugger(app, app)
        loaded = replace(loaded, app=debugger)
    if debugger.pin is None:
        logger.warning("the debugger is on, without a PIN, as WERKZEUG_DEBUG_PIN says")
    else:
        logger.warning("the debugger is on, a Python shell for whoever knows its PIN: %s", debugger.pin)
    return loaded


def _is_loopback(listening: socket.socket) -> bool:
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return False  # a unix socket: mostly there is a proxy before it, and anybody before that
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _name(listening: socket.socket) -> str:
    name = listening.getsockname()
    return str(name[0]) if isinstance(name, tuple) else f"a unix socket ({os.fsdecode(name)})"

"""`--debug`: checks who can reach Werkzeug's debugger, and puts it around apps.

Werkzeug is imported only where an app needs it.
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
    """Check that one process serves: the debugger's requests need the frames that an error has left there.

    Args:
        workers: how many processes serve.

    Raises:
        BridgeError: they are several.
    """
    if workers > 1:
        raise BridgeError(
            f"--debug and {workers} workers exclude each other: what an error has left is in one of the "
            "processes, and the debugger's next request may reach another; leave --workers out"
        )


def check_addresses(sockets: Iterable[socket.socket]) -> None:
    """Check that only this machine can reach the debugger.

    Args:
        sockets: the server's listening sockets.

    Raises:
        BridgeError: one is no TCP socket of loopback (127.0.0.0/8 or ::1).
    """
    for each in sockets:
        name = each.getsockname()
        # A unix socket mostly has a proxy before it, which anybody may reach.
        has_address = each.family in (socket.AF_INET, socket.AF_INET6)
        if not has_address or not ipaddress.ip_address(name[0]).is_loopback:
            shown = name[0] if has_address else f"a unix socket ({os.fsdecode(name)})"
            raise BridgeError(
                f"--debug does not listen on {shown}: the debugger is a Python shell for whoever knows "
                "its PIN, so only this machine may reach it; use --host 127.0.0.1, or leave --debug out"
            )


def announce_debug_mode() -> None:
    """Set FLASK_DEBUG, as `flask run --debug` does: the app's own code may ask while it is imported."""
    os.environ["FLASK_DEBUG"] = "1"


def debugged(loaded: LoadedApp) -> LoadedApp:
    """Put Werkzeug's debugger around the app, and Flask into debug mode; log the PIN.

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

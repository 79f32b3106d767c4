"""The apps that every server is measured with, and the forms that servers take them in.

`APPS` names the WSGI apps. WSGI servers import them from where they are. For ASGI servers, `on_bridge`,
`on_a2wsgi`, `on_asgiref` and `inline` have each under its name, wrapped when it is asked for, so that a
server imports no more than it serves.
"""

import importlib
import logging
from typing import cast

from bridge.types import WSGIApplication

__all__ = ["APPS", "THREADS", "import_string", "load"]

THREADS = 40
"""For every server that has the setting, unless its entry says otherwise."""

APPS: dict[str, str] = {
    "flask": "flask_app:app",
    "async_flask": "async_flask_app:app",
    "bare": "bare_wsgi:app",
    "sock": "sock_app:app",
    "answers": "answers_app:app",
    "wsgi": "layers:wsgi",
    "response": "layers:response",
    "request": "layers:request",
    "routing": "layers:routing",
    "flask_layer": "layers:flask_layer",
    "session": "layers:session",
    "jinja": "layers:jinja",
    "async_flask_layer": "layers:async_flask_layer",
    "async_session": "layers:async_session",
    "async_jinja": "layers:async_jinja",
}
"""Name → module and attribute, below this package."""


# waitress logs every request that has to wait for a thread, as an access log would, and has no option for it.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def import_string(name: str) -> str:
    """What a WSGI server is given to import an app: `module:attribute`."""
    return f"{__name__}.{APPS[name]}"


def load(name: str) -> WSGIApplication:
    """Import an app.

    Raises:
        AttributeError: there is none of that name, as a module's `__getattr__` is expected to say it.
    """
    if name not in APPS:
        raise AttributeError(f"no app called {name!r}; there are {', '.join(APPS)}")
    module, _, attribute = APPS[name].partition(":")
    return cast(WSGIApplication, getattr(importlib.import_module(f"{__name__}.{module}"), attribute))

"""What is around a Flask app: middleware, by `app.wsgi_app = Middleware(app.wsgi_app)`.

Who decides by the map of an app has to know that this is the app that will be called. Pure.
"""

from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from bridge.flask.functions import described, is_marked, module_of

__all__ = ["Middleware", "middleware_of"]

# Middleware that calls the app it is around, and no other, and waits for nothing.
_KNOWN_MIDDLEWARE = frozenset({"bridge", "opentelemetry", "werkzeug.middleware.proxy_fix"})

# Where middleware keeps the app that it is around: as an attribute, or as a variable of its closure.
_NAMES_OF_THE_APP = ("app", "wsgi_app", "application", "_app", "__wrapped__")


@dataclass(frozen=True)
class Middleware:
    """What is around a Flask app's own `wsgi_app`.

    Args:
        unknown: the first of which nothing is known, described; None if there is none.
        dispatchers: those of Werkzeug's, which lead to other apps below some paths.
    """

    unknown: str | None = None
    dispatchers: tuple[DispatcherMiddleware, ...] = ()

    def leads_elsewhere(self, path: str) -> bool:
        """Whether a request of this path reaches another app.

        Args:
            path: the environ's PATH_INFO.
        """
        return any(_mount_of(dispatcher, path) for dispatcher in self.dispatchers)


def middleware_of(app: Flask) -> Middleware:
    """What has been put around the app, by `app.wsgi_app = Middleware(app.wsgi_app)`."""
    dispatchers = []
    layer: Any = vars(app).get("wsgi_app")
    while layer is not None and getattr(layer, "__self__", None) is not app:
        if isinstance(layer, DispatcherMiddleware):
            dispatchers.append(layer)
        elif not is_marked(layer) and not _is_known_middleware(layer):
            return Middleware(described(layer))
        layer = _app_within(layer, app)
    return Middleware(dispatchers=tuple(dispatchers))


def _is_known_middleware(layer: Any) -> bool:
    module = module_of(layer)
    return any(module == known or module.startswith(known + ".") for known in _KNOWN_MIDDLEWARE)


def _app_within(layer: Any, app: Flask) -> Any:
    """What middleware is around, which is not the app as a whole; None where it cannot be seen."""
    code = getattr(layer, "__code__", None)
    closure = getattr(layer, "__closure__", None) or ()
    variables = dict(zip(code.co_freevars, closure, strict=True)) if code is not None else {}
    for name in _NAMES_OF_THE_APP:
        within = variables[name].cell_contents if name in variables else getattr(layer, name, None)
        if callable(within) and within is not app:
            return within
    return None


def _mount_of(dispatcher: DispatcherMiddleware, path: str) -> bool:
    """Whether Werkzeug's dispatcher has another app for this path, by its own way of looking."""
    while "/" in path:
        if path in dispatcher.mounts:
            return True
        path = path.rpartition("/")[0]
    return path in dispatcher.mounts

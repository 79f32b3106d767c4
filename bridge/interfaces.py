"""Tell WSGI from ASGI by looking at a callable, without calling it."""

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Interface", "detect_interface", "is_async_callable", "is_flask"]

Interface: TypeAlias = Literal["wsgi", "asgi", "asgi2"]
"""`asgi2` is the old form of ASGI: called with the scope, it returns a coroutine function."""

_BY_ARGUMENTS: dict[int, Interface] = {1: "asgi2", 2: "wsgi", 3: "asgi"}


def is_async_callable(app: object) -> bool:
    """Whether calling it gives a coroutine: an `async def`, or an object whose `__call__` is one."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isclass(app):
        return False
    call = getattr(type(app), "__call__", None)  # noqa: B004  # not whether it is callable, but how
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call)


def is_flask(app: object) -> "TypeGuard[Flask]":
    """Whether it is a Flask app; Flask is not imported for it, as where it is not, there is no app of it."""
    flask = sys.modules.get("flask")
    return flask is not None and isinstance(app, flask.Flask)


def detect_interface(app: object) -> Interface | None:
    """What an application speaks, by how it is called; None if that cannot be told.

    An async callable is ASGI. Otherwise the number of arguments that must be given decides: WSGI's
    `(environ, start_response)`, ASGI's `(scope, receive, send)`, the old ASGI's `(scope)`.
    """
    if is_async_callable(app):
        return "asgi"
    if not callable(app):
        return None
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    required = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    return _BY_ARGUMENTS.get(len(required))

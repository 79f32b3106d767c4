"""Whether the arguments of an adapter are what they should be. Pure."""

import inspect
from collections.abc import Callable
from typing import Literal

from bridge.interfaces import detect_interface

__all__ = ["check_count", "check_no_class", "check_seconds"]


def check_count(name: str, value: object, least: int) -> None:
    """Check a number of things.

    Raises:
        TypeError: it is no integer.
        ValueError: it is too small.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_seconds(name: str, value: object) -> None:
    """Check a time.

    Raises:
        TypeError: it is no number.
        ValueError: it is below zero, or not a number as in `math.nan`.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")


def check_no_class(adapter: str, app: Callable[..., object], interface: Literal["wsgi", "asgi"]) -> None:
    """Check that an app is no class, unless each request makes an object of it.

    Raises:
        TypeError: it is a class whose objects are the apps, such as Flask.
    """
    if inspect.isclass(app) and detect_interface(app) != interface:
        raise TypeError(
            f"{adapter} takes {'a WSGI' if interface == 'wsgi' else 'an ASGI'} application; {app!r} is a "
            "class: give it an object of that class"
        )

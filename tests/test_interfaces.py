"""WSGI or ASGI: a table of callables, none of which is called."""

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

import pytest
from flask import Flask
from starlette.applications import Starlette

from bridge import WSGIToASGI
from bridge.interfaces import Interface, detect_interface, is_async_callable

# The callables do nothing: that they are not called is a part of the test.


def wsgi(environ: Any, start_response: Any) -> NoReturn:
    raise AssertionError


def wsgi_with_options(environ: Any, start_response: Any, debug: bool = False, *, key: str = "") -> NoReturn:
    raise AssertionError


def wsgi_with_positions(environ: Any, start_response: Any, /) -> NoReturn:
    raise AssertionError


async def asgi(scope: Any, receive: Any, send: Any) -> NoReturn:
    raise AssertionError


def asgi_not_async(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    raise AssertionError


def asgi2(scope: Any) -> NoReturn:
    raise AssertionError


def nothing() -> NoReturn:
    raise AssertionError


def anything(*args: Any) -> NoReturn:
    raise AssertionError


def too_many(a: Any, b: Any, c: Any, d: Any) -> NoReturn:
    raise AssertionError


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as most are: the wrapper takes anything, and tells by `__wrapped__` what is meant."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError

    return wrapper


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    def method(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    async def async_method(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError


class WSGIClass:
    """Called, it is the iterable itself: the class example of PEP 3333."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        raise AssertionError


class ASGI2Class:
    """The old form of ASGI, by class: `App(scope)` is what is awaited."""

    def __init__(self, scope: Any) -> None:
        raise AssertionError

    async def __call__(self, receive: Any, send: Any) -> None:
        raise AssertionError


class WithoutSignature:
    """Python cannot say how it is called, as with some callables written in C."""

    __signature__ = "?"

    def __call__(self, environ: Any, start_response: Any) -> NoReturn:
        raise AssertionError


CALLABLES: list[tuple[str, object, Interface | None, bool]] = [
    # id, callable, its interface, whether it is async
    ("WSGI function", wsgi, "wsgi", False),
    ("WSGI function with options", wsgi_with_options, "wsgi", False),
    ("WSGI function by position", wsgi_with_positions, "wsgi", False),
    ("WSGI function, decorated", logged(wsgi), "wsgi", False),
    ("WSGI object", WSGIObject(), "wsgi", False),
    ("WSGI method", WSGIObject().method, "wsgi", False),
    ("WSGI class", WSGIClass, "wsgi", False),
    ("WSGI lambda", lambda environ, start_response: [], "wsgi", False),
    ("WSGI partial", functools.partial(wsgi_with_options, debug=True), "wsgi", False),
    ("Flask", Flask(__name__), "wsgi", False),
    ("ASGI function", asgi, "asgi", True),
    ("ASGI function that is not async", asgi_not_async, "asgi", False),
    ("ASGI function, decorated", logged(asgi), "asgi", False),
    ("ASGI object", ASGIObject(), "asgi", True),
    ("ASGI method", WSGIObject().async_method, "asgi", True),
    ("ASGI partial", functools.partial(asgi), "asgi", True),
    (
        "ASGI partial of a partial of an object",
        functools.partial(functools.partial(ASGIObject())),
        "asgi",
        True,
    ),
    ("Starlette", Starlette(), "asgi", True),
    ("our own adapter", WSGIToASGI(wsgi), "asgi", True),
    ("ASGI 2 function", asgi2, "asgi2", False),
    ("ASGI 2 class", ASGI2Class, "asgi2", False),
    ("class of an ASGI object", ASGIObject, None, False),
    ("no arguments", nothing, None, False),
    ("any arguments", anything, None, False),
    ("four arguments", too_many, None, False),
    ("no signature", WithoutSignature(), None, False),
    ("no callable", "app", None, False),
    ("None", None, None, False),
]


@pytest.mark.parametrize(
    ("app", "interface"), [pytest.param(app, interface, id=name) for name, app, interface, _ in CALLABLES]
)
def test_interface(app: object, interface: Interface | None) -> None:
    assert detect_interface(app) == interface


@pytest.mark.parametrize(
    ("app", "is_async"), [pytest.param(app, is_async, id=name) for name, app, _, is_async in CALLABLES]
)
def test_is_async(app: object, is_async: bool) -> None:
    assert is_async_callable(app) is is_async

"""WSGI or ASGI: a table of callables, none of which is called.

Those of frameworks are in `tests/server/test_frameworks.py`, where they are served.
"""

import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import MethodType
from typing import Any, NoReturn
from unittest.mock import MagicMock
from wsgiref.validate import validator

import pytest
from asgiref.sync import markcoroutinefunction
from flask import Flask
from starlette.applications import Starlette
from werkzeug.local import LocalProxy

from bridge import WSGIToASGI
from bridge.interfaces import (
    Interface,
    as_asgi3,
    detect_interface,
    is_async_callable,
    needs_no_arguments,
    signature_of_call,
    why_not_callable_as,
)

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


def passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets `functools.wraps`."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def wsgi_of_view(view: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an app of a view, and says that it is the view."""

    @functools.wraps(view)
    def app(environ: Any, start_response: Any) -> NoReturn:
        raise AssertionError

    return app


def wsgi_of_method(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def app(self: Any, environ: Any, start_response: Any) -> NoReturn:
        raise AssertionError

    return app


def asgi_of_view(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    async def app(scope: Any, receive: Any, send: Any) -> NoReturn:
        raise AssertionError

    return app


def wsgi_with_config(config: Any, environ: Any, start_response: Any) -> NoReturn:
    raise AssertionError


def wsgi_of_defaults(environ: Any = None, start_response: Any = None) -> NoReturn:
    raise AssertionError


def asgi_of_defaults(scope: Any, receive: Any = None, send: Any = None) -> NoReturn:
    raise AssertionError


def wsgi_and_more(environ: Any, *rest: Any) -> NoReturn:
    raise AssertionError


def view(request: Any) -> NoReturn:
    raise AssertionError


async def async_view(request: Any) -> NoReturn:
    raise AssertionError


async def asgi_stream(scope: Any, receive: Any, send: Any) -> AsyncIterator[None]:
    yield


def needs_a_keyword(environ: Any, start_response: Any, *, config: Any) -> NoReturn:
    raise AssertionError


def with_a_number(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args) or number

    return wrapper


def two_kinds(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return first(*args) or second(*args)

    return wrapper


def unfinished() -> Callable[..., Any]:
    """A wrapper of something that is not there any more."""
    passed_to = wsgi

    def wrapper(*args: Any) -> Any:
        return passed_to(*args)  # noqa: F821  # deleted below, as is meant

    del passed_to
    return wrapper


def named_as(function: Callable[..., Any], signature: object) -> Callable[..., Any]:
    """What says another signature of itself than it has."""
    function.__signature__ = signature  # type: ignore[attr-defined]  # as `inspect` looks for it
    return function


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    def method(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    def method_with_config(self, config: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError

    configured = functools.partialmethod(method_with_config, {})
    of_view = wsgi_of_method(lambda self, request: None)
    logged = logged(lambda self, environ, start_response: None)

    async def async_method(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError


class StaticCall:
    @staticmethod
    def __call__(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError


class ClassCall:
    @classmethod
    def __call__(cls, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError


class PartialCall:
    __call__ = staticmethod(functools.partial(wsgi_with_config, {}))


class ObjectCall:
    __call__ = WSGIObject()


class DecoratedCall:
    __call__ = wsgi_of_method(lambda self, request: None)


class LoggedCall:
    __call__ = logged(lambda self, environ, start_response: None)


# Calling it never comes to an end.
OwnCall: Any = type("OwnCall", (), {})
OwnCall.__call__ = OwnCall()


class SlotCall:
    """The call is in the instance, by a slot, as with Sentry's middleware."""

    __slots__ = ("__call__",)

    def __init__(self, call: Callable[..., Any] | None = None) -> None:
        if call is not None:
            self.__call__ = call


class Decorator:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError


class Undecorated(Decorator):
    """One that has its own name for what it decorates, as WebOb's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.undecorated = function


class Middleware:
    """Passes on whatever comes."""

    def __init__(self, app: object) -> None:
        self.app = app

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError


class WSGIClass:
    """Called, it is the iterable itself: the class example of PEP 3333."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        raise AssertionError

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError


class WSGIClassByNew:
    def __new__(cls, environ: Any, start_response: Any) -> Any:
        raise AssertionError


class WSGIClassOfItems:
    """Python can iterate over it as well."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        raise AssertionError

    def __getitem__(self, index: int) -> bytes:
        raise AssertionError


class NoResponse:
    """A class with the arguments of an app."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        raise AssertionError


class ASGIClass:
    """As Starlette's endpoints are."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    def __await__(self) -> Any:
        raise AssertionError


class ASGI2Class:
    """The old form of ASGI, by class: `App(scope)` is what is awaited."""

    def __init__(self, scope: Any) -> None:
        raise AssertionError

    async def __call__(self, receive: Any, send: Any) -> None:
        raise AssertionError


class ConfiguredApp:
    """A class that makes an app, and is none."""

    def __init__(self, config: Any) -> None:
        raise AssertionError

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError


class AppBetweenTwo:
    def __init__(self, app: Any, config: Any) -> None:
        raise AssertionError

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError


class MetaApp(type):
    def __call__(cls, environ: Any, start_response: Any) -> Iterable[bytes]:
        raise AssertionError


class ClassOfMetaApp(metaclass=MetaApp):
    pass


class WithAFalseSignature:
    __signature__ = "?"

    def __call__(self, environ: Any, start_response: Any) -> NoReturn:
        raise AssertionError


# Leads back to itself.
CIRCLE = Middleware(None)
CIRCLE.app = CIRCLE

MARKED = markcoroutinefunction(lambda scope, receive, send: None)


CALLABLES: list[tuple[str, object, Interface | None, bool]] = [
    # id, callable, its interface, whether it is async
    ("WSGI function", wsgi, "wsgi", False),
    ("WSGI function with options", wsgi_with_options, "wsgi", False),
    ("WSGI function by position", wsgi_with_positions, "wsgi", False),
    ("WSGI function of defaults", wsgi_of_defaults, "wsgi", False),
    ("WSGI function with more", wsgi_and_more, "wsgi", False),
    ("WSGI within the validator", validator(wsgi), "wsgi", False),
    ("WSGI function, decorated", logged(wsgi), "wsgi", False),
    ("WSGI function, decorated twice", logged(logged(wsgi)), "wsgi", False),
    ("WSGI function, decorated without wraps", passed_on(wsgi), "wsgi", False),
    ("WSGI function, decorated with a number", with_a_number(wsgi, 7), "wsgi", False),
    ("WSGI made of a view, undecorated", Undecorated(view), "wsgi", False),
    ("WSGI function, decorated by an object", Decorator(wsgi), "wsgi", False),
    ("WSGI function, cached", functools.lru_cache(wsgi), "wsgi", False),
    ("WSGI function behind a proxy", LocalProxy(lambda: wsgi), "wsgi", False),
    ("WSGI function that says it is another", named_as(lambda environ, start: [], "?"), "wsgi", False),
    ("WSGI made of a view", wsgi_of_view(view), "wsgi", False),
    ("WSGI made of an async view", wsgi_of_view(async_view), "wsgi", False),
    ("WSGI made of a view, that takes anything", logged(view), "wsgi", False),
    ("WSGI made of a method", WSGIObject().of_view, "wsgi", False),
    ("WSGI made of a view, partial", functools.partial(wsgi_of_view(view)), "wsgi", False),
    ("WSGI object", WSGIObject(), "wsgi", False),
    ("WSGI object behind a proxy", LocalProxy(WSGIObject), "wsgi", False),
    ("WSGI object with a static call", StaticCall(), "wsgi", False),
    ("WSGI object with a class's call", ClassCall(), "wsgi", False),
    ("WSGI object with a partial for its call", PartialCall(), "wsgi", False),
    ("WSGI object with an object for its call", ObjectCall(), "wsgi", False),
    ("WSGI object with a decorated call", DecoratedCall(), "wsgi", False),
    ("WSGI object with a logged call", LoggedCall(), "wsgi", False),
    ("WSGI object with its call in a slot", SlotCall(wsgi), "wsgi", False),
    ("WSGI method", WSGIObject().method, "wsgi", False),
    ("WSGI method, logged", WSGIObject().logged, "wsgi", False),
    ("WSGI method, configured", WSGIObject().configured, "wsgi", False),
    ("WSGI method of an object", MethodType(functools.partial(wsgi_with_config), {}), "wsgi", False),
    ("WSGI class", WSGIClass, "wsgi", False),
    ("WSGI class of items", WSGIClassOfItems, "wsgi", False),
    ("WSGI class by __new__", WSGIClassByNew, "wsgi", False),
    ("WSGI class by its metaclass", ClassOfMetaApp, "wsgi", False),
    ("WSGI lambda", lambda environ, start_response: [], "wsgi", False),
    ("WSGI partial", functools.partial(wsgi_with_options, debug=True), "wsgi", False),
    ("WSGI partial of a logged function", functools.partial(logged(wsgi_with_config), {}), "wsgi", False),
    ("WSGI within middleware", Middleware(wsgi), "wsgi", False),
    ("Flask within middleware", Middleware(Flask(__name__)), "wsgi", False),
    ("Flask", Flask(__name__), "wsgi", False),
    ("Flask behind a proxy", LocalProxy(lambda: Flask(__name__)), "wsgi", False),
    ("ASGI function", asgi, "asgi", True),
    ("ASGI function that is not async", asgi_not_async, "asgi", False),
    ("ASGI function of defaults", asgi_of_defaults, "asgi", False),
    ("ASGI function, marked", MARKED, "asgi", True),
    ("ASGI function, decorated", logged(asgi), "asgi", False),
    ("ASGI function, decorated without wraps", passed_on(asgi), "asgi", False),
    ("ASGI made of a view", asgi_of_view(view), "asgi", True),
    ("ASGI object", ASGIObject(), "asgi", True),
    ("ASGI object with its call in a slot", SlotCall(asgi), "asgi", True),
    ("ASGI class", ASGIClass, "asgi", False),
    ("ASGI method", WSGIObject().async_method, "asgi", True),
    ("ASGI partial", functools.partial(asgi), "asgi", True),
    (
        "ASGI partial of a partial of an object",
        functools.partial(functools.partial(ASGIObject())),
        "asgi",
        True,
    ),
    ("ASGI within middleware", Middleware(ASGIObject()), "asgi", False),
    ("Starlette", Starlette(), "asgi", True),
    ("our own adapter", WSGIToASGI(wsgi), "asgi", True),
    ("ASGI 2 function", asgi2, "asgi2", False),
    ("ASGI 2 function, decorated", logged(asgi2), "asgi2", False),
    ("ASGI 2 class", ASGI2Class, "asgi2", False),
    ("class of an ASGI object", ASGIObject, None, False),
    ("class of a WSGI object with a config", ConfiguredApp, None, False),
    ("class of what is no response", NoResponse, None, False),
    ("class of middleware", AppBetweenTwo, None, False),
    ("class of anything", Middleware, None, False),
    ("class written in C", list, None, False),
    ("async view", async_view, None, True),
    ("async generator", asgi_stream, None, False),
    ("ASGI function with three, decorated without wraps", passed_on(asgi_not_async), None, False),
    ("view, decorated without wraps", passed_on(view), None, False),
    ("async view, decorated", logged(async_view), None, False),
    ("view without arguments, decorated", logged(nothing), None, False),
    ("two within one", two_kinds(wsgi, asgi), None, False),
    ("nothing within it yet", unfinished(), None, False),
    ("circle", CIRCLE, None, False),
    ("its own call", OwnCall(), None, False),
    ("mock", MagicMock(), None, False),
    ("no arguments", nothing, None, False),
    ("any arguments", anything, None, False),
    ("any arguments, partial", functools.partial(anything, 1), None, False),
    ("any arguments, method", MethodType(anything, 1), None, False),
    ("four arguments", too_many, None, False),
    ("needs a keyword", needs_a_keyword, None, False),
    ("false signature", WithAFalseSignature(), "wsgi", False),
    ("no signature", max, None, False),
    ("slot without a call", SlotCall(), None, False),
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


@pytest.mark.parametrize(
    ("app", "interface"),
    [pytest.param(app, interface, id=name) for name, app, interface, _ in CALLABLES if interface],
)
def test_what_is_told_can_be_called_so(app: object, interface: Interface) -> None:
    assert why_not_callable_as(app, interface) is None


WHY_NOT: list[tuple[str, object, Interface, str | None]] = [
    # Refused is only what must fail at every call.
    ("async function", asgi, "wsgi", "is async"),
    ("async function of any arguments", logged(asgi), "wsgi", None),
    ("async generator", asgi_stream, "asgi", "is an async generator"),
    ("WSGI for ASGI", wsgi, "asgi", "cannot be called with (scope, receive, send)"),
    ("ASGI for WSGI", asgi_not_async, "wsgi", "cannot be called with (environ, start_response)"),
    ("WSGI for ASGI 2", wsgi, "asgi2", "cannot be called with (scope)"),
    ("view", wsgi_of_view(view), "asgi2", "cannot be called with (scope)"),
    ("any arguments", anything, "asgi", None),
    ("needs a keyword", needs_a_keyword, "wsgi", "cannot be called with (environ, start_response)"),
    ("no signature", max, "asgi2", None),
    ("false signature", WithAFalseSignature(), "wsgi", None),
]


@pytest.mark.parametrize(
    ("app", "interface", "reason"), [pytest.param(*case, id=name) for name, *case in WHY_NOT]
)
def test_why_not(app: object, interface: Interface, reason: str | None) -> None:
    assert why_not_callable_as(app, interface) == reason


NO_ARGUMENTS: list[tuple[str, object, bool]] = [
    ("none", nothing, True),
    ("none, decorated", logged(nothing), True),
    ("defaults", wsgi_of_defaults, True),
    ("any", anything, False),
    ("app", wsgi, False),
    ("app, decorated", logged(wsgi), False),
    ("app made of a view without arguments", wsgi_of_view(nothing), False),
    ("circle", functools.update_wrapper(anything_else := (lambda *args: None), anything_else), False),
    ("no signature", max, False),
    ("no callable", None, False),
]


@pytest.mark.parametrize(
    ("function", "is_so"), [pytest.param(function, is_so, id=name) for name, function, is_so in NO_ARGUMENTS]
)
def test_needs_no_arguments(function: object, is_so: bool) -> None:
    assert needs_no_arguments(function) is is_so


def test_the_signature_is_that_of_the_call() -> None:
    assert list(signature_of_call(wsgi_of_view(view)).parameters) == ["environ", "start_response"]  # type: ignore[union-attr]  # it has one
    assert signature_of_call(max) is None
    assert signature_of_call("no callable") is None


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("app", "'app' is not callable"),
        (asgi, "is an async callable, so an ASGI application: give it to the ASGI host as it is"),
        (asgi_not_async, "cannot be called with (environ, start_response)"),
        (view, "cannot be called with (environ, start_response)"),
    ],
    ids=["no callable", "async", "three arguments", "one argument"],
)
def test_the_adapter_refuses_what_is_no_wsgi_app(app: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^WSGIToASGI takes a WSGI application.*{re.escape(message)}$"):
        WSGIToASGI(app)


async def test_an_app_of_the_old_asgi_is_called_as_one_of_today() -> None:
    calls: list[object] = []

    def old(scope: object) -> object:
        async def call(receive: object, send: object) -> None:
            calls.append((scope, receive, send))

        return call

    arguments: list[Any] = [{"type": "http"}, "receive", "send"]
    await as_asgi3(old, "asgi2")(*arguments)
    assert calls == [tuple(arguments)]

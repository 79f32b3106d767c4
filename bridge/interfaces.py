"""A callable → WSGI or ASGI, without a call. Pure.

`inspect.signature` believes a wrapper's `__wrapped__`. A server must know how to call the wrapper itself:
Werkzeug's `@Request.application` makes an app with two arguments of a view with one. So this module looks at
the code that will run. Only if that takes any arguments, the callable that gets them decides.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

from bridge.types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

if TYPE_CHECKING:
    from flask import Flask

__all__ = [
    "Interface",
    "as_asgi3",
    "detect_interface",
    "is_async_callable",
    "is_flask",
    "needs_no_arguments",
    "signature_of_call",
    "why_not_callable_as",
]

Interface: TypeAlias = Literal["wsgi", "asgi", "asgi2"]
"""`asgi2` is the old form of ASGI: a call with the scope returns a coroutine function."""

_ARGUMENTS: dict[Interface, tuple[str, ...]] = {
    "wsgi": ("environ", "start_response"),
    "asgi": ("scope", "receive", "send"),
    "asgi2": ("scope",),
}
_BY_NUMBER: dict[int, Interface] = {len(names): interface for interface, names in _ARGUMENTS.items()}

# The usual name of the first argument says what an app is; then every argument may have a default.
_BY_FIRST_NAME: dict[str, Interface] = {"environ": "wsgi", "env": "wsgi", "scope": "asgi"}

# Where middleware keeps the app that gets its arguments; the last is Dash's.
_INNER_APPS = ("app", "application", "wsgi_app", "asgi_app", "server")

# Nested wrappers to look through; one may also lead back to itself.
_MAX_DEPTH = 16

_SLOT_WRAPPER = type(object.__init__)
_BUILTIN_METHOD = type("".join)


def is_flask(app: object) -> "TypeGuard[Flask]":
    """Whether it is a Flask app; without importing Flask, as an app of Flask's has done that."""
    flask = sys.modules.get("flask")
    return flask is not None and isinstance(app, flask.Flask)


def is_async_callable(app: object) -> bool:
    """Whether calling it gives a coroutine: an `async def`, or an object whose `__call__` is one."""
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isclass(app):
        return False
    # Only here: asgiref's import makes a pool of threads, and monkey patching must come before that.
    from asgiref.sync import iscoroutinefunction

    if iscoroutinefunction(app):
        return True
    called = _called(app)
    return called is not app and is_async_callable(called)


def detect_interface(app: object) -> Interface | None:
    """Return the interface of an application, by how it is called; None if that is unclear.

    An async callable is ASGI. Otherwise the number of required arguments decides: WSGI's
    `(environ, start_response)`, ASGI's `(scope, receive, send)`, the old ASGI's `(scope)`; or the name of the
    first, if they have defaults. If a callable takes any arguments, the callable that gets them decides.
    """
    return _detect(app, 0)


def why_not_callable_as(app: object, interface: Interface) -> str | None:
    """Return why every call of the app by this interface fails, as in "X is async"; None if one may not."""
    if interface == "wsgi" and is_async_callable(app):
        return "is async"
    if inspect.isasyncgenfunction(_called(app)):
        return "is an async generator"
    signature = signature_of_call(app)
    if signature is not None and not _takes(signature, len(_ARGUMENTS[interface])):
        return f"cannot be called with ({', '.join(_ARGUMENTS[interface])})"
    return None


def signature_of_call(app: object) -> inspect.Signature | None:
    """Return the signature of the code that a call runs; None if Python does not know it."""
    if not callable(app):
        return None
    try:
        return inspect.signature(_undecorated(_called(app)), follow_wrapped=False)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None  # written in C, or an object whose `__call__` is missing, or itself


def as_asgi3(app: Callable[..., Any], interface: Literal["asgi", "asgi2"]) -> ASGI3Application:
    """Return an ASGI app in the form of today; one of the old form is called twice."""
    if interface == "asgi":
        return app

    async def call(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await app(scope)(receive, send)

    return call


def needs_no_arguments(function: object) -> bool:
    """Whether a function can be called without arguments.

    If it takes any arguments, it is a decorator's wrapper, and the wrapped function decides.
    """
    for _ in range(_MAX_DEPTH):
        signature = signature_of_call(function)
        if signature is None or not _takes(signature, 0):
            return False
        if not _takes_any(signature):
            return True
        function = _wrapped(function)
    return False


def _detect(app: Any, depth: int) -> Interface | None:
    if not callable(app):
        return None
    if is_flask(app):  # also one behind a proxy
        return "wsgi"
    signature = signature_of_call(app)
    if is_async_callable(app):
        return "asgi" if signature is None or _takes(signature, 3) else None
    if inspect.isasyncgenfunction(_called(app)):
        return None
    if signature is None:
        return _detect_passed_on(app, depth + 1)
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = sum(parameter.default is parameter.empty for parameter in positional)
    found = _BY_FIRST_NAME.get(positional[0].name) if positional else None
    if found is None or not _takes(signature, len(_ARGUMENTS[found])):
        if required < 2 and _takes_any(signature):
            return _detect_passed_on(app, depth + 1)
        found = _BY_NUMBER.get(required)
    if found is None or not _takes(signature, len(_ARGUMENTS[found])):
        return None
    is_class = inspect.isclass(app) and _called(app) is app  # not one that its metaclass makes an app
    return None if is_class and not _makes_response(app, found) else found


def _detect_passed_on(app: Any, depth: int) -> Interface | None:
    """Return the interface of an app that takes any arguments, from the callable that gets them."""
    if depth > _MAX_DEPTH:
        return None
    wrapped = _wrapped(app)
    if wrapped is None:
        inner = {id(each): each for each in _callables_within(_called(app))}
        if len(inner) != 1:
            return None
        [passed_to] = inner.values()
        found = _detect(passed_to, depth)
        # The callable may be anything, such as a view with one argument; three arguments alone prove nothing.
        return found if found == "wsgi" or is_async_callable(passed_to) else None
    found = _detect(wrapped, depth)
    signature = signature_of_call(wrapped)
    if found == "asgi2" and (signature is None or next(iter(signature.parameters), None) != "scope"):
        return "wsgi"  # a decorator has made an app of a view that takes a request
    return found


def _wrapped(app: object) -> object | None:
    """Return what a wrapper wraps, bound to the same arguments as the wrapper; None if it wraps nothing."""
    if isinstance(app, functools.partial):
        wrapped = _wrapped(app.func)
        return functools.partial(wrapped, *app.args, **app.keywords) if callable(wrapped) else None
    if isinstance(app, types.MethodType):
        wrapped = _wrapped(app.__func__)
        return types.MethodType(wrapped, app.__self__) if callable(wrapped) else None
    wrapped = getattr(app, "__wrapped__", None)
    if wrapped is None and _has(app, "undecorated"):
        wrapped = getattr(app, "undecorated", None)  # WebOb's name for it
    if wrapped is None and not isinstance(app, types.FunctionType) and (called := _called(app)) is not app:
        return _wrapped(called)
    return wrapped if callable(wrapped) else None


def _callables_within(called: object) -> Iterator[object]:
    """Yield what may get a function's arguments: what it closes over, or the app of its `self`."""
    if isinstance(called, types.MethodType):
        for name in _INNER_APPS:
            if _has(called.__self__, name):
                yield from filter(callable, [getattr(called.__self__, name, None)])
    elif isinstance(called, types.FunctionType):
        for cell in called.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:
                continue  # it is empty so far
            if callable(held) and not inspect.isclass(held):
                yield held


def _has(app: object, name: str) -> bool:
    """Whether an attribute really exists: a mock or a proxy returns one for every name."""
    return inspect.getattr_static(app, name, None) is not None


def _called(app: object) -> Any:
    """Return the function, method, class or partial that a call of `app` runs; `app` if C code runs."""
    for _ in range(_MAX_DEPTH):
        if isinstance(app, (types.FunctionType, types.MethodType, functools.partial)):
            break
        if inspect.isclass(app) and type(app).__call__ is type.__call__:
            break
        call = _bound_call(app)
        if call is None or isinstance(call, (types.MethodWrapperType, _BUILTIN_METHOD)):
            break
        app = call
    return app


def _bound_call(app: object) -> Any:
    """Return the `__call__` that Python finds for an object: its class's, bound as its descriptor says."""
    kind = app.__class__  # type(app) would be the proxy's class
    for base in kind.__mro__:
        if "__call__" in vars(base):
            call = vars(base)["__call__"]
            bind = getattr(type(call), "__get__", None)
            try:
                return call if bind is None else bind(call, app, kind)
            except AttributeError:
                return None  # a slot without a value
    return None


def _undecorated(called: Any) -> Any:
    """Return a copy that is called the same, without the attributes that decorators have set."""
    if isinstance(called, functools.partial):
        return functools.partial(_undecorated(_called(called.func)), *called.args, **called.keywords)
    if isinstance(called, types.MethodType):
        return types.MethodType(_undecorated(_called(called.__func__)), called.__self__)
    if inspect.isclass(called):
        maker = _maker(called)
        return called if maker is None else types.MethodType(_undecorated(_called(maker)), called)
    if isinstance(called, types.FunctionType):
        copy = types.FunctionType(
            called.__code__, {}, called.__name__, called.__defaults__, called.__closure__
        )
        copy.__kwdefaults__ = called.__kwdefaults__
        return copy
    return called


def _maker(cls: Any) -> Callable[..., Any] | None:
    """Return the method of a class that gets its call's arguments; None if it has none of its own."""
    for made, default in ((cls.__init__, object.__init__), (cls.__new__, object.__new__)):
        if made is not default and not isinstance(made, (_SLOT_WRAPPER, _BUILTIN_METHOD)):
            return made  # type: ignore[no-any-return]  # what a class has there
    return None


def _makes_response(cls: Any, interface: Interface) -> bool:
    """Whether a call of a class returns what the interface expects of a call."""
    if cls.__new__ is not object.__new__:
        return True  # it may return anything
    if interface == "wsgi":
        return hasattr(cls, "__iter__") or hasattr(cls, "__getitem__")
    if interface == "asgi":
        return hasattr(cls, "__await__")
    return inspect.iscoroutinefunction(inspect.getattr_static(cls, "__call__", None))


def _takes(signature: inspect.Signature, number: int) -> bool:
    """Whether a call with this number of arguments is possible."""
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def _takes_any(signature: inspect.Signature) -> bool:
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values())

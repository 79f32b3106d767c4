"""A function of a Flask app → its name and module, and whether it may run in any thread. Pure.

`functools.wraps` copies `__module__` and `__name__` to a wrapper, so these functions look at the code that
runs.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias, TypeVar

from flask import templating
from flask import views as flask_views

__all__ = [
    "any_thread",
    "as_declared",
    "is_flasks_own",
    "is_inline",
    "is_marked",
    "is_safe",
    "layers",
    "module_of",
    "name_of",
    "name_of_decorator",
]

_Function: TypeAlias = Callable[..., Any]
_FunctionT = TypeVar("_FunctionT", bound=_Function)

_FLASKS_OWN = (flask_views.__file__, templating.__file__)

# Packages whose functions keep nothing in the thread: what they know of a request is in its contexts and in
# context variables. A test holds each.
_KNOWN_HOOKS = frozenset(
    {"bridge", "flask_cors", "flask_login", "flask_sqlalchemy", "flask_wtf", "opentelemetry", "sentry_sdk"}
)

# Those of them whose hooks never wait, and so need no worker thread. Their decorators call the view by
# `ensure_sync`, as Flask's documentation says, which awaits it on the loop.
_KNOWN_INLINE = frozenset({"bridge", "flask_cors", "flask_login"})

_MARK = "__bridge_any_thread__"


def any_thread(function: _FunctionT) -> _FunctionT:
    """Mark a plain function that may run in any thread, so that it does not keep async views in threads.

        @app.before_request
        @any_thread
        def count():
            counter.add(1)

    A hook (before, after, teardown, URL value preprocessor) may then run in another thread than the rest of
    its request. It must keep nothing in the thread, such as a sqlite3 connection or a `threading.local`. All
    else runs on the event loop itself, and must not wait: receivers of signals, `url_defaults`, URL
    converters, overridden methods of Flask, a decorator's wrapper, and middleware around `app.wsgi_app`. The
    last three must call only what they wrap.

    Args:
        function: a function, a method, or a class or an instance with `__call__`.

    Returns:
        the same object.

    Raises:
        TypeError: the object, such as a builtin, takes no attributes.
    """
    marked: Any = function.__func__ if inspect.ismethod(function) else function
    try:
        # The mark is the function: `functools.wraps` copies it to a wrapper, which is not marked by that.
        setattr(marked, _MARK, marked)
    except AttributeError:
        raise TypeError(
            f"any_thread() cannot mark {function!r}; wrap it in a function, and mark that"
        ) from None
    return function


def is_safe(function: _Function) -> bool:
    """Whether a plain function may run in any thread: it is marked, or a known extension's."""
    return is_marked(function) or _package_of(function) in _KNOWN_HOOKS


def is_marked(function: _Function) -> bool:
    """Whether `any_thread` marks a function, or the class that it belongs to."""
    candidates: list[Any] = [function, type(function)]
    if isinstance(function, partial):
        candidates.append(function.func)
    owner = getattr(function, "__self__", None)  # a method's: its whole class may be marked
    if owner is not None:
        candidates += [getattr(function, "__func__", None), type(owner), owner]
    return any(vars(each).get(_MARK) is each for each in candidates if hasattr(each, "__dict__"))


def is_flasks_own(function: _Function) -> bool:
    """Whether it is Flask's own code that only calls a view's method, or fills a dict."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename in _FLASKS_OWN


def is_inline(function: _Function) -> bool:
    """Whether a plain function may run on the loop itself: it never waits, except by `ensure_sync`."""
    function = as_declared(function)
    if _package_of(function) in _KNOWN_INLINE:
        return True
    # A marked wrapper of a view may; a marked hook may wait.
    return is_marked(function) and any(
        inspect.iscoroutinefunction(layer) or is_flasks_own(layer) for layer in layers(function)
    )


def as_declared(function: _Function) -> _Function:
    """Return the function as the app has it, without what Bridge has put around it."""
    while _package_of(function) == "bridge" and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def layers(function: _Function) -> Iterator[_Function]:
    """Yield a function and what it wraps, from the outside to the inside."""
    seen: set[int] = set()
    layer: Any = function
    while layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__wrapped__", None)


def name_of(function: Any) -> str:
    """Return the name of a function, without that of the function that made it."""
    if isinstance(function, partial):
        return name_of(function.func)
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name.rpartition("<locals>.")[2]


def name_of_decorator(wrapper: Any) -> str:
    """Return the name of the decorator that made a wrapper; the wrapper has the wrapped function's name."""
    code = getattr(wrapper, "__code__", None)
    if code is None:
        return name_of(wrapper)
    maker, _, name = code.co_qualname.rpartition(".<locals>.")
    return str(maker or name).replace(".<locals>", "")


def module_of(function: Any) -> str:
    """Return the module whose code runs; `functools.wraps` does not change it."""
    if isinstance(function, partial):
        return module_of(function.func)
    function = getattr(function, "__func__", function)
    code_globals = getattr(function, "__globals__", None)
    if code_globals is not None:
        return str(code_globals.get("__name__", ""))
    is_named = hasattr(function, "__qualname__")
    return str(getattr(function if is_named else type(function), "__module__", ""))


def _package_of(function: Any) -> str:
    return module_of(function).partition(".")[0]

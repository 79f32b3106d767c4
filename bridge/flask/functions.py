"""What is known of a function of a Flask app's: its name, and whether it may run in any thread.

A function says by `__module__` and `__name__` what it stands for, as `functools.wraps` copies them. The code
that runs is what matters here. Pure: functions are only looked at.
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
    "described",
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

# Packages whose functions were looked at, each held by a test. They keep what they know of a request in its
# contexts and context variables, and nothing in the thread.
_KNOWN_HOOKS = frozenset(
    {"bridge", "flask_cors", "flask_login", "flask_sqlalchemy", "flask_wtf", "opentelemetry", "sentry_sdk"}
)

# Of these, whose hooks do not wait for anything, so that they need no worker thread either. Their decorators
# call the view by `ensure_sync`, as Flask's documentation has it, which awaits it on the loop.
_KNOWN_INLINE = frozenset({"bridge", "flask_cors", "flask_login"})

_MARK = "__bridge_any_thread__"


def any_thread(function: _FunctionT) -> _FunctionT:
    """Mark something plain that may be called in any thread, so that it does not keep async views in threads.

        @app.before_request
        @any_thread
        def count():
            counter.add(1)

    A hook (before, after, teardown, URL value preprocessor) may so run in another thread than the rest of its
    request. It must not keep anything in the thread, such as a sqlite3 connection or a `threading.local`.
    All else runs on the event loop itself, and must not wait: receivers of signals, `url_defaults`, URL
    converters, overridden methods of Flask, a decorator's wrapper, and middleware around `app.wsgi_app`. The
    last three must call nothing but what they are around.

    Args:
        function: a function, a method, or a class or an instance with `__call__`.

    Returns:
        the same object.

    Raises:
        TypeError: no attribute can be set on it, such as on a builtin.
    """
    marked: Any = function.__func__ if inspect.ismethod(function) else function
    try:
        # Itself, since `functools.wraps` copies attributes: what wraps a marked function is not marked.
        setattr(marked, _MARK, marked)
    except AttributeError:
        raise TypeError(
            f"any_thread() cannot mark {function!r}; wrap it in a function, and mark that"
        ) from None
    return function


def is_safe(function: _Function) -> bool:
    """Whether a plain function may run in any thread: it is marked, or of an extension that was looked at."""
    return is_marked(function) or _package_of(function) in _KNOWN_HOOKS


def is_marked(function: _Function) -> bool:
    """Whether a function is marked by `any_thread`, or the class that it belongs to."""
    candidates: list[Any] = [function, type(function)]
    if isinstance(function, partial):
        candidates.append(function.func)
    owner = getattr(function, "__self__", None)  # of a method: its class may be marked as a whole
    if owner is not None:
        candidates += [getattr(function, "__func__", None), type(owner), owner]
    return any(vars(each).get(_MARK) is each for each in candidates if hasattr(each, "__dict__"))


def is_flasks_own(function: _Function) -> bool:
    """Whether it is code of Flask's that does no more than call a view's method, or fill a dict."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename in _FLASKS_OWN


def is_inline(function: _Function) -> bool:
    """Whether a plain function may be called on the loop itself: it never waits, but by `ensure_sync`."""
    function = as_declared(function)
    if _package_of(function) in _KNOWN_INLINE:
        return True
    # Of what is marked, wrappers of views; a hook may wait.
    return is_marked(function) and any(
        inspect.iscoroutinefunction(layer) or is_flasks_own(layer) for layer in layers(function)
    )


def as_declared(function: _Function) -> _Function:
    """What somebody has written: Bridge puts functions of its own around some."""
    while _package_of(function) == "bridge" and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def layers(function: _Function) -> Iterator[_Function]:
    """A function, and what it says it is wrapped around, from the outside to the inside."""
    seen: set[int] = set()
    layer: Any = function
    while layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__wrapped__", None)


def described(middleware: Any) -> str:
    """A middleware's name, and its module, to be read in a sentence."""
    code = getattr(middleware, "__code__", None)
    # Within what has made it: by itself, it is often called "wrapper".
    name = name_of(middleware) if code is None else code.co_qualname.replace(".<locals>", "")
    return f"{name!r} ({module_of(middleware)})"


def name_of(function: Any) -> str:
    """The name of a function, without that of a function that it was made in."""
    if isinstance(function, partial):
        return name_of(function.func)
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name.rpartition("<locals>.")[2]


def name_of_decorator(wrapper: Any) -> str:
    """The name of what has made a wrapper, which itself has that of what it is around."""
    code = getattr(wrapper, "__code__", None)
    if code is None:
        return name_of(wrapper)
    maker, _, name = code.co_qualname.rpartition(".<locals>.")
    return str(maker or name).replace(".<locals>", "")


def module_of(function: Any) -> str:
    """The module whose code it is, which `functools.wraps` does not change."""
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

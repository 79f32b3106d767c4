"""Find and import the app that a command line names, with errors that say what is wrong."""

import ast
import difflib
import functools
import importlib
import inspect
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bridge.errors import BridgeError
from bridge.interfaces import (
    Interface,
    detect_interface,
    is_async_callable,
    needs_no_arguments,
    signature_of_call,
    why_not_callable_as,
)
from bridge.own_frames import keep_own_frames

__all__ = [
    "AppError",
    "BrokenAppError",
    "LoadedApp",
    "check_names",
    "check_workers_start",
    "count_routes",
    "enable_own_loggers",
    "find_app",
    "is_static",
    "load_app",
    "load_function",
]

# What Flask's own command looks for: modules in a folder, and names in a module, each in its order.
_MODULES = ("wsgi", "app")
_NAMES = ("app", "application")
_FACTORIES = ("create_app", "make_app")

# The server and its adapters import these, besides Python's own modules. All of them are packages, so a
# single file of the same name cannot be a copy of one; a folder can.
_NEEDED = (
    "a2wsgi",
    "anyio",
    "asgiref",
    "bridge",
    "click",
    "dotenv",
    "greenlet",
    "h11",
    "httptools",
    "prometheus_client",
    "uvicorn",
    "uvloop",
    "watchfiles",
    "websockets",
    "wsproto",
    "yaml",
)


class AppError(BridgeError):
    """The app cannot be loaded; the message is one line that names what is missing."""


class BrokenAppError(AppError):
    """The app's own code failed while it was loaded; `report` has the traceback, with the app's frames alone.

    Args:
        what: the step that has failed.
        cause: the app's exception.
    """

    def __init__(self, what: str, cause: BaseException) -> None:
        lines = str(cause).strip().splitlines()  # the first says enough beside the traceback
        super().__init__(f"{what} failed: {': '.join([type(cause).__name__, *lines[:1]])}")
        keep_own_frames(cause)
        self.report = "".join(traceback.format_exception(cause))


@dataclass(frozen=True)
class LoadedApp:
    """An app, and what was found out about it."""

    app: Callable[..., Any]
    interface: Interface
    name: str
    """What it was loaded from, as `module:attribute`, or what the object is called."""

    @property
    def kind(self) -> str:
        """What it is, in a word or two: "Flask", "WSGI", "ASGI"."""
        for base in type(self.app).__mro__:
            if base.__module__ == "flask.app" and base.__name__ == "Flask":
                return "Flask"
        return {"wsgi": "WSGI", "asgi": "ASGI", "asgi2": "ASGI 2"}[self.interface]


def is_static(endpoint: str) -> bool:
    """Whether Flask itself has added a route with this endpoint, an app's or a blueprint's static files."""
    return endpoint.rpartition(".")[2] == "static"


def count_routes(endpoints: Iterable[str]) -> str:
    """How many routes have these endpoints, in words; those that serve static files are not counted."""
    own = [not is_static(endpoint) for endpoint in endpoints]
    routes = f"{sum(own)} route{'' if sum(own) == 1 else 's'}"
    return routes if all(own) else f"{routes} and static files"


def check_names(folder: str) -> None:
    """Refuse a folder that has a module with the name of a package that the server needs.

    A process has one module of each name: the app would import the server's instead of its own, or the
    server the app's.

    Raises:
        AppError: the folder has one.
    """
    here = Path(folder)
    clashes = [(here / f"{name}.py", name) for name in _NEEDED if (here / f"{name}.py").is_file()]
    package = here / "bridge"
    # A clone of this repository has the package itself.
    if (package / "__init__.py").is_file() and not (package / "runners").is_dir():
        clashes.append((package, "bridge"))
    if clashes:
        path, name = clashes[0]
        raise AppError(
            f"{path.resolve()} has the name of the package {name!r}, which the server needs, so that the app "
            "would get that package and not its own module; rename it"
        )


def check_workers_start() -> None:
    """Check that Python can start other processes from the current folder.

    A new worker looks in that folder first for the modules of Python that it starts with.

    Raises:
        BridgeError: it cannot; its traceback has been printed.
    """
    if sys.flags.safe_path:
        return
    suspects = sorted(
        name
        for name in os.listdir()
        if name.removesuffix(".py") in sys.stdlib_module_names
        and (name.endswith(".py") or os.path.isfile(os.path.join(name, "__init__.py")))
    )
    if not suspects:
        return
    process = multiprocessing.get_context("spawn").Process(target=_start)
    process.start()
    process.join()
    if process.exitcode:
        raise BridgeError(
            f"no worker can be started in {os.getcwd()}: see above. {', '.join(suspects)} there "
            f"{'has' if len(suspects) == 1 else 'have'} the name of a module of Python's own; rename it, or "
            "start the server elsewhere, with --app-dir"
        )


def _start() -> None:
    """Do nothing: a process that gets here has started."""


def find_app(folder: str = ".") -> str:
    """Find what to serve when the command line names no app: FLASK_APP, or the module Flask's command takes.

    Args:
        folder: where to look for the module.

    Raises:
        AppError: there is none.
    """
    named = os.environ.get("FLASK_APP")
    if named:
        return named
    for module in _MODULES:
        for file in (Path(folder, module, "__init__.py"), Path(folder, f"{module}.py")):
            if file.is_file():
                return str(file)
    raise AppError(
        "no app given, FLASK_APP is not set, and there is no wsgi.py or app.py in "
        f"{os.path.abspath(folder)}; name the app, as module:app"
    )


def load_app(
    target: str | Callable[..., Any], *, factory: bool = False, interface: Interface | None = None
) -> LoadedApp:
    """Import an app.

    Args:
        target: `module:attribute`, `module:factory()`, `module`, or the path of a `.py` file instead of
            the module. The arguments of a factory are literals, as in Flask's command. Or an app, or a
            factory, that is there already.
        factory: the attribute is a factory even without the parentheses.
        interface: what the app speaks, if it cannot be told by looking at it. It is believed, unless every
            call of the app would fail.

    Raises:
        AppError: there is no such module, or nothing in it that can be served.
        BrokenAppError: the app's own code raised an exception.
    """
    app: Any
    if isinstance(target, str):
        named = _parse_target(target)
        module = _import(named)
        if named.expression:
            expression, app = named.expression, _evaluate(module, named.expression)
            _check_no_view(module, expression, app)
        else:
            expression, app = _best_of(module)
        name = f"{named.module}:{expression}"
    else:
        app, name = target, _name_of(target)
    if not name.endswith(")") and (factory or _is_factory(app, interface)):
        name += "()"
        app = _call(app, (), {}, name)
    enable_own_loggers()
    if not callable(app):
        raise AppError(f"{name} is of type {type(app).__name__}, which is not callable, and so not an app")
    return LoadedApp(app, _interface_of(app, name, interface), name)


def _check_no_view(module: ModuleType, name: str, found: object) -> None:
    flask = sys.modules.get("flask")
    for app_name, app in vars(module).items():
        if flask and isinstance(app, flask.Flask) and found in app.view_functions.values():
            raise AppError(
                f"{module.__name__}:{name} is a view of the Flask app {app_name!r}, not an app; "
                f"name the app, as {module.__name__}:{app_name}"
            )


def load_function(target: str) -> Callable[..., Any]:
    """Import a function that a setting names, as `module:function`.

    Raises:
        AppError: there is no such module or function.
        BrokenAppError: the module's own code raised an exception.
    """
    named = _parse_target(target)
    if not named.expression:
        raise AppError(f"{target!r} names a module; a function in it is expected, as {target}:function")
    function: object = _evaluate(_import(named), named.expression)
    enable_own_loggers()
    if not callable(function):
        raise AppError(f"{target!r} is of type {type(function).__name__}; a function is expected")
    return function


def _name_of(app: object) -> str:
    """What an object is called: a Flask app, or a function, has a name."""
    names = (getattr(app, "name", None), getattr(app, "__qualname__", None), type(app).__qualname__)
    return next(name for name in names if isinstance(name, str))


@dataclass(frozen=True)
class _Target:
    """An app, as a command line names it."""

    module: str
    file: Path | None
    """Where the module has to come from, if a path was given."""
    expression: str
    """The attribute or the call of a factory; empty if none was given."""


def _parse_target(target: str) -> _Target:
    """Take apart `module:attribute`; the folder of a file, or of its package, is put on sys.path.

    Raises:
        AppError: it is of another form, or there is no such file.
    """
    head, separator, expression = (part.strip() for part in target.partition(":"))
    is_module = all(head.split("."))
    if (not is_module and os.sep not in head) or (separator and not expression):
        raise AppError(f"{target!r} does not name an app; write module:attribute, such as app:app")
    if head.endswith(".py") or os.sep in head:
        file = _file(head)
        return _Target(_module_of_file(file), file, expression)
    return _Target(head, None, expression)


def _file(named: str) -> Path:
    """The file of a path; Flask's command also takes it without its `.py`, and the folder of a package."""
    path = Path(named).resolve()
    for file in (path, path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if file.suffix == ".py" and file.is_file():
            return file
    raise AppError(f"no Python file {named!r} (looked in {os.getcwd()})")


def _module_of_file(file: Path) -> str:
    """The import name of a file; its package's root is put on sys.path, as Flask's command does."""
    parts = [] if file.stem == "__init__" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    check_names(str(folder))
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    return ".".join(parts)


def _import(named: _Target) -> ModuleType:
    try:
        module = importlib.import_module(named.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may also call sys.exit()
        # The module itself or a package it is in: nothing there. Anything else: its own imports.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{named.module}.".startswith(f"{missing}."):
            raise AppError(
                f"no module named {missing!r} (looked in {os.path.abspath(sys.path[0])} and on sys.path; "
                "is --app-dir right?)"
            ) from None
        raise BrokenAppError(f"importing {named.module!r}", error) from error
    # `random.py` would give the standard library's.
    origin = getattr(module, "__file__", None)
    if named.file is not None and (origin is None or Path(origin).resolve() != named.file):
        raise AppError(
            f"{named.file} cannot be imported as {named.module!r}, for {origin or 'a built-in module'} "
            "has that name already; rename the file"
        )
    return module


def _evaluate(module: ModuleType, expression: str) -> Any:
    """The value of `name`, `name.attribute` or `name(arguments)` in a module."""
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise _not_understood(expression) from None
    if not isinstance(node, ast.Call):
        return _attribute(module, expression)
    try:
        arguments = [ast.literal_eval(argument) for argument in node.args]
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("**keywords")
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, TypeError):  # the second for what cannot be the key of a dict
        raise AppError(
            f"the arguments in {expression!r} must be literals, such as strings or numbers"
        ) from None
    factory = _attribute(module, ast.unparse(node.func))
    return _call(factory, arguments, keywords, f"{module.__name__}:{expression}")


def _not_understood(expression: str) -> AppError:
    return AppError(f"{expression!r} is neither an attribute, such as app, nor a call, such as create_app()")


def _attribute(module: ModuleType, dotted: str) -> Any:
    names = dotted.split(".")
    if not all(name.isidentifier() for name in names):
        raise _not_understood(dotted)
    value: Any = module
    for name in names:
        try:
            value = getattr(value, name)
        except AttributeError:
            public = [name for name in vars(module) if not name.startswith("_")]
            similar = difflib.get_close_matches(dotted, public)
            apps = [name for name, _ in (*_candidates(module), *_flask_apps(module))]
            there = dict.fromkeys([*apps, *similar])
            advice = f"; it has {', '.join(map(repr, there))}" if there else ""
            raise AppError(f"module {module.__name__!r} has no attribute {dotted!r}{advice}") from None
    return value


def _call(factory: Any, arguments: Any, keywords: dict[str, Any], name: str) -> Any:
    if not callable(factory):
        raise AppError(
            f"{name.partition('(')[0]} is of type {type(factory).__name__}, which is not callable, "
            "and so not a factory"
        )
    if is_async_callable(factory):
        raise AppError(f"{name}: the factory is async; it must be a plain function that returns the app")
    signature = signature_of_call(factory)
    if signature is not None:  # else calling it will tell
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            if detect_interface(factory) in ("wsgi", "asgi"):
                raise AppError(
                    f"{name} calls the app itself; name it without the parentheses and what is in them"
                ) from None
            raise AppError(f"{name}: the factory cannot be called so: {error}") from None
    try:
        return factory(*arguments, **keywords)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it may call sys.exit(); reported with its traceback
        raise BrokenAppError(name, error) from error


def _best_of(module: ModuleType) -> tuple[str, Any]:
    """The app of a module that was given without an attribute."""
    for name, value in _candidates(module):
        return name, value
    flask_apps = [name for name, _ in _flask_apps(module)]
    if flask_apps:
        raise AppError(
            f"module {module.__name__!r} has several Flask apps, {', '.join(flask_apps)}; "
            f"say which: {module.__name__}:{flask_apps[0]}"
        )
    raise AppError(
        f"module {module.__name__!r} has no app: none of {', '.join((*_NAMES, *_FACTORIES))} is in it, "
        f"and no single Flask app; say which: {module.__name__}:attribute"
    )


def _candidates(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in _NAMES:
        if callable(getattr(module, name, None)):
            yield name, getattr(module, name)
    flask_apps = _flask_apps(module)
    if len(flask_apps) == 1:
        yield flask_apps[0]
    for name in _FACTORIES:
        if callable(getattr(module, name, None)):
            yield name, getattr(module, name)


def _flask_apps(module: ModuleType) -> list[tuple[str, Any]]:
    """The Flask apps of a module that have other names than the usual, each once."""
    flask = sys.modules.get("flask")
    if flask is None:
        return []
    apps = {
        id(value): (name, value)
        for name, value in reversed(vars(module).items())
        if isinstance(value, flask.Flask) and name not in _NAMES
    }
    return [*reversed(apps.values())]


def _is_factory(app: Any, said: Interface | None) -> bool:
    """Whether it makes the app: a function with the name of a factory, or one that needs no arguments.

    An app may need none either: `def app(environ=None, start_response=None)`. The names of its arguments tell
    it from a factory, or the interface that was said, if the function can be called by it.
    """
    if not (inspect.isfunction(app) or inspect.ismethod(app) or isinstance(app, functools.partial)):
        return False
    if getattr(app, "__name__", None) in _FACTORIES:
        return True
    if not needs_no_arguments(app) or detect_interface(app) is not None:
        return False
    return said is None or why_not_callable_as(app, said) is not None


def _interface_of(app: Callable[..., Any], name: str, said: Interface | None) -> Interface:
    """What the app speaks: what was said, unless it cannot be so, or what it looks like."""
    if said is not None:
        reason = why_not_callable_as(app, said)
        if reason is not None:
            raise AppError(f"{name} {reason}, so it is not what --interface {said} says it is")
        return said
    found = detect_interface(app)
    if found is not None:
        return found
    if inspect.isclass(app):
        raise AppError(f"{name} is a class, not an app; if calling it gives the app, write {name}()")
    if why_not_callable_as(app, "wsgi") is None or why_not_callable_as(app, "asgi") is None:
        raise AppError(
            f"cannot tell whether {name} is a WSGI or an ASGI app; say --interface wsgi or --interface asgi"
        )
    raise AppError(
        f"{name} is no app: it can be called neither with (environ, start_response), as a WSGI app, nor with "
        "(scope, receive, send), as an ASGI app"
    )


# Logging. `dictConfig` and `fileConfig` disable every existing logger that they do not name, unless they get
# `disable_existing_loggers=False`. An app that configures its logging while it is imported would silence the
# server, and the tracebacks of its own errors.

# The first parts of the names of the server's loggers, and of its libraries'.
_OWN = frozenset({"asyncio", "bridge", "concurrent", "uvicorn", "websockets"})

# Nobody names this one, so it is disabled only where all loggers are. An app that disables one logger on
# purpose, as with `getLogger("uvicorn.access").disabled = True`, leaves it alone.
_WITNESS = logging.getLogger("bridge-witness")


def enable_own_loggers() -> None:
    """Enable the server's loggers again, if a configuration has disabled all loggers that it does not name.

    Their levels and handlers stay. A logger that the configuration names keeps its settings, and so do those
    below it.
    """
    if not _WITNESS.disabled:
        return
    _WITNESS.disabled = False
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OWN:
            logger.disabled = False

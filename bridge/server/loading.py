"""Find and import the app that a command line names, and say clearly what is wrong where that fails."""

import ast
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from bridge.errors import BridgeError
from bridge.interfaces import Interface, detect_interface

__all__ = ["AppError", "BrokenAppError", "LoadedApp", "find_app", "load_app"]

# What Flask's own command looks for, in its order.
_FILES = ("wsgi.py", "app.py")
_NAMES = ("app", "application")
_FACTORIES = ("create_app", "make_app")


class AppError(BridgeError):
    """The app cannot be loaded; the message is one line that names what is missing."""


class BrokenAppError(AppError):
    """The app's own code failed while it was loaded; `report` has the traceback, from the app's frames on."""

    def __init__(self, message: str, cause: BaseException) -> None:
        super().__init__(message)
        self.report = "".join(
            traceback.format_exception(type(cause), cause, _from_app(cause.__traceback__), chain=True)
        )


@dataclass(frozen=True)
class LoadedApp:
    """An app, and what was found out about it."""

    app: Callable[..., Any]
    interface: Interface
    name: str
    """What it was loaded from, as `module:attribute`."""

    @property
    def kind(self) -> str:
        """What it is, in a word or two: "Flask", "WSGI", "ASGI"."""
        for base in type(self.app).__mro__:
            if base.__module__ == "flask.app" and base.__name__ == "Flask":
                return "Flask"
        return {"wsgi": "WSGI", "asgi": "ASGI", "asgi2": "ASGI 2"}[self.interface]


def find_app() -> str:
    """What to serve when the command line does not say: FLASK_APP, or the file Flask's command would take.

    Raises:
        AppError: there is none.
    """
    named = os.environ.get("FLASK_APP")
    if named:
        return named
    for file in _FILES:
        if Path(file).is_file():
            return file
    raise AppError(
        "no app given, FLASK_APP is not set, and there is no wsgi.py or app.py here; "
        "say which: bridge serve module:app"
    )


def load_app(target: str, *, factory: bool = False, interface: Interface | None = None) -> LoadedApp:
    """Import an app.

    Args:
        target: `module:attribute`, `module:factory()`, `module`, or the path of a `.py` file in the place of
            the module. The arguments of a factory are literals, as in Flask's command.
        factory: the attribute is a factory even without the parentheses.
        interface: what the app speaks, if it cannot be told by looking at it.

    Raises:
        AppError: there is no such module, or nothing in it that can be served.
        BrokenAppError: the app's own code raised an exception.
    """
    module_name, separator, expression = _split(target)
    module = _import(module_name, target)
    if separator:
        app = _evaluate(module, expression)
    else:
        expression, app = _best_of(module)
    name = f"{module_name}:{expression}"
    if factory or _is_factory(app):
        app = _call(app, (), {}, f"{name}()")
        name += "()"
    if not callable(app):
        raise AppError(f"{name} is of type {type(app).__name__}, which is not callable, and so not an app")
    found = interface or detect_interface(app)
    if found is None:
        raise AppError(
            f"cannot tell whether {name} is a WSGI or an ASGI app; say --interface wsgi or --interface asgi"
        )
    return LoadedApp(app, found, name)


def _split(target: str) -> tuple[str, str, str]:
    """The module's name, `:` if an attribute was named, and the attribute."""
    head, separator, expression = target.partition(":")
    if head.endswith(".py") or os.sep in head:
        return _module_of_file(head), separator, expression
    if not head or (separator and not expression.strip()):
        raise AppError(f"{target!r} does not name an app; write module:attribute, such as app:app")
    return head, separator, expression.strip()


def _module_of_file(file: str) -> str:
    """The import name of a file; its package's root is put on sys.path, as Flask's command does."""
    path = Path(file).resolve()
    if not path.is_file():
        raise AppError(f"no file {file!r} (looked in {os.getcwd()})")
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    return ".".join(parts)


def _import(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself or a package it is in: nothing there. Anything else: its own imports.
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise AppError(
                f"no module named {error.name!r} (looked in {os.getcwd()} and on sys.path; "
                "is --app-dir right?)"
            ) from None
        raise BrokenAppError(f"{target}: importing {name!r} failed: {_describe(error)}", error) from None
    except BaseException as error:  # a module may also call sys.exit()
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BrokenAppError(f"{target}: importing {name!r} failed: {_describe(error)}", error) from None


def _evaluate(module: ModuleType, expression: str) -> Any:
    """The value of `name`, `name.attribute` or `name(arguments)` in a module."""
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise AppError(f"{expression!r} is neither an attribute nor a call of a factory") from None
    if not isinstance(node, ast.Call):
        return _attribute(module, expression)
    try:
        arguments = [ast.literal_eval(argument) for argument in node.args]
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except ValueError:
        raise AppError(
            f"the arguments in {expression!r} must be literals, such as strings or numbers"
        ) from None
    name = ast.unparse(node.func)
    return _call(_attribute(module, name), arguments, keywords, f"{module.__name__}:{expression}")


def _attribute(module: ModuleType, dotted: str) -> Any:
    value: Any = module
    for name in dotted.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise AppError(
                f"module {module.__name__!r} has no attribute {dotted!r}{_suggestion(module)}"
            ) from None
    return value


def _suggestion(module: ModuleType) -> str:
    found = [name for name, _ in _candidates(module)]
    return f"; it has {', '.join(repr(name) for name in found)}" if found else ""


def _call(factory: Any, arguments: Any, keywords: dict[str, Any], name: str) -> Any:
    if not callable(factory):
        raise AppError(f"{name}: a {type(factory).__name__} is not callable, and so not a factory")
    try:
        inspect.signature(factory).bind(*arguments, **keywords)
    except TypeError as error:
        raise AppError(f"{name}: the factory cannot be called so: {error}") from None
    except ValueError:
        pass  # a builtin without a signature; calling it will tell
    try:
        return factory(*arguments, **keywords)
    except Exception as error:  # noqa: BLE001  # reported with its traceback
        raise BrokenAppError(f"{name} failed: {_describe(error)}", error) from None


def _best_of(module: ModuleType) -> tuple[str, Any]:
    """The app of a module that was given without an attribute."""
    for name, value in _candidates(module):
        return name, value
    raise AppError(
        f"module {module.__name__!r} has no app: none of {', '.join((*_NAMES, *_FACTORIES))} is in it, "
        f"and no single Flask app; say which: {module.__name__}:attribute"
    )


def _candidates(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in _NAMES:
        if callable(getattr(module, name, None)):
            yield name, getattr(module, name)
    flask = sys.modules.get("flask")
    if flask is not None:
        apps = [(name, value) for name, value in vars(module).items() if isinstance(value, flask.Flask)]
        if len(apps) == 1 and apps[0][0] not in _NAMES:
            yield apps[0]
    for name in _FACTORIES:
        if callable(getattr(module, name, None)):
            yield name, getattr(module, name)


def _is_factory(app: Any) -> bool:
    """Whether it is a function that can be called with nothing: an app cannot."""
    if not inspect.isfunction(app) or inspect.iscoroutinefunction(app):
        return False
    if app.__name__ in _FACTORIES:
        return True
    return not inspect.signature(app).parameters


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _from_app(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this file and of the import system on top of it."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen importlib") and file != importlib.__file__:
            return frames
        frames = frames.tb_next
    return None

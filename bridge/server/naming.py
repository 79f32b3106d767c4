"""A command line's name of an app → its module or file, and the attribute in it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bridge.server.app_errors import AppError
from bridge.server.clashes import check_names

__all__ = ["Target", "find_app", "parse_target"]

# The modules Flask's own command looks for, in its order.
_MODULES = ("wsgi", "app")


@dataclass(frozen=True)
class Target:
    """An app, as a command line names it."""

    module: str
    file: Path | None
    """Where the module has to come from, if a path was given."""
    expression: str
    """The attribute or the call of a factory; empty if none was given."""


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
        f"{os.path.abspath(folder)}; say which: bridge serve module:app"
    )


def parse_target(target: str) -> Target:
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
        return Target(_module_of_file(file), file, expression)
    return Target(head, None, expression)


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

"""A project's modules that have the names of modules the server needs.

A process has one module of each name: the app would import the server's instead of its own, or the server the
app's.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from bridge.errors import BridgeError
from bridge.server.app_errors import AppError

__all__ = ["check_names", "check_workers_start"]

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
    "prometheus_client",
    "uvicorn",
    "uvloop",
    "watchfiles",
    "websockets",
    "wsproto",
    "yaml",
)


def check_names(folder: str) -> None:
    """Refuse a folder that has a module with the name of a package that the server needs.

    Raises:
        AppError: the folder has one.
    """
    here = Path(folder)
    for name in _NEEDED:
        file = here / f"{name}.py"
        if file.is_file():
            raise _clash(file, name)
    package = here / "bridge"
    # A clone of this repository has the package itself.
    if (package / "__init__.py").is_file() and not (package / "runners").is_dir():
        raise _clash(package, "bridge")


def _clash(path: Path, name: str) -> AppError:
    return AppError(
        f"{path.resolve()} has the name of the package {name!r}, which the server needs, so that the app "
        "would get that package in the place of its own module; rename it"
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

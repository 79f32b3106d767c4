"""Files of variables: `.env` and `.flaskenv`, as Flask's own command reads them, or that of `--env-file`."""

import os
from dataclasses import dataclass

from bridge.errors import BridgeError

__all__ = ["FileVariables", "is_on", "read_variables"]

# The stronger one first.
_FILES = (".env", ".flaskenv")

# What Flask takes for "no".
_NO = ("", "0", "false", "no")

_INSTALL = "pip install python-dotenv"


@dataclass(frozen=True)
class FileVariables:
    """What was read from one file."""

    file: str
    names: tuple[str, ...]
    """The variables that were set by it, as they were not set before."""


def read_variables(env_file: str | None) -> tuple[list[FileVariables], list[str]]:
    """Put into the environment what files say, less the variables that are there already.

    By default these are `.env` and `.flaskenv`, in the current folder or the nearest one above that has them;
    `.env` is stronger. `FLASK_SKIP_DOTENV=1` leaves them out.

    Args:
        env_file: the file to read instead.

    Returns:
        the files that were read, and for each that was not, why: python-dotenv is not installed, or the
        process may not read the file, which may be somebody else's, in a folder above.

    Raises:
        BridgeError: `env_file` cannot be read, or a file is not UTF-8, or sets what no variable can have.
    """
    if env_file is None and is_on("FLASK_SKIP_DOTENV"):
        return [], []
    try:
        from dotenv import find_dotenv
    except ModuleNotFoundError:
        if env_file is not None:
            raise BridgeError(f"--env-file needs python-dotenv, which is not installed: {_INSTALL}") from None
        found = [name for name in _FILES if os.path.isfile(name)]
        hint = f"{' and '.join(found)} cannot be read without python-dotenv: {_INSTALL}"
        return [], [hint] if found else []
    if env_file is not None:
        try:
            return [_read(env_file)], []
        except OSError as error:
            raise BridgeError(_unreadable(env_file, error)) from None
    read, hints = [], []
    for name in _FILES:
        path = find_dotenv(name, usecwd=True)
        try:
            if path:
                read.append(_read(path))
        except OSError as error:
            hints.append(f"{_unreadable(path, error)}; going on without them")
    return read, hints


def is_on(name: str) -> bool:
    """Whether a variable of Flask's says yes, as Flask reads it."""
    return os.environ.get(name, "").lower() not in _NO


def _read(file: str) -> FileVariables:
    from dotenv import load_dotenv

    before = set(os.environ)
    try:
        load_dotenv(file, encoding="utf-8")
    except UnicodeDecodeError:
        raise BridgeError(f"cannot read the variables in {file}: it is not UTF-8") from None
    except ValueError as error:  # a NUL, which no variable can have
        raise BridgeError(f"cannot read the variables in {file}: {error}") from None
    return FileVariables(file, tuple(sorted(set(os.environ) - before)))


def _unreadable(file: str, error: OSError) -> str:
    return f"cannot read the variables in {file}: {error.strerror or error}"

"""The files that the apps serve: made once for a run, and found through the environment."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.apps.sizes import MIB

__all__ = ["DATABASE", "FILE", "material", "materials"]

FILE = "file.bin"
DATABASE = "items.sqlite"

_VARIABLE = "BRIDGE_BENCHMARKS_MATERIALS"
_ITEMS = 1_000


@contextlib.contextmanager
def materials() -> Iterator[dict[str, str]]:
    """Make the files in a new directory, to be removed at the end.

    Yields:
        what the environment of a server must have for `material` to find them.
    """
    with tempfile.TemporaryDirectory(prefix="bridge-benchmarks-") as name:
        directory = Path(name)
        (directory / FILE).write_bytes(b"f" * (10 * MIB))
        _make_database(directory / DATABASE)
        yield {_VARIABLE: name}


def material(name: str) -> Path:
    """Where a file is.

    Raises:
        LookupError: the app runs outside a run.
    """
    directory = os.environ.get(_VARIABLE)
    if directory is None:
        raise LookupError(f"{_VARIABLE} is not set: this route works in a run of `python -m benchmarks` only")
    return Path(directory) / name


def _make_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL NOT NULL)"
        )
        values = ((number, f"Item {number}", number * 1.19) for number in range(1, _ITEMS + 1))
        connection.executemany("INSERT INTO items VALUES (?, ?, ?)", values)

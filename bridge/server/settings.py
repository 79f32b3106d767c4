"""A file of settings → their values, and where each of them stands. Pure, but for reading the file.

`bridge.toml` has them at its top level, `pyproject.toml` in the table `[tool.bridge]`.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bridge.errors import BridgeError

__all__ = ["FileSettings", "Kind", "Setting", "SettingsError", "find_settings", "nearest", "read_settings"]

Kind: TypeAlias = Literal["text", "integer", "number", "boolean"]

_TABLE = ("tool", "bridge")

_EXPECTED: dict[Kind, tuple[str, str]] = {
    "text": ("a string", "a list of strings"),
    "integer": ("an integer", "a list of integers"),
    "number": ("a number", "a list of numbers"),
    "boolean": ("true or false", "a list of true and false"),
}

# What a value in a file may be called; a bool is an int to Python, so it comes first.
_CALLED: list[tuple[type, str]] = [
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
]

# More of a value than this says nothing in an error.
_SHOWN = 60


class SettingsError(BridgeError):
    """A file of settings is wrong; the message is one line that names the file, and where it can the line."""


@dataclass(frozen=True)
class Setting:
    """What a file may say of one setting.

    Args:
        name: what the program calls it.
        keys: how it may be spelled in a file, with dashes; the first is the one to be shown.
        kind: what its value must be.
        repeated: whether it has a list of such values.
        secret: whether its value must not be shown.
    """

    name: str
    keys: tuple[str, ...]
    kind: Kind
    repeated: bool = False
    secret: bool = False

    @property
    def key(self) -> str:
        """How it is spelled."""
        return self.keys[0]

    @property
    def expected(self) -> str:
        """What its value must be, in words."""
        return _EXPECTED[self.kind][self.repeated]

    def takes(self, value: object) -> bool:
        """Whether a value from a file is of its kind."""
        if not self.repeated:
            return _is_of_kind(value, self.kind)
        return isinstance(value, list) and all(_is_of_kind(each, self.kind) for each in value)


class FileSettings:
    """What a file says of the settings.

    Args:
        file: the name of the file, as it is shown.
        text: its contents.
        table: where in the file the settings are.
        values: the values, by the names of the settings.
        keys: how each of them is spelled there.
    """

    def __init__(
        self,
        file: str,
        text: str,
        table: tuple[str, ...],
        values: Mapping[str, Any],
        keys: Mapping[str, str],
    ) -> None:
        self.file = file
        self.values = values
        self._keys = keys
        self._text = _Text(text, table)

    def place(self, name: str) -> str:
        """Where a setting stands, as in `bridge.toml:3`."""
        line = self._text.line_of(self._keys[name])
        return self.file if line is None else f"{self.file}:{line}"

    def error(self, name: str, message: str) -> SettingsError:
        """The error to raise for a setting whose value is of the right kind, and wrong all the same."""
        line = self._text.line_of(self._keys[name])
        return SettingsError(f"{_place(self.file, line)}: '{self._keys[name]}': {message}")


def find_settings(known: Iterable[Setting], folder: str = ".") -> FileSettings | None:
    """Read `bridge.toml` in a folder, or else `pyproject.toml` there if it has a table [tool.bridge].

    Args:
        known: the settings there are.
        folder: where to look.

    Returns:
        what the file says, or None if there is neither.

    Raises:
        SettingsError: the file cannot be read, or what it says makes no sense.
    """
    if Path(folder, "bridge.toml").is_file():
        return read_settings(Path(folder, "bridge.toml"), known)
    pyproject = Path(folder, "pyproject.toml")
    if pyproject.is_file() and _table_of(_parse(str(pyproject), _read(pyproject)), _TABLE) is not None:
        return read_settings(pyproject, known)
    return None


def read_settings(path: str | Path, known: Iterable[Setting]) -> FileSettings:
    """Read the settings in a file: in [tool.bridge] of a `pyproject.toml`, at the top level of any other.

    Args:
        path: the file.
        known: the settings there are.

    Raises:
        SettingsError: the file cannot be read, or it is not TOML, or a key is unknown, or given twice, or its
            value is of the wrong kind.
    """
    path = Path(path)
    file, text = str(path), _read(path)
    table: tuple[str, ...] = _TABLE if path.name == "pyproject.toml" else ()
    found = _table_of(_parse(file, text), table)
    if found is None:
        raise SettingsError(f"{file} has no settings; they are to be in a table [tool.bridge]")
    if not isinstance(found, dict):
        line = _Text(text, table[:-1]).line_of(table[-1])
        raise SettingsError(f"{_place(file, line)}: 'bridge' must be a table, [tool.bridge]")
    keys = _match_keys(file, _Text(text, table), found, list(known))
    values = {setting.name: found[key] for setting, key in keys.items()}
    return FileSettings(file, text, table, values, {setting.name: key for setting, key in keys.items()})


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that is most like a name that is not known, if any is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _match_keys(file: str, text: "_Text", found: dict[str, Any], known: list[Setting]) -> dict[Setting, str]:
    by_key = {key: setting for setting in known for key in setting.keys}
    matched: dict[Setting, str] = {}
    for key, value in found.items():
        setting = by_key.get(key.replace("_", "-"))
        place = _place(file, text.line_of(key)) if setting is None or not setting.takes(value) else ""
        if setting is None:
            near = nearest(key.replace("_", "-"), by_key)
            advice = f"did you mean '{near}'?" if near else "bridge serve --help has them all"
            raise SettingsError(f"{place}: there is no setting '{key}'; {advice}")
        if not setting.takes(value):
            raise SettingsError(f"{place}: '{key}' must be {setting.expected}; it is {_call(value, setting)}")
        if setting in matched:
            raise SettingsError(
                f"{_place(file, text.line_of(key))}: '{key}' is the same setting as '{matched[setting]}' in "
                f"line {text.line_of(matched[setting])}; keep one of them"
            )
        matched[setting] = key
    return matched


def _is_of_kind(value: object, kind: Kind) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "text":
        return isinstance(value, str)
    if kind == "number":
        return isinstance(value, int | float)
    return kind == "integer" and isinstance(value, int)


def _call(value: object, setting: Setting) -> str:
    """What came, in words."""
    called = next((name for kind, name in _CALLED if isinstance(value, kind)), "a date or a time")
    if setting.secret or isinstance(value, dict):
        return called
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{called}: {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + '…'}"


def _place(file: str, line: int | None) -> str:
    return file if line is None else f"{file}, line {line}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{_place(str(path), line)}: this is not UTF-8, which TOML must be") from None


def _parse(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message is all there is before Python 3.14.
        what, _, where = str(error).removesuffix(")").partition(" (at ")
        at = re.match(r"line (\d+)", where)
        line = int(at[1]) if at else text.rstrip("\n").count("\n") + 1
        raise SettingsError(f"{_place(file, line)}: this is not TOML: {what}") from None


def _table_of(data: dict[str, Any], table: tuple[str, ...]) -> Any:
    """What is at a path in parsed TOML, or None if there is nothing."""
    found: Any = data
    for name in table:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


class _Text:
    """The text of a file that is TOML, to find lines in: tomllib does not say where it found what.

    Args:
        text: the text.
        table: the path of the table whose keys are looked for.
    """

    def __init__(self, text: str, table: tuple[str, ...]) -> None:
        self._text = text
        self._table = table

    @cached_property
    def _lines(self) -> list[str]:
        return self._text.split("\n")

    def line_of(self, key: str) -> int | None:
        """The number of the line that gives a key its value.

        A line that has the key's name may be in another table, a comment or a string. It is the one if the
        file up to there is TOML that has the key.
        """
        for number, line in enumerate(self._lines):
            if key not in line:
                continue
            # The value may go on for lines, so any other takes its place.
            for ending in (line, line.partition("=")[0] + "= 0"):
                try:
                    data = tomllib.loads("\n".join([*self._lines[:number], ending]))
                except tomllib.TOMLDecodeError:
                    continue
                table = _table_of(data, self._table)
                if isinstance(table, dict) and key in table:
                    return number + 1
        return None

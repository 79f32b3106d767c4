"""Whatever a layer holds → what may be shown of it: JSON, short, and without secrets. Pure.

A secret is known by the name beside it: of a header, of a key, of a field in a query or in a body. What has
such a name is replaced by `…` and its length. Objects are shown by their type alone, as a `repr` may say too
much, and may fail.
"""

import datetime
import decimal
import functools
import pathlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_plus

__all__ = ["Json", "is_secret", "shown", "shown_headers"]

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

# Characters or bytes of a text, members of a collection, levels of nesting.
_MAX_TEXT = 400
_MAX_MEMBERS = 200
_MAX_LEVELS = 6

_SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|passw|pwd|api[-_]?key|credential|csrf|session[-_]?id", re.IGNORECASE
)
# `name=value` in a query, a form, or a message.
_FIELD = re.compile(r"((?:^|[?&;,\s])([^=&;?,\s]{1,160})=)([^&;\s]+)")
# `"name": value` in JSON, or as Python has it. A value in brackets that are nested is taken to the end.
_MEMBER = re.compile(
    r"""(["'])([^"'\n]{1,160})\1\s*:\s*"""
    r"""("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[\[{](?:[^\[\]{}]*[\]}]|.*)|[^\s,"'\]}]+)""",
    re.DOTALL,
)
# A part of a multipart/form-data: its head up to the empty line, and its body up to the boundary.
_PART = re.compile(
    r"""(\bname="?([^"\r\n;]{1,160})[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)(.+?)(?=\r?\n--|\Z)""", re.DOTALL
)
# `scheme://user:password@host`
_PASSWORD_IN_URL = re.compile(r"(://[^/?#\s:@]{0,160}:)([^/?#\s@]+)(?=@)")

# The lifespan state, in a scope and in an environ: what an app keeps there is its own.
_STATES = ("state", "asgi.state")

# What has a short text of its own that says it all, and no secrets.
_PLAIN = (uuid.UUID, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, pathlib.PurePath)


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether the value of a header, a key or a field of this name is not to be shown."""
    return _SECRET_NAME.search(name) is not None


def shown(value: object, name: str = "") -> Json:
    """What may be shown of a value.

    Args:
        value: anything. Pairs of a name and a value, as headers are, are looked at as such.
        name: what it is called where it comes from; it may say that the value is a secret.
    """
    return _shown(value, name, 0)


def shown_headers(headers: Iterable[tuple[str | bytes, str | bytes]]) -> list[list[str]]:
    """Pairs of a name and of what may be shown of the value."""
    return [[_text(name), str(shown(value, _text(name)))] for name, value in headers]


def _shown(value: object, name: str, level: int) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if name and isinstance(value, (int, float, Mapping)) and is_secret(name):
        return "…"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (str, bytes, bytearray)):
        return _concealed(value) if name and is_secret(name) else _text(value)
    if isinstance(value, _PLAIN):
        return str(value)
    if level < _MAX_LEVELS and isinstance(value, Mapping):
        return _members(value, level)
    if level < _MAX_LEVELS and isinstance(value, (list, tuple, set, frozenset)):
        return _items(value, name, level)
    return f"<{type(value).__module__}.{type(value).__qualname__}>".replace("<builtins.", "<")


def _members(mapping: Mapping[Any, Any], level: int) -> Json:
    found: dict[str, Json] = {}
    for number, (key, value) in enumerate(mapping.items()):
        if number == _MAX_MEMBERS:
            found["…"] = f"{len(mapping) - number} more"
            break
        key_text = _text(key) if isinstance(key, (str, bytes)) else str(_shown(key, "", level + 1))
        if key_text in _STATES and isinstance(value, Mapping):
            value = {name: type(held).__name__ for name, held in value.items()}
        found[key_text] = _shown(value, key_text, level + 1)
    return found


def _items(items: Sequence[Any] | set[Any] | frozenset[Any], name: str, level: int) -> Json:
    found: list[Json] = []
    for number, item in enumerate(items):
        if number == _MAX_MEMBERS:
            found.append(f"… {len(items) - number} more")
            break
        found.append(_pair(item, level) if _is_pair(item) else _shown(item, name, level + 1))
    return found


def _is_pair(item: object) -> bool:
    return (
        isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(p, (str, bytes)) for p in item)
    )


def _pair(pair: Iterable[str | bytes], level: int) -> Json:
    first, second = pair
    key = _text(first)
    return [key, _shown(second, key, level + 1)]


def _text(value: str | bytes | bytearray) -> str:
    """The text, up to a limit, without the secrets in it."""
    beginning = value[: _MAX_TEXT + 1]
    text = beginning if isinstance(beginning, str) else beginning.decode("latin-1")
    text = _without_secrets(text)
    if len(value) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}… {_length(value)}"


def _without_secrets(text: str) -> str:
    if "=" in text:
        text = _FIELD.sub(_conceal_value, _PART.sub(_conceal_value, text))
    if ":" in text:
        text = _PASSWORD_IN_URL.sub(lambda match: match[1] + _concealed(match[2]), text)
        text = _MEMBER.sub(_conceal_member, text)
    return text


def _conceal_value(match: re.Match[str]) -> str:
    """Of what goes before, the name in it, and the value."""
    return match[1] + _concealed(match[3]) if is_secret(unquote_plus(match[2])) else match[0]


def _conceal_member(match: re.Match[str]) -> str:
    value = match[3]
    before = match[0].removesuffix(value)
    if not is_secret(match[2]):
        return before + _without_secrets(value) if value[0] in "[{" else match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{before}{quote}{_concealed(value.strip(quote) if quote else value)}{quote}"


def _concealed(value: str | bytes | bytearray) -> str:
    return f"… {_length(value)}"


def _length(value: str | bytes | bytearray) -> str:
    return f"{len(value):,} {'characters' if isinstance(value, str) else 'bytes'}"

"""Whatever a layer holds → what may be shown of it: JSON, short, and without secrets. Pure.

A secret is known by the name beside it: of a header, of a key, of a field in a query or in a body. Such a
value is replaced by `…` and its length. Objects are shown by their type alone, as a `repr` may say too much,
and may fail.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_plus

__all__ = ["Json", "describe_error", "follow_headers", "is_secret", "shown"]

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
# `"name": value` in JSON, or as Python has it. A value of nested brackets is taken to the end.
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


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a header, a key or a field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def describe_error(error: BaseException) -> str:
    """Return an exception in one line, without secrets."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {shown(lines[0])}" if lines else type(error).__name__


def shown(value: object, name: str = "", *, level: int = 0) -> Json:
    """Return what may be shown of a value.

    Args:
        value: anything. A pair of texts is a name and its value, as in headers.
        name: the name of the value, which may say that it is a secret.
        level: how deeply it is nested.
    """
    if value is None or isinstance(value, bool):
        return value
    if name and isinstance(value, (int, float, Mapping)) and is_secret(name):
        return "…"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (str, bytes, bytearray)):
        return _length(value) if name and is_secret(name) else _text(value)
    if type(value).__module__ in ("datetime", "decimal", "pathlib", "uuid"):  # whose text says all
        return str(value)
    if level < _MAX_LEVELS and isinstance(value, Mapping):
        return _members(value, level + 1)
    if level < _MAX_LEVELS and isinstance(value, (list, tuple, set, frozenset)):
        return _items(list(value), name, level + 1)
    return f"<{type(value).__module__}.{type(value).__qualname__}>".replace("<builtins.", "<")


def _members(mapping: Mapping[Any, Any], level: int) -> Json:
    found: dict[str, Json] = {}
    for key, value in list(mapping.items())[:_MAX_MEMBERS]:
        name = str(shown(key, level=level))
        if name in ("state", "asgi.state") and isinstance(value, Mapping):  # the app's own
            value = {kept: type(held).__name__ for kept, held in value.items()}
        found[name] = shown(value, name, level=level)
    if len(mapping) > _MAX_MEMBERS:
        found["…"] = f"{len(mapping) - _MAX_MEMBERS} more"
    return found


def _items(items: Sequence[Any], name: str, level: int) -> Json:
    found: list[Json] = []
    for item in items[:_MAX_MEMBERS]:
        is_pair = isinstance(item, (tuple, list)) and len(item) == 2
        if is_pair and isinstance(item[0], (str, bytes)) and isinstance(item[1], (str, bytes)):
            key = _text(item[0])
            found.append([key, shown(item[1], key)])
        else:
            found.append(shown(item, name, level=level))
    if len(items) > _MAX_MEMBERS:
        found.append(f"… {len(items) - _MAX_MEMBERS} more")
    return found


def _text(value: str | bytes | bytearray) -> str:
    """Return the beginning of a text, without the secrets in it."""
    beginning = value[: _MAX_TEXT + 1]
    text = beginning if isinstance(beginning, str) else beginning.decode("latin-1")
    text = _without_secrets(text)
    if len(value) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}{_length(value)}"


def _without_secrets(text: str) -> str:
    if "=" in text:
        text = _FIELD.sub(_conceal_value, _PART.sub(_conceal_value, text))
    if ":" in text:
        text = _PASSWORD_IN_URL.sub(lambda match: match[1] + _length(match[2]), text)
        text = _MEMBER.sub(_conceal_member, text)
    return text


def _conceal_value(match: re.Match[str]) -> str:
    """Of a match's three groups, what goes before, the name in it, and the value, conceal the last."""
    return match[1] + _length(match[3]) if is_secret(unquote_plus(match[2])) else match[0]


def _conceal_member(match: re.Match[str]) -> str:
    value = match[3]
    before = match[0].removesuffix(value)
    if not is_secret(match[2]):
        return before + _without_secrets(value) if value[0] in "[{" else match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{before}{quote}{_length(value.strip(quote) if quote else value)}{quote}"


def _length(value: str | bytes | bytearray) -> str:
    return f"… {len(value):,} {'characters' if isinstance(value, str) else 'bytes'}"


def follow_headers(headers: Iterable[tuple[bytes, bytes]], environ: Mapping[str, object]) -> list[Json]:
    """Return, for each header field of a scope, the key of the environ that holds it, or why there is none.

    Both are looked at from outside, so this holds for any adapter.
    """
    fates: list[Json] = []
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        found, why = environ.get(key), ""
        if "_" in name and value not in (found, *re.split(", *", str(found))):
            why = f"underscore: as {key} it could not be told from {name.replace('_', '-')}"
        elif found is None and name == "proxy":
            why = "it would become HTTP_PROXY, a variable that HTTP clients obey (httpoxy, CVE-2016-5385)"
        elif found is None:
            why = "the adapter has made no key of it"
        fates.append({"header": name, "value": shown(value, name), "key": None if why else key, "why": why})
    return fates

"""Which header of a request became which key of the environ, and which did not, and why. Pure.

It is read from the two of them, not from the adapter, so that it is true of any adapter.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

from bridge.trace.facts import shown

__all__ = ["HeaderFate", "follow_headers"]

_HTTPOXY = "it would become HTTP_PROXY, a variable that HTTP clients obey (httpoxy, CVE-2016-5385)"


class HeaderFate(TypedDict):
    """What became of one header field."""

    header: str
    value: str
    key: str | None
    """The key of the environ that has its value; None for a field that was dropped."""
    fate: Literal["kept", "joined", "dropped", "changed"]
    why: str
    """Empty for one that was kept as it came."""


def follow_headers(headers: Iterable[tuple[bytes, bytes]], environ: Mapping[str, object]) -> list[HeaderFate]:
    """Say of each header field where in the environ it is.

    Args:
        headers: those of the ASGI scope.
        environ: what an adapter has made of it.
    """
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    rivals: dict[str, list[tuple[str, str]]] = {}
    for name, value in fields:
        rivals.setdefault(_key(name), []).append((name, value))
    return [_fate(name, value, rivals[_key(name)], environ) for name, value in fields]


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"


def _fate(name: str, value: str, rivals: list[tuple[str, str]], environ: Mapping[str, object]) -> HeaderFate:
    key = _key(name)
    fate: HeaderFate = {
        "header": name,
        "value": str(shown(value, name)),
        "key": key,
        "fate": "kept",
        "why": "",
    }
    found = environ.get(key)
    plain = [rival for rival in rivals if "_" not in rival[0]]
    members = plain if plain and len(plain) < len(rivals) and _is_made_of(found, plain) else rivals
    if found is None or (name, value) not in members:
        fate |= {"key": None, "fate": "dropped", "why": _why_dropped(name, key)}
    elif len(members) > 1 and _is_made_of(found, members):
        fate |= {"fate": "joined", "why": _why_joined(found, members)}
    elif len(members) > 1 or found != value:
        fate |= {"fate": "changed", "why": f"the environ has another value: {shown(found, name)}"}
    return fate


def _is_made_of(found: object, members: list[tuple[str, str]]) -> bool:
    values = [value for _, value in members]
    joined = {separator.join(values) for separator in (",", ", ", "; ")}
    return found in joined or (len(set(values)) == 1 and found == values[0])


def _why_joined(found: object, members: list[tuple[str, str]]) -> str:
    if found == members[0][1]:
        return f"{len(members)} fields of the same value are one"
    separator = "; " if "; ".join(value for _, value in members) == found else ","
    return f"{len(members)} fields are one, joined by {separator.strip()!r}"


def _why_dropped(name: str, key: str) -> str:
    if name.lower() == "proxy":
        return _HTTPOXY
    if "_" in name:
        return f"underscore: as {key} it could not be told from {name.replace('_', '-')}"
    return "the adapter has made no key of it"

"""The ASGI scope as the environ holds it: a mapping that shows its values only to code that asks for them.

Django's debug page and error mails, Sentry, and other code that prints an environ, hide `HTTP_COOKIE` and
`HTTP_AUTHORIZATION` by their names. A scope has its headers as a list of pairs, in which they would not know
the same secrets. They go into each `dict` and `collections.abc.Mapping`, and call `repr` for the rest. So a
`ScopeView` is neither by its type, but has all methods of a dict.
"""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Self

__all__ = ["ScopeView"]

_NOTHING = object()


class ScopeView:
    """Reads from the scope, and writes to it.

    Args:
        scope: the ASGI scope, which stays the plain dict that other ASGI code gets.
    """

    __slots__ = ("scope",)

    def __init__(self, scope: Any) -> None:
        self.scope: dict[str, Any] = scope
        """The dict itself, for code that takes no other."""

    def __repr__(self) -> str:
        # The path is in the environ under its own keys; the query is not a part of it.
        shown = [repr(self.scope[key]) for key in ("type", "method", "path") if key in self.scope]
        return f"<{' '.join([type(self).__name__, *shown])}>"

    def __getitem__(self, key: str) -> Any:
        return self.scope[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.scope[key] = value

    def __delitem__(self, key: str) -> None:
        del self.scope[key]

    def __contains__(self, key: object) -> bool:
        return key in self.scope

    def __iter__(self) -> Iterator[str]:
        return iter(self.scope)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.scope)

    def __len__(self) -> int:
        return len(self.scope)

    def __eq__(self, other: object) -> bool:
        return self.scope == (other.scope if isinstance(other, ScopeView) else other)

    __hash__ = None  # type: ignore[assignment]  # as a dict, which can change

    def __or__(self, other: Any) -> dict[str, Any]:
        return {**self.scope, **other}

    def __ror__(self, other: Any) -> dict[str, Any]:
        return {**other, **self.scope}

    def __ior__(self, other: Any) -> Self:
        self.scope.update(other)
        return self

    def __copy__(self) -> "ScopeView":
        return ScopeView(self.scope.copy())

    def copy(self) -> dict[str, Any]:
        """A plain dict with the same values."""
        return self.scope.copy()

    def keys(self) -> KeysView[str]:
        """The keys. All methods do what a dict's do."""
        return self.scope.keys()

    def values(self) -> ValuesView[Any]:
        """All values, the headers among them."""
        return self.scope.values()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of a key and its value."""
        return self.scope.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        return self.scope.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, set to the default if there is none."""
        return self.scope.setdefault(key, default)

    def pop(self, key: str, default: Any = _NOTHING) -> Any:
        """Remove a key, and return its value, or the default if there is one."""
        return self.scope.pop(key) if default is _NOTHING else self.scope.pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last key, and return it with its value."""
        return self.scope.popitem()

    def update(self, *others: Any, **values: Any) -> None:
        """Set the values of another mapping, or of pairs, and those of keywords."""
        self.scope.update(*others, **values)

    def clear(self) -> None:
        """Remove all keys."""
        self.scope.clear()

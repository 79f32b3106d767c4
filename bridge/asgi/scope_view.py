"""The ASGI scope as the environ holds it: a mapping that prints none of its values.

Code that prints an environ, such as Django's debug page and Sentry, hides `HTTP_COOKIE` and
`HTTP_AUTHORIZATION` by their names. It would not find the same secrets in a scope, whose headers are a list
of pairs. It goes into each `dict` and `collections.abc.Mapping`, and calls `repr` for the rest. So a
`ScopeView` is neither by its type, but has all methods of a dict.
"""

from collections.abc import Iterator
from typing import Any, Self

__all__ = ["ScopeView"]

_METHODS = frozenset(
    {"clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"}
)


class ScopeView:
    """Reads and writes the scope; each method does what a dict's does.

    Args:
        scope: the ASGI scope, which stays the plain dict that other ASGI code gets.
    """

    __slots__ = ("scope",)

    def __init__(self, scope: Any) -> None:
        self.scope: dict[str, Any] = scope
        """The dict itself, for code that takes nothing else."""

    def __repr__(self) -> str:
        # The path is no secret: the environ has it under its own keys. It does not contain the query.
        shown = [repr(self.scope[key]) for key in ("type", "method", "path") if key in self.scope]
        return f"<{' '.join([type(self).__name__, *shown])}>"

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return getattr(self.scope, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_METHODS]

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

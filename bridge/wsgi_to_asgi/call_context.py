"""Context variables, there and back between a host and a call in another thread."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = ["CallContext"]

_UNSET: Any = object()
_P = ParamSpec("_P")
_T = TypeVar("_T")


class CallContext:
    """A copy of the current context, in which a call runs; what it sets there can be made visible here.

    The copy is why nothing leaks from one request to the next on a reused thread.
    """

    __slots__ = ("_carried", "_context", "_seen")

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._seen = self._context.copy()
        self._carried: dict[contextvars.ContextVar[Any], contextvars.Token[Any]] | None = None

    def run(self, function: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call the function in the copy."""
        self._context.run(function, *args, **kwargs)

    def create_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]
    ) -> asyncio.Task[_T]:
        """Run a coroutine in the copy, on a loop; called in the loop's thread."""
        return loop.create_task(coroutine, context=self._context)

    def carry_back(self) -> None:
        """Set here what the call has set since the last time, and unset what it has unset.

        What the host has set meanwhile stays, unless the call has set it, too.
        """
        now = self._context.copy()
        for variable, value in now.items():
            if self._seen.get(variable, _UNSET) is not value:
                token = variable.set(value)
                if self._carried is None:
                    self._carried = {}
                self._carried.setdefault(variable, token)
        if self._carried is not None:
            for variable in [variable for variable in self._carried if variable not in now]:
                variable.reset(self._carried.pop(variable))
        self._seen = now

"""Context variables, there and back between a host and a call in another thread."""

import asyncio
import contextvars
import gc
import sys
from collections.abc import Callable, Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from asgiref.sync import ThreadSensitiveContext

__all__ = ["CallContext", "context_of_task", "own_thread_for_plain_code", "thread_sensitive_context"]

_UNSET: Any = object()
_P = ParamSpec("_P")
_T = TypeVar("_T")

# Only the token of the `set` that found a variable unset can unset it.
_Tokens: TypeAlias = dict[contextvars.ContextVar[Any], contextvars.Token[Any]]


class CallContext:
    """A copy of the current context, in which a call runs; `carry_back` makes what it sets visible here.

    The copy is why nothing leaks from one request to the next on a reused thread.

    Args:
        context: a context to run in, instead of a copy.
    """

    __slots__ = ("_brought", "_carried", "_seen", "context")

    def __init__(self, context: contextvars.Context | None = None) -> None:
        self.context = contextvars.copy_context() if context is None else context
        """Where the call runs; `context.run(function)` calls a function in it."""
        self._seen = self.context.copy()
        self._carried: _Tokens | None = None
        self._brought: _Tokens | None = None

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function in the copy."""
        return self.context.run(function, *args, **kwargs)

    def create_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]
    ) -> asyncio.Task[_T]:
        """Run a coroutine in the copy, on a loop; called in the loop's thread."""
        return loop.create_task(coroutine, context=self.context)

    def carry_in(self) -> None:
        """Have the same variables set in the copy as here, to run one more function in it.

        `ContextVar.reset` takes only tokens of its own context: in the same copy, one function can undo what
        another before it has set.
        """
        wanted = contextvars.copy_context()
        self._brought = self.context.run(_carry, wanted, self.context.copy(), self._brought)
        self._seen = self.context.copy()

    def carry_back(self) -> None:
        """Set here what the call has set since the last time, and unset what it has unset.

        What the host has set meanwhile stays, unless the call has set it, too.
        """
        now = self.context.copy()
        self._carried = _carry(now, self._seen, self._carried)
        self._seen = now


class _OwnThread:
    """Stands for `ThreadSensitiveContext`: asgiref looks up its thread by it, weakly, and asks for no more.

    asgiref's own class has attributes, 300 bytes for each open stream.
    """

    __slots__ = ("__weakref__",)

    _exited = False  # asgiref's name


def own_thread_for_plain_code() -> "contextvars.Token[ThreadSensitiveContext]":
    """Have `asgiref.sync.sync_to_async` use a thread that is this call's alone, from here on in this context.

    By itself asgiref has one for all calls of a process, in which they wait for each other. ASGI hosts enter
    `ThreadSensitiveContext` for that; its thread starts when it is needed, and ends when nobody holds the
    object any more. As nobody leaves this one, nobody waits for a function that still runs there.

    Returns:
        The token that resets asgiref's variable, for a context that outlives the call.
    """
    return thread_sensitive_context().set(cast("ThreadSensitiveContext", _OwnThread()))


@cache
def thread_sensitive_context() -> "contextvars.ContextVar[ThreadSensitiveContext]":
    """The context variable by which asgiref finds the thread for plain code."""
    # Not earlier: its import makes a pool of threads, and monkey patching has to come before that.
    from asgiref.sync import SyncToAsync

    return SyncToAsync.thread_sensitive_context


def context_of_task(task: "asyncio.Task[Any]") -> contextvars.Context:
    """The context in which a task runs."""
    if sys.version_info >= (3, 12):
        context = task.get_context()
    else:  # Python 3.11 shows it to the garbage collector alone
        found = (each for each in gc.get_referents(task) if isinstance(each, contextvars.Context))
        context = next(found, contextvars.Context())
    return context


def _carry(there: contextvars.Context, known: contextvars.Context, tokens: _Tokens | None) -> _Tokens | None:
    """Set in the current context what `there` has new or changed, and unset what it has no longer.

    Args:
        there: a context whose variables are wanted here.
        known: the values that need not be carried.
        tokens: of variables that an earlier call has set here and found unset; None if there are none.

    Returns:
        The tokens for the next call.
    """
    for variable, value in there.items():
        if known.get(variable, _UNSET) is not value:
            token = variable.set(value)
            if token.old_value is contextvars.Token.MISSING:
                if tokens is None:
                    tokens = {}
                tokens[variable] = token
    if tokens:
        for variable in [variable for variable in tokens if variable not in there]:
            token = tokens.pop(variable)
            if variable.get(_UNSET) is not _UNSET:
                variable.reset(token)
    return tokens

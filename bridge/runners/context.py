"""Carries context variables between a host and a call in another thread, there and back."""

import asyncio
import contextvars
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

if TYPE_CHECKING:
    from asgiref.sync import ThreadSensitiveContext

__all__ = [
    "CallContext",
    "OwnThread",
    "context_of_task",
    "own_thread_for_plain_code",
    "thread_sensitive_context",
]

_UNSET: Any = object()
# Whether a new thread has the context variables of whoever starts it, as on a free-threaded Python.
_THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))  # since 3.14

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Of each variable the token of the first `set`, or of the last that found it unset: the ways back.
_Tokens: TypeAlias = dict[contextvars.ContextVar[Any], contextvars.Token[Any]]


class CallContext:
    """A copy of the current context for a call; `carry_back` sets here what the call has set.

    As it is a copy, nothing leaks from one request to the next on a reused thread. While a thread runs in it,
    no other may read or copy it: free-threaded Pythons, up to 3.14.7 at least, may crash.

    Args:
        context: a context to use instead of a copy.
    """

    __slots__ = ("_brought", "_carried", "_noted", "_seen", "context")

    def __init__(self, context: contextvars.Context | None = None) -> None:
        self.context = contextvars.copy_context() if context is None else context
        """The copy itself."""
        self._seen = self._noted = self.context.copy()
        self._carried: _Tokens | None = None
        self._brought: _Tokens | None = None

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function in the copy."""
        return self.context.run(function, *args, **kwargs)

    def carry_in(self) -> None:
        """Set the same variables in the copy as here, before another function runs in it.

        `ContextVar.reset` takes only tokens of its own context, so a function can undo what an earlier one
        has set only in the same copy.
        """
        wanted = contextvars.copy_context()
        self._brought = self.context.run(_carry, wanted, self.context.copy(), self._brought)
        self._seen = self.context.copy()

    def note(self) -> None:
        """Keep the variables as they are now, for `carry_back`; in the thread that runs in the copy."""
        self._noted = self.context.copy()

    def carry_back(self, *, noted: bool = False) -> None:
        """Set here what the call has set since the last time, and unset what it has unset.

        What the host has set meanwhile stays, unless the call has set it, too.

        Args:
            noted: set the variables as `note` has kept them last: another thread runs in the copy.
        """
        now = self._noted if noted else self.context.copy()
        self._carried = _carry(now, self._seen, self._carried)
        self._seen = now

    def undo(self) -> None:
        """Undo here all that `carry_back` has set, before this thread goes on to another call.

        In another context than that of `carry_back`, where nothing of it is set, it does nothing.
        """
        tokens, self._carried = self._carried or {}, None
        with suppress(ValueError):
            for variable, token in reversed(tokens.items()):
                variable.reset(token)


class OwnThread:
    """Stands for `ThreadSensitiveContext`: a weak key by which asgiref finds its thread.

    asgiref's own class has attributes, which take 300 bytes for each open stream.
    """

    __slots__ = ("__weakref__", "_has_ended")

    _exited = False  # asgiref's name

    def __init__(self) -> None:
        self._has_ended = False

    def __bool__(self) -> bool:
        """False once it has ended: asgiref then uses its one thread for all calls."""
        return not self._has_ended

    def end(self) -> None:
        """End the thread, if nothing else would: it holds its context, and that holds this."""
        if _THREADS_INHERIT:
            from asgiref.sync import SyncToAsync  # only here, as in `thread_sensitive_context`

            self._has_ended = True
            key: Any = self
            SyncToAsync.context_to_thread_executor.pop(key, None)


def own_thread_for_plain_code() -> "tuple[OwnThread, contextvars.Token[ThreadSensitiveContext]]":
    """Give `asgiref.sync.sync_to_async` a thread for this call alone, from here on in this context.

    By itself asgiref has one for all calls of a process, which wait for each other in it. Applications enter
    `ThreadSensitiveContext` to get their own. Its thread starts when it is needed, and ends when nobody holds
    the object any more. Nobody leaves this one, so nobody waits for a function that still runs in the thread.

    Returns:
        The thread, to be ended with the call, and the token that resets asgiref's variable, for a context
        that outlives the call.
    """
    own: Any = OwnThread()
    return own, thread_sensitive_context().set(own)


@cache
def thread_sensitive_context() -> "contextvars.ContextVar[ThreadSensitiveContext]":
    """Return the context variable by which asgiref finds the thread for plain code."""
    # Only here: the import makes a pool of threads, and monkey patching must come before that.
    from asgiref.sync import SyncToAsync

    return SyncToAsync.thread_sensitive_context


def context_of_task(task: "asyncio.Task[Any]") -> contextvars.Context:
    """Return the context in which a task runs."""
    if sys.version_info >= (3, 12):
        context = task.get_context()
    else:  # Python 3.11 shows it only to the garbage collector
        found = (each for each in gc.get_referents(task) if isinstance(each, contextvars.Context))
        context = next(found, contextvars.Context())
    return context


def _carry(there: contextvars.Context, known: contextvars.Context, tokens: _Tokens | None) -> _Tokens | None:
    """Set in the current context what is new or changed in `there`, and unset what is gone from it.

    Args:
        there: the context whose variables to set here.
        known: values that are here already.
        tokens: those of variables that an earlier call has set here; None without any.

    Returns:
        The tokens for the next call.
    """
    missing = contextvars.Token.MISSING
    for variable, value in there.items():
        if known.get(variable, _UNSET) is not value:
            token = variable.set(value)
            if tokens is None:
                tokens = {}
            if token.old_value is missing or variable not in tokens:
                tokens[variable] = token
    if tokens:
        for variable in [each for each in tokens if each not in there and tokens[each].old_value is missing]:
            token = tokens.pop(variable)
            if variable.get(_UNSET) is not _UNSET:
                variable.reset(token)
    return tokens

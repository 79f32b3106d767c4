"""The lifespans and hooks of a Flask app, and those that can run where no event loop does.

Outside Bridge (gunicorn's own workers, `flask run`, Flask's test client) nothing tells an app that a process
begins to serve. The first use of `state` there enters the app's lifespans, if all of them are plain.
"""

import asyncio
import atexit
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flask import Flask

from bridge.errors import BridgeError
from bridge.interfaces import is_async_callable

__all__ = ["Lifespan", "PlainLifespans", "hook", "lifespan_of"]

_Yielded: TypeAlias = Mapping[str, Any] | None
_Plain: TypeAlias = Callable[[Flask], AbstractContextManager[_Yielded]]


@dataclass(frozen=True)
class Lifespan:
    """What lives as long as a server serves an app."""

    name: str
    on_loop: Callable[[Flask], AbstractAsyncContextManager[_Yielded]]
    """Enters it on a server's event loop."""

    plain: _Plain | None = None
    """Enters it in a thread, without a loop; None if it is async."""


def lifespan_of(function: Callable[[Flask], Any]) -> Lifespan:
    """Return the lifespan that a function is, as `Bridge.lifespan` takes it.

    Raises:
        TypeError: it is a coroutine function.
    """
    name = repr(getattr(function, "__qualname__", function))
    if inspect.isasyncgenfunction(function):
        return Lifespan(name, _yielding_once(name, function))
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"the lifespan {name} must have a `yield`: what comes before it is done at start-up, what comes "
            "after it at shutdown"
        )
    if inspect.isgeneratorfunction(function):
        plain = _plain_yielding_once(name, function)
        return Lifespan(name, _in_threads(plain), plain)
    return Lifespan(name, function)


def hook(function: Callable[[], Any], when: Literal["startup", "shutdown"]) -> Lifespan:
    """Return the lifespan that calls a function, async or not, in an app context when it begins or ends."""
    name = repr(getattr(function, "__qualname__", function))

    @asynccontextmanager
    async def on_loop(app: Flask) -> AsyncIterator[None]:
        if when == "startup":
            await _call(app, function)
        yield
        if when == "shutdown":
            await _call(app, function)

    @contextmanager
    def plain(app: Flask) -> Iterator[None]:
        if when == "startup":
            _call_plainly(app, name, function)
        yield
        if when == "shutdown":
            _call_plainly(app, name, function)

    return Lifespan(name, on_loop, None if is_async_callable(function) else plain)


class PlainLifespans:
    """Enters the lifespans of apps in a process without a server of Bridge's; leaves them when it ends.

    A forked process enters its own.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = 0
        self._values: dict[Flask, dict[str, Any]] = {}

    def values(self, app: Flask, lifespans: Sequence[Lifespan]) -> Mapping[str, Any]:
        """Return what the lifespans of an app have yielded; the first call in a process enters them.

        Raises:
            BridgeError: one is async.
        """
        contexts = [(lifespan.name, lifespan.plain) for lifespan in lifespans]
        asynchronous = [name for name, plain in contexts if plain is None]
        if asynchronous:
            raise BridgeError(
                f"there is no state, as {asynchronous[0]} is async, and needs a server's event loop: there "
                "is none here. Serve it with `bridge serve`, or by bridge.WSGIToASGI on an ASGI host. In "
                "a test, use `async with bridge.testing.Client(app)`. Under gunicorn's workers, `flask run` "
                "and Flask's test client, lifespans and hooks run if all of them are plain functions"
            )
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._values = os.getpid(), {}
            if app not in self._values:
                self._enter(app, [plain for _, plain in contexts if plain is not None])
            return self._values[app]

    def _enter(self, app: Flask, lifespans: Sequence[_Plain]) -> None:
        values: dict[str, Any] = {}
        self._values[app] = values  # one that is being entered sees what others have yielded
        try:
            with ExitStack() as stack:
                for lifespan in lifespans:
                    yielded: _Yielded = stack.enter_context(lifespan(app))
                    values.update(yielded or {})
                atexit.register(_leave, os.getpid(), stack.pop_all())
        except BaseException:
            del self._values[app]
            raise


def _leave(pid: int, stack: ExitStack) -> None:
    if pid == os.getpid():  # else it is the parent's, which goes on
        stack.close()


def _in_threads(plain: _Plain) -> Callable[[Flask], AbstractAsyncContextManager[_Yielded]]:
    """Return a plain lifespan as one for an event loop, which it must not block."""

    @asynccontextmanager
    async def lifespan(app: Flask) -> AsyncIterator[_Yielded]:
        context = plain(app)
        state = await asyncio.to_thread(context.__enter__)
        try:
            yield state
        except BaseException as error:
            await asyncio.to_thread(context.__exit__, type(error), error, error.__traceback__)
            raise
        await asyncio.to_thread(context.__exit__, None, None, None)

    return lifespan


def _plain_yielding_once(name: str, function: Callable[[Flask], Iterator[_Yielded]]) -> _Plain:
    """Return a generator function as a context manager, whose errors say what is wrong with it."""

    @contextmanager
    def lifespan(app: Flask) -> Iterator[_Yielded]:
        steps: Any = function(app)
        try:
            state = next(steps)
        except StopIteration:
            raise BridgeError(_never_yielded(name)) from None
        try:
            yield state
        except BaseException as error:
            steps.throw(error)
            raise
        try:
            next(steps)
        except StopIteration:
            return
        steps.close()
        raise BridgeError(_yielded_twice(name))

    return lifespan


def _yielding_once(
    name: str, function: Callable[[Flask], AsyncIterator[_Yielded]]
) -> Callable[[Flask], AbstractAsyncContextManager[_Yielded]]:
    """The same for an async generator function."""

    @asynccontextmanager
    async def lifespan(app: Flask) -> AsyncIterator[_Yielded]:
        steps: Any = function(app)
        try:
            state = await anext(steps)
        except StopAsyncIteration:
            raise BridgeError(_never_yielded(name)) from None
        try:
            yield state
        except BaseException as error:
            await steps.athrow(error)
            raise
        try:
            await anext(steps)
        except StopAsyncIteration:
            return
        await steps.aclose()
        raise BridgeError(_yielded_twice(name))

    return lifespan


def _never_yielded(name: str) -> str:
    return f"the lifespan {name} ended without a `yield`: the server runs while it yields"


def _yielded_twice(name: str) -> str:
    return f"the lifespan {name} yielded twice; it may do so once, for a start"


async def _call(app: Flask, function: Callable[[], Any]) -> None:
    """Call a hook in an app context; a plain function in a thread."""
    with app.app_context():
        result = function() if is_async_callable(function) else await asyncio.to_thread(function)
        if inspect.isawaitable(result):  # a decorator may have made a plain function of an async one
            await result


def _call_plainly(app: Flask, name: str, function: Callable[[], Any]) -> None:
    with app.app_context():
        result = function()
    if inspect.iscoroutine(result):
        result.close()
        raise BridgeError(f"{name} is async below a decorator, and needs a server's event loop")

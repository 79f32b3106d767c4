"""Work that goes on after the response."""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from flask import Flask

from bridge.interfaces import is_async_callable
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess

__all__ = ["Background"]

logger = logging.getLogger("bridge")

# How Flask names the variables of its contexts.
_FLASKS = "flask."


class Background:
    """The background work of an app that is not done yet."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._begun = 0  # by threads, and not seen yet as tasks

    def prepared(
        self, app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[[], None]:
        """What begins the work when it is called, from whatever thread."""
        access = CURRENT_LOOP.get(None)
        if access is None:
            return lambda: _call_here(app, function, args, kwargs)
        context = _context_for(access)

        def begin() -> None:
            with self._lock:
                self._begun += 1
            try:
                access.loop.call_soon_threadsafe(self._start, access, context, app, function, args, kwargs)
            except RuntimeError:
                with self._lock:
                    self._begun -= 1
                logger.error("%s is not done in the background: the server has stopped", _name(function))

        return begin

    async def finish(self, patience: float) -> None:
        """Wait for what is not done, at most so many seconds, and cancel what is left then."""
        deadline = asyncio.get_running_loop().time() + patience
        while self._tasks or self._begun:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=left)
            else:
                await asyncio.sleep(0)  # what a thread has begun becomes a task in the loop's next turn
        if self._tasks:
            logger.warning(
                "cancelling %d background function(s), not done after %g s", len(self._tasks), patience
            )
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=1)

    def _start(
        self,
        access: LoopAccess,
        context: contextvars.Context,
        app: Flask,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        with self._lock:
            self._begun -= 1
        task = access.loop.create_task(_run(app, function, args, kwargs), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _context_for(access: LoopAccess) -> contextvars.Context:
    """The context variables of who asks for the work, less Flask's: what those stand for will be over.

    So its log lines have the id of the request, and its spans are part of the request's trace.
    """
    context = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if not variable.name.startswith(_FLASKS):
            context.run(variable.set, value)
    context.run(CURRENT_LOOP.set, access)
    return context


async def _run(
    app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    try:
        if is_async_callable(function):
            with app.app_context():
                await cast(Awaitable[object], function(*args, **kwargs))
        else:
            await asyncio.to_thread(_call_in_app_context, app, function, args, kwargs)
    except Exception:  # noqa: BLE001  # whatever it is, there is nobody left to raise it to
        _log_failure(function)


def _call_in_app_context(
    app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    with app.app_context():
        result = app.ensure_sync(function)(*args, **kwargs)
        if inspect.isawaitable(result):  # a decorator has made a plain function of an async one

            async def wait() -> None:
                await result

            app.async_to_sync(wait)()


def _call_here(
    app: Flask, function: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Outside Bridge there is nobody to wait for work at shutdown: it is done before the request ends."""
    try:
        _call_in_app_context(app, function, args, kwargs)
    except Exception:  # noqa: BLE001  # whatever it is, there is nobody left to raise it to
        _log_failure(function)


def _log_failure(function: Callable[..., object]) -> None:
    logger.exception("the background function %s failed", _name(function))


def _name(function: Callable[..., object]) -> str:
    return str(getattr(function, "__qualname__", function))

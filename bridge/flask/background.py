"""Functions that run after the response."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask

from bridge.interfaces import is_async_callable
from bridge.runners.context import own_thread_for_plain_code
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess

__all__ = ["Background"]

logger = logging.getLogger("bridge")


class Background:
    """The background functions of an app that have not ended yet."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def prepared(self, app: Flask, call: "partial[Any]") -> Callable[[], None]:
        """Return a function that begins the call; it may run in any thread."""
        access = CURRENT_LOOP.get(None)
        if access is None:
            return lambda: _call_here(app, call)
        context = _context_for(access)
        own, _ = context.run(own_thread_for_plain_code)

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            own.end()

        def start() -> None:
            task = access.loop.create_task(_run(app, call), context=context)
            self._tasks.add(task)
            task.add_done_callback(end)

        def begin() -> None:
            try:
                access.loop.call_soon_threadsafe(start)
            except RuntimeError:
                logger.error("%s is not done in the background: the server has stopped", _name(call))

        return begin

    async def finish(self, patience: float) -> None:
        """Wait for this loop's functions that have not ended, `patience` seconds at most; cancel the rest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        await asyncio.sleep(0)  # the loop's next turn makes tasks of what threads have begun
        while (tasks := self._tasks_on(loop)) and (left := deadline - loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left)
        if tasks:
            logger.warning(
                "background functions are not done after %g s, and are cancelled: %d", patience, len(tasks)
            )
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)

    def _tasks_on(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[None]]:
        # A copy first, which is one step: loops in other threads may add to the set.
        return [task for task in self._tasks.copy() if task.get_loop() is loop]


def _context_for(access: LoopAccess) -> contextvars.Context:
    """Return the current context variables without Flask's, whose objects will have ended.

    So the function's log lines have the id of the request, and its spans belong to the request's trace.
    """
    context = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if not variable.name.startswith("flask."):
            context.run(variable.set, value)
    context.run(CURRENT_LOOP.set, access)
    return context


async def _run(app: Flask, call: "partial[Any]") -> None:
    if not is_async_callable(call.func):
        await asyncio.to_thread(_call_here, app, call)
        return
    try:
        with app.app_context():
            await call()
    except Exception:
        logger.exception("the background function %s failed", _name(call))


def _call_here(app: Flask, call: "partial[Any]") -> None:
    """Call the function in this thread; outside Bridge, before the request ends."""
    try:
        with app.app_context():
            result = app.ensure_sync(call.func)(*call.args, **call.keywords)
            if inspect.isawaitable(result):  # a decorator made a plain function of an async one

                async def wait() -> None:
                    await result

                app.async_to_sync(wait)()
    except Exception:
        logger.exception("the background function %s failed", _name(call))


def _name(call: "partial[Any]") -> str:
    return str(getattr(call.func, "__qualname__", call.func))

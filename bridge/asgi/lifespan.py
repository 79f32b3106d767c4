"""Both sides of the ASGI lifespan protocol (ASGI spec, "Lifespan Protocol" 2.0).

`serve_lifespan` is the application's side: it turns the host's events into entering and leaving an async
context manager. `running` is the host's: it makes those events for an application.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from asgiref.typing import LifespanShutdownEvent, LifespanStartupEvent

from bridge.errors import BridgeError
from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    LifespanScope,
)

__all__ = ["running", "serve_lifespan"]

logger = logging.getLogger("bridge")


async def serve_lifespan(
    scope: LifespanScope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
    context: AbstractAsyncContextManager[Mapping[str, Any]],
) -> None:
    """Enter `context` when the host says startup, leave it when it says shutdown, and report how it went.

    Args:
        scope: the lifespan scope; the state that the context yields is added to its `state`.
        receive: the host's `receive`.
        send: the host's `send`.
        context: lives as long as the server.
    """
    await receive()
    try:
        state = await context.__aenter__()
    except Exception as error:
        logger.exception("the lifespan failed to start")
        await send({"type": "lifespan.startup.failed", "message": _describe("failed to start", error)})
        return
    if "state" in scope:
        scope["state"].update(state)
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    except BaseException as error:
        # The host ends without a shutdown event; what was opened is closed all the same.
        if not await context.__aexit__(type(error), error, error.__traceback__):
            raise
        return
    try:
        await context.__aexit__(None, None, None)
    except Exception as error:
        logger.exception("the lifespan failed to shut down")
        await send({"type": "lifespan.shutdown.failed", "message": _describe("failed to shut down", error)})
        return
    await send({"type": "lifespan.shutdown.complete"})


def _describe(what: str, error: Exception) -> str:
    return f"the lifespan {what}: {type(error).__name__}: {error}"


@asynccontextmanager
async def running(app: ASGI3Application) -> AsyncIterator[dict[str, Any]]:
    """Run the lifespan of an ASGI application around a block; yields its state.

    An application that does not know the protocol raises, or returns, and is served without it.

    Raises:
        BridgeError: the application reported that its start-up or its shutdown failed.
    """
    host = _LifespanHost(app)
    try:
        await host.say({"type": "lifespan.startup"})
        try:
            yield host.state
        finally:
            await host.say({"type": "lifespan.shutdown"})
    finally:
        await host.join()


class _LifespanHost:
    """The task in which an application's lifespan runs, from start to end, and what passes between."""

    def __init__(self, app: ASGI3Application) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._events: asyncio.Queue[LifespanStartupEvent | LifespanShutdownEvent] = asyncio.Queue()
        self._answers: asyncio.Queue[ASGISendEvent] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def say(self, event: LifespanStartupEvent | LifespanShutdownEvent) -> None:
        """Send an event and wait for its answer, or for the application's end."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        if self._task.done():
            return
        self._events.put_nowait(event)
        answered = asyncio.create_task(self._answers.get())
        await asyncio.wait((answered, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            answered.cancel()
            return
        answer = answered.result()
        if answer["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            raise BridgeError(answer["message"] or f"the application answered {answer['type']}")

    async def join(self) -> None:
        """Wait for the application's lifespan call to return."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        scope: LifespanScope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._answers.put)
        except Exception as error:  # noqa: BLE001  # "if an exception is raised ... continue without" (ASGI)
            logger.debug("the application does not take part in lifespan: %r", error)

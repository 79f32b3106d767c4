"""Both sides of the ASGI lifespan protocol (ASGI spec, "Lifespan Protocol" 2.0).

`serve_lifespan` is the application's side: the host's events enter and leave an async context manager.
`running` is the host's side: it makes those events for an application.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from asgiref.typing import LifespanShutdownEvent, LifespanStartupEvent

from bridge.errors import BridgeError
from bridge.own_frames import keep_own_frames
from bridge.types import ASGI3Application, ASGISendEvent, LifespanScope

__all__ = ["running", "serve_lifespan"]

logger = logging.getLogger("bridge")


async def serve_lifespan(
    scope: LifespanScope,
    receive: Callable[[], Awaitable[object]],
    send: Callable[[Any], Awaitable[None]],
    context: AbstractAsyncContextManager[Mapping[str, Any]],
) -> None:
    """Enter `context` when the host says startup, leave it when it says shutdown, and report how it went.

    Args:
        scope: the lifespan scope, to whose `state` the context's is added.
        receive: the host's `receive`.
        send: the host's `send`.
        context: the app's lifespan; yields the state.
    """
    await receive()
    try:
        state = await context.__aenter__()
    except BridgeError as error:  # its line says it all; hosts log it
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    except Exception as error:
        keep_own_frames(error)
        logger.exception("the lifespan failed to start")
        await send({"type": "lifespan.startup.failed", "message": _describe("failed to start", error)})
        return
    if "state" in scope:
        scope["state"].update(state)
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    except BaseException as error:
        # The host ends without a shutdown event; the context must be left all the same.
        if not await context.__aexit__(type(error), error, error.__traceback__):
            raise
        return
    try:
        await context.__aexit__(None, None, None)
    except Exception as error:
        keep_own_frames(error)
        logger.exception("the lifespan failed to shut down")
        await send({"type": "lifespan.shutdown.failed", "message": _describe("failed to shut down", error)})
        return
    await send({"type": "lifespan.shutdown.complete"})


def _describe(what: str, error: Exception) -> str:
    return f"the lifespan {what}: {type(error).__name__}: {error}"


@asynccontextmanager
async def running(
    app: ASGI3Application, state: Mapping[str, Any] | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Run the lifespan of an ASGI application around a block; yields its state.

    An application that does not know the protocol raises, or returns, and is served without a lifespan.

    Args:
        app: the application.
        state: what is in its state from the beginning.

    Raises:
        BridgeError: the application reported that its start-up or its shutdown failed.
    """
    host = _LifespanHost(app, dict(state or {}))
    try:
        await host.say({"type": "lifespan.startup"})
        try:
            yield host.state
        finally:
            await host.say({"type": "lifespan.shutdown"})
    finally:
        await host.task


class _LifespanHost:
    """Runs an application's lifespan in a task, and passes events in and answers out."""

    def __init__(self, app: ASGI3Application, state: dict[str, Any]) -> None:
        self.state = state
        self._app = app
        self._events: asyncio.Queue[LifespanStartupEvent | LifespanShutdownEvent] = asyncio.Queue()
        self._answers: asyncio.Queue[ASGISendEvent] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def say(self, event: LifespanStartupEvent | LifespanShutdownEvent) -> None:
        """Send an event; wait for its answer, or for the application's end."""
        if self.task.done():
            return
        self._events.put_nowait(event)
        answered = asyncio.create_task(self._answers.get())
        await asyncio.wait((answered, self.task), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            answered.cancel()
            return
        answer = answered.result()
        if answer["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            raise BridgeError(answer["message"] or f"the application answered {answer['type']}")

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

"""The link of a call that answers a websocket's handshake in a greenlet, and may talk to it meanwhile."""

import asyncio
from typing import Any

from bridge.runners import reasons
from bridge.runners.greenlet_link import GreenletLink
from bridge.runners.loop_access import AccessTokens
from bridge.runners.offload import OneThread
from bridge.runners.threads import WorkerPool
from bridge.websockets.reader import WebSocketReader
from bridge.websockets.websocket import GOING_AWAY, WebSocket

__all__ = ["WebSocketLink"]


class WebSocketLink(GreenletLink):
    """A `GreenletLink` that learns of the disconnect from the websocket, without a task that listens for it.

    Args:
        websocket: the websocket; the other arguments are those of `GreenletLink`.

    A task that receives or sends gets a `WebSocketDisconnect` then. If that is the handler itself, it has
    been told, and cleans up undisturbed. If the handler waits for something else, that is cancelled: at once
    if no other task was told and no message is left to read, else after `GRACE` seconds.
    """

    __slots__ = ("_closing", "_is_stopping", "_timer", "reader", "websocket")

    def __init__(self, websocket: WebSocket, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.websocket = websocket
        self.reader = WebSocketReader(websocket, self._engine.buffer_size, self.access.loop)
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def serve(self) -> None:
        """See `GreenletLink`."""
        self._engine.streams.links.add(self)
        self.websocket.on_disconnect = self._hear
        await super().serve()

    async def serve_with_one_thread(self, pool: WorkerPool) -> None:
        """Serve, with one thread for all plain code of the call, until it ends.

        Raises:
            Overloaded: the pool has no thread to spare.
        """
        thread = OneThread()
        pool.submit(thread, 0)
        self.offload.pool = thread
        try:
            await self.serve()
        finally:
            thread.end()

    def end(self) -> None:
        """The server stops: tell the client, and then the handler, as if the client had left."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._closing = self.access.loop.create_task(self.websocket.close(GOING_AWAY))
        if self.reader.is_receiving:
            self._leave_later()  # the host answers with a disconnect, and the task that receives gets it
        else:
            self.access.loop.call_soon(self._leave, reasons.STOPPING)

    def _listen_later(self) -> None:
        self.reader.watch()

    def _hear(self) -> None:
        """The websocket has ended, and the current task is about to get a `WebSocketDisconnect`."""
        if self.websocket.is_closed_from_here and not self._is_stopping:
            return  # the handler's doing
        if self._greenlet.is_current or self.reader.is_awaited_by(self._task):
            self.access.is_told = True
            self._leave(reasons.LEFT)
        elif self.reader.is_current and not self.reader.is_receiving and not self.reader.has_unread:
            self._leave(reasons.LEFT)
        else:
            self._leave_later()

    def _leave_later(self) -> None:
        if self._timer is None:
            self._timer = self.access.loop.call_later(reasons.GRACE, self._leave, reasons.LEFT)

    async def _end(self, tokens: AccessTokens) -> None:
        self._engine.streams.links.discard(self)
        self.websocket.on_disconnect = None  # it holds this
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super()._end(tokens)
        await self.reader.stop()
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=reasons.GRACE)
            self._closing.cancel()

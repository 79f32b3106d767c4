"""The link of a call in a greenlet that answers a websocket's handshake, and may use the websocket."""

import asyncio
from typing import Any

from bridge.runners import reasons
from bridge.runners.greenlet_link import GreenletLink
from bridge.runners.loop_access import AccessTokens
from bridge.runners.offload import OneThread
from bridge.runners.threads import WorkerPool
from bridge.types import override
from bridge.websockets.host import HostWebSocket
from bridge.websockets.reader import WebSocketReader
from bridge.websockets.states import GOING_AWAY

__all__ = ["WebSocketLink"]


class WebSocketLink(GreenletLink):
    """A `GreenletLink` that learns of a disconnect from the websocket, without a task that listens for it.

    Args:
        websocket: the websocket; the other arguments are those of `GreenletLink`.

    A task that receives or sends then gets a `WebSocketDisconnect`. If the handler itself gets it, it cleans
    up undisturbed. If the handler waits for something else, the link cancels that: at once if no other task
    got the disconnect and no message is unread, else after `GRACE` seconds.
    """

    __slots__ = ("_closing", "_is_stopping", "_timer", "reader", "websocket")

    def __init__(self, websocket: HostWebSocket, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.websocket = websocket
        self.reader = WebSocketReader(websocket, self._engine.buffer_size, self.access.loop)
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_stopping = False

    @override
    async def serve(self) -> None:
        self._engine.streams.links.add(self)
        self.websocket.on_disconnect = self._on_disconnect
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

    @override
    def end(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._closing = self.access.loop.create_task(self.websocket.close(GOING_AWAY))
        if self.reader.is_receiving:
            self._leave_later()  # the host answers with a disconnect, which the task that receives gets
        else:
            self.access.loop.call_soon(self._leave, reasons.STOPPING)

    @override
    def _listen_later(self) -> None:
        self.reader.watch()

    def _on_disconnect(self) -> None:
        """Tell the handler, as the current task is about to get a `WebSocketDisconnect`."""
        if self.websocket.is_closed_from_here and not self._is_stopping:
            return  # the handler closed it
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

    @override
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

"""Receives websocket messages; reads ahead while the handler is busy, so that a disconnect is noticed."""

import asyncio

from bridge.errors import BridgeError, WebSocketDisconnect
from bridge.runners import reasons
from bridge.runners.host import PART_COST
from bridge.websockets.host import HostWebSocket

__all__ = ["WebSocketReader"]

# Seconds without a `receive` after which a task reads ahead. Most handlers receive again sooner, or all the
# time: for them, and for idle websockets, reading ahead costs nothing.
_LISTEN_AFTER = 0.1

# Messages that are read ahead at most; `buffer_size` limits their bytes. The rest stays with the host, and
# makes the client wait.
_MAX_AHEAD = 32


class WebSocketReader:
    """Receives from a websocket, and reads ahead in a task once nobody has received for a while.

    Args:
        websocket: the websocket to receive from, once it is open.
        buffer_size: how many bytes, or one message where that is larger, to read ahead.
        loop: the running loop.
    """

    __slots__ = (
        "_ahead",
        "_buffer_size",
        "_failure",
        "_loop",
        "_receiver",
        "_size",
        "_task",
        "_timer",
        "_waiter",
        "_websocket",
        "is_receiving",
    )

    def __init__(self, websocket: HostWebSocket, buffer_size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._websocket = websocket
        self._buffer_size = buffer_size
        self._loop = loop
        self._ahead: list[str | bytes] = []
        self._size = 0
        self._failure: Exception | None = None  # of the host's `receive`
        self._receiver: object = None  # the task that waits for `_task` to receive
        self._task: asyncio.Task[None] | None = None  # reads ahead
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.is_receiving = False
        """Whether somebody waits for a message."""

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            WebSocketDisconnect: the websocket has ended.
            BridgeError: another task waits for a message.
        """
        if self.is_receiving:
            raise BridgeError(
                "receive() was called while another task waits for a message of this websocket; have one "
                "task receive, and tell the others by a queue"
            )
        self.is_receiving = True
        try:
            while not self._ahead:
                if self._failure is not None:
                    raise self._failure
                if self._task is None:
                    return await self._websocket.receive()
                # A caller that gives up, as by a timeout, leaves the message to the next one.
                self._waiter = self._loop.create_future()
                self._receiver = asyncio.current_task()
                try:
                    await self._waiter
                finally:
                    self._waiter = self._receiver = None
            message = self._ahead.pop(0)
            self._size -= len(message) + PART_COST
            return message
        finally:
            self.is_receiving = False
            self.watch()

    def watch(self) -> None:
        """Notice the end from here on, even if nobody receives."""
        if self._timer is None and self._task is None and self._websocket.state != "closed":
            self._timer = self._loop.call_later(_LISTEN_AFTER, self._look)

    async def stop(self) -> None:
        """Stop reading; wait at most `GRACE` seconds for a host's `receive` that ignores its cancellation."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=reasons.GRACE)

    @property
    def has_unread(self) -> bool:
        """Whether it has messages that nobody has taken yet."""
        return bool(self._ahead)

    def is_awaited_by(self, task: object) -> bool:
        """Whether this task waits for a message that is read ahead, and so will get the end itself."""
        return self._receiver is task

    @property
    def is_current(self) -> bool:
        """Whether the calling code runs in the task that reads ahead."""
        return self._task is not None and asyncio.current_task() is self._task

    def _look(self) -> None:
        """Begin to read ahead, if nobody receives."""
        self._timer = None
        if not self.is_receiving and self._websocket.state == "open" and self._has_room():
            self._task = self._loop.create_task(self._read_ahead())
        elif self._websocket.state == "handshake":
            self.watch()  # messages come only after the accept

    def _has_room(self) -> bool:
        return len(self._ahead) < _MAX_AHEAD and self._size < self._buffer_size

    async def _read_ahead(self) -> None:
        """Receive until there is no room, or another task wants to receive."""
        try:
            while self._waiter is None and self._has_room():
                message = await self._websocket.receive()
                self._ahead.append(message)
                self._size += len(message) + PART_COST
        except WebSocketDisconnect:
            pass  # the websocket has called `on_disconnect`
        except Exception as error:  # noqa: BLE001  # the next `receive` raises it
            self._failure = error
        finally:
            self._task = None
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

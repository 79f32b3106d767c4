"""What a host has for a request, received on the loop ahead of the app."""

import asyncio
from collections.abc import Callable

from bridge.asgi.events import EVENT_COST, has_more, size_of
from bridge.errors import ClientDisconnected
from bridge.types import HTTPDisconnectEvent, HTTPReceive, HTTPRequestSideEvent

__all__ = ["Receiver"]

_DISCONNECT: HTTPDisconnectEvent = {"type": "http.disconnect"}


class Receiver:
    """Receives the body as the app asks for it, or ahead of it, and notices when the client leaves.

    Args:
        receive: the host's.
        buffer_size: how many bytes, or one event where that is larger, it may be ahead.
        on_end: told when there is nobody to receive from any more: None, if the client has left, or what
            the host's `receive` has raised.

    Everything is on the loop's thread.
    """

    __slots__ = (
        "_body_received",
        "_buffer_size",
        "_changed",
        "_ended",
        "_events",
        "_is_receiving",
        "_is_to_start",
        "_on_end",
        "_receive",
        "_size",
        "_task",
    )

    def __init__(
        self, receive: HTTPReceive, buffer_size: int, on_end: Callable[[Exception | None], object]
    ) -> None:
        self._receive = receive
        self._buffer_size = buffer_size
        self._on_end = on_end
        # A list, as most have one event: the memory of a deque, 0.6 KB, is a part of what a stream costs.
        self._events: list[HTTPRequestSideEvent] = []
        self._size = 0
        self._body_received = False
        self._ended = False
        self._changed: asyncio.Event | None = None  # made when somebody first has to wait
        self._is_receiving = False  # for `next_event`, without the task
        self._is_to_start = False
        self._task: asyncio.Task[None] | None = None

    async def next_event(self) -> HTTPRequestSideEvent:
        """The next part of the body, or the disconnect.

        Raises:
            ClientDisconnected: there is none to come.
        """
        while not self._events:
            if self._ended:
                raise ClientDisconnected("there is nothing left to receive")
            if self._task is None and not self._is_receiving:
                await self._receive_without_task()
            else:
                await self._change()
        event = self._events.pop(0)
        self._size -= size_of(event) + EVENT_COST
        self._tell()
        return event

    def start(self) -> None:
        """Receive ahead from here on, in a task; if it does not already."""
        if self._is_receiving:
            self._is_to_start = True
        elif self._task is None and not self._ended:
            self._task = asyncio.get_running_loop().create_task(self._read())

    def stop(self) -> bool:
        """Receive no more, and tell nobody; returns whether it has stopped, or has to be waited for."""
        self._on_end = _tell_nobody  # who is told holds this
        if self._task is None:
            return True
        self._task.cancel()
        return False

    async def stopped(self, patience: float) -> None:
        """Wait for a `receive` that is deaf to `stop()`, `patience` seconds at most."""
        if self._task is not None:
            await asyncio.sleep(0)  # most have ended by then, and `wait` costs more than the task
            if not self._task.done():
                await asyncio.wait([self._task], timeout=patience)
            self._task = None

    async def _receive_without_task(self) -> None:
        """Receive the one event that most bodies are."""
        self._is_receiving = True
        try:
            await self._receive_part()
        finally:
            self._is_receiving = False
            if self._is_to_start:
                self.start()

    async def _read(self) -> None:
        try:
            while not self._body_received and not self._ended:
                while self._size >= self._buffer_size:
                    await self._change()
                await self._receive_part()
            # What is left to come is the disconnect. Middleware that replays a body may give that instead,
            # again and again: it is not asked twice.
            if not self._ended:
                await self._receive_event()
        except Exception as error:  # noqa: BLE001  # handed on to the host, whose `receive` has failed
            self._end(error)

    async def _receive_part(self) -> None:
        event = await self._receive_event()
        if event["type"] == "http.disconnect":
            return
        self._body_received = not has_more(event)
        size = size_of(event)
        if size or self._body_received:  # one of neither says nothing; a client could send millions of them
            self._events.append(event)
            self._size += size + EVENT_COST
            self._tell()

    async def _receive_event(self) -> HTTPRequestSideEvent:
        event: HTTPRequestSideEvent
        try:
            event = await self._receive()
        except ConnectionError:
            event = _DISCONNECT
        if event["type"] == "http.disconnect":
            self._end(None)
        return event

    def _end(self, error: Exception | None) -> None:
        self._ended = True
        self._tell()
        self._on_end(error)

    async def _change(self) -> None:
        """Wait for one."""
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()


def _tell_nobody(error: Exception | None) -> None:
    pass

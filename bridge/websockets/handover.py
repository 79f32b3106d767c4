"""The wire of a host that gives a library the client's own connection, as `bridge serve` does.

    library ──► the connection ──► client        the handshake and the end go through WebSocket, and so
            ◄──                ◄──               through the host and the middleware; messages do not

The endings, and what each side sees:

| what happens | the library | the client |
| --- | --- | --- |
| the library closes it | the client's Close in return | the library's code and reason |
| the client closes it | its code and reason | what the library answers |
| the client is gone | the end of the connection | |
| the server stops | the client's Close in return, or the end of the connection | 1001 |
| the call ends | the client's Close in return | 1000; 1011 if it has failed |
"""

import asyncio
import logging
from concurrent.futures import CancelledError

from bridge.errors import WebSocketDisconnect
from bridge.websockets.protocol import Accepted, Broken, LibraryConnection
from bridge.websockets.websocket import GOING_AWAY, Connection, WebSocket

__all__ = ["ClientWire"]

logger = logging.getLogger("bridge")


class ClientWire:
    """The client's connection, between a library and its client.

    Args:
        websocket: the websocket, whose `websocket.connect` has been received.
        loop: the running loop.
        connection: its connection.
    """

    def __init__(self, websocket: WebSocket, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        self._websocket = websocket
        self._loop = loop
        self._connection = connection
        self._library = LibraryConnection(websocket.subprotocols)
        self.socket = connection.hand_over(self._shake_hands)
        self._is_stopping = False
        self._is_finished = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        """The Sec-WebSocket-Key for the library; the host answers the client's own."""
        return self._library.key

    def start(self) -> None:
        """Do nothing: the library uses the connection itself."""

    async def settle(self) -> None:
        """Do nothing: the library writes to the client."""

    async def finish(self) -> None:
        """The call has ended: close the socket if no library has it."""
        self._is_finished = True
        if self._websocket.state != "open" and self._closing is None:
            self.socket.close()

    def end(self) -> None:
        """The server stops: close the websocket with 1001, as soon as it is open."""
        self._is_stopping = True
        if self._websocket.state == "open" and self._closing is None:
            self._closing = self._loop.create_task(self._websocket.close(GOING_AWAY))

    async def close(self) -> None:
        """End the connection, if the call has not ended."""
        if not self._is_finished:
            self._connection.abort()
        if self._closing is not None:
            await self._closing

    def _shake_hands(self, head: bytes) -> bool:
        """Have the websocket accepted, for the library's thread; return whether the client is there."""
        accepting = asyncio.run_coroutine_threadsafe(self._accept(head), self._loop)
        try:
            accepting.result()
        except (WebSocketDisconnect, CancelledError):
            return False
        return True

    async def _accept(self, head: bytes) -> None:
        for event in self._library.receive(head):
            if isinstance(event, Accepted):
                await self._websocket.accept(event.subprotocol, event.headers)
                if self._is_stopping:
                    self.end()
                return
            if isinstance(event, Broken):
                logger.error("%s", event.describe(self._websocket.path))
        raise ConnectionAbortedError("the websocket library has not accepted the websocket")

"""The wire that works on any host: a pair of sockets, of which the library has one end.

    the app's thread(s)                  the event loop
    library ──► theirs ═══ socket pair ═══ ours ──► LibraryConnection ──► WebSocket ──► client
            ◄──                                 ◄──                   ◄──               ◄──

Each way has a task, which takes a message only when the one before it has been taken from it. Behind a client
that does not read, the library's `send()` waits as soon as the pair's buffers are full; behind a library that
does not read, the host waits, and with it the client.

The endings, and what each side sees:

| what happens | the library | the client |
| --- | --- | --- |
| the library closes it | the Close in return | the library's code and reason |
| the client closes it | its code and reason | |
| the client is gone | the end of the connection | |
| the server stops | 1001 | 1001 |
| the call ends | the end of the connection | 1000; 1011 if it has failed |
| the library breaks the protocol, or its socket ends without a Close | 1002, 1007 or 1009 | 1011 |
"""

import asyncio
import logging
import socket
from contextlib import suppress

from bridge.errors import WebSocketDisconnect
from bridge.websockets.protocol import (
    Accepted,
    Broken,
    Closed,
    LibraryConnection,
    LibraryEvent,
    Received,
    Reply,
)
from bridge.websockets.websocket import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    WebSocket,
)

__all__ = ["PairWire"]

logger = logging.getLogger("bridge")

_READ_SIZE = 65536


class PairWire:
    """A pair of sockets between a library and a websocket.

    Args:
        websocket: the websocket, whose `websocket.connect` has been received.
        loop: the running loop.
    """

    def __init__(self, websocket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        self._websocket = websocket
        self._loop = loop
        self._library = LibraryConnection(websocket.subprotocols)
        self._ours, self.socket = _socket_pair()
        self._is_over = False  # no more is read than the library has written by now
        self._readable: asyncio.Future[None] | None = None
        self._is_writing = False
        self._replies = bytearray()  # not yet written
        self._from_library = loop.create_task(self._read())
        self._from_host: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        """The Sec-WebSocket-Key for the library."""
        return self._library.key

    async def settle(self) -> None:
        """Read what the library has written; return when the host has it."""
        self._is_over = True
        self._look()
        await self._from_library

    async def finish(self) -> None:
        """The call has ended: settle, and close the library's end if no library has it."""
        await self.settle()
        if self._from_host is None:
            self.socket.close()

    def end(self) -> None:
        """The server stops: close the websocket with 1001, as soon as it is open, and tell the library."""
        self._is_stopping = True
        if self._websocket.state == "open" and self._closing is None:
            self._closing = self._loop.create_task(self._end(GOING_AWAY, ""))

    async def close(self) -> None:
        """End both ways; raise the error of one that has failed."""
        tasks = [task for task in (self._from_library, self._from_host, self._closing) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._ours.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    # From the library to the host

    async def _read(self) -> None:
        try:
            while data := await self._receive():
                if self._websocket.state != "closed":  # else nobody is there; the library must not wait
                    for event in self._library.receive(data):
                        await self._take(event)
            if not self._is_over:
                await self._websocket.close(INTERNAL_ERROR)
        except WebSocketDisconnect as end:
            self._leave(end.code, end.reason)
            await self._read()
        except BaseException:
            self._ours.shutdown(socket.SHUT_RDWR)  # or the app would wait for ever, and the host for it
            raise

    async def _receive(self) -> bytes:
        """Return what the library has written; b"" at its end."""
        while True:
            try:
                return self._ours.recv(_READ_SIZE)
            except BlockingIOError:
                if self._is_over:
                    return b""
            except ConnectionError:
                return b""  # the library has closed its end, and left something unread
            self._readable = self._loop.create_future()
            self._loop.add_reader(self._ours, self._look)
            try:
                await self._readable
            finally:
                self._loop.remove_reader(self._ours)
                self._readable = None

    def _look(self) -> None:
        """Have `_receive` look again."""
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    async def _take(self, event: LibraryEvent) -> None:
        if isinstance(event, Received):
            await self._websocket.send(event.data)
        elif isinstance(event, Reply):
            self._reply(event.data)
        elif isinstance(event, Accepted):
            await self._websocket.accept(event.subprotocol, event.headers)
            self._from_host = self._loop.create_task(self._write())
            if self._is_stopping:
                await self._end(GOING_AWAY, "")
        elif isinstance(event, Closed):
            await self._end(NORMAL if event.code == NO_STATUS else event.code, event.reason)
        elif isinstance(event, Broken):
            logger.error("%s", event.describe(self._websocket.path))
            await self._end(INTERNAL_ERROR, "")

    async def _end(self, code: int, reason: str) -> None:
        """Close the websocket from here; the library is told, and nothing more is taken from the host."""
        await self._websocket.close(code, reason)
        self._leave(self._websocket.close_code, self._websocket.close_reason)
        if self._from_host is not None:
            self._from_host.cancel()  # the host may take a while to report the end

    # From the host to the library

    async def _write(self) -> None:
        try:
            while True:
                data = await self._websocket.receive()
                if self._library.is_open:
                    await self._send(self._library.send(data))
        except WebSocketDisconnect as end:
            self._leave(end.code, end.reason)
        except ConnectionError:
            pass  # the library has closed its end, as `_read` sees, too
        except Exception:
            self._ours.shutdown(socket.SHUT_RDWR)
            raise

    async def _send(self, frame: bytes) -> None:
        self._is_writing = True
        try:
            await self._loop.sock_sendall(self._ours, frame)
        finally:
            self._is_writing = False
        self._reply(b"")

    def _reply(self, data: bytes) -> None:
        """Write something short, between messages.

        Not awaited: our reading, which asks for it, must not depend on the library's. While the library is so
        far behind that the buffer is full, the bytes stay here.
        """
        self._replies += data
        if not self._is_writing and self._replies:
            with suppress(BlockingIOError, ConnectionError):
                del self._replies[: self._ours.send(self._replies)]

    def _leave(self, code: int, reason: str) -> None:
        """Tell the library that the websocket is closed; for 1006, by the end of the connection alone."""
        if self._library.is_open and code != ABNORMAL:
            self._reply(self._library.close(code, reason))
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)


class _LibrarySocket(socket.socket):
    """The library's end, which is closed when nobody has it any more.

    Libraries that use it close it, in a thread that may still be in `recv()` or `select()` when the call has
    ended: closed from here, it could wait there for ever.
    """

    def __del__(self) -> None:
        self.close()


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(True)  # whatever the default timeout: libraries expect to wait
    return ours, _LibrarySocket(fileno=theirs.detach())

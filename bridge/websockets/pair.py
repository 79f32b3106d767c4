"""The call of an app whose websocket a library serves, on any host: through a pair of sockets.

Such a library takes the request's socket from the environ, where Werkzeug's server puts it, and writes its
101 and its frames to it. Here the environ has one end of a pair; a `WebSocketCall` joins the other to the
websocket. (Bridge's own server gives the library the client's connection instead.)

    the app's thread(s)                  the event loop
    library ──► theirs ═══ socket pair ═══ ours ──► LibraryConnection ──► WebSocket ──► client
            ◄──                                 ◄──                   ◄──               ◄──

Each direction has a task, which reads a message only after the one before was taken. So a client that does
not read makes the library's `send()` wait once the pair's buffers are full, and a library that does not read
makes the host wait, and with it the client.

| what happens | the library sees | the client sees |
| --- | --- | --- |
| the library closes it | the Close in return | the library's code and reason |
| the client closes it | its code and reason | |
| the client is gone | the end of the connection | |
| the server stops | 1001 | 1001 |
| the call ends | the end of the connection | 1000; 1011 if the call failed |
| the library breaks the protocol, or its socket ends without a Close | 1002 or 1007 | 1011 |
"""

import asyncio
import logging
import socket
from collections.abc import Iterable
from contextlib import suppress

from wsproto import events

from bridge.errors import WebSocketDisconnect
from bridge.runners.carry import serve_in_thread
from bridge.runners.engine import Engine
from bridge.runners.host import Host
from bridge.runners.thread_link import Work
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from bridge.websockets.host import HostWebSocket
from bridge.websockets.library import call_app
from bridge.websockets.protocol import BrokenProtocol, LibraryConnection
from bridge.websockets.states import ABNORMAL, GOING_AWAY, INTERNAL_ERROR, NO_STATUS, NORMAL

__all__ = ["WebSocketCall"]

logger = logging.getLogger("bridge")

_READ_SIZE = 65536


class WebSocketCall:
    """A WSGI app that finds a socket for its library, and the tasks that join the socket to one websocket.

    Args:
        app: the WSGI application.
        websocket: the websocket, whose `websocket.connect` has come.
        loop: the running loop.
    """

    def __init__(
        self, app: WSGIApplication, websocket: HostWebSocket, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._app = app
        self._websocket = websocket
        self._loop = loop
        self._library = LibraryConnection(websocket.subprotocols, self._reply)
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        theirs.setblocking(True)  # whatever the default timeout is, libraries expect to wait
        self._theirs = _LibrarySocket(fileno=theirs.detach())
        self._is_over = False  # read what the library has written by now, and no more
        self._readable: asyncio.Future[None] | None = None
        self._is_writing = False
        self._replies = bytearray()  # not yet written
        self._from_library = loop.create_task(self._read())
        self._from_host: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._closing: asyncio.Task[None] | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the app, in a worker thread, with a socket for its library."""
        environ["werkzeug.socket"] = self._theirs
        environ["HTTP_SEC_WEBSOCKET_KEY"] = self._library.key
        return call_app(self._app, environ, start_response, lambda: self._websocket.state != "handshake")

    async def serve(self, work: Work, host: Host, engine: Engine) -> None:
        """Have a thread make the call; return when it has ended and the host has what the library sent.

        Args:
            work: the call that has this as its app.
            host: the handshake.
            engine: its threads.

        Raises:
            ApplicationError: the app answered without a 101, and its response was cut short.
            Exception: what the host raised.
        """
        engine.streams.links.add(self)
        try:
            await serve_in_thread(work, host, engine, "GET")
            await self.settle()
            if self._from_host is None:
                self._theirs.close()  # no library has it
        finally:
            engine.streams.links.discard(self)
            await self._close()

    async def settle(self) -> None:
        """Send the host all that the library has written so far, such as a 101."""
        self._is_over = True
        self._look()
        await self._from_library

    def end(self) -> None:
        """Close the websocket with 1001, as soon as it is open, and tell the library: the server stops."""
        self._is_stopping = True
        if self._websocket.state == "open" and self._closing is None:
            self._closing = self._loop.create_task(self._end(GOING_AWAY, ""))

    async def _close(self) -> None:
        """End both directions; raise the error of one that failed."""
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
                if self._websocket.state != "closed":  # a closed one takes nothing; the library must not wait
                    await self._take(data)
            if not self._is_over:
                await self._websocket.close(INTERNAL_ERROR)
        except WebSocketDisconnect as end:
            self._leave(end.code, end.reason)
            await self._read()
        except BaseException:
            self._ours.shutdown(socket.SHUT_RDWR)  # or the app would wait for ever, and the host for the app
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
                return b""  # the library closed its end and left something unread
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

    async def _take(self, data: bytes) -> None:
        try:
            for event in self._library.receive(data):
                if isinstance(event, str | bytes):
                    await self._websocket.send(event)
                elif isinstance(event, events.AcceptConnection):
                    headers = [(bytes(name), bytes(value)) for name, value in event.extra_headers]
                    await self._websocket.accept(event.subprotocol, headers)
                    self._from_host = self._loop.create_task(self._write())
                    if self._is_stopping:
                        await self._end(GOING_AWAY, "")
                else:
                    code = NORMAL if event.code == NO_STATUS else int(event.code)  # hosts take no enum
                    await self._end(code, event.reason or "")
        except BrokenProtocol as error:
            path = ascii(self._websocket.scope["path"])[1:-1]
            logger.error(
                "%s: the app's websocket library has broken the protocol (RFC 6455): %s", path, error
            )
            await self._end(INTERNAL_ERROR, "")

    async def _end(self, code: int, reason: str) -> None:
        """Close the websocket from here, tell the library, and take no more from the host."""
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
                    self._is_writing = True
                    try:
                        await self._loop.sock_sendall(self._ours, self._library.send(data))
                    finally:
                        self._is_writing = False
                    self._reply(b"")
        except WebSocketDisconnect as end:
            self._leave(end.code, end.reason)
        except ConnectionError:
            pass  # the library closed its end; `_read` notices
        except Exception:
            self._ours.shutdown(socket.SHUT_RDWR)
            raise

    def _reply(self, data: bytes) -> None:
        """Write something short between messages, without waiting.

        Reading, which asks for it, must not depend on whether the library reads. While the pair's buffer is
        full, the bytes stay here.
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
    """The library's end, closed when nobody holds it any more.

    The library closes it, in a thread that may still be in `recv()` or `select()` when the call has ended. A
    close from here could make that thread wait for ever.
    """

    def __del__(self) -> None:
        self.close()

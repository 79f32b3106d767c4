"""An ASGI host as the other end of a call: events ↔ pieces of the body and parts of the response."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, BinaryIO

from bridge.asgi.scope import EARLY_HINTS, PATHSEND
from bridge.core.link import Head, Part
from bridge.errors import ClientDisconnected
from bridge.runners import reasons
from bridge.types import (
    HTTPReceive,
    HTTPResponseBodyEvent,
    HTTPResponseEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    HTTPSend,
)

__all__ = ["SLICE", "ASGIHost", "events_of", "path_of"]

SLICE = 262144
"""Bytes that the host gets at once, so that it can make us wait before it has copied all of a large part."""


class ASGIHost:
    """The host of one `http` scope; see `runners.host.Host`.

    Args:
        scope: the scope.
        receive: the host's `receive`.
        send: the host's `send`.
    """

    __slots__ = ("_hinting", "_receive", "_scope", "_send", "body_is_over", "head", "is_complete", "is_open")

    def __init__(
        self,
        scope: HTTPScope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._scope = scope
        self._receive: HTTPReceive = receive
        self._send: HTTPSend = send
        self._hinting: asyncio.Task[None] | None = None  # sends early hints, before the head
        self.body_is_over = False
        self.head: Head | None = None
        self.is_open = False
        self.is_complete = False

    async def next(self) -> bytes:
        """Return more of the body; b"" at its end.

        Raises:
            ClientDisconnected: the client left before the end.
        """
        while not self.body_is_over:
            try:
                event = await self._receive()
            except ConnectionError as error:
                raise ClientDisconnected(reasons.LEFT) from error
            if event["type"] == "http.disconnect":
                raise ClientDisconnected("the client left before it had sent the whole request body")
            self.body_is_over = not event.get("more_body", False)
            data = event.get("body", b"")
            if data:  # skip empty events: a client could send millions
                return data
        return b""

    async def left(self) -> bool:
        """Wait for the client to leave, once the body is over.

        It asks once, and returns False for another event: middleware may replay a body for ever.
        """
        try:
            return (await self._receive())["type"] == "http.disconnect"
        except ConnectionError:
            return True

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        """Return False: an ASGI host tells only the code that receives."""
        return False

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the response, a large one in slices; wait while the host does.

        Raises:
            ClientDisconnected: the host raised an `OSError`, by which the ASGI spec lets it say so.
            TimeoutError: a middleware's limit; the client is still there.
        """
        send = self._send
        try:
            if head is not None:
                self.head = head
                if self._hinting is not None:
                    await self._hinting
                await send(_start_event(head))
                self.is_open = True
            if len(data) >= SLICE and (more or _transports_copy()):
                last = len(data) - SLICE
                for start in range(0, len(data), SLICE):
                    await send(_body_event(data[start : start + SLICE], more or start < last))
            else:
                await send(_body_event(data, more))
        except OSError as error:
            self.is_open = False
            if isinstance(error, TimeoutError):
                raise
            raise ClientDisconnected(reasons.LEFT) from error
        self.is_open = more
        self.is_complete = not more

    def prepare_file(self, file: BinaryIO, size: int) -> str | None:
        """Return the path for `http.response.pathsend`; None if the host lacks that, or the file a path."""
        if PATHSEND not in (self._scope.get("extensions") or {}):
            return None
        return path_of(file, size)

    async def send_file(self, head: Head, file: object) -> None:
        """Send the head and a file by its path.

        Raises:
            ClientDisconnected: as in `send`, at the head.
            TimeoutError: as in `send`.
            OSError: the host raised it at the path; perhaps it cannot read the file.
        """
        assert isinstance(file, str), "the path that prepare_file returned"
        self.head = head
        if self._hinting is not None:
            await self._hinting
        try:
            await self._send(_start_event(head))
        except TimeoutError:
            raise
        except OSError as error:
            raise ClientDisconnected(reasons.LEFT) from error
        await self._send({"type": "http.response.pathsend", "path": file})
        self.is_complete = True

    def hint(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Send the links among the fields as early hints, if the head is not out (ASGI, "Early Hints")."""
        if self.head is None:
            links = [value for name, value in fields if name == b"link"]
            self._hinting = asyncio.get_running_loop().create_task(self._send_links(links, self._hinting))

    async def _send_links(self, links: list[bytes], earlier: "asyncio.Task[None] | None") -> None:
        if earlier is not None:
            await earlier
        event: Any = {"type": EARLY_HINTS, "links": links}
        with suppress(OSError):  # the client has left, as the next send says
            await self._send(event)


def events_of(part: Part) -> tuple[HTTPResponseEvent, ...]:
    """Return the events of a part, for code that has no `ASGIHost`."""
    head, data, more = part
    body = _body_event(data, more)
    return (body,) if head is None else (_start_event(head), body)


def _start_event(head: Head) -> HTTPResponseStartEvent:
    return {"type": "http.response.start", "status": head.status, "headers": head.headers, "trailers": False}


def _body_event(data: bytes, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": data, "more_body": more}


def path_of(file: BinaryIO, size: int) -> str | None:
    """Return the path by which a host can read the same `size` bytes, or None.

    The file must be at its beginning, and still have the name that it was opened with.
    """
    try:
        opened = os.fstat(file.fileno())
        path = os.path.abspath(os.fsdecode(file.name))
        named = os.stat(path)
        is_whole = file.tell() == 0 and opened.st_size == size
    except (OSError, TypeError, ValueError):
        return None  # closed, deleted, or opened by a descriptor
    is_same = (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
    return path if is_same and is_whole else None


def _transports_copy() -> bool:
    """Whether the loop's transports copy what the socket does not take at once.

    asyncio's own copy up to Python 3.11; later ones, and uvloop's, keep the bytes as they are. There a whole
    body is better left whole: 10 MiB in slices cost 1.6 times the CPU on uvloop.
    """
    return sys.version_info < (3, 12) and isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)

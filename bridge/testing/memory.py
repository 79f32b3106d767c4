"""An ASGI host in memory: one request to an app, streamed both ways. Needs no httpx.

The app waits until its client has taken each chunk, and the request's body is taken from its iterator as the
app reads it; so a test can show that an app streams.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from bridge.types import (
    ASGI3Application,
    ASGIReceiveEvent,
    ASGISendEvent,
    HTTPRequestEvent,
    HTTPRequestSideEvent,
    HTTPScope,
)

__all__ = ["Exchange", "http_scope"]

# As uvicorn reads a body from its socket.
_PIECE = 65536


def http_scope(
    method: str,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    root_path: str = "",
    scheme: str = "http",
    server: tuple[str, int] = ("127.0.0.1", 80),
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    state: Mapping[str, Any] | None = None,
) -> HTTPScope:
    """Return the scope of a request, as a host makes it.

    Args:
        method: such as "GET".
        target: the path below `root_path`, and the query, percent-encoded.
        headers: the fields; names in any case.
        root_path: where the app is mounted.
        scheme: "http" or "https".
        server: host and port.
        client: host and port.
        state: the lifespan's; the scope has a shallow copy.
    """
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": root_path + unquote(path.decode("ascii")),
        "raw_path": root_path.encode() + path,
        "query_string": query,
        "root_path": root_path,
        "headers": [(name.lower(), value) for name, value in headers],
        "client": client,
        "server": server,
        "state": dict(state or {}),
        "extensions": {},
    }


class Exchange:
    """One request and its response: the host of the app, and its client.

    Args:
        app: an ASGI application.
        scope: what it is called with.
        body: of the request, whole, or in parts as they come.
    """

    def __init__(
        self, app: ASGI3Application, scope: HTTPScope, body: bytes | AsyncIterable[bytes] = b""
    ) -> None:
        self.scope = scope
        self.status: int | None = None
        """Of the response; None until there is one."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False
        """Whether the app has sent all of its response."""
        self.has_left = False
        """Whether the client has left."""
        self.failure: Exception | None = None
        """What the app has raised."""
        self.body_failure: Exception | None = None
        """What the iterator of the request's body has raised."""
        self._app = app
        self._body = _events(body)
        self._reading: asyncio.Task[HTTPRequestSideEvent] | None = None
        self._is_read = False
        self._chunk: bytes | None = None
        self._call: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    # The client's side

    def start(self) -> "asyncio.Task[None]":
        """Call the app, in a task, which never raises: see `failure`."""
        self._call = asyncio.create_task(self._run())
        return self._call

    @property
    def has_ended(self) -> bool:
        """Whether the app's call is over."""
        return self._call is not None and self._call.done()

    async def head(self) -> None:
        """Wait for the status and the headers, or the end of the app."""
        await self._until(lambda: self.status is not None or self.has_ended)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body of the response, until it is complete, or the app has ended."""
        while True:
            await self._until(lambda: self._chunk is not None or self.is_complete or self.has_ended)
            chunk, self._chunk = self._chunk, None
            self._changed.set()
            if chunk is None:
                break
            yield chunk

    def leave(self) -> None:
        """The client goes, or has all that it wanted; the app may receive `http.disconnect`."""
        self.has_left = True
        self._changed.set()

    async def join(self, patience: float | None = None) -> bool:
        """Wait for the app's call to end; cancel it after so many seconds.

        Returns:
            Whether it ended by itself.
        """
        if self._call is None or self._call.done():
            return True
        await asyncio.wait((self._call,), timeout=patience)
        if self._call.done():
            return True
        self._call.cancel()
        await asyncio.wait((self._call,), timeout=patience)
        return False

    # The app's side

    async def _receive(self) -> ASGIReceiveEvent:
        """Give the app the next piece of the request, or the disconnect, when there is one."""
        while not self.has_left:
            if self._reading is None and not self._is_read:
                # It outlives a cancelled receive(), so that nothing of the body is lost with one.
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(lambda _: self._changed.set())
            if self._reading is not None and self._reading.done():
                event, self._reading = self._reading.result(), None
                return event
            await self._until(lambda: self.has_left or (self._reading is not None and self._reading.done()))
        if self._reading is not None:
            self._reading.cancel()
        return {"type": "http.disconnect"}

    async def _read(self) -> HTTPRequestSideEvent:
        try:
            event = await anext(self._body)
        except Exception as error:  # noqa: BLE001  # the client's own, which sees it where it waits
            self._is_read = True
            self.body_failure = error
            self.leave()
            return {"type": "http.disconnect"}
        self._is_read = not event["more_body"]
        return event

    async def _send(self, event: ASGISendEvent) -> None:
        """Take an event from the app. After a disconnect it does nothing, as in every host."""
        if self.has_left:
            return
        if event["type"] == "http.response.start" and self.status is None:
            self.status = event["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in event.get("headers", ())]
        elif event["type"] == "http.response.body" and self.status is not None and not self.is_complete:
            if event.get("body"):
                self._chunk = event["body"]
                self._changed.set()
                await self._until(lambda: self._chunk is None or self.has_left)
            self.is_complete = not event.get("more_body", False)
        else:
            raise RuntimeError(f"the app sent {event['type']!r} out of turn (ASGI spec, HTTP)")
        self._changed.set()

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001  # for the client, who waits for the response
            self.failure = error
        finally:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait((self._reading,))
            await self._body.aclose()
            asyncio.get_running_loop().call_soon(self._changed.set)  # when the call is done

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()


async def _events(body: bytes | AsyncIterable[bytes]) -> AsyncGenerator[HTTPRequestEvent, None]:
    if isinstance(body, bytes):
        for start in range(0, max(len(body), 1), _PIECE):
            piece = body[start : start + _PIECE]
            yield {"type": "http.request", "body": piece, "more_body": start + _PIECE < len(body)}
        return
    async for piece in body:
        yield {"type": "http.request", "body": piece, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}

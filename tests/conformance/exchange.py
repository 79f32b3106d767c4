"""One request of an ASGI host, in memory, with the host's part played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bridge import WSGIToASGI
from bridge.types import WSGIApplication
from tests.asgi_host import ScriptedHost, body_event
from tests.core.links import Reply, http_scope

__all__ = ["Exchange", "Signal", "adapted", "ask", "turns", "turns_until"]


class Signal:
    """An event that any thread sets and a test waits for on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


async def turns(number: int) -> None:
    """Let the loop turn so often: long enough for any task on it to do what it can do at once."""
    for _ in range(number):
        await asyncio.sleep(0)


async def turns_until(reached: Callable[[], bool]) -> None:
    """Let the loop turn until something is so that tells nobody."""
    while not reached():
        await turns(1)


class Exchange(ScriptedHost):
    """One http request to an adapter, from a host that stalls, fails, leaves and counts.

    Args:
        adapter: what is called.
        target: the path and the query, as in the request line.
        body: the chunks of the request body.
        is_whole: whether nothing follows these chunks; otherwise the client is silent after them.
        scope: other keys of the scope.
    """

    def __init__(
        self,
        adapter: WSGIToASGI,
        target: bytes = b"/",
        *,
        body: tuple[bytes, ...] = (b"",),
        is_whole: bool = True,
        **scope: Any,
    ) -> None:
        last = len(body) - 1 if is_whole else len(body)
        super().__init__([body_event(chunk, more=number < last) for number, chunk in enumerate(body)])
        self.scope = http_scope(target, **scope)
        self.sent_bytes = 0
        self.send_failure: BaseException | None = None
        """Raised by `send` for a part of the body, and not for the start."""
        self._adapter = adapter
        self._is_stalled = False
        self._changed = asyncio.Condition()

    async def run(self) -> Reply:
        """Make the call and return what the client has got of it."""
        await self._adapter(self.scope, self.receive, self.send)
        return self.reply

    def start(self) -> asyncio.Task[Reply]:
        """Make the call in a task."""
        return asyncio.create_task(self.run())

    @property
    def reply(self) -> Reply:
        """What the client has got; a status of 0 if nothing."""
        return Reply.of_events(self.sent) if self.sent else Reply(0, [], b"", (), False, None)

    async def leave(self) -> None:
        """Disconnect. As in every host, `send` does nothing from now on."""
        self.disconnect()
        await self._notify()

    async def stall(self) -> None:
        """Take nothing more, until `go_on`."""
        self._is_stalled = True
        await self._notify()

    async def go_on(self) -> None:
        self._is_stalled = False
        await self._notify()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so that changes with what has been sent or received."""
        async with self._changed:
            await self._changed.wait_for(reached)

    async def until_streaming(self) -> None:
        """Wait until the client has got the first part of a body."""
        await self.until(lambda: self.sent_bytes > 0)

    async def receive(self) -> Any:
        event = await super().receive()
        await self._notify()
        return event

    async def send(self, event: Any) -> None:
        if self.send_failure is not None and event["type"] != "http.response.start":
            raise self.send_failure
        await self.until(lambda: not self._is_stalled or self.is_gone)
        if self.is_gone:
            return
        await super().send(event)
        self.sent_bytes += len(event.get("body", b""))
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def adapted(app: WSGIApplication, **options: Any) -> AsyncIterator[WSGIToASGI]:
    """An adapter whose lifespan is running, so that its threads end with the block."""
    adapter = WSGIToASGI(app, **options)
    async with adapter.lifespan_context():
        yield adapter


async def ask(app: WSGIApplication, target: bytes = b"/", **options: Any) -> Reply:
    """Serve one request with an adapter of its own; `options` are those of `Exchange`."""
    async with adapted(app, threads=1) as adapter:
        return await Exchange(adapter, target, **options).run()

"""Async iterables as response bodies."""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from flask import has_request_context, stream_with_context

from bridge.errors import ClientDisconnected
from bridge.flask.views import FlaskLoopIterable
from bridge.runners import reasons
from bridge.runners.context import CallContext
from bridge.runners.greenlet_link import GreenletLink, current_greenlet_link
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess
from bridge.types import override

__all__ = ["stream"]

_Chunk = TypeVar("_Chunk")


def stream(iterable: AsyncIterable[str | bytes]) -> Iterator[bytes]:
    """Make an async iterable the body of a response: `Response(stream(rows()))`.

    After a view on the event loop it runs there, and holds no thread. After an async view in a thread it has
    a loop of its own, as the view has; after a plain view, on Bridge, it runs on the server's. If the client
    leaves, Bridge cancels what the iterable awaits, and its `finally` runs. It keeps the request context.

    Args:
        iterable: an async generator, or another async iterable, of str or bytes.

    Returns:
        an iterator for `Response`, which closes it.

    Raises:
        TypeError: the argument is not an async iterable.
    """
    if not isinstance(iterable, AsyncIterable):
        raise TypeError(
            f"stream() takes an async iterable, such as an async generator, not {type(iterable).__name__}; "
            "give a plain one to Response as it is, and call a generator function first"
        )
    return _Stream(iterable)


class _Stream(FlaskLoopIterable, Iterator[bytes]):
    """An async iterable as a plain one: each step waits for the next chunk."""

    def __init__(self, iterable: AsyncIterable[str | bytes]) -> None:
        self._iterator = aiter(iterable)
        self._way: _Way | None = None
        self._has_ended = False
        self._is_on_own_loop = _is_on_own_loop()
        # Its first step pushes the request context, its end pops it. A generator, though Flask's types hide
        # it.
        self._context: Any = stream_with_context(iter([""])) if has_request_context() else None

    def __next__(self) -> bytes:
        if self._way is None:
            self._way = self._begin(_way(self._is_on_own_loop))
        try:
            chunk = self._way.run(self._iterator)
        except StopAsyncIteration:
            self._end()
            raise StopIteration from None
        return chunk.encode() if isinstance(chunk, str) else chunk

    @override
    def begin_on_loop(self, link: GreenletLink) -> AsyncIterator[str | bytes]:
        self._way = self._begin(_InGreenlet(link))
        return self._iterator

    def _begin(self, way: "_Way") -> "_Way":
        if self._has_ended:
            raise StopIteration
        if self._context is not None:
            next(self._context)
        return way

    def close(self) -> None:
        """End the iterable, within its request context, and the response that it belongs to."""
        try:
            self._end()
        finally:
            on_close, self.on_close = self.on_close, None
            if on_close is not None:
                on_close()

    def _end(self) -> None:
        self._has_ended = True
        way, self._way = self._way, None
        context, self._context = self._context, None
        try:
            if way is not None:
                way.close(self._iterator)
        finally:
            if context is not None:
                context.close()


class _Way(Protocol):
    """How and where an iterable runs."""

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk: ...

    def close(self, iterator: AsyncIterator[Any]) -> None: ...


def _way(is_on_own_loop: bool) -> _Way:
    access = CURRENT_LOOP.get(None)
    if access is None or is_on_own_loop:
        return _OwnLoop(access)
    link = current_greenlet_link()
    return _InTask(access) if link is None else _InGreenlet(link)


def _is_on_own_loop() -> bool:
    """Whether Flask runs the calling view on a loop of its own, in a thread."""
    access = CURRENT_LOOP.get(None)
    try:
        return access is not None and asyncio.get_running_loop() is not access.loop
    except RuntimeError:
        return False


async def _close(iterator: AsyncIterator[Any]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


class _InGreenlet:
    """The host's task awaits each step."""

    def __init__(self, link: GreenletLink) -> None:
        self._link = link

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        return self._link.await_for_app(anext(iterator))

    def close(self, iterator: AsyncIterator[Any]) -> None:
        self._link.await_for_app(_close(iterator))


class _InTask:
    """One task on the loop awaits all steps, as `async for` would; a thread waits for each."""

    def __init__(self, access: LoopAccess) -> None:
        self._access = access
        self._asked: asyncio.Queue[concurrent.futures.Future[Any] | None] = asyncio.Queue()
        self._task: concurrent.futures.Future[None] | None = None
        self._ended = False

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        if self._task is None:
            self._task = self._access.begin(self._serve(iterator), CallContext())
        answer: concurrent.futures.Future[_Chunk] = concurrent.futures.Future()
        self._access.loop.call_soon_threadsafe(self._ask, answer)
        return answer.result()

    def close(self, iterator: AsyncIterator[Any]) -> None:
        if self._task is not None:
            self._access.loop.call_soon_threadsafe(self._asked.put_nowait, None)
            with suppress(asyncio.CancelledError):
                self._task.result()

    def _ask(self, answer: "concurrent.futures.Future[Any]") -> None:
        if self._ended:
            answer.set_exception(ClientDisconnected(reasons.LEFT))
        else:
            self._asked.put_nowait(answer)

    async def _serve(self, iterator: AsyncIterator[Any]) -> None:
        answer: concurrent.futures.Future[Any] | None = None
        try:
            while (answer := await self._asked.get()) is not None:
                await self._step(iterator, answer)
        finally:
            self._ended = True
            while not self._asked.empty():
                if (answer := self._asked.get_nowait()) is not None:
                    self._ask(answer)
            await _close(iterator)

    async def _step(self, iterator: AsyncIterator[Any], answer: "concurrent.futures.Future[Any]") -> None:
        try:
            answer.set_result(await anext(iterator))
        except asyncio.CancelledError as error:
            self._access.explain(error)
            answer.set_exception(error)
        except BaseException as error:  # noqa: BLE001  # the thread that waits raises it
            answer.set_exception(error)


class _OwnLoop:
    """An event loop runs this stream alone, in the thread that sends the response, as Flask runs async views.

    Args:
        access: says when the client leaves; None outside Bridge.
    """

    def __init__(self, access: LoopAccess | None) -> None:
        self._access = access
        self._runner = asyncio.Runner()

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        step = _next(iterator)
        return self._runner.run(step) if self._access is None else self._access.run_here(self._runner, step)

    def close(self, iterator: AsyncIterator[Any]) -> None:
        self._runner.run(_close(iterator))
        self._runner.close()


async def _next(iterator: AsyncIterator[_Chunk]) -> _Chunk:
    return await anext(iterator)

"""Async iterables as response bodies."""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from flask import has_request_context, stream_with_context

from bridge.errors import ClientDisconnected
from bridge.flask.views import FlaskLoopIterable
from bridge.runners import reasons
from bridge.runners.context import CallContext
from bridge.runners.greenlet_link import GreenletLink, current_greenlet_link
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess
from bridge.types import override

__all__ = ["Steps", "close_iterator", "stream"]

_Chunk = TypeVar("_Chunk")
_Answer: TypeAlias = "concurrent.futures.Future[Any] | asyncio.Future[Any]"


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


async def close_iterator(iterator: AsyncIterator[Any]) -> None:
    """Close an async iterator, if it can be closed, as generators can."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


class Steps:
    """Iterates in one task, as `async for` does, step by step as others ask for it.

    What the iterator enters, such as a timeout, belongs to one task. The loop's thread calls all methods.
    """

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._asked: asyncio.Queue[_Answer | None] = asyncio.Queue()
        self._has_ended = False

    def ask(self, answer: _Answer) -> None:
        """Have a future get the outcome of the next step."""
        if self._has_ended:
            answer.set_exception(ClientDisconnected(reasons.LEFT))
        else:
            self._asked.put_nowait(answer)

    def end(self) -> None:
        """Have `serve` return."""
        self._asked.put_nowait(None)

    def refuse(self) -> None:
        """Answer what nobody serves any more: the client has left, perhaps before `serve` began."""
        self._has_ended = True
        while not self._asked.empty():
            if (answer := self._asked.get_nowait()) is not None:
                self.ask(answer)

    async def serve(self) -> None:
        """Take steps until the end, and close the iterator."""
        try:
            while (answer := await self._asked.get()) is not None:
                try:
                    answer.set_result(await anext(self._iterator))
                except BaseException as error:  # noqa: BLE001  # whoever has asked raises it
                    answer.set_exception(error)
        finally:
            await close_iterator(self._iterator)


class _InGreenlet:
    """The host's task awaits each step."""

    def __init__(self, link: GreenletLink) -> None:
        self._link = link

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        return self._link.await_for_app(anext(iterator))

    def close(self, iterator: AsyncIterator[Any]) -> None:
        self._link.await_for_app(close_iterator(iterator))


class _InTask:
    """A task on the loop takes all steps; a thread waits for each."""

    def __init__(self, access: LoopAccess) -> None:
        self._access = access
        self._steps: Steps | None = None
        self._task: concurrent.futures.Future[None] | None = None

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        if self._steps is None:
            self._steps = steps = Steps(iterator)
            self._task = self._access.begin(steps.serve(), CallContext())
            self._task.add_done_callback(lambda task: steps.refuse())
        answer: concurrent.futures.Future[_Chunk] = concurrent.futures.Future()
        self._access.loop.call_soon_threadsafe(self._steps.ask, answer)
        try:
            return answer.result()
        except asyncio.CancelledError as error:
            self._access.explain(error)
            raise

    def close(self, iterator: AsyncIterator[Any]) -> None:
        if self._steps is not None and self._task is not None:
            self._access.loop.call_soon_threadsafe(self._steps.end)
            with suppress(asyncio.CancelledError):
                self._task.result()


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
        self._runner.run(close_iterator(iterator))
        self._runner.close()


async def _next(iterator: AsyncIterator[_Chunk]) -> _Chunk:
    return await anext(iterator)

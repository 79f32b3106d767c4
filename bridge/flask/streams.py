"""Async iterables as response bodies."""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

from flask import has_request_context, stream_with_context

from bridge.errors import ClientDisconnected
from bridge.wsgi_to_asgi import reasons
from bridge.wsgi_to_asgi.call_context import CallContext
from bridge.wsgi_to_asgi.flask_views import LoopIterable
from bridge.wsgi_to_asgi.greenlet_link import current_greenlet_link
from bridge.wsgi_to_asgi.loop_access import CURRENT_LOOP, LoopAccess, run_on_loop

__all__ = ["stream"]

_Chunk = TypeVar("_Chunk")


def stream(iterable: AsyncIterable[_Chunk]) -> Iterator[_Chunk]:
    """Make an async iterable the body of a response: `Response(stream(rows()))`.

    Under an async view on Bridge it is iterated over on the event loop, and holds no thread. If the client
    leaves, what the iterable awaits is cancelled, and its `finally` runs. The request context stays for it.

    Args:
        iterable: an async generator, or another async iterable, of str or bytes.

    Returns:
        an iterator for `Response`, which closes it.

    Raises:
        TypeError: it is not an async iterable.
    """
    if not isinstance(iterable, AsyncIterable):
        raise TypeError(
            f"stream() takes an async iterable, such as an async generator, not {type(iterable).__name__}; "
            "give a plain one to Response as it is, and call a generator function first"
        )
    steps = _Steps(iterable)
    if not has_request_context():
        return _Stream(steps, steps)
    # Its types know of str and bytes only, and it hands on whatever there is.
    return _Stream(steps, cast(Any, stream_with_context)(steps))


class _Stream(LoopIterable, Iterator[_Chunk]):
    """The iterator that Flask gets, which Bridge knows again."""

    def __init__(self, steps: "_Steps[_Chunk]", chunks: Iterator[_Chunk]) -> None:
        self._steps = steps
        self._chunks = chunks

    def __next__(self) -> _Chunk:
        return next(self._chunks)

    def close(self) -> None:
        """End the iterable, within its request context, if that is still there."""
        close = getattr(self._chunks, "close", None)
        try:
            if close is not None:
                close()
        finally:
            self._steps.close()


class _Steps(Iterator[_Chunk]):
    """The iterable in plain form: each step waits for the next."""

    def __init__(self, iterable: AsyncIterable[_Chunk]) -> None:
        self._iterator = aiter(iterable)
        self._way: _Way | None = None

    def __next__(self) -> _Chunk:
        if self._way is None:
            self._way = _way()
        try:
            return self._way.run(self._iterator)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """End the iterable; once."""
        way, self._way = self._way, None
        if way is not None:
            way.close(self._iterator)


class _Way(Protocol):
    """Where an iterable runs."""

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk: ...

    def close(self, iterator: AsyncIterator[Any]) -> None: ...


def _way() -> _Way:
    access = CURRENT_LOOP.get(None)
    if access is None:
        return _OwnLoop()
    return _InGreenlet() if current_greenlet_link() is not None else _InTask(access)


async def _close(iterator: AsyncIterator[Any]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


class _InGreenlet:
    """Each step is awaited in the host's task."""

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        return run_on_loop(anext(iterator))

    def close(self, iterator: AsyncIterator[Any]) -> None:
        run_on_loop(_close(iterator))


class _InTask:
    """All steps in one task on the loop, as it is for who iterates with `async for`; a thread waits."""

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
        except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for it
            answer.set_exception(error)


class _OwnLoop:
    """Without Bridge: an event loop for this stream, in the server's thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, iterator: AsyncIterator[_Chunk]) -> _Chunk:
        return self._runner.run(_next(iterator))

    def close(self, iterator: AsyncIterator[Any]) -> None:
        self._runner.run(_close(iterator))
        self._runner.close()


async def _next(iterator: AsyncIterator[_Chunk]) -> _Chunk:
    return await anext(iterator)

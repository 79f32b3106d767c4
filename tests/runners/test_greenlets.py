"""Plain code that waits in a greenlet: what it gets back, what it is interrupted by, what it sees."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from bridge.runners.greenlets import CallGreenlet

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def run(function: Callable[[CallGreenlet], Any]) -> Any:
    """Call a function in a greenlet, which it is given; its result, or what it raises."""
    results = []
    greenlet = CallGreenlet()
    await greenlet.drive(lambda: results.append(function(greenlet)))
    (result,) = results
    return result


class Custom:
    """Something that can be awaited and is no coroutine."""

    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "custom"


async def coroutine() -> str:
    await asyncio.sleep(0)
    return "coroutine"


AWAITABLES: dict[str, Callable[[], Awaitable[Any]]] = {
    "coroutine": coroutine,
    "coroutine that does not wait": lambda: asyncio.sleep(0, "at once"),
    "task": lambda: asyncio.create_task(coroutine()),
    "gathered": lambda: asyncio.gather(coroutine(), coroutine()),
    "custom": Custom,
}


@pytest.mark.parametrize("make", AWAITABLES.values(), ids=AWAITABLES)
async def test_waiting_gives_what_awaiting_gives(make: Callable[[], Awaitable[Any]]) -> None:
    assert await run(lambda greenlet: greenlet.wait(make())) == await make()


async def test_others_run_while_it_waits() -> None:
    happened = []

    def plain(greenlet: CallGreenlet) -> None:
        happened.append("begins")
        greenlet.wait(asyncio.sleep(0.01))
        happened.append("ends")

    async def other() -> None:
        happened.append("other")

    await asyncio.gather(run(plain), other())
    assert happened == ["begins", "other", "ends"]


async def test_what_is_awaited_raises() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(lambda greenlet: greenlet.wait(fail()))


async def test_what_is_raised_can_be_caught() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    def plain(greenlet: CallGreenlet) -> str:
        try:
            greenlet.wait(fail())
        except ZeroDivisionError:
            return str(greenlet.wait(coroutine()))
        return "nothing raised"

    assert await run(plain) == "coroutine"


async def test_a_cancellation_reaches_what_is_awaited() -> None:
    happened = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            happened.append("coroutine")
            await asyncio.sleep(0)

    def plain(greenlet: CallGreenlet) -> None:
        try:
            greenlet.wait(wait())
        finally:
            happened.append("plain")

    task = asyncio.create_task(run(plain))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert happened == ["coroutine", "plain"]


async def test_a_task_that_is_awaited_is_cancelled_with_it() -> None:
    inner = asyncio.create_task(asyncio.sleep(60))
    task = asyncio.create_task(run(lambda greenlet: greenlet.wait(inner)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inner.cancelled()


async def test_waiting_within_a_coroutine_that_is_waited_for() -> None:
    def plain(greenlet: CallGreenlet) -> str:
        async def outer() -> str:
            await asyncio.sleep(0)
            return "outer " + greenlet.wait(coroutine()) + " " + await coroutine()

        return greenlet.wait(outer())

    assert await run(plain) == "outer coroutine coroutine"


async def test_it_shares_the_context_of_its_task() -> None:
    def plain(greenlet: CallGreenlet) -> str:
        async def inside() -> str:
            before = variable.get()
            variable.set("by the coroutine")
            return before

        seen = greenlet.wait(inside())
        assert variable.get() == "by the coroutine"
        variable.set("by plain code")
        return seen

    variable.set("by the task")
    assert await run(plain) == "by the task"
    assert variable.get() == "by plain code"


async def test_many_at_once_keep_their_contexts() -> None:
    def plain(greenlet: CallGreenlet, number: int) -> bool:
        variable.set(str(number))
        for _ in range(5):
            greenlet.wait(asyncio.sleep(0))
        return variable.get() == str(number)

    tasks = [
        asyncio.create_task(run(lambda greenlet, number=number: plain(greenlet, number)))  # type: ignore[misc]
        for number in range(500)
    ]
    assert all(await asyncio.gather(*tasks))


async def test_it_knows_whether_it_runs() -> None:
    def plain(greenlet: CallGreenlet) -> tuple[bool, bool]:
        async def elsewhere() -> bool:
            return greenlet.is_current

        return greenlet.is_current, greenlet.wait(asyncio.create_task(elsewhere()))

    assert await run(plain) == (True, False)

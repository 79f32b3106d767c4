"""What is received for a call on the loop, by whom, and how far ahead."""

import asyncio
from typing import Any

import pytest

from bridge.asgi.receiver import Receiver
from bridge.errors import ClientDisconnected
from tests.asgi_host import DISCONNECT, ScriptedHost, body_event

PARTS = [body_event(b"one", more=True), body_event(b"two", more=True), body_event(b"three")]


def receiver_of(host: ScriptedHost, buffer_size: int = 1000) -> tuple[Receiver, list[Exception | None]]:
    ends: list[Exception | None] = []
    return Receiver(host.receive, buffer_size, ends.append), ends


@pytest.mark.parametrize("ahead", [False, True])
async def test_it_gives_the_body_in_order(ahead: bool) -> None:
    receiver, ends = receiver_of(ScriptedHost(PARTS))
    if ahead:
        receiver.start()
    assert [await receiver.next_event() for _ in PARTS] == PARTS
    assert ends == []
    receiver.stop()
    await receiver.stopped(1)


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_client_that_leaves_in_the_middle(ahead: bool) -> None:
    receiver, ends = receiver_of(ScriptedHost([*PARTS[:1], DISCONNECT]))
    if ahead:
        receiver.start()
    assert await receiver.next_event() == PARTS[0]
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            await receiver.next_event()
    assert ends == [None]
    receiver.stop()
    await receiver.stopped(1)


async def test_without_a_task_it_receives_no_more_than_is_asked_for() -> None:
    host = ScriptedHost(PARTS)
    receiver, _ = receiver_of(host)
    await receiver.next_event()
    await asyncio.sleep(0.01)
    assert host.received == 1


async def test_ahead_it_keeps_to_its_limit() -> None:
    host = ScriptedHost([*[body_event(b"x" * 1000, more=True)] * 10, body_event(b"end")])
    receiver, _ = receiver_of(host, 2500)
    receiver.start()
    await asyncio.sleep(0.01)
    assert host.received == 3
    await receiver.next_event()
    await asyncio.sleep(0.01)
    assert host.received == 4
    receiver.stop()
    await receiver.stopped(1)


async def test_it_begins_to_receive_ahead_while_somebody_waits() -> None:
    """The host is never asked by two at once: `ScriptedHost` would not have it."""
    host = ScriptedHost()
    receiver, ends = receiver_of(host)
    waiting = asyncio.create_task(receiver.next_event())
    await asyncio.sleep(0)
    receiver.start()
    also_waiting = asyncio.create_task(receiver.next_event())
    await asyncio.sleep(0)
    host.disconnect()
    for task in (waiting, also_waiting):
        with pytest.raises(ClientDisconnected):
            await task
    assert ends == [None]
    receiver.stop()
    await receiver.stopped(1)


async def test_after_the_body_it_listens_for_the_disconnect() -> None:
    host = ScriptedHost([body_event(b"all")])
    receiver, ends = receiver_of(host)
    await receiver.next_event()
    receiver.start()
    await asyncio.sleep(0.01)
    assert ends == []
    host.disconnect()
    await asyncio.sleep(0.01)
    assert ends == [None]
    receiver.stop()
    await receiver.stopped(1)


async def test_a_host_that_fails() -> None:
    async def receive() -> Any:
        raise ZeroDivisionError

    ends: list[Exception | None] = []
    receiver = Receiver(receive, 1000, ends.append)
    receiver.start()
    with pytest.raises(ClientDisconnected):
        await receiver.next_event()
    assert [type(error) for error in ends] == [ZeroDivisionError]
    receiver.stop()
    await receiver.stopped(1)


async def test_empty_parts_are_not_kept() -> None:
    """They say nothing, and a client could send millions of them."""
    host = ScriptedHost([*[body_event(more=True)] * 1000, body_event(b"x")])
    receiver, _ = receiver_of(host)
    assert await receiver.next_event() == body_event(b"x")
    assert host.received == 1001

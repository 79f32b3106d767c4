"""A websocket that its handler closes, and hosts that are in the way of it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from flask import Flask

from bridge import WSGIToASGI
from bridge.errors import WebSocketDisconnect
from bridge.flask import Bridge, WebSocket
from tests.websockets.scripted import ScriptedWebSocket, websocket_scope

READ_AHEAD = 0.2  # seconds without a receive(), after which Bridge receives


def app_of(handler: Callable[[WebSocket], Coroutine[Any, Any, None]]) -> WSGIToASGI:
    app = Flask(__name__)
    Bridge(app).websocket("/")(handler)
    return WSGIToASGI(app)


@pytest.mark.parametrize("before", [0, READ_AHEAD], ids=["", "after it was read ahead"])
async def test_a_receiving_task_notices_the_close(before: float) -> None:
    """At once: the host may never say that the websocket has ended."""
    ends = []

    async def closes(ws: WebSocket) -> None:
        await ws.accept()
        await asyncio.sleep(before)
        receiving = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        await ws.close(4000, "enough")
        with pytest.raises(WebSocketDisconnect) as end:
            await receiving
        ends.append((end.value.code, end.value.reason, receiving.cancelling()))

    async with ScriptedWebSocket(app_of(closes), websocket_scope("/")) as ws:
        pass
    assert ends == [(4000, "enough", 0)]
    assert ws.sent[1:] == [{"type": "websocket.close", "code": 4000, "reason": "enough"}]


@pytest.mark.parametrize("closes_first", [False, True])
async def test_a_task_that_is_cancelled_as_well_is_cancelled(closes_first: bool) -> None:
    were_cancelled = []

    async def closes(ws: WebSocket) -> None:
        await ws.accept()
        receiving = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        if not closes_first:
            receiving.cancel()
        await ws.close()
        if closes_first:
            receiving.cancel()
        await asyncio.wait([receiving])
        were_cancelled.append(receiving.cancelled())

    async with ScriptedWebSocket(app_of(closes), websocket_scope("/")):
        pass
    assert were_cancelled == [True]


class TakesItsTime(ScriptedWebSocket):
    """A host whose `send` can be cancelled, such as granian."""

    async def send(self, event: dict[str, object]) -> None:
        await asyncio.sleep(0.05)
        await super().send(event)


async def test_the_notified_task_cannot_cut_the_close_short() -> None:
    """A task group cancels the other tasks when one of them has ended by an exception."""

    async def closes(ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ws.receive())
            await asyncio.sleep(0)
            await ws.close(4000)

    async with TakesItsTime(app_of(closes), websocket_scope("/")) as ws:
        pass
    assert ws.kinds == ["accept", "close"]


class TakesFewCodes(ScriptedWebSocket):
    """A host such as daphne."""

    async def send(self, event: dict[str, object]) -> None:
        if event["type"] == "websocket.close" and event["code"] != 1000:
            raise LookupError(f"invalid close code {event['code']}")
        await super().send(event)


async def test_a_code_that_the_host_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    """Handler and host get the error; the host then ends the websocket."""

    async def closes(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(1001)

    adapter = app_of(closes)
    async with adapter.lifespan_context():
        with pytest.raises(LookupError, match="invalid close code 1001"):
            async with TakesFewCodes(adapter, websocket_scope("/")):
                pass
    assert "invalid close code 1001" in caplog.text


async def test_a_handler_that_fails_on_a_host_that_does_not_take_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(ws: WebSocket) -> None:
        await ws.accept()
        raise ZeroDivisionError("the handler's own")

    adapter = app_of(fails)
    async with adapter.lifespan_context():
        with pytest.raises(LookupError, match="invalid close code 1011"):
            async with TakesFewCodes(adapter, websocket_scope("/")):
                pass
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], ZeroDivisionError)

"""The app of the suite on the event loop: `@bridge.websocket`, behind the adapter."""

import asyncio
from collections import defaultdict

from flask import Flask, Response, request

from bridge import WSGIToASGI
from bridge.errors import WebSocketDisconnect
from bridge.flask import Bridge, WebSocket

DENIAL = {"WWW-Authenticate": "Basic"}

flask = Flask(__name__)
bridge = Bridge(flask)
app = WSGIToASGI(flask)

ends: defaultdict[str, asyncio.Queue[tuple[int, str]]] = defaultdict(asyncio.Queue)


@bridge.websocket("/denied")
async def denied(ws: WebSocket) -> Response:
    return Response("who are you?", 401, DENIAL)


@bridge.websocket("/denied-in-parts")
async def denied_in_parts(ws: WebSocket) -> Response:
    return Response(iter(["who are ", "you?"]), 401, DENIAL)


@bridge.websocket("/fails")
async def fails(ws: WebSocket) -> None:
    raise ZeroDivisionError("before the handshake was answered")


@bridge.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    await accept(ws)
    await echo_until_the_end(ws)


@bridge.websocket("/watched/<key>")
async def watched(ws: WebSocket, key: str) -> None:
    try:
        await accept(ws)
        while True:
            await ws.send(await ws.receive())
    except WebSocketDisconnect as end:
        ends[key].put_nowait((end.code, end.reason))
        raise


@bridge.websocket("/ended/<key>")
async def ended(ws: WebSocket, key: str) -> None:
    await accept(ws)
    await ws.send_json(await ends[key].get())
    await echo_until_the_end(ws)


@bridge.websocket("/closes/<int:code>")
async def closes(ws: WebSocket, code: int) -> None:
    await accept(ws)
    await ws.receive()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ws.receive())
        await asyncio.sleep(0)  # so that it waits, which must not hold the close back
        await ws.close(code, "as you wish ✓")


@bridge.websocket("/returns")
async def returns(ws: WebSocket) -> None:
    await accept(ws)
    await ws.send("the last one")


@bridge.websocket("/breaks")
async def breaks(ws: WebSocket) -> None:
    await accept(ws)
    await ws.receive()
    raise ZeroDivisionError("in the middle")


@bridge.websocket("/headers")
async def headers(ws: WebSocket) -> None:
    await accept(ws)
    fields = {name.lower(): value for name, value in request.headers.items()}
    await ws.send_json({"headers": fields, "query": request.query_string.decode()})
    await echo_until_the_end(ws)


async def accept(ws: WebSocket) -> None:
    chosen = "chat" if "chat" in ws.subprotocols else None
    await ws.accept(chosen, {"Set-Cookie": "room=blue"})


async def echo_until_the_end(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)

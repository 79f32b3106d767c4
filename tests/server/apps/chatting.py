"""A Flask app with async websockets, for servers that stop."""

import asyncio

from flask import Flask

from bridge.flask import Bridge, WebSocket

app = Flask(__name__)
bridge = Bridge(app)


@bridge.websocket("/receives")
async def receives(ws: WebSocket) -> None:
    await ws.send("here")
    await ws.receive()


@bridge.websocket("/waits")
async def waits(ws: WebSocket) -> None:
    await ws.send("here")
    await asyncio.sleep(60)

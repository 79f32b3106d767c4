"""Connections that cannot be ended in good order, and an app whose requests last."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol


class Connection(HttpToolsProtocol):
    """One that fails when it is told to end, if it is idle."""

    def shutdown(self) -> None:
        if self.cycle is None:
            raise ZeroDivisionError("an idle connection")
        super().shutdown()


class WebSocket(WSProtocol):
    """One that fails when it is told to end."""

    def shutdown(self) -> None:
        raise ZeroDivisionError("a websocket")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("the lifespan has ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
    else:
        print("begun", flush=True)
        await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})

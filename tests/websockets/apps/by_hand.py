"""The app of the suite in plain ASGI: what a host does when nothing is between."""

import asyncio
import json
from collections import defaultdict
from typing import Any

SUBPROTOCOL = "chat"
DENIAL = {
    "type": "websocket.http.response.start",
    "status": 401,
    "headers": [(b"content-type", b"text/plain"), (b"www-authenticate", b"Basic")],
}

ends: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    match scope["path"].split("/")[1:]:
        case ["denied"] if "websocket.http.response" in scope.get("extensions", {}):
            await send(DENIAL)
            await send({"type": "websocket.http.response.body", "body": b"who are you?"})
        case ["denied-in-parts"] if "websocket.http.response" in scope.get("extensions", {}):
            await send(DENIAL)
            await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"you?"})
        case ["fails"]:
            raise ZeroDivisionError("before the handshake was answered")
        case ["echo"]:
            await accept(scope, send)
            await echo(receive, send)
        case ["watched", key]:
            await accept(scope, send)
            ends[key].put_nowait(await echo(receive, send))
        case ["ended", key]:
            await accept(scope, send)
            end = await ends[key].get()
            await send_text(send, json.dumps([end.get("code", 1005), end.get("reason") or ""]))
            await echo(receive, send)
        case ["closes", code]:
            await accept(scope, send)
            await receive()
            await send({"type": "websocket.close", "code": int(code), "reason": "as you wish ✓"})
        case ["returns"]:
            await accept(scope, send)
            await send_text(send, "the last one")
        case ["breaks"]:
            await accept(scope, send)
            await receive()
            raise ZeroDivisionError("in the middle")
        case ["headers"]:
            await accept(scope, send)
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            await send_text(send, json.dumps({"headers": headers, "query": scope["query_string"].decode()}))
            await echo(receive, send)
        case _:
            await send({"type": "websocket.close"})


async def accept(scope: Any, send: Any) -> None:
    chosen = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
    await send(
        {"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"set-cookie", b"room=blue")]}
    )


async def echo(receive: Any, send: Any) -> dict[str, Any]:
    """Send back what comes; the event at the end."""
    while (event := await receive())["type"] != "websocket.disconnect":
        if event.get("text") is not None:
            await send_text(send, event["text"])
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
    return dict(event)


async def send_text(send: Any, text: str) -> None:
    await send({"type": "websocket.send", "text": text})

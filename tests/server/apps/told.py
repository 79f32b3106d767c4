"""An ASGI app that tells what it was told: the client, scheme and headers of a scope, http or websocket."""

import json
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    headers = [(name.decode(), value.decode()) for name, value in scope.get("headers", ())]
    told = json.dumps({"client": scope.get("client"), "scheme": scope.get("scheme"), "headers": headers})
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": told.encode()})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told})
        await send({"type": "websocket.close"})
    else:
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": event["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})

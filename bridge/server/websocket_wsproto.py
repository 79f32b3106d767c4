"""uvicorn's websockets by wsproto, with an answer to every handshake; imported only where they are wanted."""

from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from bridge.server.websocket_answers import WebSocketAnswers

__all__ = ["WSProtoProtocol"]


# To mypy the first is for the other library, as it must be for one of them.
class WSProtoProtocol(WebSocketAnswers, WSProtocol):  # type: ignore[misc]
    """uvicorn's websockets by wsproto."""

    async def _send_answer(self, message: Any) -> None:
        await super()._send_answer(message)
        if message["type"] == "websocket.http.response.start":
            self._has_answered = True  # the head is out, and no 500 may follow it

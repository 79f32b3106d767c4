"""uvicorn's websockets by wsproto, with an answer to every handshake; imported only where they are wanted."""

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from bridge.server.websocket_answers import WebSocketAnswers

__all__ = ["WSProtoProtocol"]


# To mypy the first is for the other library, as it must be for one of them.
class WSProtoProtocol(WebSocketAnswers, WSProtocol):  # type: ignore[misc]
    """uvicorn's websockets by wsproto."""

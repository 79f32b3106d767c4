"""A websocket as its handlers, and the sockets of libraries, know it; and how it is closed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from bridge.websockets.states import WebSocketState

__all__ = [
    "ABNORMAL",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "NORMAL",
    "NO_STATUS",
    "WEBSOCKET",
    "WebSocket",
]

WEBSOCKET = "bridge.websocket"
"""The key of the environ that has the websocket, if the request is a websocket's handshake."""

# RFC 6455, 7.4.1
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
INTERNAL_ERROR = 1011


class WebSocket(Protocol):
    """A websocket from the handshake to its end; for one task that receives, and any that send."""

    close_code: int
    close_reason: str
    on_disconnect: Callable[[], object] | None
    """Called just before a `WebSocketDisconnect` is raised, in the task that gets it."""

    @property
    def path(self) -> str:
        """The path of its handshake, decoded."""

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client has offered."""

    @property
    def state(self) -> WebSocketState:
        """The states of both sides, in one word."""

    @property
    def is_closed_from_here(self) -> bool:
        """Whether the app, or the server, has closed or answered it."""

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Accept it.

        Args:
            subprotocol: one of those that the client has offered.
            headers: fields of the response, such as cookies.

        Raises:
            WebSocketDisconnect: the client has left already.
            BridgeError: it was accepted or answered before.
        """

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            WebSocketDisconnect: the client has closed the websocket, or is gone.
            BridgeError: it was not accepted yet.
        """

    async def send(self, data: str | bytes) -> None:
        """Send a message; waits while the client is behind.

        Raises:
            WebSocketDisconnect: it cannot reach the client any more.
            BridgeError: it was not accepted yet.
        """

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it; before it was accepted, that is a refusal, for which hosts answer 403. Twice is once."""

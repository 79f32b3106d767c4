"""A websocket as its handlers and the sockets of libraries use it, and the codes that close it."""

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
"""The key of the environ that holds the websocket, if the request is a websocket's handshake."""

# RFC 6455, 7.4.1
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
INTERNAL_ERROR = 1011


class WebSocket(Protocol):
    """A websocket from its handshake to its end. One task receives; any may send."""

    __slots__ = ("close_code", "close_reason", "is_closed_from_here", "on_disconnect", "state")

    state: WebSocketState
    is_closed_from_here: bool
    """Whether the app, or the server, closed or answered it."""
    close_code: int
    close_reason: str
    on_disconnect: Callable[[], object] | None
    """Called just before a `WebSocketDisconnect` is raised, in the task that gets it."""

    @property
    def path(self) -> str:
        """The path of its handshake, decoded."""

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers."""

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Accept it.

        Args:
            subprotocol: one that the client offers.
            headers: fields of the response, such as cookies.

        Raises:
            WebSocketDisconnect: the client has left already.
            BridgeError: the app has accepted or answered it before.
        """

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            WebSocketDisconnect: the client has closed the websocket, or is gone.
            BridgeError: the app has not accepted it yet.
        """

    async def send(self, data: str | bytes) -> None:
        """Send a message; wait while the client is behind.

        Raises:
            WebSocketDisconnect: the message cannot reach the client any more.
            BridgeError: the app has not accepted it yet.
        """

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it. Before an accept this refuses it, and hosts answer 403. A second call does nothing."""

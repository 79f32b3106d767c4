"""Clients for tests, which talk to an app in memory, without a socket: HTTP by httpx, and websockets."""

try:
    import httpx  # noqa: F401  # whether it is there, before anything else asks for it
except ModuleNotFoundError as error:  # pragma: no cover  # the tests need httpx themselves
    raise ModuleNotFoundError(
        "bridge.testing needs httpx: pip install 'bridge[testing]'", name="httpx"
    ) from error

from bridge.testing.client import Client
from bridge.testing.transport import ASGITransport
from bridge.testing.websocket import ClientWebSocket, WebSocketRefused

__all__ = ["ASGITransport", "Client", "ClientWebSocket", "WebSocketRefused"]

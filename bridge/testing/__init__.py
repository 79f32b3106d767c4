"""Clients for tests, which talk to an app in memory, without a socket: HTTP by httpx, and websockets.

`memory` is the host below them, which needs no httpx.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.testing.client import Client
    from bridge.testing.sync import SyncClient, SyncClientWebSocket
    from bridge.testing.transport import ASGITransport
    from bridge.testing.websocket import ClientWebSocket, WebSocketRefused

__all__ = [
    "ASGITransport",
    "Client",
    "ClientWebSocket",
    "SyncClient",
    "SyncClientWebSocket",
    "WebSocketRefused",
]


def __getattr__(name: str) -> Any:
    """Import what needs httpx when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import httpx  # noqa: F401  # whether it is there, before anything else asks for it
    except ModuleNotFoundError as error:  # pragma: no cover  # the tests need httpx themselves
        raise ModuleNotFoundError(
            f"bridge.testing.{name} needs httpx: pip install httpx", name="httpx"
        ) from error
    from bridge.testing import client, sync, transport, websocket

    return next(
        vars(module)[name] for module in (client, sync, transport, websocket) if name in module.__all__
    )

"""The suite on every host: an app with nothing of ours shows what hosts do, and ours are held against it."""

import asyncio
import json
from typing import Any, ClassVar

from tests.websockets.hosts import WEBSOCKET_HOSTS, ServingHost
from tests.websockets.suite import WebSocketSuite

# The adapter sends a denial in one part, answers for an app that fails, and closes for one that breaks. With
# daphne, which has no denial, it can only refuse a handshake.
BY_ADAPTER: dict[str, dict[str, Any]] = {
    name: {
        "takes_denial_in_parts": True,
        "failed": 500 if host.manners.has_denial else 403,
        "broke": 1011,
    }
    for name, host in WEBSOCKET_HOSTS.items()
}


class TestByHand(WebSocketSuite):
    app = "tests.websockets.apps.by_hand:app"
    # What to do with an app that returns without a close is not in ASGI. Daphne does nothing.
    returned: ClassVar = {"uvicorn-sansio": 1006, "uvicorn-wsproto": 1006, "hypercorn": 1011, "granian": 1005}


class TestOnLoop(WebSocketSuite):
    app = "tests.websockets.apps.on_loop:app"
    missing = 404
    returned: ClassVar = dict.fromkeys(WEBSOCKET_HOSTS, 1000)
    changed: ClassVar = BY_ADAPTER


class TestInThreads(WebSocketSuite):
    app = "tests.websockets.apps.in_threads:app"
    missing = 404
    returned: ClassVar = dict.fromkeys(WEBSOCKET_HOSTS, 1000)
    # simple-websocket 1.1 has no headers for its 101, and says 1005 when its connection has ended.
    changed: ClassVar = {
        name: {**manners, "sends_accept_headers": False, "vanished": 1005}
        for name, manners in BY_ADAPTER.items()
    }

    async def test_no_thread_is_left(self, served: ServingHost) -> None:
        """Of websockets that ended in whichever way; by the order of the tests, of all that came before."""
        async with served.connect("/echo") as leaves, served.connect("/echo") as breaks:
            assert len(await self.threads(served)) >= 2
            leaves.transport.abort()
            await breaks.send(b"\xff", text=True)
        async with asyncio.timeout(10):
            while await self.threads(served):
                pass

    async def threads(self, served: ServingHost) -> list[str]:
        async with served.connect("/threads") as ws:
            names: list[str] = json.loads(await ws.recv())
            return names

"""What hosts do by themselves: the suite on an app with nothing of ours in it, against which ours is held."""

from typing import ClassVar

from tests.websockets.suite import WebSocketSuite


class TestByHand(WebSocketSuite):
    app = "tests.websockets.apps.by_hand:app"
    # What to do with an app that returns without a close is not in ASGI. Daphne does nothing.
    returned: ClassVar = {"uvicorn-sansio": 1006, "uvicorn-wsproto": 1006, "hypercorn": 1011, "granian": 1005}

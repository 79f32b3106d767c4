"""What type checkers see of the extension, which mypy checks here: a type that is not as said fails there."""

from typing import Any, Protocol, assert_type

import pytest
from flask import Flask

from bridge.flask import Bridge, State, WebSocket
from bridge.testing import SyncClient


class Clients(Protocol):
    """What the app's lifespans yield."""

    name: str
    limit: int


def test_a_state_of_its_own_type() -> None:
    app = Flask(__name__)
    bridge: Bridge[Clients] = Bridge(app)

    @bridge.lifespan
    async def clients(app: Flask) -> Any:
        yield {"name": "a pool", "limit": 3}

    @app.get("/")
    def state() -> str:
        name, limit = assert_type(bridge.state.name, str), assert_type(bridge.state.limit, int)
        with pytest.raises(AttributeError):
            print(bridge.state.nme)  # type: ignore[attr-defined]  # the typo is found
        return f"{name} of {limit}"

    with SyncClient(app) as client:
        assert client.get("/").text == "a pool of 3"


def test_a_state_of_no_type_has_any() -> None:
    app = Flask(__name__)
    bridge = Bridge(app)

    @app.get("/")
    def state() -> str:
        return str(len(assert_type(bridge.state, State)))

    with SyncClient(app) as client:
        assert client.get("/").text == "0"


def test_arguments_of_background_functions() -> None:
    done: list[str] = []
    app = Flask(__name__)
    bridge = Bridge(app)

    async def greet(name: str, *, times: int = 1) -> None:
        done.append(f"hello {name}" * times)

    def plain() -> None:
        done.append("plain")

    @app.get("/")
    def view() -> str:
        bridge.background(greet, "Ada", times=1)
        bridge.background(plain)
        if done:  # never; mypy finds both
            bridge.background(greet, 1)  # type: ignore[arg-type]
            bridge.background(plain, 1)  # type: ignore[call-arg]
        return ""

    with SyncClient(app) as client:
        client.get("/")
    assert sorted(done) == ["hello Ada", "plain"]


def make_echoes() -> Flask:
    app = Flask(__name__)
    bridge = Bridge(app)

    @bridge.websocket("/text/<room>")
    async def text(ws: WebSocket, room: str) -> None:
        async for message in ws.iter_text():
            await ws.send(f"{room}: {message}")

    @bridge.websocket("/bytes")
    async def data(ws: WebSocket) -> None:
        async for message in ws.iter_bytes():
            await ws.send(message[::-1])

    return app


@pytest.mark.parametrize(
    ("path", "message", "echo", "other", "reason"),
    [
        ("/text/blue", "hello", "blue: hello", b"hello", "this websocket takes text messages"),
        ("/bytes", b"hello", b"olleh", "hello", "this websocket takes binary messages"),
    ],
)
def test_websockets_that_take_one_kind_of_messages(
    path: str, message: str | bytes, echo: str | bytes, other: str | bytes, reason: str
) -> None:
    with SyncClient(make_echoes()) as client:
        with client.websocket(path) as ws:
            ws.send(message)
            assert ws.receive() == echo
        with client.websocket(path) as ws:
            ws.send(message)
            ws.send(other)
            assert list(ws) == [echo]
            assert (ws.close_code, ws.close_reason) == (1003, reason)

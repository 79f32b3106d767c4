"""The client of plain test functions: what `Client` does, without a coroutine in the test."""

import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from flask import Flask, Response, abort, request, session

from bridge.errors import WebSocketDisconnect
from bridge.flask import Bridge, EventSource, WebSocket
from bridge.testing import Client, SyncClient, WebSocketRefused

Events = list[str]


@pytest.fixture
def happened() -> Events:
    """What the app has told."""
    return []


@pytest.fixture
def app(happened: Events) -> Flask:
    app = Flask(__name__)
    app.secret_key = "of the test"
    bridge = Bridge(app)

    @bridge.lifespan
    async def greeting(app: Flask) -> AsyncIterator[dict[str, str]]:
        happened.append("started")
        yield {"greeting": "Hello"}
        happened.append("stopped")

    @app.get("/hello")
    async def hello() -> str:
        return f"{bridge.state.greeting}, {request.args.get('name', 'World')}!"

    @app.post("/login")
    def login() -> str:
        session["user"] = request.form["user"]
        return "welcome"

    @app.get("/who")
    def who() -> str:
        return str(session.get("user"))

    @app.post("/echo")
    def echo() -> Response:
        body: Any = request.environ["wsgi.input"]
        return Response(iter(lambda: body.read1(65536), b""))

    @app.get("/ticks")
    async def ticks() -> Response:
        async def events() -> AsyncIterator[str]:
            try:
                for number in range(1_000_000):
                    yield str(number)
            finally:
                happened.append("left")

        return EventSource(events())

    @app.get("/fails")
    def fails() -> str:
        raise KeyError("SECRET")

    @bridge.websocket("/chat/<room>")
    async def chat(ws: WebSocket, room: str) -> None:
        if room == "closed":
            abort(401)
        await ws.accept(subprotocol=ws.subprotocols[0] if ws.subprotocols else None)
        async for message in ws:
            if message == "bye":
                await ws.close(3000, "left")
            else:
                await ws.send_json({room: message})

    return app


def test_lifespan_lasts_as_long_as_the_block(app: Flask, happened: Events) -> None:
    for _ in range(2):
        with SyncClient(app) as client:
            assert happened == ["started"]
            assert client.get("/hello", params={"name": "Ada"}).text == "Hello, Ada!"
        assert happened == ["started", "stopped"]
        happened.clear()


def test_cookies_and_forms(app: Flask) -> None:
    with SyncClient(app) as client:
        assert client.get("/who").text == "None"
        assert client.post("/login", data={"user": "ada"}).text == "welcome"
        assert client.get("/who").text == "ada"
        assert client.post("/echo", content=b"x" * 300_000).content == b"x" * 300_000
        assert client.post("/echo", files={"file": b"in it"}).text.count("in it") == 1


def test_request_and_response_stream_at_the_same_time(app: Flask) -> None:
    heard: queue.Queue[bytes] = queue.Queue()

    def say() -> Iterator[bytes]:
        for word in (b"one", b"two", b"three"):
            yield word
            assert heard.get(timeout=10) == word  # it has come back before the next one is said

    with SyncClient(app) as client, client.stream("POST", "/echo", content=say()) as response:
        words = []
        for chunk in response.iter_raw():
            words.append(chunk)
            heard.put(chunk)
    assert words == [b"one", b"two", b"three"]


def test_a_stream_that_is_left_is_a_disconnect(app: Flask, happened: Events) -> None:
    with SyncClient(app) as client:
        with client.stream("GET", "/ticks") as response:
            lines = response.iter_lines()
            assert [next(lines), next(lines), next(lines)] == ["data: 0", "", "data: 1"]
        assert client.get("/hello").status_code == 200
    assert happened == ["started", "left", "stopped"]


def test_websockets(app: Flask) -> None:
    with SyncClient(app) as client:
        with client.websocket("/chat/blue", subprotocols=["v2", "v1"]) as ws:
            assert ws.subprotocol == "v2"
            assert "x-none" not in ws.headers
            ws.send("hello")
            assert ws.receive_json(timeout=5) == {"blue": "hello"}
            ws.send_json([1])
            assert ws.receive() == '{"blue": "[1]"}'
            assert (ws.closed, ws.close_code) == (False, None)
            ws.send("last")
            ws.send("bye")
            assert list(ws) == ['{"blue": "last"}']
            assert (ws.closed, ws.close_code, ws.close_reason) == (True, 3000, "left")
            with pytest.raises(WebSocketDisconnect):
                ws.receive()
        with client.websocket("/chat/blue") as ws:
            ws.close()
        with pytest.raises(WebSocketRefused) as refused, client.websocket("/chat/closed"):
            pass
        assert refused.value.response.status_code == 401


def test_what_the_app_raises_is_raised_in_the_test() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError(scope["type"])

    with SyncClient(failing) as client, pytest.raises(KeyError, match="http"):
        client.get("/")
    with SyncClient(failing, raise_app_exceptions=False) as client:
        assert client.get("/").status_code == 500


def test_a_start_that_fails_leaves_nothing() -> None:
    app = Flask(__name__)

    @Bridge(app).on_startup
    def fail() -> None:
        raise KeyError("SECRET")

    with pytest.raises(Exception, match="SECRET"), SyncClient(app):
        pass


def test_it_takes_what_httpx_takes(app: Flask) -> None:
    with SyncClient(app, headers={"X-A": "b"}, base_url="http://shop.example", root_path="/x") as client:
        assert isinstance(client, httpx.Client)
        assert client.get("/hello").request.headers["x-a"] == "b"


def test_it_says_that_it_needs_a_block(app: Flask) -> None:
    client = SyncClient(app)
    with pytest.raises(RuntimeError, match=r"use `with bridge\.testing\.SyncClient\(app\) as client`"):
        client.get("/hello")
    client.close()


def test_the_other_client_names_this_one(app: Flask) -> None:
    expected = r"use `async with` .* or `with bridge\.testing\.SyncClient"
    with pytest.raises(TypeError, match=expected), Client(app):
        pass


def test_nothing_is_left_in_the_test_s_thread(app: Flask) -> None:
    before = set(threading.enumerate())
    with SyncClient(app) as client:
        client.get("/hello")
    for thread in set(threading.enumerate()) - before:
        thread.join(5)  # the loop's watch was told to end
    assert set(threading.enumerate()) <= before

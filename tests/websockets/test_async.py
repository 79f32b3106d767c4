"""Async websockets of Flask apps: on real servers with a real client, and on hosts that do odd things."""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from flask import Blueprint, Flask, Response, g, jsonify, request
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from werkzeug.exceptions import HTTPException

from bridge import WSGIToASGI
from bridge.errors import BridgeError
from bridge.flask import Bridge, WebSocket, any_thread
from tests.hosts import Host, RunningHost
from tests.websockets.async_app import make_app
from tests.websockets.scripted import ScriptedWebSocket, websocket_scope


@contextlib.contextmanager
def serving(host: Host, app: Flask) -> Iterator[RunningHost]:
    options = {"ws": "websockets-sansio"} if host.name == "uvicorn" else {}
    with host(WSGIToASGI(app), **options) as server:
        yield server


def open_websocket(server: RunningHost, target: str, **options: Any) -> ClientConnection:
    path, _, query = target.partition("?")
    query = quote(query, safe="=&")
    url = f"ws://127.0.0.1:{server.port}{path}?{query}"
    websocket: ClientConnection = connect(url, compression=None, **options)
    return websocket


def ending_of(ws: ClientConnection) -> tuple[int, str]:
    """Return how the server closes it; nothing else may come."""
    with pytest.raises(ConnectionClosed) as caught:
        ws.recv(timeout=10)
    assert caught.value.rcvd is not None, "the connection broke"
    return caught.value.rcvd.code, caught.value.rcvd.reason


def until(seen: list[str], *wanted: str) -> None:
    """Wait, in this thread, until the app has noted all that."""
    deadline = time.monotonic() + 10
    while not set(wanted) <= set(seen):
        assert time.monotonic() < deadline, f"{wanted} did not come: {seen}"
        time.sleep(0.01)


# On real servers


def test_messages_both_ways(host: Host) -> None:
    messages: list[str | bytes] = ["text", b"bytes", "", b"", "ü" * 10, "x" * 300_000, b"\0" * 300_000]
    with serving(host, make_app()) as server, open_websocket(server, "/echo") as ws:
        for message in messages:
            ws.send(message)
            assert ws.recv(timeout=10) == message


def test_request_session_and_g(host: Host) -> None:
    with serving(host, make_app()) as server, open_websocket(server, "/chat/7?user=ann") as ws:
        assert ws.response is not None
        assert ws.response.headers["Set-Cookie"].startswith("session=")
        here = f"ws://127.0.0.1:{server.port}/echo"
        assert json.loads(ws.recv()) == {"user": "ann", "room": 7, "path": "/chat/7", "here": here}
        ws.send('["x"]')
        assert json.loads(ws.recv()) == {"got": ["x"]}
        assert ending_of(ws) == (1000, "")


def test_subprotocol_fields_and_close_code(host: Host) -> None:
    app = make_app()
    with (
        serving(host, app) as server,
        open_websocket(server, "/protocol", subprotocols=["one", "two"]) as ws,
    ):
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["X-Said"] == "yes"
        assert ending_of(ws) == (3001, "as agreed")


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/chat/0", 404, "no such room"),
        ("/echo?deny=hook", 401, "not in here"),
        ("/leaves?how=returns", 403, "The websocket was not accepted."),
        ("/leaves?how=answers", 200, "go away"),
        ("/leaves?how=raises", 500, "Internal Server Error"),
        ("/leaves?how=refuses", 403, ""),
        ("/decorated?no=1", 401, "Unauthorized"),
    ],
)
def test_refusals(target: str, status: int, body: str) -> None:
    with serving(Host("uvicorn", "asyncio"), make_app()) as server:
        with pytest.raises(InvalidStatus) as caught, open_websocket(server, target):
            pass
        assert caught.value.response.status_code == status
        assert body in (caught.value.response.body or b"").decode()


@pytest.mark.parametrize("target", ["/plain", "/nowhere", "/"])
def test_no_websocket_there(host: Host, target: str) -> None:
    with serving(host, make_app()) as server:
        with pytest.raises(InvalidStatus) as caught, open_websocket(server, target):
            pass
        assert caught.value.response.status_code in (400, 403, 404)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/leaves?how=raises after", 1011),
        ("/leaves?how=aborts after", 1011),
        ("/leaves?how=returns after", 1000),
    ],
)
def test_ends(host: Host, target: str, code: int, caplog: pytest.LogCaptureFixture) -> None:
    with serving(host, make_app()) as server, open_websocket(server, target) as ws:
        assert ending_of(ws)[0] == code
    logged = [record for record in caplog.records if "Exception on /leaves" in record.message]
    assert bool(logged) == (code == 1011)
    if "aborts" in target:
        assert "after the accept: a response is too late then" in caplog.text


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            "accept",
            "BridgeError: accept() is out of order: the websocket is open; expected: send() or close()",
        ),
        ("two receivers", "BridgeError: receive() was called while another task waits for a message"),
        ("send an int", "TypeError: send() takes str or bytes, not int; send_json() takes what JSON can say"),
        ("close with 1005", "ValueError: 1005 cannot close a websocket"),
        ("long reason", "ValueError: the reason for closing a websocket must fit in 123 bytes"),
        (
            "host's field&early=1",
            "BridgeError: the field 'sec-websocket-protocol' of the handshake belongs",
        ),
        (
            "strange protocol&early=1",
            "ValueError: the client offers no subprotocol 'strange'; it offers none",
        ),
        ("bad field&early=1", "ApplicationError: the app's header 'X' has a control character"),
    ],
)
def test_mistakes(step: str, said: str) -> None:
    with (
        serving(Host("uvicorn", "asyncio"), make_app()) as server,
        open_websocket(server, f"/times?step={step}") as ws,
    ):
        assert str(ws.recv(timeout=10)).startswith(said)


def test_sends_from_many_tasks(host: Host) -> None:
    with serving(host, make_app()) as server, open_websocket(server, "/crowd") as ws:
        assert {ws.recv(timeout=10) for _ in range(20)} == {str(number) for number in range(20)}
        assert ending_of(ws)[0] == 1000


@pytest.mark.parametrize(("target", "said"), [("/decorated", "decorated"), ("/admin/room", "admin")])
def test_decorated_and_on_a_blueprint(host: Host, target: str, said: str) -> None:
    with serving(host, make_app()) as server, open_websocket(server, target) as ws:
        assert ws.recv(timeout=10) == said


@pytest.mark.parametrize("leave", ["closes", "vanishes"])
def test_client_leaves_while_the_handler_waits_for_something_else(
    host: Host, leave: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    seen = app.config["SEEN"]
    with serving(host, app) as server:
        with open_websocket(server, "/waits", close_timeout=1) as ws:
            assert ws.recv(timeout=10) == "here"
            if leave == "vanishes":
                ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                ws.socket.shutdown(socket.SHUT_RDWR)
        until(seen, "cancelled", "cleaned up", "teardown")
    assert seen[-3:] == ["cancelled", "cleaned up", "teardown"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_handler_that_received_notices_the_end_once(host: Host) -> None:
    app = make_app()
    with serving(host, app) as server:
        with open_websocket(server, "/cleans") as ws:
            ws.close(4000, "had enough")
        # hypercorn does not pass on what the client has said
        until(app.config["SEEN"], "4000 had enough" if host.name == "uvicorn" else "1006 ", "teardown")


@pytest.mark.parametrize("target", ["/waits", "/echo", "/group", "/reader", "/slow?pause=0.3"])
def test_server_stops(target: str, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    adapter = WSGIToASGI(app)

    async def stoppable(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/stop":
            adapter.end_streams()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await adapter(scope, receive, send)

    with Host("uvicorn", "asyncio")(stoppable, ws="websockets-sansio") as server:
        with open_websocket(server, target) as ws:
            if target == "/waits":
                assert ws.recv(timeout=10) == "here"
            else:
                ws.send("x")
                assert ws.recv(timeout=10) == "x"
            httpx.get(f"{server.url}/stop")
            assert ending_of(ws)[0] == 1001
        until(app.config["SEEN"], "teardown")
        with pytest.raises(InvalidStatus), open_websocket(server, "/echo"):
            pass
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Plain requests, and servers that cannot


@pytest.mark.parametrize("path", ["/echo", "/chat/7", "/admin/room"])
def test_plain_request_to_a_websocket(host: Host, path: str) -> None:
    with serving(host, make_app()) as server:
        answer = httpx.get(server.url + path)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "connect to it by ws:// or wss://" in answer.text


def test_app_answers_a_plain_request_as_it_likes() -> None:
    app = make_app()

    @app.errorhandler(HTTPException)
    def upgrade(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.name), error.code or 0

    assert app.test_client().get("/echo").json == {"error": "Upgrade Required"}


def test_websockets_of_others_are_answered_as_ever() -> None:
    app = make_app()
    app.add_url_rule("/other", "other", view_func=lambda: "", websocket=True)
    assert app.test_client().get("/other").status_code == 400


def test_flask_alone() -> None:
    app = make_app()
    app.testing = True
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with pytest.raises(BridgeError, match="the websocket 'echo' needs an ASGI server"):
        app.test_client().get("/echo", headers=headers)


def test_url_of_a_websocket(host: Host) -> None:
    with serving(host, make_app()) as server:
        assert httpx.get(server.url).text == f"ws://127.0.0.1:{server.port}/chat/7"


# Registering


async def room(ws: WebSocket) -> None:
    await ws.send(request.endpoint or "")


async def said_by(app: Flask, path: str) -> list[Any]:
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope(path)) as ws:
        pass
    return [event.get("text") for event in ws.sent if event["type"] == "websocket.send"]


async def test_extension_before_the_apps() -> None:
    bridge = Bridge()
    blueprint = Blueprint("hall", __name__)
    bridge.websocket("/room")(room)
    bridge.websocket("/hall", blueprint=blueprint)(room)
    first, second = Flask("first"), Flask("second")
    bridge.init_app(first)
    bridge.init_app(second)
    bridge.init_app(second)
    bridge.websocket("/later", endpoint="later")(room)
    first.register_blueprint(blueprint)
    for app in (first, second):
        assert await said_by(app, "/room") == ["room"]
        assert await said_by(app, "/later") == ["later"]
    assert await said_by(first, "/hall") == ["hall.room"]


async def test_by_subdomain() -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    Bridge(app).websocket("/", subdomain="<name>")(named)
    scope = websocket_scope("/", headers=[(b"host", b"ann.example.org")])
    async with ScriptedWebSocket(WSGIToASGI(app), scope) as ws:
        pass
    assert ws.sent[1]["text"] == "ann"


async def named(ws: WebSocket, name: str) -> None:
    await ws.send(name)


async def test_page_and_websocket_of_one_path() -> None:
    app = Flask(__name__)
    Bridge(app).websocket("/room")(room)
    app.add_url_rule("/room", "page", lambda: "a page")
    assert app.test_client().get("/room").text == "a page"
    assert await said_by(app, "/room") == ["room"]


def test_handler_must_be_async() -> None:
    def plain(ws: Any) -> None: ...

    with pytest.raises(TypeError, match=r"'.*plain' must be `async def`.*Flask-Sock"):
        Bridge(Flask(__name__)).websocket("/")(plain)  # type: ignore[type-var]  # wrong on purpose


async def test_on_the_loop_also_if_views_are_not() -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app, async_views="thread"), websocket_scope("/crowd")) as ws:
        pass
    assert ws.kinds.count("send") == 20


# Plain hooks beside a handler


def app_of_connections(path: Path, marked: bool = False) -> tuple[Flask, list[int]]:
    """An app whose plain hooks share a connection that may be used in one thread only."""
    app = Flask(__name__)
    bridge = Bridge(app)
    threads: list[int] = []

    def connect() -> None:
        threads.append(threading.get_ident())
        g.connection = None if marked else sqlite3.connect(path)

    def disconnect(error: BaseException | None) -> None:
        threads.append(threading.get_ident())
        if g.connection is not None:
            g.connection.close()

    if marked:
        any_thread(connect)
        any_thread(disconnect)
    app.before_request(connect)
    app.teardown_request(disconnect)

    @bridge.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    return app, threads


async def echo_of(adapter: WSGIToASGI, message: str) -> list[str]:
    async with ScriptedWebSocket(adapter, websocket_scope("/echo")) as ws:
        ws.put("receive", text=message)
        await ws.until_sent(2)
        ws.put("disconnect", code=1000)
    return ws.kinds


async def test_plain_hooks_of_a_websocket_run_in_one_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What one has kept in its thread, another finds there."""
    app, threads = app_of_connections(tmp_path / "some.db")
    adapter = WSGIToASGI(app)
    for _ in range(3):
        kinds = await asyncio.gather(*(echo_of(adapter, "hello") for _ in range(8)))
        assert kinds == [["accept", "send"]] * 8
    assert len(threads) == 48
    assert not caplog.records


async def test_websockets_whose_hooks_need_threads_are_limited_as_others_are(tmp_path: Path) -> None:
    app, _ = app_of_connections(tmp_path / "some.db")
    adapter = WSGIToASGI(app, websockets=1)
    async with ScriptedWebSocket(adapter, websocket_scope("/echo")) as first:
        first.put("receive", text="x")
        await first.until_sent(2)
        async with ScriptedWebSocket(adapter, websocket_scope("/echo")) as second:
            pass
        assert second.sent[0]["status"] == 503
        first.put("disconnect", code=1000)
    async with asyncio.timeout(10):  # the thread is given back when the call is over
        while await echo_of(adapter, "again") != ["accept", "send"]:  # noqa: ASYNC110  # by itself
            await asyncio.sleep(0)


async def test_websockets_whose_hooks_are_marked_need_no_thread(tmp_path: Path) -> None:
    app, threads = app_of_connections(tmp_path / "some.db", marked=True)
    adapter = WSGIToASGI(app, websockets=0)
    assert await echo_of(adapter, "hello") == ["accept", "send"]
    assert len(threads) == 2


# Hosts that do odd things


async def test_host_without_denial_responses() -> None:
    scope = websocket_scope("/chat/0", extensions={})
    async with ScriptedWebSocket(WSGIToASGI(make_app()), scope) as ws:
        pass
    assert ws.kinds == ["close"]


async def test_client_leaves_in_the_handshake() -> None:
    app = make_app()
    ws = ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/waits"))
    ws.failure = ConnectionResetError()
    async with ws:
        pass
    assert app.config["SEEN"] == ["teardown"]


async def test_client_leaves_before_the_handshake() -> None:
    app = make_app()
    ws = ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/waits"))
    ws.put("disconnect", code=1006)
    async with ws:
        pass
    assert (ws.sent, app.config["SEEN"]) == ([], [])


@pytest.mark.parametrize("failure", [OSError("gone"), RuntimeError("after sending 'websocket.close'")])
async def test_send_fails(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/echo")) as ws:
        await ws.until_sent(1)
        ws.failure = failure
        ws.put("receive", text="x")
    assert app.config["SEEN"] == ["teardown"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_receive_fails(caplog: pytest.LogCaptureFixture) -> None:
    adapter = WSGIToASGI(make_app())
    async with adapter.lifespan_context(), ScriptedWebSocket(adapter, websocket_scope("/echo")) as ws:
        ws.put("", error=LookupError("a host's bug"))
    assert ws.kinds == ["accept", "close"]
    assert ws.sent[-1]["code"] == 1011
    assert "a host's bug" in caplog.text


async def test_receive_fails_while_nobody_receives() -> None:
    adapter = WSGIToASGI(make_app())
    scope = websocket_scope("/slow", "pause=0.2")
    async with adapter.lifespan_context(), ScriptedWebSocket(adapter, scope) as ws:
        ws.put("", error=LookupError("a host's bug"))
    assert ws.sent[-1]["code"] == 1011


async def test_what_comes_while_nobody_receives() -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/slow", "pause=0.15")) as ws:
        for number in range(3):
            ws.put("receive", text=str(number))
        await ws.until_sent(4)
        assert [event["text"] for event in ws.sent[1:]] == ["0", "1", "2"]
        await ws.until_sent(5)
        assert ws.sent[-1]["text"] == "nothing"
        ws.put("receive", text="after a timeout")
        await ws.until_sent(6)
        assert ws.sent[-1]["text"] == "after a timeout"
        ws.put("disconnect", code=1000)


@pytest.mark.parametrize(("size", "most"), [(1, 32), (1000, 32), (60_000, 3), (10_000_000, 1)])
async def test_reads_ahead_no_further_than_is_good(size: int, most: int) -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/waits")) as ws:
        message = b"x" * size
        for _ in range(100):
            ws.put("receive", bytes=message)
        await ws.until_received(1 + most)
        await asyncio.sleep(0.2)
        assert ws.received == 1 + most
        assert ws.task is not None
        ws.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ws.task
        ws.task = asyncio.create_task(asyncio.sleep(0))
    assert app.config["SEEN"] == ["cancelled", "cleaned up", "teardown"]


async def test_what_is_left_to_read_has_a_moment() -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/collects")) as ws:
        ws.put("receive", text="one")
        ws.put("receive", text="two")
        ws.put("disconnect", code=1000)
    assert app.config["SEEN"] == ["one", "two", "all", "teardown"]


async def test_task_that_swallows_the_end(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/reader")) as ws:
        await ws.until_sent(1)
        ws.put("disconnect", code=1001)
    assert app.config["SEEN"] == ["reader has ended", "handler has ended", "teardown"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_task_group(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/group")) as ws:
        ws.put("receive", text="x")
        await ws.until_sent(2)
        ws.put("disconnect", code=1001)
    assert app.config["SEEN"] == ["teardown"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_host_cancels() -> None:
    app = make_app()
    async with ScriptedWebSocket(WSGIToASGI(app), websocket_scope("/waits")) as ws:
        await ws.until_sent(2)
        assert ws.task is not None
        ws.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ws.task
        ws.task = asyncio.create_task(asyncio.sleep(0))
    assert app.config["SEEN"] == ["cancelled", "cleaned up", "teardown"]


async def test_idle_websocket_has_no_task_of_ours() -> None:
    before = asyncio.all_tasks()
    async with ScriptedWebSocket(WSGIToASGI(make_app()), websocket_scope("/echo")) as ws:
        ws.put("receive", text="x")
        await ws.until_sent(2)
        await asyncio.sleep(0.3)
        assert asyncio.all_tasks() - before == {ws.task}
        ws.put("disconnect", code=1000)


@pytest.mark.parametrize("target", ["/echo", "/waits"])
async def test_leaves_nothing_for_the_garbage_collector(target: str) -> None:
    adapter = WSGIToASGI(make_app())

    async def once() -> None:
        async with ScriptedWebSocket(adapter, websocket_scope(target)) as ws:
            if target != "/waits":
                ws.put("receive", text="x")
            await ws.until_sent(2)
            ws.put("disconnect", code=1000)

    await once()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await once()
        gc.collect()
        ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("bridge.")]
        assert not ours
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

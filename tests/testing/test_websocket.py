"""The in-memory websocket client: what a test can do with it, and what it says about an app that is wrong."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge import WSGIToASGI
from bridge.errors import WebSocketDisconnect
from bridge.testing import Client, WebSocketRefused

ASGI = Callable[[Any, Any, Any], Awaitable[None]]

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
RESPONSE = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body", "body": b"who are you?"}


def text(message: Any) -> dict[str, Any]:
    return {"type": "websocket.send", "text": message}


def sending(*events: dict[str, Any]) -> ASGI:
    """An app that sends events, and waits for the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            for event in events:
                await send(event)
            while (await receive())["type"] != "websocket.disconnect":
                pass

    return app


async def open_and_close(client: Client, path: str, *, fail: Exception | None = None, **options: Any) -> None:
    async with client.websocket(path, **options):
        if fail is not None:
            raise fail


def echo_app(seen: dict[str, Any]) -> ASGI:
    """An app that sends back what it gets, says `bye` when told to, and takes notes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        seen["scope"] = scope
        assert await receive() == {"type": "websocket.connect"}
        chosen = next(iter(scope["subprotocols"]), None)
        await send({**ACCEPT, "subprotocol": chosen, "headers": [(b"set-cookie", b"room=blue")]})
        while (event := await receive())["type"] == "websocket.receive":
            if event.get("text") == "bye":
                await send({**CLOSE, "code": 4001, "reason": "as you wish"})
            else:
                await send({**event, "type": "websocket.send"})
        seen["end"] = event

    return app


async def starlette_echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws.iter_json():
        await ws.send_json({"echo": message})


async def starlette_refusal(ws: WebSocket) -> None:
    await ws.send_denial_response(JSONResponse({"error": "who are you?"}, status_code=401))


def starlette_app() -> Starlette:
    return Starlette(
        routes=[WebSocketRoute("/echo", starlette_echo), WebSocketRoute("/refused", starlette_refusal)]
    )


async def test_messages_of_both_kinds() -> None:
    async with Client(echo_app({})) as client, client.websocket("/") as ws:
        await ws.send("text ✓")
        assert await ws.receive() == "text ✓"
        await ws.send(b"\x00bytes")
        assert await ws.receive() == b"\x00bytes"
        await ws.send("")
        assert await ws.receive() == ""
        await ws.send_json({"a": [1, "✓"]})
        assert await ws.receive_json() == {"a": [1, "✓"]}
        await ws.send(json.dumps([2]).encode())
        assert await ws.receive_json() == [2]


async def test_the_scope_is_that_of_the_clients_requests() -> None:
    seen: dict[str, Any] = {}
    options: Any = {"base_url": "https://example.org/api", "headers": {"X-A": "1"}, "cookies": {"k": "v"}}
    async with (
        Client(echo_app(seen), root_path="/mounted", **options) as client,
        client.websocket(
            "/caf%C3%A9", params={"q": "1"}, subprotocols=["b", "a"], headers={"X-B": "2"}
        ) as ws,
    ):
        assert ws.subprotocol == "b"
        assert ws.headers["set-cookie"] == "room=blue"
        assert client.cookies["room"] == "blue"
        await ws.send("bye")
    scope = seen["scope"]
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "wss", "1.1")
    assert (scope["path"], scope["raw_path"]) == ("/mounted/api/café", b"/mounted/api/caf%C3%A9")
    assert (scope["query_string"], scope["root_path"]) == (b"q=1", "/mounted")
    assert scope["subprotocols"] == ("b", "a")
    assert scope["server"] == ("example.org", 443)
    assert "method" not in scope
    headers = dict(scope["headers"])
    assert headers[b"host"] == b"example.org"
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"connection"] == b"Upgrade"
    assert headers[b"sec-websocket-protocol"] == b"b, a"
    assert (headers[b"x-a"], headers[b"x-b"], headers[b"cookie"]) == (b"1", b"2", b"k=v")


async def test_the_app_closes() -> None:
    seen: dict[str, Any] = {}
    async with Client(echo_app(seen)) as client, client.websocket("/") as ws:
        assert (ws.closed, ws.close_code, ws.close_reason) == (False, None, None)
        await ws.send("one")
        await ws.send("bye")
        assert [message async for message in ws] == ["one"]
        assert (ws.closed, ws.close_code, ws.close_reason) == (True, 4001, "as you wish")
        with pytest.raises(WebSocketDisconnect, match="4001 as you wish"):
            await ws.receive()
        with pytest.raises(WebSocketDisconnect):
            await ws.send("more")
    assert seen["end"] == {"type": "websocket.disconnect", "code": 4001, "reason": "as you wish"}


@pytest.mark.parametrize(
    ("close", "expected"),
    [((4002, "enough"), (4002, "enough")), ((), (1000, "")), ((1006,), (1006, "")), (None, (1000, ""))],
    ids=["with a reason", "plainly", "vanishes", "by the end of the block"],
)
async def test_the_client_closes(close: tuple[Any, ...] | None, expected: tuple[int, str]) -> None:
    seen: dict[str, Any] = {}
    async with Client(echo_app(seen)) as client:
        async with client.websocket("/") as ws:
            if close is not None:
                await ws.close(*close)
                assert ws.closed
                await ws.close(4999, "twice is once")
                with pytest.raises(WebSocketDisconnect):
                    await ws.receive()
        assert (ws.close_code, ws.close_reason) == expected
    code, reason = expected
    assert seen["end"] == {"type": "websocket.disconnect", "code": code, "reason": reason}


async def test_what_came_before_the_close_is_received_after_it() -> None:
    app = sending(ACCEPT, text("one"), text("two"), CLOSE)
    async with Client(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "one"
        assert ws.closed
        assert await ws.receive() == "two"
        with pytest.raises(WebSocketDisconnect):
            await ws.receive()


@pytest.mark.parametrize(
    ("events", "status", "body"),
    [
        ([CLOSE], 403, ""),
        ([RESPONSE, BODY], 401, "who are you?"),
        ([RESPONSE, {**BODY, "more_body": True}, {"type": BODY["type"]}], 401, "who are you?"),
    ],
    ids=["a close", "a response", "a response in parts"],
)
async def test_a_refusal(events: list[dict[str, Any]], status: int, body: str) -> None:
    async with Client(sending(*events)) as client:
        with pytest.raises(WebSocketRefused, match=f"refused the websocket: {status}") as refused:
            await open_and_close(client, "/")
        assert (refused.value.response.status_code, refused.value.response.text) == (status, body)


async def test_starlette() -> None:
    async with Client(starlette_app()) as client:
        async with client.websocket("/echo") as ws:
            await ws.send_json(1)
            assert await ws.receive_json() == {"echo": 1}
        with pytest.raises(WebSocketRefused) as refused:
            await open_and_close(client, "/refused")
        assert refused.value.response.status_code == 401
        assert refused.value.response.json() == {"error": "who are you?"}
        with pytest.raises(WebSocketRefused, match="403"):
            await open_and_close(client, "/missing")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [("/missing", 404, "Not Found"), ("/page", 400, "Bad Request"), ("/denied", 401, "who are you?")],
)
async def test_a_flask_app_that_has_no_websocket_there(path: str, status: int, says: str) -> None:
    app = Flask(__name__)
    app.add_url_rule("/page", view_func=lambda: "only by http")
    app.add_url_rule("/denied", websocket=True, endpoint="denied", view_func=lambda: ("who are you?", 401))
    async with Client(WSGIToASGI(app)) as client:
        with pytest.raises(WebSocketRefused, match=f"refused the websocket: {status}") as refused:
            await open_and_close(client, path)
    assert refused.value.response.status_code == status
    assert says in refused.value.response.text


# An app that is wrong

WRONG = {
    "unknown": ([{"type": "websocket.hello"}], RuntimeError, "websocket.hello when .* handshake; expected"),
    "http": ([{"type": "http.response.start"}], RuntimeError, "http.response.start when .* handshake"),
    "message first": ([text("a")], RuntimeError, "websocket.accept or websocket.close or"),
    "body first": ([BODY], RuntimeError, "response.body when its websocket was handshake"),
    "accept twice": ([ACCEPT, ACCEPT], RuntimeError, "accept when .* open; expected was websocket.send or"),
    "response when open": ([ACCEPT, RESPONSE], RuntimeError, "response.start when its websocket was open"),
    "accept after start": ([RESPONSE, ACCEPT], RuntimeError, "accept when its websocket was answered"),
    "message after close": ([ACCEPT, CLOSE, text("a")], RuntimeError, "closed; expected was nothing more"),
    "close twice": ([ACCEPT, CLOSE, CLOSE], RuntimeError, "websocket.close when its websocket was closed"),
    "text of bytes": ([ACCEPT, text(b"a")], TypeError, "text=b'a'; expected was str or None"),
    "bytes of text": ([ACCEPT, {"type": "websocket.send", "bytes": "a"}], TypeError, "bytes='a'; expected"),
    "empty": ([ACCEPT, text(None)], ValueError, "in one of text and bytes"),
    "both": ([ACCEPT, {**text("a"), "bytes": b"a"}], ValueError, "in one of text and bytes"),
    "not offered": ([{**ACCEPT, "subprotocol": "x"}], ValueError, "'x'; the client offered 'chat'"),
    "subprotocol": ([{**ACCEPT, "subprotocol": b"chat"}], TypeError, "subprotocol=b'chat'"),
    "headers": ([{**ACCEPT, "headers": [("a", "b")]}], TypeError, "expected was two bytes"),
    "header's case": ([{**ACCEPT, "headers": [(b"A", b"b")]}], ValueError, "in lower case"),
    "code's type": ([ACCEPT, {**CLOSE, "code": "1000"}], TypeError, "code='1000'; expected was int"),
    "code": ([ACCEPT, {**CLOSE, "code": 1006}], ValueError, "code=1006; expected was 1000 to 1003"),
    "reason": ([ACCEPT, {**CLOSE, "reason": "é" * 62}], ValueError, "of 124 bytes; it can have 123"),
    "status": ([{"type": RESPONSE["type"]}], TypeError, "status=None; expected was int"),
    "body": ([RESPONSE, {**BODY, "body": "a"}], TypeError, "body='a'; expected was bytes"),
}


@pytest.mark.parametrize(("events", "error", "says"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("swallows", [False, True], ids=["", "swallowed"])
async def test_events_that_no_host_can_send(events: Any, error: Any, says: str, swallows: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            try:
                await sending(*events)(scope, receive, send)
            except error:
                if not swallows:
                    raise
                await receive()

    async with Client(app) as client:
        with pytest.raises(error, match=says):
            async with client.websocket("/", subprotocols=["chat"]) as ws:
                await ws.receive()


async def failing(scope: Any, receive: Any, send: Any) -> None:
    match scope["path"] if scope["type"] == "websocket" else "":
        case "/handshake":
            raise ZeroDivisionError
        case "/half":
            await send(RESPONSE)
        case "/open":
            await send(ACCEPT)
            await send(text("one"))
            raise ZeroDivisionError
        case "/end":
            await sending(ACCEPT)(scope, receive, send)
            raise ZeroDivisionError
        case "/again":
            await sending(ACCEPT)(scope, receive, send)
            await receive()


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/handshake", ZeroDivisionError, None),
        ("/returns", RuntimeError, "returned when its websocket was handshake"),
        ("/half", RuntimeError, "returned when its websocket was answered"),
        ("/end", ZeroDivisionError, None),
        ("/again", RuntimeError, r"called receive\(\) after websocket.disconnect"),
    ],
)
async def test_the_apps_errors_are_raised(path: str, error: type[Exception], says: str | None) -> None:
    async with Client(failing) as client:
        with pytest.raises(error, match=says):
            await open_and_close(client, path)


async def test_where_the_test_waits_for_the_app() -> None:
    async with Client(failing) as client:
        ws = client.websocket("/open")
        await ws.__aenter__()
        assert await ws.receive() == "one"
        for wait in (ws.receive, lambda: ws.send("two"), lambda: anext(ws), ws.__aexit__):
            with pytest.raises(ZeroDivisionError):
                await wait()


async def test_the_tests_own_error_goes_first() -> None:
    async with Client(failing) as client:
        with pytest.raises(KeyError) as raised:
            await open_and_close(client, "/end", fail=KeyError("mine"))
        assert raised.value.__notes__ == ["And the app failed: ZeroDivisionError()"]


async def test_or_errors_are_what_a_client_would_see() -> None:
    async with Client(failing, raise_app_exceptions=False) as client:
        with pytest.raises(WebSocketRefused, match="500"):
            await open_and_close(client, "/handshake")
        async with client.websocket("/open") as ws:
            assert [message async for message in ws] == ["one"]
            assert ws.close_code == 1006


async def test_an_app_that_sends_to_a_client_that_has_left() -> None:
    raised: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send(ACCEPT)
            await receive()
            await receive()
            try:
                await send(text("too late"))
            except OSError as error:
                raised.append(error)
                raise

    async with Client(app) as client, client.websocket("/"):
        pass
    assert len(raised) == 1


async def test_a_test_that_is_cancelled_leaves_no_app_behind() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await never_ending(scope, receive, send)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with Client(app) as client:
        opened = asyncio.create_task(open_and_close(client, "/"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opened, 0.05)
    assert cancelled.is_set()


async def test_the_app_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] == "websocket":
            await send(ACCEPT)
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 1000})
                sent += 1000

    async with Client(app) as client, client.websocket("/") as ws:
        for received in range(1000, 200_000, 1000):
            await ws.receive()
            assert sent <= received + 66_000


async def test_waiting_is_bounded() -> None:
    async with Client(sending(ACCEPT)) as client, client.websocket("/", timeout=0.01) as ws:
        with pytest.raises(TimeoutError, match=r"sent nothing within 0.01 s; it is waiting for an event"):
            await ws.receive()
        with pytest.raises(TimeoutError, match=r"sent nothing within 0.02 s"):
            await ws.receive_json(timeout=0.02)


async def never_ending(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send(ACCEPT)
    await asyncio.Event().wait()


async def test_an_app_that_does_not_end_is_cancelled() -> None:
    async with Client(never_ending) as client:
        with pytest.raises(TimeoutError, match=r"still ran 0.01 s after the end of its websocket"):
            await open_and_close(client, "/", timeout=0.01)


async def test_an_app_that_does_not_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async with Client(app) as client:
        with pytest.raises(TimeoutError, match=r"did not answer the handshake within 0.01 s"):
            await open_and_close(client, "/", timeout=0.01)


async def test_not_a_message() -> None:
    async with Client(echo_app({})) as client, client.websocket("/") as ws:
        with pytest.raises(TypeError, match="str or bytes, not dict; there is send_json"):
            await ws.send({})  # type: ignore[arg-type]  # as a user might


async def test_a_websocket_that_was_not_opened() -> None:
    async with Client(echo_app({})) as client:
        with pytest.raises(RuntimeError, match="use `async with"):
            assert client.websocket("/").subprotocol

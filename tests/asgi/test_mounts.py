"""`Mounts`: which app gets a request, what it sees of the path, and one lifespan for all."""

import contextlib
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from bridge import BridgeError, Mounts, WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.core.call_facts import CallFacts
from bridge.testing import Client, WebSocketRefused
from tests.asgi_host import ScriptedHost, body_event, http_scope


def wsgi(name: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{name}: {environ['SCRIPT_NAME']!r} {environ['PATH_INFO']!r}".encode("latin-1")]

    return app


def asgi(name: str) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        found = f"{name}: {scope['root_path']!r} {scope['path']!r} {scope['raw_path']!r}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": found.encode()})

    return app


APPS = Mounts({"/": wsgi("root"), "/api": asgi("api"), "/api/v2/": wsgi("v2"), "/café": wsgi("cafe")})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "root: '' '/'"),
        ("/other", "root: '' '/other'"),
        ("/apis", "root: '' '/apis'"),
        ("/api", "api: '/api' '/api' b'/api'"),
        ("/api/", "api: '/api' '/api/' b'/api/'"),
        ("/api/a%2Fb", "api: '/api' '/api/a/b' b'/api/a%2Fb'"),
        ("/api/v2", "v2: '/api/v2' ''"),
        ("/api/v2/x", "v2: '/api/v2' '/x'"),
        ("/api/v20", "api: '/api' '/api/v20' b'/api/v20'"),
        ("/caf%C3%A9/%ff", "cafe: '/caf\xc3\xa9' '/\xff'"),
    ],
)
async def test_the_longest_prefix_decides(path: str, expected: str) -> None:
    async with Client(APPS) as client:
        answer = await client.get(path)
    assert answer.content.decode("latin-1") == expected


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "expected"),
    [
        ("/shop", "/shop/api/x", b"/shop/api/x", "api: '/shop/api' '/shop/api/x' b'/shop/api/x'"),
        # a proxy has taken the prefix off
        ("/shop", "/api/x", b"/api/x", "api: '/shop/api' '/shop/api/x' b'/shop/api/x'"),
        ("/shop/", "/shop", b"/shop", "root: '/shop' '/shop' b'/shop'"),
    ],
)
async def test_below_a_root_path(root_path: str, path: str, raw_path: bytes, expected: str) -> None:
    host = ScriptedHost()
    scope = http_scope(root_path=root_path, path=path, raw_path=raw_path)
    await Mounts({"/": asgi("root"), "/api": asgi("api")})(scope, host.receive, host.send)
    assert host.sent[1]["body"].decode() == expected


async def test_facts_of_a_call_have_its_route_with_the_prefixes() -> None:
    app = Flask(__name__)
    app.add_url_rule("/user/<id>", view_func=lambda id: id)
    facts = CallFacts()
    scope = http_scope(path="/a/b/user/7", raw_path=b"/a/b/user/7", **{"bridge.call": facts})
    mounts = Mounts({"/a": Mounts({"/b": app})})
    host = ScriptedHost([body_event()])
    async with running(mounts):
        await mounts(scope, host.receive, host.send)
    assert host.body == b"7"
    assert facts.route == "/a/b/user/<id>"


async def test_a_host_that_knows_no_raw_path() -> None:
    scope: dict[str, Any] = {**http_scope(path="/api/x")}
    del scope["raw_path"]
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    host = ScriptedHost()
    await Mounts({"/api": app})(scope, host.receive, host.send)
    assert "raw_path" not in seen[0]
    assert seen[0]["root_path"] == "/api"


async def test_what_belongs_to_no_app_is_a_404() -> None:
    async with Client(Mounts({"/api": asgi("api")})) as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.text) == (404, "not found\n")
        with pytest.raises(WebSocketRefused, match="403"):
            async with client.websocket("/other"):
                pass


async def test_websockets_are_routed_too() -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"{websocket.scope['root_path']} {await websocket.receive_text()}")

    starlette = Starlette(routes=[WebSocketRoute("/echo", echo)])
    async with Client(Mounts({"/ws": starlette})) as client, client.websocket("/ws/echo") as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "/ws hello"


async def test_frameworks_make_urls_with_their_prefix() -> None:
    flask = Flask(__name__)

    @flask.get("/<name>")
    def view(name: str) -> str:
        return f"{request.url} {flask.url_for('view', name='other')}"

    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url_for("endpoint", name="other")))

    starlette = Starlette(routes=[Route("/{name}", endpoint, name="endpoint")])
    async with Client(Mounts({"/flask": flask, "/starlette": starlette})) as client:
        assert (await client.get("/flask/x")).text == "http://testserver/flask/x /flask/other"
        assert (await client.get("/starlette/x")).text == "http://testserver/starlette/other"


# Lifespan

Lifespan = Callable[[Any], contextlib.AbstractAsyncContextManager[dict[str, Any]]]


def lifespan(name: str, log: list[str], *, fails: bool = False) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lived(app: Any) -> AsyncIterator[dict[str, Any]]:
        if fails:
            raise LookupError(f"no database for {name}")
        log.append(f"{name} started")
        yield {"name": name}
        log.append(f"{name} stopped")

    return lived


async def state_of(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.name)


def state_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["asgi.state"]["name"].encode()]


async def test_each_app_has_its_own_lifespan_and_state() -> None:
    log: list[str] = []
    apps = Mounts(
        {
            "/a": Starlette(lifespan=lifespan("a", log), routes=[Route("/", state_of)]),
            "/b": WSGIToASGI(state_app, lifespan=lifespan("b", log)),
            "/c": asgi("c"),  # has none
        }
    )
    async with Client(apps) as client:
        assert log == ["a started", "b started"]
        assert (await client.get("/a/")).text == "a"
        assert (await client.get("/b/")).text == "b"
        assert (await client.get("/c/")).status_code == 200
    assert log[2:] == ["b stopped", "a stopped"]


async def test_if_one_does_not_start_the_others_are_stopped() -> None:
    log: list[str] = []
    apps = Mounts(
        {
            "/a": WSGIToASGI(state_app, lifespan=lifespan("a", log)),
            "/b": WSGIToASGI(state_app, lifespan=lifespan("b", log, fails=True)),
        }
    )
    with pytest.raises(BridgeError, match=r"the app at /b did not start: .*LookupError: no database for b"):
        async with Client(apps):
            pass
    assert log == ["a started", "a stopped"]


# What it is given


@pytest.mark.parametrize(
    ("apps", "error", "message"),
    [
        ({"api": wsgi("x")}, ValueError, "begins with a slash, as /api does; got 'api'"),
        ({"/a": wsgi("x"), "/a/": wsgi("y")}, ValueError, "two apps are mounted at /a"),
        ({"/": wsgi("x"), "": wsgi("y")}, ValueError, "two apps are mounted at /"),
        ({"/a": lambda: None}, TypeError, "cannot tell whether the app at /a"),
        ({"/a": None}, TypeError, "cannot tell whether the app at /a, None,"),
    ],
)
def test_wrong_arguments(apps: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Mounts(apps)


async def test_an_app_of_any_arguments_is_what_is_said() -> None:
    def unclear(*arguments: Any) -> Any:
        return asgi("unclear")(*arguments)

    async with Client(Mounts({"/a": unclear}, interface="asgi")) as client:
        assert (await client.get("/a/x")).text == "unclear: '/a' '/a/x' b'/a/x'"


def test_it_pickles() -> None:
    apps = Mounts({"/": state_app})
    assert isinstance(pickle.loads(pickle.dumps(apps)), Mounts)  # our own bytes

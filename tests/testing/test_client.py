"""The in-memory client: it streams in both directions, and says what a real client would see."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from flask import Flask, Response, request

from bridge import ApplicationError, WSGIToASGI
from bridge.testing import Client


def make_app() -> Flask:
    app = Flask(__name__)

    @app.get("/hello")
    def hello() -> str:
        return f"Hello, {request.args.get('name', 'World')}!"

    @app.post("/echo")
    def echo() -> Response:
        body: Any = request.environ["wsgi.input"]
        return Response(iter(lambda: body.read1(65536), b""))

    @app.get("/headers")
    def headers() -> dict[str, str]:
        return dict(request.headers)

    @app.get("/url")
    def url() -> dict[str, str]:
        return {"url": request.url, "script_name": request.script_root, "path": request.path}

    return app


async def test_what_httpx_can_do_works() -> None:
    async with Client(make_app()) as client:
        response = await client.get("/hello", params={"name": "Ada"})
        assert (response.status_code, response.text) == (200, "Hello, Ada!")
        assert (await client.get("/missing")).status_code == 404
        assert (await client.head("/hello")).content == b""
        assert (await client.get("/headers", headers={"X-A": "b"})).json()["X-A"] == "b"
        assert (await client.post("/echo", content=b"x" * 300_000)).content == b"x" * 300_000


async def test_several_requests_at_once() -> None:
    async with Client(make_app()) as client:
        answers = await asyncio.gather(*(client.get("/hello", params={"name": str(n)}) for n in range(100)))
    assert [answer.text for answer in answers] == [f"Hello, {n}!" for n in range(100)]


async def test_a_path_prefix() -> None:
    async with Client(make_app(), root_path="/shop") as client:
        assert (await client.get("/url")).json() == {
            "url": "http://testserver/shop/url",
            "script_name": "/shop",
            "path": "/url",
        }


async def test_request_and_response_stream_at_the_same_time() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def say() -> AsyncIterator[bytes]:
        for word in (b"one", b"two", b"three"):
            yield word
            assert await heard.get() == word  # it has come back before the next one is said

    async with Client(make_app()) as client, client.stream("POST", "/echo", content=say()) as response:
        async for chunk in response.aiter_raw():
            heard.put_nowait(chunk)


async def test_the_app_waits_for_a_client_that_does_not_read() -> None:
    produced = 0
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        nonlocal produced
        start_response("200 OK", [])
        try:
            while True:
                produced += 1000
                yield b"x" * 1000
        finally:
            closed.set()

    async with Client(WSGIToASGI(app, buffer_size=10_000)) as client:
        async with client.stream("GET", "/") as response:
            received = 0
            async for chunk in response.aiter_raw():
                received += len(chunk)
                if received > 50_000:
                    break
            assert produced <= received + 2 * 11_000
        assert await asyncio.to_thread(closed.wait, 10)


async def test_an_asgi_app() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with Client(app) as client:
        assert (await client.get("/caf%C3%A9")).text == "/café"


async def failing(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"] == "/middle":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half of it", "more_body": True})
    if scope["path"] == "/order":
        await send({"type": "http.response.body", "body": b"no start"})
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("path", "error"),
    [("/before", ZeroDivisionError), ("/middle", ZeroDivisionError), ("/order", RuntimeError)],
)
async def test_the_apps_errors_are_raised(path: str, error: type[Exception]) -> None:
    async with Client(failing) as client:
        with pytest.raises(error):
            await client.get(path)


async def test_or_are_what_a_client_would_see() -> None:
    async with Client(failing, raise_app_exceptions=False) as client:
        assert (await client.get("/before")).status_code == 500
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/middle")


async def test_a_wsgi_app_that_fails_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half of it"
        raise ZeroDivisionError

    async with Client(app) as client:
        with pytest.raises(ApplicationError, match="cut short"):
            await client.get("/")
    assert "the app raised ZeroDivisionError with its headers out" in caplog.text


async def test_a_request_body_that_fails_is_raised_where_it_was_sent() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise KeyError("mine")

    async with Client(make_app()) as client:
        with pytest.raises(KeyError, match="mine"):
            await client.post("/echo", content=broken())


async def test_a_cancelled_receive_loses_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        body = b""
        more = True
        while more:
            try:
                async with asyncio.timeout(0.001):
                    event = await receive()
            except TimeoutError:
                go_on.set()
                continue
            body += event["body"]
            more = event["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first "
        await go_on.wait()
        yield b"second"

    async with Client(app) as client:
        assert (await client.post("/", content=slow())).text == "first second"


async def test_requests_left_open_are_disconnected_when_the_client_closes() -> None:
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    async with Client(app) as client:
        response = await client.send(client.build_request("GET", "/"), stream=True)
        assert response.status_code == 200
    assert closed.is_set()


@pytest.mark.parametrize("app", [lambda *args: None, lambda: None])
def test_an_app_that_is_neither(app: Any) -> None:
    with pytest.raises(TypeError, match="cannot tell whether"):
        Client(app)


async def test_an_asgi_app_of_the_old_form() -> None:
    def app(scope: Any) -> Any:
        async def answer(receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["method"].encode()})

        return answer

    async with Client(app) as client:
        assert (await client.get("/")).text == "GET"


async def test_unless_it_is_said() -> None:
    def app(*arguments: Any) -> list[bytes]:
        environ, start_response = arguments
        start_response("200 OK", [])
        return [environ["REQUEST_METHOD"].encode()]

    async with Client(app, interface="wsgi") as client:
        assert (await client.get("/")).text == "GET"

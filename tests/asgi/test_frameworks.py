"""A Flask app within the apps of ASGI frameworks: their own mounts, or `Mounts` around both."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask, Response, request, url_for
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bridge import Mounts, WSGIToASGI
from bridge.testing import Client


def make_flask() -> Flask:
    app = Flask(__name__)

    @app.get("/hello/<name>")
    def hello(name: str) -> list[str]:
        return [request.script_root, request.path, name, url_for("hello", name="other"), request.url]

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[bytes]:
            yield b"one\n"
            yield b"two\n"

        return Response(body())

    @app.get("/state")
    def state() -> str:
        return str(request.environ["asgi.state"].get("pool"))

    return app


@contextlib.asynccontextmanager
async def pool(app: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "a pool"}


def in_starlette(inner: WSGIToASGI) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with inner.lifespan_context():
            yield

    async def own(request: Request) -> PlainTextResponse:
        return PlainTextResponse("its own")

    return Starlette(routes=[Route("/own", own), Mount("/old", app=inner)], lifespan=lifespan)


def in_fastapi(inner: WSGIToASGI) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inner.lifespan_context():
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/own", response_class=PlainTextResponse)
    async def own() -> str:
        return "its own"

    app.mount("/old", inner)
    return app


def beside_litestar(inner: WSGIToASGI) -> Any:
    """Its own mount takes the prefix off the path, adds a slash, and sets no `root_path` (2.25)."""
    from litestar import Litestar, MediaType, get  # its import takes a second

    @get("/own", media_type=MediaType.TEXT)
    async def own() -> str:
        return "its own"

    return Mounts({"/old": inner, "/": Litestar([own], logging_config=None)})


def beside_quart(inner: WSGIToASGI) -> Any:
    app = Quart(__name__)

    @app.get("/own")
    async def own() -> str:
        return "its own"

    return Mounts({"/old": inner, "/": app})


def beside_django(inner: WSGIToASGI) -> Any:
    """It has no mounts, and no lifespan."""
    from django.conf import settings  # its settings are the process's
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    async def own(request: HttpRequest) -> HttpResponse:
        return HttpResponse("its own", content_type="text/plain")

    if not settings.configured:
        settings.configure(LOGGING_CONFIG=None)
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    settings.ROOT_URLCONF = (path("own", own),)
    return Mounts({"/old": inner, "/": get_asgi_application()})


FRAMEWORKS = {
    "Starlette": in_starlette,
    "FastAPI": in_fastapi,
    "Litestar, beside it": beside_litestar,
    "Quart, beside it": beside_quart,
    "Django, beside it": beside_django,
}


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_flask_app_within(name: str) -> None:
    app = FRAMEWORKS[name](WSGIToASGI(make_flask(), threads=2, lifespan=pool))
    async with Client(app) as client:
        assert (await client.get("/own")).text == "its own"
        assert (await client.get("/old/hello/caf%C3%A9")).json() == [
            *["/old", "/hello/café", "café", "/old/hello/other"],
            "http://testserver/old/hello/café",
        ]
        assert (await client.post("/old/echo", content=b"x" * 200_000)).content == b"x" * 200_000
        assert (await client.get("/old/stream")).text == "one\ntwo\n"
        assert (await client.get("/old/state")).text == "a pool"
        assert (await client.get("/old/nosuch")).status_code == 404

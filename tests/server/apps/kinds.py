"""The same app in every form that can be served: it answers with the form's name."""

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def _answer(text: str, scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})
    else:
        raise ValueError(f"no {scope['type']} here")


def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"wsgi"]


def anything(*arguments: Any) -> Iterable[bytes]:
    """Cannot be told from an ASGI app; it is a WSGI one."""
    return wsgi(*arguments)


async def asgi(scope: Any, receive: Receive, send: Send) -> None:
    await _answer("asgi", scope, receive, send)


def returns_a_coroutine(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
    return _answer("returns_a_coroutine", scope, receive, send)


class Awaited:
    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self._answer = _answer("Awaited", scope, receive, send)

    def __await__(self) -> Generator[Any, None, None]:
        return self._answer.__await__()


class ASGI2:
    def __init__(self, scope: Any) -> None:
        self._scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await _answer("ASGI2", self._scope, receive, send)


flask = Flask(__name__)
flask.add_url_rule("/", view_func=lambda: "flask")

async_flask = Flask("async_flask")


@async_flask.get("/")
async def async_flask_answer() -> str:
    return "async_flask"

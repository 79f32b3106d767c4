"""Apps for `bridge routes` and `bridge check`: a Flask app with something of everything, and broken ones."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Blueprint, Flask, Response, request
from flask.views import MethodView

from bridge import WSGIToASGI
from bridge.flask import Bridge, EventSource, any_thread

app = Flask(__name__)
bridge = Bridge(app)
shop = Blueprint("shop", __name__, url_prefix="/shop")
cart = Blueprint("cart", __name__, url_prefix="/cart")
plain = Flask("plain")
methods_seen: list[str] = []


@bridge.lifespan
async def lifespan(app: Flask) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}


@app.before_request
@any_thread
def load_user() -> None:
    methods_seen.append(f"{request.method} {request.path}")


@app.before_request
async def load_more() -> None:
    await asyncio.sleep(0)


@app.teardown_appcontext
@any_thread
def give_back(error: BaseException | None) -> None:
    pass


@app.errorhandler(404)
def not_found(error: Exception) -> tuple[str, int]:
    return "not here", 404


@shop.url_value_preprocessor
@any_thread
def pull_language(endpoint: str | None, values: dict[str, Any] | None) -> None:
    pass


@shop.after_request
@any_thread
def add_header(response: Response) -> Response:
    return response


@cart.teardown_request
def close_cart(error: BaseException | None) -> None:
    pass


@app.route("/", methods=["GET", "POST"])
async def index() -> str:
    await asyncio.sleep(0)
    greeting: str = bridge.state.greeting
    return greeting


@app.get("/empty")
async def empty() -> tuple[str, int]:
    return "", 204


@app.get("/body")
def body() -> bytes:
    return request.get_data()  # of a request that has none; it reads without a size


@app.get("/clock")
async def clock() -> EventSource:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.01)

    return EventSource(ticks())


@app.get("/item/<int:number>")
async def item(number: int) -> str:
    return str(number)


@app.get("/page", defaults={"number": 1})
def page(number: int) -> str:
    return str(number)


@app.delete("/everything")
def everything() -> str:
    raise AssertionError("check must not delete")


class Both(MethodView):
    def get(self) -> str:
        return "plain"

    async def post(self) -> str:
        return "async"


app.add_url_rule("/both", view_func=Both.as_view("both"))


@shop.get("/")
async def goods() -> str:
    return "goods"


@cart.get("/")
async def content() -> str:
    return "content"


@plain.get("/")
def plain_index() -> str:
    return "plain"


shop.register_blueprint(cart)
app.register_blueprint(shop)

adapted = WSGIToASGI(app, async_views="thread")

failing = Flask("failing")


@failing.get("/")
def fails() -> str:
    raise ZeroDivisionError("no luck")


@asynccontextmanager
async def _broken_lifespan(app: object) -> AsyncIterator[None]:
    _connect()
    yield


def _connect() -> None:
    raise OSError("no database")


unstartable = WSGIToASGI(plain, lifespan=_broken_lifespan)


def correct(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"no Content-Type, which is not asked for"]


def raises(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("nothing to be found\nin two lines")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("an exception without words")


def raises_unspeakable(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise Unspeakable


def raises_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"half"
    raise LookupError("no more")


released = threading.Event()


def sleeps(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers when nobody waits any more."""
    released.wait(10)
    return correct(environ, start_response)


def swallows(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Breaks a rule, and catches whoever says so."""
    try:
        start_response("200", ["not a pair"])  # type: ignore[list-item]  # that is what is wrong with it
    except Exception:  # noqa: BLE001  # that is what is wrong with it
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"all is well"]


# Apps that are made for a test

Start = Callable[..., Any]
TEXT = [("Content-Type", "text/plain")]


def starts_with(*arguments: Any, **keywords: Any) -> Callable[[WSGIEnvironment, Start], Any]:
    """An app that calls start_response so."""

    def app(environ: WSGIEnvironment, start_response: Start) -> Iterable[bytes]:
        start_response(*arguments, **keywords)
        return [b"body"]

    return app


def returns(body: Any, headers: list[tuple[str, str]] = TEXT) -> Callable[[WSGIEnvironment, Start], Any]:
    """An app that returns this."""

    def app(environ: WSGIEnvironment, start_response: Start) -> Any:
        start_response("200 OK", headers)
        return body

    return app


def does(action: Callable[[WSGIEnvironment, Start], Any]) -> Callable[[WSGIEnvironment, Start], Any]:
    """An app that does something before its answer."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        action(environ, start_response)
        start_response("200 OK", TEXT)
        return [b"body"]

    return app


def generates(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    yield b"body"
    start_response("200 OK", TEXT)

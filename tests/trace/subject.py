"""Apps to be traced: a Flask app with something of everything, a WSGI app, and an ASGI app."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Response, flash, redirect, render_template_string, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from bridge.flask import EventSource, any_thread
from bridge.types import StartResponse, WSGIEnvironment


class OutOfStockError(Exception):
    pass


class Item(MethodView):
    async def get(self, id: int) -> str:
        await asyncio.sleep(0)
        return str(id)


def create_app() -> Flask:
    app = Flask("subject")
    app.secret_key = "not to be seen"

    @app.url_value_preprocessor
    @any_thread
    def note_values(endpoint: str | None, values: dict[str, Any] | None) -> None:
        pass

    @app.before_request
    @any_thread
    def load_user() -> None:
        pass

    @app.after_request
    @any_thread
    def stamp(response: Response) -> Response:
        response.headers["X-Stamp"] = "1"
        return response

    @app.teardown_request
    @any_thread
    def release(error: BaseException | None) -> None:
        pass

    @app.teardown_appcontext
    @any_thread
    def close(error: BaseException | None) -> None:
        pass

    @app.errorhandler(404)
    def not_found(error: Exception) -> ResponseReturnValue:
        return "nothing here", 404

    @app.errorhandler(OutOfStockError)
    def out_of_stock(error: Exception) -> ResponseReturnValue:
        return "come back later", 409

    @app.get("/plain/<int:id>")
    def plain(id: int) -> str:
        return "plain"

    @app.get("/async/<int:id>")
    async def waits(id: int) -> str:
        await asyncio.sleep(0.1)
        return render_template_string("{{ id }}", id=id)

    @app.get("/page")
    def page() -> str:
        flash("saved")
        return render_template_string("{{ word }}", word="x")

    @app.post("/upload")
    def upload() -> str:
        return str(len(request.data))

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "one"
        yield "two"

    @app.get("/endless")
    def endless() -> Iterator[str]:
        yield from itertools.repeat("x" * 1000)

    @app.get("/events")
    async def events() -> Response:
        async def ticks() -> AsyncIterator[dict[str, str]]:
            yield {"data": "one"}
            yield {"data": "two"}

        return EventSource(ticks())

    @app.get("/breaks")
    def breaks() -> str:
        raise ValueError("broken")

    @app.get("/sold-out")
    def sold_out() -> str:
        raise OutOfStockError("all gone")

    @app.get("/breaks-later")
    def breaks_later() -> Iterator[str]:
        yield "one"
        raise ValueError("broken")

    @app.get("/folder/")
    def folder() -> ResponseReturnValue:
        return redirect("/plain/1")

    app.add_url_rule("/item/<int:id>", view_func=Item.as_view("item"))
    return app


app = create_app()


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"first")
    return [b"second", environ["wsgi.input"].read()]


def drops(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield from itertools.repeat(b"x")


async def asgi_app(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]
) -> None:
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    if scope["path"] == "/fails":
        raise ValueError("broken")
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})

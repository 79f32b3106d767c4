"""The same page with one layer more at a time, from a bare WSGI callable to Flask with session and template.

Each app answers `/page` with the same bytes. `benchmarks.layers` says what is compared with what.
"""

from collections.abc import Iterable

from flask import Flask, render_template
from flask import session as flask_session
from flask.typing import RouteCallable
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from benchmarks.apps.page import html, rows
from bridge.types import StartResponse, WSGIEnvironment

__all__ = [
    "async_flask_layer",
    "async_jinja",
    "async_session",
    "flask_layer",
    "jinja",
    "request",
    "response",
    "routing",
    "session",
    "wsgi",
]

_RULES = Map([Rule("/page", endpoint="page"), Rule("/item/<int:number>", endpoint="item")])


def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A bare WSGI callable."""
    body = html(rows()).encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def response(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """With Werkzeug's Response."""
    return Response(html(rows()), mimetype="text/html")(environ, start_response)


def request(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """With its Request, too, of which the path is read, an argument and a header."""
    asked = Request(environ)
    if asked.path != "/page" or asked.args.get("language", "en") != "en" or "Host" not in asked.headers:
        return Response(status=404)(environ, start_response)
    return Response(html(rows()), mimetype="text/html")(environ, start_response)


def routing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """With its Map and Rule, too."""
    asked = Request(environ)
    try:
        endpoint, _ = _RULES.bind_to_environ(environ).match()
    except HTTPException as error:
        return error(environ, start_response)
    if endpoint != "page" or asked.args.get("language", "en") != "en" or "Host" not in asked.headers:
        return Response(status=404)(environ, start_response)
    return Response(html(rows()), mimetype="text/html")(environ, start_response)


def _page() -> str:
    return html(rows())


def _page_with_session() -> str:
    flask_session["seen"] = flask_session.get("seen", 0) + 1
    return html(rows())


def _page_with_template() -> str:
    flask_session["seen"] = flask_session.get("seen", 0) + 1
    return render_template("page.html", rows=rows())


async def _async_page() -> str:
    return _page()


async def _async_page_with_session() -> str:
    return _page_with_session()


async def _async_page_with_template() -> str:
    return _page_with_template()


def _in_flask(view: RouteCallable) -> Flask:
    app = Flask("benchmarks.apps")
    app.secret_key = "known to everybody: this app keeps nothing"
    app.add_url_rule("/page", "page", view)
    app.add_url_rule("/item/<int:number>", "item", lambda number: "")
    return app


flask_layer = _in_flask(_page)
session = _in_flask(_page_with_session)
jinja = _in_flask(_page_with_template)
async_flask_layer = _in_flask(_async_page)
async_session = _in_flask(_async_page_with_session)
async_jinja = _in_flask(_async_page_with_template)

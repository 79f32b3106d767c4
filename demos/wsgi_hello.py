"""One page, three times: as a bare WSGI callable, with Werkzeug, and in Flask.

Run it:    .venv/bin/bridge serve demos.wsgi_hello:app
Look at:   http://127.0.0.1:8000/            the three, side by side
           http://127.0.0.1:8000/bare/       WSGI alone: also by itself, bridge serve demos.wsgi_hello:bare
           http://127.0.0.1:8000/werkzeug/   with requests, responses and URLs as objects
           http://127.0.0.1:8000/flask/      in Flask
It shows:  what a server hands to an app, and what each layer takes off its hands. The three answer alike; but
           OPTIONS, which Flask alone answers by itself.
"""

from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, render_template_string, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Request, Response

PAGE = """<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; background: Canvas; font: 1.2rem/1.6 system-ui, sans-serif; }}
  body {{ margin: 1.5rem; }}
  input, button {{ font: inherit; max-width: 100%; }}
</style>
<main>
<h1>{title}</h1>
<form action="{home}">
  <label>Your name: <input name="name"></label> <button>Greet me</button>
</form>
<p>Or take the name from the address: <a href="{zoe}">Zoë</a></p>
</main>"""


def greeting(name: str) -> str:
    return f"Hello, {name or 'World'}!"


# 1. WSGI is a call: the request comes in a dict, the status and the headers leave through a callback, the
#    body is what is returned (PEP 3333). Everything else is up to the app.


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = _text(environ.get("PATH_INFO", ""))
    home = quote(_text(environ.get("SCRIPT_NAME", ""))) + "/"  # where the app is mounted
    if not path:
        start_response("308 Permanent Redirect", [("Location", home), ("Content-Length", "0")])
        return []
    name = _name(path, environ.get("QUERY_STRING", ""))
    status = _status(name, environ["REQUEST_METHOD"])
    status_line = f"{status.value} {status.phrase}"
    title = escape(greeting(name or "") if status == HTTPStatus.OK else status_line)
    body = PAGE.format(title=title, home=escape(home), zoe=escape(home + "hello/" + quote("Zoë"))).encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    start_response(status_line, headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _text(value: str) -> str:
    """WSGI's strings are bytes in disguise, each a character: here they become what they mean."""
    return value.encode("latin-1").decode(errors="replace")


def _name(path: str, query: str) -> str | None:
    """Whom the page of this path greets; None if there is no such page."""
    if path == "/":
        return parse_qs(query).get("name", [""])[0]
    folder, _, name = path.rpartition("/")
    return name if folder == "/hello" and name else None


def _status(name: str | None, method: str) -> HTTPStatus:
    if name is None:
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.OK if method in ("GET", "HEAD") else HTTPStatus.METHOD_NOT_ALLOWED


# 2. Werkzeug makes objects of it: Request decodes and parses; Response encodes, counts, and knows HEAD; Map
#    and Rule tell which page is meant, and make the addresses of others; an exception says what is wrong,
#    as 404, or 405 with what is allowed. It is a library: to call one after the other is still up to the
#    app, and so is HTML.

urls = Map(
    [Rule("/", endpoint="index", methods=["GET"]), Rule("/hello/<name>", endpoint="hello", methods=["GET"])]
)


@Request.application
def with_werkzeug(request: Request) -> Response:
    adapter = urls.bind_to_environ(request.environ)
    try:
        endpoint, values = adapter.match()
    except RequestRedirect:
        raise  # a response already, as all of Werkzeug's exceptions
    except HTTPException as error:
        title, response = f"{error.code} {error.name}", error.get_response()
    else:
        name = request.args.get("name", "") if endpoint == "index" else values["name"]
        title, response = greeting(name), Response(mimetype="text/html")
    home, zoe = adapter.build("index"), adapter.build("hello", {"name": "Zoë"})
    response.set_data(PAGE.format(title=escape(title), home=escape(home), zoe=escape(zoe)))
    return response


# 3. Flask is the caller: it matches, calls the function that is registered for the rule, makes a response
#    of what that returns, and asks another function when something is wrong. What belongs to a request is
#    at hand everywhere (`request`, `url_for`), and Jinja2 escapes what it puts into a page.

with_flask = Flask(__name__, static_folder=None)

TEMPLATE = PAGE.format(  # the same page, for Jinja2 to fill in
    title="{{ title }}", home="{{ url_for('index') }}", zoe="{{ url_for('hello', name='Zoë') }}"
)


@with_flask.get("/")
def index() -> str:
    return render_template_string(TEMPLATE, title=greeting(request.args.get("name", "")))


@with_flask.get("/hello/<name>")
def hello(name: str) -> str:
    return render_template_string(TEMPLATE, title=greeting(name))


@with_flask.errorhandler(HTTPException)
def wrong(error: HTTPException) -> Response:
    response = with_flask.make_response(error)  # has the headers that belong to the error, such as Allow
    response.set_data(render_template_string(TEMPLATE, title=f"{error.code} {error.name}"))
    return response


# Side by side. What is mounted below a path finds that in SCRIPT_NAME, and the rest in PATH_INFO

front_page = Flask("front_page", static_folder=None)


@front_page.get("/")
def steps() -> str:
    return render_template_string(STEPS)


STEPS = """<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One page, three times</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1.2rem/1.6 system-ui, sans-serif; }
  body { margin: 1.5rem; }
</style>
<main>
<h1>One page, three times</h1>
<ol>
  <li><a href="{{ url_for('steps') }}bare/">A bare WSGI callable</a>
  <li><a href="{{ url_for('steps') }}werkzeug/">With Werkzeug</a>
  <li><a href="{{ url_for('steps') }}flask/">In Flask</a>
</ol>
</main>"""

app = DispatcherMiddleware(front_page, {"/bare": bare, "/werkzeug": with_werkzeug, "/flask": with_flask})

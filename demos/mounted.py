"""Flask inside FastAPI under one server, and moved over route by route.

Run it:    .venv/bin/bridge serve demos.mounted:app
           .venv/bin/bridge serve 'demos.mounted:create_app(moved=0)'   # as on the first day; then 1, 2, 3
Look at:   http://127.0.0.1:8000/          a page of Flask's, as before
           http://127.0.0.1:8000/moved     a page of FastAPI's: who answers which route
           http://127.0.0.1:8000/old/      the whole Flask app once more, at a prefix
           curl -i http://127.0.0.1:8000/api/notes   and its header X-Answered-By
It shows:  the strangler pattern: FastAPI's routes come first, Flask is mounted behind them and gets the rest;
           one lifespan for both; one service that both use; and Flask's session, read by FastAPI.

The notes are in the file that MOUNTED_DATABASE names, or else in one in the folder for temporary files.
SECRET_KEY signs the session; without it each process makes one of its own, so --workers need it.
"""

import os
import secrets
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

import flask
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from flask.sessions import SessionMixin
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader, Environment
from pydantic import BaseModel, StringConstraints, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.test import create_environ
from werkzeug.wrappers import Response as FlaskResponse

from bridge import WSGIToASGI

DATABASE = os.environ.get("MOUNTED_DATABASE") or Path(tempfile.gettempdir(), "bridge-mounted.sqlite")


# What both share: the service, and what is valid


class Note(BaseModel):
    """A note, as it is kept and as it is answered."""

    id: int
    author: str
    text: str


class NewNote(BaseModel):
    """A note, as it is sent."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


WRONG_NOTE = {"error": 'a note is {"text": …}, of 1 to 200 characters'}


class Notes:
    """The notes. Threads of both frameworks may call it at once: SQLite lets one statement in at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.row_factory = sqlite3.Row
        database.execute(
            "CREATE TABLE IF NOT EXISTS notes"
            " (id INTEGER PRIMARY KEY, author TEXT NOT NULL, text TEXT NOT NULL)"
        )

    def last(self) -> list[Note]:
        """The last fifty, newest first."""
        return self._select("SELECT id, author, text FROM notes ORDER BY id DESC LIMIT 50")

    def find(self, number: int) -> Note | None:
        if number >= 2**63:  # SQLite knows none so large
            return None
        return next(iter(self._select("SELECT id, author, text FROM notes WHERE id = ?", number)), None)

    def add(self, author: str, text: str) -> Note:
        inserted = "INSERT INTO notes (author, text) VALUES (?, ?) RETURNING id, author, text"
        return self._select(inserted, author, text)[0]

    def _select(self, statement: str, *values: object) -> list[Note]:
        return [Note(**dict(row)) for row in self._database.execute(statement, values).fetchall()]


@asynccontextmanager
async def open_notes(app: object) -> AsyncIterator[dict[str, Any]]:
    connection = sqlite3.connect(DATABASE, check_same_thread=False, isolation_level=None)
    with closing(connection):
        yield {"notes": Notes(connection)}


# The Flask app that one has. Nothing in it knows of FastAPI

old = flask.Flask(__name__)
old.config.update(
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_NAME="mounted_session",
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=16_384,
)
csrf = CSRFProtect(old)


def notes() -> Notes:
    found: Notes = flask.request.environ["asgi.state"]["notes"]
    return found


@old.get("/")
def index() -> str:
    return flask.render_template("index.html", notes=notes().last())


@old.get("/notes/<int:number>")
def show_note(number: int) -> str:
    return flask.render_template("note.html", note=notes().find(number) or flask.abort(404))


@old.post("/notes")
def add_note() -> FlaskResponse:
    try:
        note = NewNote(text=flask.request.form.get("text", ""))
    except ValidationError:
        flask.flash("A note has 1 to 200 characters.")
    else:
        notes().add(flask.session.get("name", "somebody"), note.text)
    return flask.redirect(flask.url_for("index"))


@old.post("/name")
def set_name() -> FlaskResponse:
    flask.session["name"] = flask.request.form.get("name", "").strip()[:40] or "somebody"
    return flask.redirect(flask.url_for("index"))


@old.get("/api/notes")
def notes_as_json() -> list[dict[str, Any]]:
    return [note.model_dump() for note in notes().last()]


@old.post("/api/notes")
def add_note_from_json() -> FlaskResponse:
    try:
        note = NewNote.model_validate_json(flask.request.get_data() if flask.request.is_json else b"")
    except ValidationError:
        return old.make_response((WRONG_NOTE, 400))
    added = notes().add(flask.session.get("name", "somebody"), note.text)
    location = flask.url_for("show_note", number=added.id)
    return old.make_response((added.model_dump(), 201, {"Location": location}))


csrf.exempt(add_note_from_json)  # no form of another site can send JSON


@old.get("/api/me")
def me() -> dict[str, str | None]:
    return {"name": flask.session.get("name")}


# FastAPI takes routes over. Plain functions, as SQLite blocks: it runs them in threads, too

moves = APIRouter()


def shared_notes(request: Request) -> Notes:
    found: Notes = request.state.notes
    return found


def flask_session(request: Request, response: Response) -> SessionMixin:
    """The session of the visitor, to read. Flask opens it, wherever and however it keeps it."""
    response.headers["Vary"] = "Cookie"
    environ = create_environ(headers=request.headers.items())
    session = old.session_interface.open_session(old, old.request_class(environ))
    assert session is not None  # there is a SECRET_KEY
    return session


SharedNotes = Annotated[Notes, Depends(shared_notes)]
FlaskSession = Annotated[SessionMixin, Depends(flask_session)]


@moves.get("/api/notes")
def moved_notes(notes: SharedNotes) -> list[Note]:
    return notes.last()


@moves.post("/api/notes", status_code=201)
def moved_add_note(
    note: NewNote, notes: SharedNotes, session: FlaskSession, request: Request, response: Response
) -> Note:
    added = notes.add(session.get("name", "somebody"), note.text)
    response.headers["Location"] = in_flask(request, f"/notes/{added.id}")  # a page that has not moved
    return added


@moves.get("/api/me")
def moved_me(session: FlaskSession) -> dict[str, str | None]:
    return {"name": session.get("name")}


def in_flask(request: Request, path: str, mount: str = "flask") -> str:
    """From FastAPI to a page that it does not have: the mount has a name, and what is behind it a path."""
    address: str = request.scope["root_path"] + request.app.url_path_for(mount, path=path)
    return address


async def wrong_note(request: Request, error: Exception) -> JSONResponse:
    """Answer as the Flask app does, whose clients know that answer, instead of as FastAPI does."""
    return JSONResponse(WRONG_NOTE, 400)


# Both in one


def create_app(moved: int = len(moves.routes)) -> FastAPI:
    """FastAPI with the first so many of its routes, and Flask behind them."""
    flask_app = WSGIToASGI(old, lifespan=open_notes)

    @asynccontextmanager
    async def lifespan(new: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # A mounted app is told nothing of the server's start and end. This opens what Flask needs, gives it
        # to both, and ends Flask's threads.
        if "SECRET_KEY" not in os.environ:
            old.logger.warning("SECRET_KEY is not set: names are forgotten when this process ends")
        async with flask_app.lifespan_context() as state:
            yield state

    new = FastAPI(
        routes=moves.routes[:moved],
        lifespan=lifespan,
        exception_handlers={RequestValidationError: wrong_note, 400: wrong_note},  # 400: not even UTF-8
        docs_url=None,  # its pages load their scripts from elsewhere
        redoc_url=None,
    )
    new.add_middleware(AnsweredBy, name="FastAPI")
    new.add_api_route("/moved", show_moves, response_class=HTMLResponse, include_in_schema=False)
    new.add_api_route("/old", to_old, response_class=RedirectResponse, include_in_schema=False)
    # Routes are tried in their order, so the mounts come last. Both have one adapter, and its threads.
    new.mount("/old", AnsweredBy(flask_app, "Flask"), name="old")
    new.mount("/", AnsweredBy(flask_app, "Flask"), name="flask")
    return new


class AnsweredBy:
    """Names in a header of each response the app that has answered, unless the header is there."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("X-Answered-By", self._name)
            await send(message)

        await self._app(scope, receive, send_signed)


@old.context_processor
def link_to_moves() -> dict[str, str]:
    """From Flask to a page that it does not have: it is below /old, or where FastAPI is."""
    return {"address_of_moves": flask.request.script_root.removesuffix("/old") + "/moved"}


def show_moves(request: Request) -> Response:
    found = rows(request.app)
    moved = sum(framework == "FastAPI" for _, _, framework in found)
    values = {"rows": found, "moved": moved, "notes": in_flask(request, "/"), "old": to_old(request)}
    return pages.TemplateResponse(request, "moved.html", values)


def to_old(request: Request) -> str:
    return in_flask(request, "/", mount="old")


def rows(new: FastAPI) -> list[tuple[str, str, str]]:
    """Each method and rule of the Flask app, and who answers it."""
    return [
        (method, rule.rule, answers(new, method, rule.rule))
        for rule in old.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.endpoint != "static"
    ]


def answers(new: FastAPI, method: str, path: str) -> str:
    """Ask the router, with a scope that goes no further: the first route that matches in full answers."""
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    route = next(route for route in new.routes if route.matches(scope)[0] is Match.FULL)
    return "Flask" if isinstance(route, Mount) else "FastAPI"


# The pages

BASE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{% block title %}{% endblock %}</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1rem/1.5 system-ui, sans-serif; }
  body { max-width: 44rem; margin: auto; padding: 1rem; overflow-wrap: break-word; }
  header, footer { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: baseline; }
  nav { display: flex; flex-wrap: wrap; gap: 0 1rem; }
  footer { margin-top: 2rem; border-top: 1px solid #8886; opacity: .8; }
  form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin: 1rem 0; }
  label { display: grid; flex: 1 14rem; }
  input, button { font: inherit; padding: .3rem .6rem; }
  .table { overflow-x: auto; }
  table { border-collapse: collapse; }
  th, td { padding: .3rem clamp(.5rem, 2vw, 1.5rem) .3rem 0; border-bottom: 1px solid #8886;
           text-align: start; }
  :is(th, td):last-child { padding-right: 0; }
  td { white-space: nowrap; }
  .FastAPI { font-weight: bold; }
  :focus-visible { outline: 2px solid; outline-offset: 2px; }
  @media print { form, nav { display: none; } }
</style>
<header><h1>{{ self.title() }}</h1><nav>{% block nav %}{% endblock %}</nav></header>
<main>{% block main %}{% endblock %}</main>
<footer><p>This page comes from {% block framework %}Flask{% endblock %}.</p></footer>
"""

INDEX = """{% extends "base.html" %}
{% block title %}Notes{% endblock %}
{% block nav %}<a href="{{ url_for('notes_as_json') }}">As JSON</a>
  <a href="{{ address_of_moves }}">Who answers what</a>{% endblock %}
{% block main %}
{% for message in get_flashed_messages() %}<p role="alert">{{ message }}</p>{% endfor %}
<form method="post" action="{{ url_for('add_note') }}">
  <input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
  <label>A note, by {{ session.name or "somebody" }} <input name="text" maxlength="200" required></label>
  <button>Add</button>
</form>
<form method="post" action="{{ url_for('set_name') }}">
  <input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
  <label>Your name <input name="name" maxlength="40" value="{{ session.name }}" autocomplete="name"></label>
  <button>Save</button>
</form>
<ul>
  {% for note in notes %}
  <li><a href="{{ url_for('show_note', number=note.id) }}">{{ note.text }}</a>, by {{ note.author }}</li>
  {% else %}
  <li>No notes yet.</li>
  {% endfor %}
</ul>
{% endblock %}
"""

NOTE = """{% extends "base.html" %}
{% block title %}Note {{ note.id }}{% endblock %}
{% block nav %}<a href="{{ url_for('index') }}">All notes</a>{% endblock %}
{% block main %}<blockquote>{{ note.text }}</blockquote><p>by {{ note.author }}</p>{% endblock %}
"""

MOVED = """{% extends "base.html" %}
{% block title %}Who answers what{% endblock %}
{% block nav %}<a href="{{ notes }}">Notes</a>
  <a href="{{ old }}">Notes, all in Flask</a>{% endblock %}
{% block main %}
<p>These are the routes of the Flask app. FastAPI has taken over {{ moved }} of {{ rows|length }}. All
  others fall through to Flask, which is mounted behind FastAPI, and once more at
  <a href="{{ old }}">/old</a>.</p>
<div class="table" role="region" aria-label="Routes" tabindex="0"><table>
  <thead>
  <tr><th scope="col">Method<th scope="col">Address<th scope="col">Answered by
  </thead>
  {% for method, rule, framework in rows %}
  <tr><td>{{ method }}<td><code>{{ rule }}</code><td class="{{ framework }}">{{ framework }}
  {% endfor %}
</table></div>
<p>Flask goes on answering HEAD and OPTIONS of a route until FastAPI has them, too. What Flask does around a
  view, such as <code>before_request</code> and the protection of forms, does not move with it.</p>
{% endblock %}
{% block framework %}FastAPI{% endblock %}
"""

TEMPLATES = DictLoader({"base.html": BASE, "index.html": INDEX, "note.html": NOTE, "moved.html": MOVED})
old.jinja_loader = TEMPLATES
pages = Jinja2Templates(env=Environment(loader=TEMPLATES, autoescape=True))

app = create_app()

"""An app to be traced: each view shows one kind of request, and does nothing else.

Run it:    .venv/bin/bridge serve demos.gallery.subject:app
Look at:   http://127.0.0.1:8000/sync     a page that waits a little, in a thread
           http://127.0.0.1:8000/async    the same page, on the event loop
           http://127.0.0.1:8000/stream   lines that come one by one
It shows:  what the gallery's X-ray draws; the examples there say what each view teaches.
"""

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator

from flask import Flask, Response, abort, flash, g, redirect, render_template, request, session, url_for
from jinja2 import DictLoader
from werkzeug.wrappers import Response as WerkzeugResponse

from bridge.flask import any_thread, stream

app = Flask(__name__, static_folder=None)
app.config.update(
    SECRET_KEY=os.environ.get("SUBJECT_SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_NAME="subject_session",
)
app.jinja_loader = DictLoader(
    {
        "base.html": "<!doctype html><title>{{ title }}</title>{% block main %}{% endblock %}",
        "page.html": "{% extends 'base.html' %}{% block main %}<p>Hello, {{ visitor }}.</p>{% endblock %}",
    }
)

LINES = ("A response", "may leave", "before it is complete,", "one chunk", "at a time.")


class OutOfStockError(Exception):
    """There is none left."""


@app.before_request
@any_thread  # it keeps nothing in its thread, so the async views beside it may run on the loop
def find_visitor() -> None:
    g.visitor = request.args.get("name", "visitor")


@app.after_request
@any_thread
def stamp(response: Response) -> Response:
    response.headers["X-Visitor"] = "known" if "name" in request.args else "unknown"
    return response


@app.get("/page/")
def page() -> str:
    return render_template("page.html", title="A page", visitor=g.visitor)


@app.get("/sync")
def sync_page() -> str:
    time.sleep(0.02)  # stands for a database: the thread waits, and does nothing else
    return render_template("page.html", title="A page", visitor=g.visitor)


@app.get("/async")
async def async_page() -> str:
    await asyncio.sleep(0.02)  # the same wait: meanwhile, the event loop serves others
    return render_template("page.html", title="A page", visitor=g.visitor)


@app.get("/moved")
def moved() -> WerkzeugResponse:
    return redirect(url_for("page"))


@app.get("/visits")
def visits() -> str:
    session["visits"] = session.get("visits", 0) + 1
    flash("Welcome back." if session["visits"] > 1 else "Welcome.")
    return f"Visit number {session['visits']}"


@app.get("/forbidden")
def forbidden() -> str:
    abort(403)


@app.get("/sold-out")
def sold_out() -> str:
    raise OutOfStockError("there is none left")


@app.errorhandler(OutOfStockError)
def say_sold_out(error: OutOfStockError) -> tuple[str, int]:
    return f"Sorry: {error}.", 409


@app.get("/broken")
def broken() -> str:
    return str(1 / 0)


@app.get("/stream")
def lines() -> Response:
    def generate() -> Iterator[str]:
        for line in LINES:
            yield f"{line}\n"
            time.sleep(0.3)

    return Response(generate(), mimetype="text/plain")


@app.get("/async-stream")
async def lines_on_the_loop() -> Response:
    async def generate() -> AsyncIterator[str]:
        for line in LINES:
            yield f"{line}\n"
            await asyncio.sleep(0.3)

    return Response(stream(generate()), mimetype="text/plain")


@app.get("/endless")
async def endless() -> Response:
    async def generate() -> AsyncIterator[str]:
        while True:
            yield "and on\n"
            await asyncio.sleep(0.5)

    return Response(stream(generate()), mimetype="text/plain")


@app.post("/upload")
def upload() -> dict[str, int | str]:
    digest = hashlib.sha256()
    size = 0
    while chunk := request.stream.read(1024):
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}

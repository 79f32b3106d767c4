"""A guestbook, step 4: it remembers, in a database.

Run it:    .venv/bin/bridge serve demos.guestbook.database:app
Look at:   http://127.0.0.1:8000/    sign, stop the server, start it again
Compare:   diff -r -x __pycache__ demos/guestbook/extension demos/guestbook/database
New here:  The entries are in SQLite, a database in one file, so they outlive the
           server, and several processes share them. Each request opens a connection
           when it first needs one, and Flask closes it at the end, also after an
           error. Values go to SQL as parameters (the question marks), so no entry
           can become a part of the command.

GUESTBOOK_DATABASE names the file; without it, the file is in the folder for
temporary files. GUESTBOOK_SECRET_KEY signs the sessions; without it, the key lasts
as long as this process. Set it where you serve for real, or a restart makes open
forms expire, and several processes refuse each other's forms.
"""

import os
import secrets
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from flask import Flask, g, redirect, render_template, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import DataRequired, Length

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("GUESTBOOK_SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_NAME=__name__,  # cookies belong to the host: two apps on one host need two names
    SESSION_COOKIE_SAMESITE="Lax",
)

DATABASE = os.environ.get("GUESTBOOK_DATABASE") or Path(tempfile.gettempdir(), "bridge-guestbook.sqlite")

with closing(sqlite3.connect(DATABASE)) as new:
    new.execute(
        "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL)"
    )


def database() -> sqlite3.Connection:
    """Return this request's connection; the first call opens it."""
    if "database" not in g:
        g.database = sqlite3.connect(DATABASE)
        g.database.row_factory = sqlite3.Row  # the template asks for entry.name
    connection: sqlite3.Connection = g.database
    return connection


@app.teardown_appcontext
def close_database(error: BaseException | None) -> None:
    if "database" in g:
        g.database.close()


def tidy(text: str | None) -> str:
    """Browsers end lines with two characters, and people type spaces at the end."""
    return "\n".join((text or "").splitlines()).strip()


class EntryForm(FlaskForm):
    """What a visitor writes."""

    name = StringField("Your name", filters=[tidy], validators=[DataRequired(), Length(max=40)])
    text = TextAreaField(
        "Your entry", filters=[tidy], validators=[DataRequired(), Length(max=500)], render_kw={"rows": 3}
    )


@app.get("/")
def index() -> str:
    return render_template("guestbook.html", entries=newest(), form=EntryForm())


@app.post("/")
def sign() -> Response | tuple[str, int]:
    form = EntryForm()  # it reads the request
    if not form.validate():
        return render_template("guestbook.html", entries=newest(), form=form), 422
    with database() as transaction:  # all of it is kept, or nothing
        transaction.execute(
            "INSERT INTO entries (name, text) VALUES (?, ?)", (form.name.data, form.text.data)
        )
    return redirect(url_for("index"), 303)


def newest() -> list[sqlite3.Row]:
    return database().execute("SELECT name, text FROM entries ORDER BY id DESC LIMIT 100").fetchall()

"""A guestbook, step 3: the form comes from an extension, Flask-WTF.

Run it:    .venv/bin/bridge serve demos.guestbook.extension:app
Look at:   http://127.0.0.1:8000/    sign; send a name of spaces
Compare:   diff -r -x __pycache__ demos/guestbook/form demos/guestbook/extension
New here:  A class says what the fields are and what they accept; Flask-WTF reads
           them, checks them, and puts each error beside its field. It also adds a
           hidden token that only this site's own pages have, so no other site can
           send the form (CSRF). The token belongs to the session, a cookie that
           Flask signs with the secret key.

GUESTBOOK_SECRET_KEY signs the sessions; without it, the key lasts as long as this
process. Set it where you serve for real, or a restart makes open forms expire, and
several processes refuse each other's forms.
"""

import os
import secrets

from flask import Flask, redirect, render_template, url_for
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

ENTRIES = [
    {"name": "Ada", "text": "What a view from up here!"},
    {"name": "Brian", "text": "I typed <b>bold</b> & it stayed text."},
]


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
    ENTRIES.append({"name": form.name.data, "text": form.text.data})
    del ENTRIES[:-100]  # or it would grow for as long as the server runs
    return redirect(url_for("index"), 303)


def newest() -> list[dict[str, str]]:
    return ENTRIES[::-1]  # a copy: another thread may add to the list meanwhile

"""A guestbook, step 2: visitors sign it by a form.

Run it:    .venv/bin/bridge serve demos.guestbook.form:app
Look at:   http://127.0.0.1:8000/    sign; send a name of spaces; reload after you have signed
Compare:   diff -r -x __pycache__ demos/guestbook/template demos/guestbook/form
New here:  The browser sends the form by POST, and a second view at the same address
           takes it. That view checks what came, as anybody can send anything; after
           a mistake it shows the form again, with what was typed. After a good
           entry it redirects, so that a reload gets the page and does not send the
           form twice.

Left out: another site's page could send this form in a visitor's name (CSRF).
Nobody is logged in here, so that gains little; step 3 closes it. The entries are in
a list: a restart forgets them, and each process has its own.
"""

from flask import Flask, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

app = Flask(__name__)

ENTRIES = [
    {"name": "Ada", "text": "What a view from up here!"},
    {"name": "Brian", "text": "I typed <b>bold</b> & it stayed text."},
]


def tidy(text: str | None) -> str:
    """Browsers end lines with two characters, and people type spaces at the end."""
    return "\n".join((text or "").splitlines()).strip()


@app.get("/")
def index() -> str:
    return render_template("guestbook.html", entries=newest(), form={})


@app.post("/")
def sign() -> Response | tuple[str, int]:
    name, text = tidy(request.form.get("name")), tidy(request.form.get("text"))
    if not (1 <= len(name) <= 40 and 1 <= len(text) <= 500):
        error = "A name has 1 to 40 characters, an entry 1 to 500."
        return render_template("guestbook.html", entries=newest(), form=request.form, error=error), 422
    ENTRIES.append({"name": name, "text": text})
    del ENTRIES[:-100]  # or it would grow for as long as the server runs
    return redirect(url_for("index"), 303)


def newest() -> list[dict[str, str]]:
    return ENTRIES[::-1]  # a copy: another thread may add to the list meanwhile

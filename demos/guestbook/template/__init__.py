"""A guestbook, step 1: a page made from a template.

Run it:    .venv/bin/bridge serve demos.guestbook.template:app
Look at:   http://127.0.0.1:8000/
Compare:   diff demos/hello.py demos/guestbook/template/__init__.py
New here:  The HTML is in a file of its own, templates/guestbook.html, where Flask
           looks for it. The view passes values to render_template, and Jinja2
           writes them into the page. Jinja2 also escapes them: Brian's entry looks
           like HTML, and the browser still shows it as text.
"""

from flask import Flask, render_template

app = Flask(__name__)

ENTRIES = [
    {"name": "Ada", "text": "What a view from up here!"},
    {"name": "Brian", "text": "I typed <b>bold</b> & it stayed text."},
]


@app.get("/")
def index() -> str:
    return render_template("guestbook.html", entries=ENTRIES)

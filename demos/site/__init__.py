"""A website: what is on at a village's library, and a form to announce more.

Run it:    .venv/bin/bridge serve demos.site:app
Look at:   http://127.0.0.1:8000/            what is on; change the language, and the dates change
           http://127.0.0.1:8000/announce    a form; give it a date that is past
           http://127.0.0.1:8000/nowhere     a page that is not there
It shows:  Jinja2 templates that extend one another, static files that a browser keeps, a form that no other
           site can send (Flask-WTF), flashes, error pages, and dates in the visitor's language (Flask-Babel).
Read on:   pages.py, then templates/base.html and events.html, forms.py, errors.py, languages.py

The events are kept in the folder that SITE_DATA names, or else in one in the folder for temporary files. The
key that signs the session's cookie is SITE_SECRET_KEY, or else one that is kept beside the events.
"""

import os
import tempfile
from pathlib import Path

from flask import Flask, Response
from flask_wtf import CSRFProtect

from demos.site import errors, languages, pages, static_files
from demos.site.events import Events

__all__ = ["app", "create_app"]


def create_app(data: Path | None = None) -> Flask:
    """Make the website; `data` is the folder for its database."""
    app = Flask(__name__)
    events = Events(data or Path(os.environ.get("SITE_DATA") or Path(tempfile.gettempdir(), "bridge-site")))
    events.prepare()
    app.config.update(
        SECRET_KEY=os.environ.get("SITE_SECRET_KEY") or events.secret_key(),
        SESSION_COOKIE_NAME="site_session",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=64 * 1024,  # bytes; more is a 413
    )
    app.extensions["events"] = events
    app.register_blueprint(pages.blueprint)
    CSRFProtect(app)
    languages.init_app(app)
    static_files.init_app(app)
    errors.init_app(app)
    app.after_request(_protect)
    return app


def _protect(response: Response) -> Response:
    """Have browsers load and send nothing but this site's own, and nobody else put it into a frame."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


app = create_app()

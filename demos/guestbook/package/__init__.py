"""A guestbook, step 5: the same app in several files, with a factory and a blueprint.

Run it:    .venv/bin/bridge serve "demos.guestbook.package:create_app()"
Look at:   http://127.0.0.1:8000/    the entries of step 4: it is the same app, and the same file
Compare:   diff demos/guestbook/database/__init__.py demos/guestbook/package/pages.py
           and then forms.py, database.py and __init__.py; nothing is new in what they do
New here:  A function, the factory, makes the app, so a test can make one with a
           database of its own. The views belong to a blueprint, which knows no app
           until the factory registers it; a second part of the site is a second
           module like pages.py, and one more line in create_app. The page's frame
           and its style have files of their own, too: templates/base.html and
           static/style.css.

GUESTBOOK_DATABASE names the file; without it, the file is in the folder for
temporary files. GUESTBOOK_SECRET_KEY signs the sessions; without it, the key lasts
as long as this process. Set it where you serve for real, or a restart makes open
forms expire, and several processes refuse each other's forms.
"""

import os
import secrets
import tempfile
from pathlib import Path

from flask import Flask

from demos.guestbook.package import database, pages

__all__ = ["create_app"]


def create_app(file: Path | None = None) -> Flask:
    """Make the app; `file` is the database, for a test."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("GUESTBOOK_SECRET_KEY") or secrets.token_hex(),
        SESSION_COOKIE_NAME=__name__,  # cookies belong to the host: two apps on one host need two names
        SESSION_COOKIE_SAMESITE="Lax",
        DATABASE=file
        or os.environ.get("GUESTBOOK_DATABASE")
        or Path(tempfile.gettempdir(), "bridge-guestbook.sqlite"),
    )
    database.init_app(app)
    app.register_blueprint(pages.blueprint)
    return app

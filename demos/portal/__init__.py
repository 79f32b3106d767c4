"""A rowing club's portal: how a Flask app grows, and stays one that can be read.

Run it:    .venv/bin/bridge serve "demos.portal:create_app()"
Look at:   http://127.0.0.1:8000/   it names three accounts to try: a member's, a steward's, an admin's
           flask --app demos.portal --help
It shows:  an application factory, blueprints, extensions (SQLAlchemy, login, migrations, CSRF), roles, pages
           for admins, a durable queue of jobs with its worker in the server's lifespan and live progress,
           configuration for development and production, and an app's own tests. README.md has the map.
"""

import logging.config
from collections.abc import Mapping

from flask import Flask

from demos.portal import blueprints, commands, errors, rendering, security, start
from demos.portal.config import load
from demos.portal.extensions import bridge, csrf, db, login, migrate
from demos.portal.jobs import worker

__all__ = ["create_app"]


def create_app(environment: str | None = None, settings: Mapping[str, object] | None = None) -> Flask:
    """Make the app. Nothing is opened or changed outside it yet, but for the secret key of a first start.

    Args:
        environment: "development", "production" or "testing"; else the variable PORTAL_ENV says which, or
            it is the first.
        settings: what is stronger than the environment's, as in a test.

    Raises:
        ConfigurationError: the environment lacks what production needs.
    """
    app = Flask(__name__)
    app.config.from_mapping(load(environment, settings or {}))
    if app.config["LOGGING"]:
        logging.config.dictConfig(app.config["LOGGING"])
    for extension in (db, migrate, login, csrf, bridge):
        extension.init_app(app)
    rendering.register(app)
    errors.register(app)
    blueprints.register(app)
    commands.register(app)
    security.register(app)  # last: it looks at all views
    return app


# What lives as long as the server; it begins in this order, and ends in the opposite one.
bridge.on_startup(start.prepare)
bridge.on_shutdown(start.let_go)
bridge.lifespan(worker.lifespan)
bridge.readiness(start.can_serve)

"""The gallery's own pages: a Flask app like any other, which knows nothing of how it is served."""

import importlib.util

from flask import Blueprint, Flask, Response, current_app, render_template

blueprint = Blueprint("pages", __name__)


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    if importlib.util.find_spec("demos.gallery.xray"):
        from demos.gallery import xray

        app.register_blueprint(xray.blueprint, url_prefix="/x-ray")
    app.context_processor(lambda: {"has_xray": "xray" in current_app.blueprints})
    app.after_request(_protect)
    return app


@blueprint.get("/")
def index() -> str:
    return render_template("index.html")


def _protect(response: Response) -> Response:
    """Have browsers load and send nothing but this site's own, and nobody else put it into a frame."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response

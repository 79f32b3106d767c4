"""A page that plays a phone app: a mobile client, for which this API is the backend.

The page has no operation of its own. static/phone.js is the app, and calls the API as it would on a phone: it
logs in once and keeps a token, makes the ids itself, and sends again if an answer was lost.
"""

from flask import Blueprint, Response, render_template, request

blueprint = Blueprint("phone", __name__)


@blueprint.get("/phone")
def phone() -> Response:
    response = Response(render_template("phone.html", api=request.script_root))
    response.content_security_policy.default_src = "'self'"
    response.content_security_policy.img_src = "data:"
    return response

"""The X-ray page: choose a request, and watch it travel through the layers.

Look at:   /x-ray/ in the gallery
It shows:  `bridge.trace`, whose steps arrive as server-sent events while the request runs.
Read on:   xray_tracing.py, xray_requests.py, subject.py, static/xray.js

A trace is the response to `POST traces`: a stream of events. So the server keeps nothing, has nothing to
clean up, and any worker can answer. The browser's own `EventSource` only makes GETs; but the page of any
other site could make such a GET, and so call a demo. It cannot send JSON without asking first (CORS).

Errors are problem documents (RFC 9457), `application/problem+json`, with `title`, `status`, `detail` and
`errors`: each names a `field`, and says in its `message` what is wrong. A body too large to be read never
gets here: limits.py refuses it.
"""

from http import HTTPStatus
from typing import Any

import pydantic
from flask import Blueprint, Flask, Response, current_app, json, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, ServiceUnavailable, UnprocessableEntity, UnsupportedMediaType

from bridge.flask import Bridge, EventSource
from bridge.trace import LAYERS
from demos.gallery.xray_requests import METHODS, PREPARED, Wanted
from demos.gallery.xray_tracing import SUBJECTS, WAYS, CannotTraceError, Tracing, tracing_lifespan

blueprint = Blueprint("xray", __name__)

ABOUT_LAYERS = {
    "ASGI": "The server's language: a dict, the scope, and events to receive and to send (ASGI 3.0).",
    "runner": "Where the call runs: a plain view in a thread, where it may block; an async one on the loop.",
    "environ": "The request as the dict that WSGI expects (PEP 3333). Some headers are dropped on the way.",
    "WSGI": "One call, app(environ, start_response). The callback takes status and headers.",
    "Werkzeug": "Turns the dict into a Request object, and matches path and method against the URL map.",
    "Flask": "Pushes contexts, runs hooks and error handlers, and makes a response of what the view returns.",
    "view": "Your function. Everything else is there to call it, and to send what it returns.",
    "Jinja2": "Fills in the template, which is compiled to Python when it is first used.",
}


class Invalid(UnprocessableEntity):
    """The request to be traced breaks the rules."""

    description = "This request cannot be traced; see errors."

    def __init__(self, error: pydantic.ValidationError) -> None:
        super().__init__()
        self.errors = [
            {"field": str(each["loc"][0]) if each["loc"] else "", "message": _message(each["msg"])}
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


@blueprint.record
def _run_with_the_app(setup: Any) -> None:
    app: Flask = setup.app
    (app.extensions.get("bridge") or Bridge(app)).lifespan(tracing_lifespan)


@blueprint.get("/")
def page() -> str:
    return render_template(
        "xray.html",
        layers=[(name, ABOUT_LAYERS[name]) for name in LAYERS],
        subjects=SUBJECTS,
        ways=WAYS,
        methods=METHODS,
        groups=PREPARED,
        chosen=_chosen(request.args),
    )


def _chosen(query: MultiDict[str, str]) -> dict[str, Any]:
    """What the form begins with: what the address says, or else the first example."""
    query = query or MultiDict(PREPARED[0].requests[0].query)
    return {
        "subject": query.get("subject", "subject"),
        "method": query.get("method", "GET"),
        "path": query.get("path", ""),
        "beside": query.get("beside", ""),
        "headers": query.get("headers", ""),
        "body": query.get("body", ""),
        "ways": query.getlist("way") or ["bridge"],
    }


@blueprint.post("/traces")
async def trace() -> EventSource:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("A request to be traced is sent as application/json.")
    try:
        wanted = Wanted.model_validate_json(request.get_data())
    except pydantic.ValidationError as error:
        raise Invalid(error) from error
    tracing: Tracing = current_app.extensions["bridge"].state.tracing
    try:
        tracing.take_place(wanted)
    except CannotTraceError as error:
        raise ServiceUnavailable(str(error), retry_after=2) from None
    events = EventSource(tracing.events(wanted))
    events.call_on_close(tracing.leave_place)
    return events


@blueprint.errorhandler(HTTPException)
def problem(error: HTTPException) -> Response:
    """The error as it would be, with its headers, but for programs to read."""
    response = Response(headers=[each for each in error.get_headers() if each[0] != "Content-Type"])
    response.status_code = error.code or 500
    response.content_type = "application/problem+json"
    document = {
        "title": HTTPStatus(response.status_code).phrase,
        "status": response.status_code,
        "detail": error.description,
        "errors": getattr(error, "errors", []),
    }
    response.set_data(json.dumps(document))
    return response

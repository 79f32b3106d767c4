"""Errors: whatever goes wrong, the client gets a `Problem`, and whose fault it is, is in its status."""

from http import HTTPStatus
from urllib.parse import quote

import pydantic
from flask import Flask, Response, current_app
from pydantic_core import ErrorDetails
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException, PreconditionFailed, ServiceUnavailable, UnprocessableEntity

from demos.api.schemas import PATTERNS, Mistake, Problem

# What to say in place of Pydantic's words, which are for those who write the model.
WORDS = {"missing": "this is required", "extra_forbidden": "there is no field of this name"}

MEDIA_TYPE = "application/problem+json"


class Invalid(UnprocessableEntity):
    """What was sent can be read, but breaks rules of the schema."""

    description = "The request does not match the document; see errors."

    def __init__(self, error: pydantic.ValidationError, *, where: str) -> None:
        super().__init__()
        self.mistakes = [_mistake(each, where) for each in error.errors(include_input=False)]


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, _problem)
    app.register_error_handler(StaleDataError, _changed_meanwhile)
    app.register_error_handler(OperationalError, _no_database)
    app.register_error_handler(TimeoutError, _no_database)


def _problem(error: HTTPException) -> Response:
    """The error as it would be, with its headers (Allow, Retry-After, …), but with our body."""
    response = Response(headers=[each for each in error.get_headers() if each[0] != "Content-Type"])
    response.status_code = error.code or 500
    response.content_type = MEDIA_TYPE
    response.set_data(
        Problem(
            title=HTTPStatus(response.status_code).phrase,
            status=response.status_code,
            detail=error.description or "",
            errors=getattr(error, "mistakes", []),
        ).to_json()
    )
    return response


def _changed_meanwhile(error: StaleDataError) -> Response:
    """Between our reading of the row and our writing it, another request was faster."""
    return _problem(PreconditionFailed("Somebody changed it at the same moment. Read it again, then decide."))


def _no_database(error: Exception) -> Response:
    current_app.logger.error("the database does not answer: %s", error)
    return _problem(ServiceUnavailable("The database does not answer. Try again later.", retry_after=5))


def _mistake(error: ErrorDetails, where: str) -> Mistake:
    pattern = error.get("ctx", {}).get("pattern", "")
    detail = PATTERNS.get(pattern) or WORDS.get(error["type"]) or error["msg"]
    if where == "query":
        return Mistake(detail=detail, parameter=str(error["loc"][0]))
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in error["loc"]]
    return Mistake(detail=detail, pointer="#" + "".join("/" + quote(step, safe="~") for step in steps))

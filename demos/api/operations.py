"""An operation of the API: a view, with what it takes and what it answers.

The decorator checks a request before the view sees it: what the client accepts, who it is, what it sends. The
document is made from the same facts.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
from flask import Response, request
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest, NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType

from demos.api import problems, tokens

View = Callable[..., Response]


@dataclass(frozen=True)
class Operation:
    """What is known of a view.

    Args:
        answers: the model of the body for each status of success, or None where there is none.
        problems: the statuses of errors that the view itself may answer; others follow from the rest.
        body: the model of the request's body.
        query: the model of its query.
        public: whether one need not be logged in.
        conditional: whether it has an ETag, and heeds this header, `If-Match` or `If-None-Match`.
    """

    answers: Mapping[int, type[BaseModel] | None]
    problems: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    public: bool = False
    conditional: str | None = None

    def __call__(self, view: View) -> View:
        @functools.wraps(view)
        def checked(**arguments: Any) -> Response:
            _check_accept()
            if not self.public:
                tokens.authenticate()
            if self.query:
                arguments["query"] = _validate_query(self.query)
            if self.body:
                arguments["body"] = _validate_body(self.body)
            return view(**arguments)

        OPERATIONS[checked] = self
        return checked

    def all_problems(self, path_has_parameters: bool) -> list[int]:
        """Every status of an error that it may answer."""
        found = {*self.problems, 406, 500, 503}
        if not self.public:
            found |= {401}
        if self.body:
            found |= {400, 413, 415, 422}
        if self.query:
            found |= {422}
        if path_has_parameters:
            found |= {404}
        return sorted(found)


OPERATIONS: dict[View, Operation] = {}


def answer(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, mimetype="application/json")


def no_content() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]  # Flask's own, of what is not there
    return response


def _check_accept() -> None:
    accepted = request.accept_mimetypes
    if accepted.provided and not accepted.best_match(["application/json", problems.MEDIA_TYPE]):
        raise NotAcceptable("The API answers in application/json. Accept that, or send no Accept.")


def _validate_query(model: type[BaseModel]) -> BaseModel:
    # A value that is given twice stays a list, which no field takes.
    values = {name: found[0] if len(found) == 1 else found for name, found in request.args.lists()}
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise problems.Invalid(error, where="query") from error


def _validate_body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(f"The body is to be application/json, not {request.mimetype or 'untold'}.")
    content = request.get_data()
    if request.content_length is None and len(content) == request.max_content_length:
        raise RequestEntityTooLarge  # Werkzeug cuts a body that has not said its length, and says nothing
    try:
        return model.model_validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False)[0]
        if first["type"] == "json_invalid":
            raise BadRequest(f"The body is not JSON: {first['ctx']['error']}.") from error
        raise problems.Invalid(error, where="body") from error

"""The document: OpenAPI, made from the routes and their operations; and a page to read it and to try it."""

import inspect
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, redirect, render_template, request, url_for
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule
from werkzeug.wrappers import Response as AnyResponse

from demos.api import problems
from demos.api.operations import OPERATIONS, Operation
from demos.api.schemas import JSON, Problem

blueprint = Blueprint("document", __name__)

ETAG = {"ETag": {"description": "Changes with every change.", "schema": {"type": "string"}}}
CONDITIONS = {
    "If-Match": "Only if the ETag has not changed.",
    "If-None-Match": "Only if the ETag has changed; otherwise 304.",
}


@blueprint.get("/")
def index() -> AnyResponse:
    return redirect(url_for(".docs"))


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return jsonify(make_document())


@blueprint.get("/docs")
def docs() -> Response:
    response = Response(render_template("docs.html", document=make_document(), example=example))
    response.content_security_policy.default_src = "'self'"
    response.content_security_policy.img_src = "data:"
    return response


def make_document() -> JSON:
    """The whole document, with addresses as this request has come."""
    operations = [
        (rule, method, OPERATIONS[view])
        for rule in current_app.url_map.iter_rules()
        if (view := current_app.view_functions[rule.endpoint]) in OPERATIONS
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    references, definitions = models_json_schema(
        sorted({each for _, _, operation in operations for each in _models(operation)}, key=str),
        ref_template="#/components/schemas/{model}",
    )
    paths: JSON = {}
    for rule, method, operation in operations:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _describe(rule, operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightings",
            "version": "1",
            "description": "Bird watchers record what they saw, and see what others saw. "
            "Every error is a Problem.",
        },
        "servers": [{"url": request.script_root or "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def example(schema: JSON) -> JSON:
    """A body to begin with, out of the examples and defaults of a schema."""
    properties = schema["properties"].items()
    return {
        name: field["examples"][0] if "examples" in field else field["default"] for name, field in properties
    }


def _models(operation: Operation) -> Iterator[tuple[type[BaseModel], JsonSchemaMode]]:
    if operation.body:
        yield operation.body, "validation"
    for model in (*operation.answers.values(), Problem):
        if model:
            yield model, "serialization"


def _describe(rule: Rule, operation: Operation, references: Any) -> JSON:
    tag, _, name = rule.endpoint.partition(".")
    docstring = inspect.getdoc(current_app.view_functions[rule.endpoint]) or ""
    summary, _, description = docstring.partition("\n\n")
    parameters = [*_path_parameters(rule), *_query_parameters(operation), *_header_parameters(operation)]
    described: JSON = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": [tag],
        "parameters": parameters,
        "responses": _responses(rule, operation, references),
        "security": [] if operation.public else [{"token": []}],
    }
    if operation.body:
        schema = references[operation.body, "validation"]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _path_parameters(rule: Rule) -> list[JSON]:
    """Each is a UUID; with another kind of converter, this would be the place to say which."""
    uuid = {"type": "string", "format": "uuid"}
    return [{"name": name, "in": "path", "required": True, "schema": uuid} for name in rule.arguments]


def _query_parameters(operation: Operation) -> list[JSON]:
    if operation.query is None:
        return []
    fields = operation.query.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "description": field["description"],
            "schema": field["anyOf"][0] if "anyOf" in field else field,  # the other is null: it is left out
        }
        for name, field in fields.items()
    ]


def _header_parameters(operation: Operation) -> list[JSON]:
    name = operation.conditional
    if name is None:
        return []
    return [{"name": name, "in": "header", "description": CONDITIONS[name], "schema": {"type": "string"}}]


def _responses(rule: Rule, operation: Operation, references: Any) -> JSON:
    successes = {
        str(status): _success(status, model, operation, references)
        for status, model in operation.answers.items()
    }
    problems = operation.all_problems(path_has_parameters=bool(rule.arguments))
    return successes | {str(status): _failure(status, references) for status in problems}


def _success(status: int, model: type[BaseModel] | None, operation: Operation, references: Any) -> JSON:
    described: JSON = {"description": HTTPStatus(status).phrase}
    if model is not None:
        described["content"] = {"application/json": {"schema": references[model, "serialization"]}}
        if operation.conditional:
            described["headers"] = ETAG
    return described


def _failure(status: int, references: Any) -> JSON:
    schema = references[Problem, "serialization"]
    return {"description": HTTPStatus(status).phrase, "content": {problems.MEDIA_TYPE: {"schema": schema}}}

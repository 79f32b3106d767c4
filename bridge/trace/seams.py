"""What Flask does with a request, recorded at methods that are documented, or made, to be overridden.

They are replaced on the app object, for good. In a request that is not traced, each costs the look at one
context variable. Bridge's adapter replaces some, too, always before this module: so its own are inside.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from itertools import chain
from typing import Any

import flask
from flask import Flask, has_request_context, request
from jinja2 import Template
from werkzeug.exceptions import HTTPException

from bridge.asgi.adapter import WSGIToASGI
from bridge.flask.functions import is_flasks_own
from bridge.flask.placement import LoopView, place
from bridge.flask.views import adopt
from bridge.trace.boundaries import traced_wsgi
from bridge.trace.facts import describe_error, shown
from bridge.trace.recording import CURRENT_STEP, Layer, Step, StepRecord

__all__ = ["HOOKS", "SEAMS", "install_seams"]

_Function = Callable[..., Any]


def _said(error: BaseException) -> str:
    """Return an exception in a few words; those of HTTP have long descriptions, for a page."""
    if not isinstance(error, HTTPException):
        return describe_error(error)
    url, methods = getattr(error, "new_url", None), getattr(error, "valid_methods", None)
    more = f" to {shown(url)}" if url else f", allowed are {', '.join(methods)}" if methods else ""
    return f"{type(error).__name__} {error.code}{more}"


def _kind(value: object) -> str:
    return type(value).__name__


def _called(name: str, arguments: Mapping[str, Any]) -> str:
    given = ", ".join(f"{key}={shown(value, key)!r}" for key, value in arguments.items())
    return f"{name}({given})"


def _response(response: flask.Response) -> str:
    return f"{response.status}, {response.mimetype or 'no type'}"


SEAMS: dict[str, tuple[Layer, Callable[[Any], str], Callable[[Any], str]]] = {
    "request_context": ("Flask", lambda environ: "environ", _kind),
    "make_response": ("Flask", _kind, _response),
    "process_response": ("Flask", _kind, _response),
    "handle_user_exception": ("Flask", _said, _kind),
    "handle_exception": ("Flask", _said, _kind),
    "match": (
        "Werkzeug",
        lambda adapter: f"{adapter.default_method} {adapter.path_info}",
        lambda found: f"{found[0]} {_called(getattr(found[0], 'endpoint', found[0]), found[1])}",
    ),
}
"""Methods: their layer, what to say of the argument (of `match`: of the object), and of the result."""

HOOKS = {
    "before_request": "before_request_funcs",
    "after_request": "after_request_funcs",
    "teardown_request": "teardown_request_funcs",
    "url_value_preprocessor": "url_value_preprocessors",
    "context_processor": "template_context_processors",
}
"""How an app declares functions, and where Flask keeps them, by blueprint."""


def install_seams(app: Flask) -> Flask:
    """Have requests to a Flask app recorded if they are traced; return the app."""
    if app.extensions.get("bridge.traced"):
        return app
    app.extensions["bridge.traced"] = True
    adopt(app)
    vars(app).update(
        wsgi_app=traced_wsgi(app.wsgi_app),
        create_url_adapter=_recorded_url_adapter(app.create_url_adapter),
        ensure_sync=_recorded_functions(app, app.ensure_sync),
        **{name: _recorded(name, getattr(app, name)) for name in SEAMS if name != "match"},
    )
    flask.before_render_template.connect(_on_render, sender=app)
    flask.template_rendered.connect(_on_rendered, sender=app)
    return app


def _recorded(name: str, plain: _Function, subject: object = None) -> _Function:
    """Record a method as `SEAMS` says; `subject` replaces its argument."""
    layer, say_subject, say_result = SEAMS[name]

    @wraps(plain)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        step = CURRENT_STEP.get()
        if step is None:
            return plain(*args, **kwargs)
        of = args[0] if subject is None else subject
        said = say_subject(of)
        with step.trace.begin(layer, name, said) as call:
            try:
                result = plain(*args, **kwargs)
            except Exception as error:
                what = ": nobody handles it" if error is of else f" → {_said(error)}"
                call.end(f"{said}{what}", failed=True)
                raise
            call.end(f"{said} → {say_result(result)}")
        return result

    return recorded


def _recorded_url_adapter(plain: _Function) -> _Function:
    @wraps(plain)
    def create_url_adapter(of: Any) -> Any:
        adapter = plain(of)
        step = CURRENT_STEP.get()
        # Bridge's adapter makes one, too, to find out where a request runs.
        if adapter is not None and step is not None and step.trace.runner is not None:
            adapter.match = _recorded("match", adapter.match, adapter)
        return adapter

    return create_url_adapter


def _recorded_functions(app: Flask, plain: _Function) -> _Function:
    """Record the user's functions, which Flask calls through `ensure_sync`."""

    @wraps(plain)
    def ensure_sync(function: _Function) -> Any:
        outer = CURRENT_STEP.get()
        if outer is None:
            return plain(function)
        trace = outer.trace
        layer, role = _role_of(app, function, outer.record)
        name = getattr(function, "__qualname__", _kind(function))

        def call(*args: Any, **kwargs: Any) -> Any:
            said = _called(name.rpartition("<locals>.")[2], kwargs)
            with trace.begin(
                layer, role, said, function=f"{getattr(function, '__module__', '')}.{name}"
            ) as step:
                result = plain(_observed(function, step))(*args, **kwargs)
                step.end(returned=_kind(result))
            return result

        if layer == "view" and request.url_rule and isinstance(trace.app, WSGIToASGI) and trace.runner:
            _, why = place(app, request.url_rule, request.method, trace.app.async_views)
            trace.runner.record["detail"] = f"view {request.endpoint!r}: {why}"
        return call

    return ensure_sync


def _observed(function: _Function, step: Step) -> _Function:
    """Return the function, wrapped so that its step knows the thread it runs in."""
    if inspect.iscoroutinefunction(function) or isinstance(function, LoopView) or is_flasks_own(function):
        return function  # it runs where it is called, or Bridge must know it again

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        step.record["thread"] = step.trace.thread
        return function(*args, **kwargs)

    return called


def _role_of(app: Flask, function: _Function, outer: StepRecord) -> tuple[Layer, str]:
    """Return the layer of a function of the user's, and how the app has declared it."""
    if has_request_context() and app.view_functions.get(request.endpoint or "") is function:
        return "view", str(request.endpoint)
    plain = inspect.unwrap(function)  # `adopt` has wrapped some of the app's
    for name, attribute in HOOKS.items():
        functions = chain.from_iterable(getattr(app, attribute).values())
        if any(plain is inspect.unwrap(each) for each in functions):
            return "Flask", name
    if function in app.teardown_appcontext_funcs:
        return "Flask", "teardown_appcontext"
    if outer["layer"] == "view":
        return "view", "function"
    within = outer["name"]
    if within == "process_response":
        return "Flask", "after_this_request"
    return "Flask", "errorhandler" if within.startswith("handle_") else "function"


def _on_render(sender: Flask, template: Template, context: dict[str, Any], **_: Any) -> None:
    step = CURRENT_STEP.get()
    if step is not None:
        names = {name: _kind(value) for name, value in context.items()}
        detail = template.name or "a template given as text"
        step.trace.renders.append(step.trace.begin("Jinja2", "render", detail, context=names))


def _on_rendered(sender: Flask, **_: Any) -> None:
    step = CURRENT_STEP.get()
    if step is not None:
        step.trace.renders.pop().end()

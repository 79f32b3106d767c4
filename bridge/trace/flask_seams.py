"""What Flask does with a request, recorded at the seams that it offers: its signals, and methods that are
documented, or made, to be overridden.

| step | seam |
| --- | --- |
| the WSGI boundary | `app.wsgi_app` |
| the request's context | `app.request_context` |
| Werkzeug's match | `app.create_url_adapter`, and `match` of what it returns |
| hooks, views, error handlers | `app.ensure_sync`, through which Flask calls whatever a user has written |
| the response | `app.make_response`, `process_response`, `handle_user_exception`, `handle_exception` |
| contexts, templates, flashes, errors | signals |

All are replaced on the app object while somebody traces, and put back afterwards. In a request that is not
traced each of them is a look at one context variable, and what was there before.

Bridge's adapter replaces some of the same methods, once, with an app's first request. It is asked to do so
before, so that there is one order: its functions inside, these around them.
"""

import inspect
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, NamedTuple

import flask
from blinker import Signal
from flask import Flask, Response, has_request_context, request
from jinja2 import Template
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from bridge.flask.functions import is_flasks_own
from bridge.flask.placement import LoopView, is_async_view, place
from bridge.flask.views import adopt
from bridge.trace.boundaries import traced_wsgi
from bridge.trace.facts import shown
from bridge.trace.recording import Layer, Step, Trace, current_step, describe_error

__all__ = ["traced_flask"]

_Function = Callable[..., Any]

_lock = threading.Lock()
_installed: dict[Flask, "_Seams"] = {}


@contextmanager
def traced_flask(app: Flask) -> Iterator[None]:
    """Have requests to a Flask app recorded, if they are traced, for the time of a block.

    Blocks may overlap. When the last of them ends, the app is as it was.
    """
    with _lock:
        seams = _installed.get(app)
        if seams is None:
            seams = _installed[app] = _Seams(app)
            seams.install()
        seams.users += 1
    try:
        yield
    finally:
        with _lock:
            seams.users -= 1
            if not seams.users:
                del _installed[app]
                seams.remove()


class _Seams:
    """What is replaced on one app, and what listens to its signals."""

    def __init__(self, app: Flask) -> None:
        self.users = 0
        self._app = app
        self._before: dict[str, Any] = {}
        self._replaced: dict[str, Any] = {}

    def install(self) -> None:
        """Put them on the app."""
        app = self._app
        adopt(app)
        self._replaced = {
            "wsgi_app": traced_wsgi(app.wsgi_app),
            "request_context": _recorded_request_context(app.request_context),
            "create_url_adapter": _recorded_url_adapter(app, app.create_url_adapter),
            "ensure_sync": _recorded_functions(app, app.ensure_sync),
            "make_response": _recorded_make_response(app.make_response),
            "process_response": _recorded_process_response(app.process_response),
            "handle_user_exception": _recorded_handler("handle_user_exception", app.handle_user_exception),
            "handle_exception": _recorded_handler("handle_exception", app.handle_exception),
        }
        self._before = {name: vars(app)[name] for name in self._replaced if name in vars(app)}
        vars(app).update(self._replaced)
        for signal, receiver in _RECEIVERS:
            signal.connect(receiver, sender=app)

    def remove(self) -> None:
        """Put the app back. What others have replaced since stays; it calls what passes on from here."""
        app = self._app
        for signal, receiver in _RECEIVERS:
            signal.disconnect(receiver, sender=app)
        for name, function in self._replaced.items():
            if vars(app).get(name) is not function:
                continue
            if name in self._before:
                vars(app)[name] = self._before[name]
            else:
                del vars(app)[name]


def _current() -> Step | None:
    """The step in a WSGI call that is traced; None elsewhere, also while an adapter looks for the runner."""
    step = current_step()
    return None if step is None or step.trace.runner is None else step


# The request: its context, and Werkzeug's match


def _recorded_request_context(plain: _Function) -> _Function:
    def request_context(environ: Any) -> Any:
        step = _current()
        if step is None:
            return plain(environ)
        with step.trace.step("Flask", "request_context", "of the environ") as made:
            context = plain(environ)
            found = type(context.request)
            made.end(
                f"a {type(context).__name__} with a {found.__name__}, made of the environ",
                context=type(context).__name__,
                request=f"{found.__module__}.{found.__qualname__}",
            )
        return context

    return request_context


def _recorded_url_adapter(app: Flask, plain: _Function) -> _Function:
    def create_url_adapter(request: Any) -> Any:
        step = _current()
        if step is None or request is None:
            return plain(request)
        try:
            adapter = plain(request)
        except HTTPException as error:  # Flask answers it later: the host is not one to be trusted
            step.trace.begin("Werkzeug", "bind", request.environ.get("HTTP_HOST", "")).fail(error)
            raise
        if adapter is not None:
            setattr(adapter, "match", partial(_match, app, adapter, adapter.match))  # noqa: B010  # mypy: a method
        return adapter

    return create_url_adapter


def _match(app: Flask, adapter: Any, plain: _Function, *args: Any, **kwargs: Any) -> Any:
    step = _current()
    if step is None:
        return plain(*args, **kwargs)
    method, path = adapter.default_method, adapter.path_info
    with step.trace.step("Werkzeug", "match", f"{method} {path}", method=method, path=path) as matching:
        try:
            found, arguments = plain(*args, **kwargs)
        except HTTPException as error:
            matching.facts["allowed"] = shown(getattr(error, "valid_methods", None))
            matching.facts["redirect"] = shown(getattr(error, "new_url", None))
            matching.fail(error, f"{method} {path} → {_said(error)}")
            _explain_runner(step.trace, f"no view: {_said(error)}")
            raise
        endpoint = getattr(found, "endpoint", found)
        matching.end(
            f"{found} → {_called(str(endpoint), dict(arguments))}",
            rule=str(found),
            endpoint=str(endpoint),
            arguments=arguments,
            methods=sorted(getattr(found, "methods", None) or ()),
        )
    if isinstance(found, Rule) and endpoint in app.view_functions:
        _explain_runner(step.trace, _why(step.trace, app, found, method))
    return found, arguments


def _explain_runner(trace: Trace, why: str) -> None:
    if trace.runner is not None and why:
        trace.runner.change(why, why=why)


def _why(trace: Trace, app: Flask, rule: Rule, method: str) -> str:
    """Why the runner is what it is, as far as it depends on the view."""
    assert trace.runner is not None
    endpoint = str(rule.endpoint)
    is_async = is_async_view(app.view_functions[endpoint], method)
    on_loop = trace.runner.facts["runner"] == "loop"
    said = trace.runner.detail
    if on_loop:
        return f"the view {endpoint!r} is async: it awaits there, and holds no thread" if is_async else ""
    if trace.adapter == "bridge":
        if is_async:
            runner, why = place(app, rule, method, trace.async_views)
            if runner == "thread":
                return f"the view {endpoint!r} is async, but {why}"
            return f"the view {endpoint!r} is async, but middleware has led another path to it"
        return f"the view {endpoint!r} is not async, and may block"
    return f"{said}; the view {endpoint!r} is async, and gets an event loop there" if is_async else ""


# What the user has written


class _Role(NamedTuple):
    """What a function of the user's is to Flask."""

    layer: Layer
    name: str
    blueprint: str | None = None


def _recorded_functions(app: Flask, plain: _Function) -> _Function:
    def ensure_sync(function: _Function) -> Any:
        return plain(function) if _current() is None else partial(_call, app, plain, function)

    return ensure_sync


def _call(app: Flask, ensure_sync: _Function, function: _Function, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the user's as Flask would; record where it ran, and how long it waited."""
    outer = _current()
    if outer is None:
        return ensure_sync(function)(*args, **kwargs)
    role = _role_of(app, function, outer)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    short = name.rpartition("<locals>.")[2]
    detail = _called(short, kwargs) if role.layer == "view" else short
    is_async = inspect.iscoroutinefunction(function)
    with outer.trace.step(
        role.layer,
        role.name,
        detail,
        function=f"{getattr(function, '__module__', '')}.{name}",
        blueprint=role.blueprint,
        arguments=kwargs,
        is_async=is_async,
    ) as step:
        prepared = ensure_sync(_observed(function, step))
        result = prepared(*args, **kwargs)
        waiting = step.facts.get("waiting")
        if isinstance(waiting, int) and waiting:
            detail = f"{detail}, {waiting / 1000:.2f} ms of it waiting"
        step.end(detail, returned=type(result).__name__)
    return result


def _observed(function: _Function, step: Step) -> _Function:
    """The function, which says where it runs, and, if it is async, how long it waits."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def observed(*args: Any, **kwargs: Any) -> Any:
            _say_thread(step)
            return await _measured(function(*args, **kwargs), step)

        return observed
    if isinstance(function, LoopView) or is_flasks_own(function):
        return function  # which Bridge has to know again, and calls where it is

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        _say_thread(step)
        return function(*args, **kwargs)

    return called


def _say_thread(step: Step) -> None:
    """Say that it runs here, and how long the way here took, if it is not where the call came from."""
    thread = step.trace.thread_name()
    if thread != step.thread:
        step.change(thread=thread, hop=step.trace.now() - step.began)


@types.coroutine
def _measured(coroutine: Coroutine[Any, Any, Any], step: Step) -> Generator[Any, Any, Any]:
    """Await a coroutine, and note how many of its microseconds it did not run."""
    waited = 0.0
    resume: Callable[[], Any] = partial(coroutine.send, None)
    try:
        while True:
            awaited = resume()
            began = time.perf_counter()
            try:
                resume = partial(coroutine.send, (yield awaited))
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # for the coroutine, as with `await`
                resume = partial(coroutine.throw, error)
            finally:
                waited += time.perf_counter() - began
    except StopIteration as end:
        return end.value
    finally:
        del resume  # it may hold an error whose traceback holds this frame
        step.facts["waiting"] = round(waited * 1e6)


def _called(name: str, arguments: dict[str, Any]) -> str:
    given = ", ".join(f"{key}={shown(value, key)!r}" for key, value in arguments.items())
    return f"{name}({given})"


def _role_of(app: Flask, function: _Function, outer: Step) -> _Role:
    if has_request_context() and app.view_functions.get(request.endpoint or "") is function:
        return _Role("view", str(request.endpoint), request.blueprint)
    hooks: dict[str, Any] = {
        "before_request": app.before_request_funcs,
        "after_request": app.after_request_funcs,
        "teardown_request": app.teardown_request_funcs,
        "url_value_preprocessor": app.url_value_preprocessors,
        "context_processor": app.template_context_processors,
        "teardown_appcontext": {None: app.teardown_appcontext_funcs},
    }
    for name, by_blueprint in hooks.items():
        for blueprint, functions in by_blueprint.items():
            # Bridge has wrapped some of them: see `adopt`.
            if any(inspect.unwrap(each) is inspect.unwrap(function) for each in functions):
                return _Role("Flask", name, blueprint)
    for blueprint, by_code in app.error_handler_spec.items():
        for code, handlers in by_code.items():
            for error, handler in handlers.items():
                if handler is function:
                    return _Role("Flask", f"errorhandler({code or error.__name__})", blueprint)
    if outer.layer == "view":
        return _Role("view", "function")
    return _Role("Flask", "after_this_request" if outer.name == "process_response" else "function")


# The response


def _recorded_make_response(plain: _Function) -> _Function:
    def make_response(value: Any) -> Any:
        step = _current()
        if step is None:
            return plain(value)
        kind = type(value).__name__
        with step.trace.step("Flask", "make_response", f"of a {kind}", of=kind) as made:
            response = plain(value)
            made.end(f"{kind} → {_describe_response(response)}", response=_response_facts(response))
        return response

    return make_response


def _recorded_process_response(plain: _Function) -> _Function:
    def process_response(response: Response) -> Any:
        step = _current()
        if step is None:
            return plain(response)
        with step.trace.step("Flask", "process_response", "after_request functions, and the session") as made:
            response = plain(response)
            made.end(response=_response_facts(response))
        return response

    return process_response


def _recorded_handler(name: str, plain: _Function) -> _Function:
    def handle(error: Exception) -> Any:
        step = _current()
        if step is None:
            return plain(error)
        said = _said(error)
        with step.trace.step("Flask", name, said, exception=describe_error(error)) as handling:
            try:
                result = plain(error)
            except Exception as raised:
                if raised is error:
                    handling.fail(raised, f"{said}: nobody handles it")
                raise
            handling.end(f"{said} → {'the error itself' if result is error else type(result).__name__}")
        return result

    return handle


def _said(error: Exception) -> str:
    """An exception in a few words; those of HTTP have long descriptions, for people who see the page."""
    if not isinstance(error, HTTPException):
        return describe_error(error)
    more = ""
    if getattr(error, "new_url", None):
        more = f" to {shown(error.new_url)}"  # type: ignore[attr-defined]  # a RequestRedirect has one
    elif getattr(error, "valid_methods", None):
        more = f", allowed are {', '.join(error.valid_methods)}"  # type: ignore[attr-defined]  # a 405 has them
    return f"{type(error).__name__} {error.code}{more}"


def _describe_response(response: Response) -> str:
    return f"{response.status}, {response.mimetype or 'no type'}"


def _response_facts(response: Response) -> dict[str, object]:
    return {
        "class": type(response).__name__,
        "status": response.status,
        "headers": list(response.headers.items()),
        "streamed": response.is_streamed,
    }


# Signals


def _on_signal(name: str, detail: str) -> _Function:
    def receive(sender: Flask, **details: Any) -> None:
        step = _current()
        if step is None:
            return
        error = details.get("exception") or details.get("exc")
        facts: dict[str, Any] = {} if error is None else {"error": describe_error(error)}
        if "response" in details:
            facts["response"] = _response_facts(details["response"])
        if name == "message_flashed":
            facts |= {"message": details["message"], "category": details["category"]}
        if name == "request_started":
            facts["request"] = _request_facts()
        said = f"{detail}: {facts['error']}" if "error" in facts else detail
        step.trace.mark("Flask", f"signal {name}", said, **facts)

    return receive


def _request_facts() -> dict[str, object]:
    return {
        "method": request.method,
        "path": request.path,
        "root_path": request.root_path,
        "endpoint": request.endpoint,
        "blueprint": request.blueprint,
        "arguments": request.view_args,
        "query": list(request.args.items(multi=True)),
    }


def _on_render(sender: Flask, template: Template, context: dict[str, Any], **_: Any) -> None:
    step = _current()
    if step is not None:
        names = {name: type(value).__name__ for name, value in context.items()}
        step.trace.begin("Jinja2", "render", _template_name(template), template=template.name, context=names)


def _on_rendered(sender: Flask, template: Template, **_: Any) -> None:
    step = _current()
    if step is None:
        return
    for each in reversed(step.trace.steps):
        if each.layer == "Jinja2" and each.ended is None and each.detail == _template_name(template):
            each.end()
            return


def _template_name(template: Template) -> str:
    return template.name or "a template given as text"


_SIGNALS = {
    flask.appcontext_pushed: "current_app and g are there",
    flask.request_started: "request and session are there",
    flask.request_finished: "the response is ready to be sent",
    flask.request_tearing_down: "the request is about to go",
    flask.appcontext_tearing_down: "the app context is about to go",
    flask.appcontext_popped: "current_app and g are gone",
    flask.got_request_exception: "nobody has handled",
    flask.message_flashed: "a message for the next page",
}

_RECEIVERS: list[tuple[Signal, _Function]] = [
    *((signal, _on_signal(signal.name.replace("-", "_"), detail)) for signal, detail in _SIGNALS.items()),
    (flask.before_render_template, _on_render),
    (flask.template_rendered, _on_rendered),
]

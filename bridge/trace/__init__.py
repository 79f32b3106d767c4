"""One request's way, step by step, through ASGI, the adapter, WSGI, Werkzeug, Flask and Jinja2.

    request = await trace_request(app, "GET", "/users/7")
    for step in request.as_json()["steps"]: ...

or, for several requests to an app that keeps running, and to see the steps while they happen:

    async with TracedApp(app, adapt=WSGIToASGI) as traced:
        request = traced.begin("GET", "/users/7", listener=print)
        await request.run()

Nothing of this is loaded, and nothing is in the way of a request, unless somebody traces. The times contain
those of the tracing itself, which is a few microseconds a step.

The format
----------

`TracedRequest.as_json()` gives a `TraceRecord`; a listener gets the `StepRecord` of a step when it begins,
changes and ends, and the later one replaces the one with the same `id`. Both are JSON. Of a step, `parent` is
the one it is part of, `began` and `ended` are microseconds since the trace began, `ended` is null while it
runs and equal to `began` for a moment, `thread` is "loop" or a thread's name, `detail` is for people.
Of what could be a secret there is only the length; long texts are cut, and end in their whole length.

ASGI
    call                        scope
    receive, send               event
environ
    environ                     environ; headers: a HeaderFate for each field, with its key and why
runner
    on the loop, in a thread    runner ("loop", "thread"), thread, why; in microseconds since_call, after the
                                ASGI call began, and waited, in Bridge's queue (null where there is none)
WSGI
    app                         returned: a type
    start_response              status, headers
    write, chunk                data
    close
Werkzeug
    match                       method, path, rule, endpoint, arguments, methods; or error, allowed, redirect
    bind                        error; only where the host is refused
Flask
    request_context             context, request: types
    before_request, after_request, after_this_request, teardown_request, teardown_appcontext,
    url_value_preprocessor, context_processor, errorhandler(…), function
                                as for views
    make_response, process_response
                                of: a type; response: class, status, headers, streamed
    handle_user_exception, handle_exception
                                exception
    signal …                    request, response, error, message, category
view
    the endpoint; function, for a method of a class, or what a decorator is around
                                function, blueprint, arguments, is_async, returned; waiting: microseconds in
                                which an async one did not run; hop: microseconds until it ran in another
                                thread than that of the call
Jinja2
    render                      template; context: names and their types

A step that failed has `failed` and `facts.error`.
"""

from bridge.trace.facts import Json
from bridge.trace.headers import HeaderFate
from bridge.trace.recording import (
    LAYERS,
    Layer,
    Listener,
    RequestRecord,
    ResponseRecord,
    Step,
    StepRecord,
    Trace,
    TraceRecord,
    current_step,
)
from bridge.trace.session import TracedApp, TracedRequest, trace_request

__all__ = [
    "LAYERS",
    "HeaderFate",
    "Json",
    "Layer",
    "Listener",
    "RequestRecord",
    "ResponseRecord",
    "Step",
    "StepRecord",
    "Trace",
    "TraceRecord",
    "TracedApp",
    "TracedRequest",
    "current_step",
    "trace_request",
]

"""One request's way, step by step, through ASGI, the adapter, WSGI, Werkzeug, Flask and Jinja2.

    request = await trace_request(app, "GET", "/users/7")
    for step in request.as_json()["steps"]: ...

or, for several requests to an app that keeps running, and to see the steps while they happen:

    async with TracedApp(app, adapt=WSGIToASGI) as traced:
        request = traced.begin("GET", "/users/7")
        running = asyncio.create_task(request.run())
        request.as_json()["steps"]

Nothing of this is loaded unless somebody traces. A Flask app keeps the wrappers of its methods. Secrets
appear as their length; long texts are cut, and end in their whole length. Steps of each layer, and facts:

ASGI        call: scope; receive, send: event
runner      on the loop, in a thread: waited (microseconds in Bridge's queue, or null)
environ     environ: environ, and headers, of each field its `header`, `value`, `key` and `why`
WSGI        app; start_response: status, headers; chunk: data; close
Werkzeug    match
Flask       request_context, make_response, process_response, handle_user_exception, handle_exception;
            before_request and the other hooks, errorhandler, function: function, returned
view        the endpoint; function, for a method of a class, or what a decorator is around: as for hooks
Jinja2      render: context, the names and their types
"""

from bridge.trace.recording import LAYERS, Layer, StepRecord, TraceRecord
from bridge.trace.session import TracedApp, TracedRequest, trace_request

__all__ = ["LAYERS", "Layer", "StepRecord", "TraceRecord", "TracedApp", "TracedRequest", "trace_request"]

"""That tracing leaves an app as it was, is not in the way of others, and costs nothing when it is off."""

import subprocess
import sys
from typing import Any

import flask
import pytest
from blinker import Signal
from flask import Flask, Response

from bridge import WSGIToASGI
from bridge.testing import Client
from bridge.trace import Step, TracedApp, current_step
from tests.trace.subject import create_app

SIGNALS = {name: value for name, value in vars(flask.signals).items() if isinstance(value, Signal)}


def state_of(app: Flask) -> dict[str, Any]:
    """All that is on an app, and who listens to it."""
    lists = {
        "before_request": {key: list(each) for key, each in app.before_request_funcs.items()},
        "after_request": {key: list(each) for key, each in app.after_request_funcs.items()},
        "values": {key: list(each) for key, each in app.url_value_preprocessors.items()},
        "views": dict(app.view_functions),
        "receivers": {name: list(signal.receivers_for(app)) for name, signal in SIGNALS.items()},
    }
    return {**vars(app), **lists}


async def served(app: Flask) -> Flask:
    """With what Flask makes when it is first needed."""
    async with Client(app) as client:
        await client.get("/page")
    return app


async def test_the_app_is_as_before_afterwards() -> None:
    app = await served(create_app())
    app.wsgi_app = app.wsgi_app  # type: ignore[method-assign]  # as if there were middleware
    before = state_of(app)
    async with TracedApp(app) as traced:
        assert state_of(app) != before
        for path in ("/plain/1", "/async/1", "/page", "/nothing", "/sold-out"):
            await traced.request("GET", path)
    assert state_of(app) == before


async def test_whoever_comes_first_bridge_and_the_seams_live_together() -> None:
    paths = ("/async/1", "/plain/1", "/page", "/item/3")

    async def names(traced: TracedApp) -> list[list[str]]:
        requests = [await traced.request("GET", path) for path in paths]
        return [[step.name for step in request.trace.steps if step.layer == "Flask"] for request in requests]

    served_before, served_meanwhile = create_app(), create_app()
    async with Client(served_before) as client:
        await client.get("/async/1")
    async with TracedApp(served_before) as traced:
        first = await names(traced)
    async with TracedApp(served_meanwhile) as traced:
        async with Client(served_meanwhile) as client:
            assert (await client.get("/async/1")).text == "1"
        second = await names(traced)
    assert first == second
    assert all("before_request" in each for each in first)
    async with Client(served_meanwhile) as client:
        for path in paths:
            assert (await client.get(path)).status_code == 200


async def test_an_app_may_be_traced_twice_at_once() -> None:
    app = await served(create_app())
    before = state_of(app)
    async with TracedApp(app) as one:
        async with TracedApp(app, adapt=lambda wsgi: WSGIToASGI(wsgi, async_views="thread")) as other:
            await other.request("GET", "/async/1")
        request = await one.request("GET", "/async/1")
    once = [step.name for step in request.trace.steps if step.layer not in ("ASGI", "WSGI")]
    assert len(once) == len(set(once)), "something was recorded twice"
    assert "before_request" in once
    assert state_of(app) == before


async def test_what_others_have_replaced_meanwhile_stays() -> None:
    app = create_app()
    calls = []
    async with TracedApp(app):
        inner = app.wsgi_app

        def middleware(environ: Any, start_response: Any) -> Any:
            calls.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's documentation says
    async with Client(app) as client:
        assert (await client.get("/plain/1")).text == "plain"
    assert calls == ["/plain/1"]


@pytest.mark.parametrize("path", ["/plain/1", "/async/1", "/stream", "/events", "/nothing"])
async def test_a_request_that_is_not_traced_passes_untouched(path: str) -> None:
    app = create_app()
    seen: list[Step | None] = []

    @app.after_request
    def note(response: Response) -> Response:
        seen.append(current_step())
        return response

    async with Client(app) as client:
        expected = await client.get(path)
        async with TracedApp(app) as traced:
            found = await client.get(path)
            assert seen == [None, None]
            request = await traced.request("GET", path)
    assert seen[2] is not None
    assert (found.status_code, found.content) == (expected.status_code, expected.content)
    assert (request.status, bytes(request.body)) == (expected.status_code, expected.content)


@pytest.mark.parametrize(
    "statement",
    [
        "from bridge import WSGIToASGI",
        "import bridge.server.cli, bridge.server.processes.worker, bridge.server.serving",
        "import bridge.flask, bridge.testing, bridge.flask.views",
    ],
)
def test_nothing_of_it_is_loaded_where_nobody_traces(statement: str) -> None:
    code = (
        f"import sys; {statement}; print([name for name in sys.modules if 'trac' in name or 'check' in name])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in eval(result.stdout) if name.startswith("bridge.")]

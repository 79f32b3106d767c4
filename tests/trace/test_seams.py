"""That tracing is not in the way of others, and costs nothing when it is off."""

import subprocess
import sys

import pytest
from flask import Response

from bridge import WSGIToASGI
from bridge.testing import Client
from bridge.trace import TracedApp
from bridge.trace.recording import CURRENT_STEP, Step
from tests.trace.subject import create_app


async def test_whoever_comes_first_bridge_and_the_seams_live_together() -> None:
    paths = ("/async/1", "/plain/1", "/page", "/item/3")

    async def names(traced: TracedApp) -> list[list[str]]:
        requests = [await traced.begin("GET", path).run() for path in paths]
        return [
            [step["name"] for step in request.as_json()["steps"] if step["layer"] == "Flask"]
            for request in requests
        ]

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
    app = create_app()
    async with TracedApp(app) as one:
        async with TracedApp(app, adapt=lambda wsgi: WSGIToASGI(wsgi, async_views="thread")) as other:
            await other.begin("GET", "/async/1").run()
        request = await one.begin("GET", "/async/1").run()
    steps = request.as_json()["steps"]
    once = [step["name"] for step in steps if step["layer"] not in ("ASGI", "WSGI")]
    assert len(once) == len(set(once)), "something was recorded twice"
    assert "before_request" in once


@pytest.mark.parametrize("path", ["/plain/1", "/async/1", "/stream", "/events", "/nothing"])
async def test_a_request_that_is_not_traced_passes_untouched(path: str) -> None:
    app = create_app()
    seen: list[Step | None] = []

    @app.after_request
    def note(response: Response) -> Response:
        seen.append(CURRENT_STEP.get())
        return response

    async with Client(app) as client:
        expected = await client.get(path)
        async with TracedApp(app) as traced:
            found = await client.get(path)
            assert seen == [None, None]
            request = await traced.begin("GET", path).run()
    assert seen[2] is not None
    assert (found.status_code, found.content) == (expected.status_code, expected.content)
    assert (request.exchange.status, bytes(request.body)) == (expected.status_code, expected.content)


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

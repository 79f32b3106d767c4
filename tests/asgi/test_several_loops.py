"""One adapter, several event loops in one process, each in its thread: as granian's free-threaded workers."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask, Response

from bridge import WSGIToASGI, run_on_loop
from bridge.errors import BridgeError
from bridge.flask import Bridge, stream
from bridge.testing import Client
from tests.asgi_host import ScriptedHost, http_scope

LOOPS = 3
REQUESTS = 20
PATIENCE = 10.0  # seconds, for what takes none


def on_each_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with ThreadPoolExecutor(LOOPS) as pool:
        for done in [pool.submit(asyncio.run, main()) for _ in range(LOOPS)]:
            done.result()


def app_of_loops() -> tuple[Flask, Bridge]:
    """Its state is the loop of its lifespan; each view says whether it finds that of its own request."""
    app = Flask("app")
    bridge = Bridge(app)

    @bridge.lifespan
    async def remember(app: Flask) -> AsyncIterator[dict[str, object]]:
        yield {"loop": asyncio.get_running_loop()}

    async def is_here() -> bool:
        return asyncio.get_running_loop() is bridge.state["loop"]

    @app.get("/plain")
    def plain() -> str:
        return str(run_on_loop(is_here()))

    @app.get("/async")
    async def on_loop() -> str:
        await asyncio.sleep(0)
        return str(await is_here())

    @app.get("/stream")
    async def streams() -> Response:
        async def parts() -> AsyncIterator[str]:
            yield str(await is_here())

        return Response(stream(parts()))

    return app, bridge


@pytest.mark.parametrize("path", ["/plain", "/async", "/stream"])
def test_each_loop_has_its_own_lifespan_and_state(path: str) -> None:
    app, _ = app_of_loops()
    adapter = WSGIToASGI(app)
    together = threading.Barrier(LOOPS)

    async def main() -> None:
        async with Client(adapter) as client:
            await asyncio.to_thread(together.wait, PATIENCE)  # all lifespans run
            answers = await asyncio.gather(*(client.get(path) for _ in range(REQUESTS)))
            assert {answer.text for answer in answers} == {"True"}
            await asyncio.to_thread(together.wait, PATIENCE)

    on_each_loop(main)


def test_code_that_belongs_to_no_loop_has_no_state_while_there_are_several() -> None:
    app, bridge = app_of_loops()
    adapter = WSGIToASGI(app)
    together = threading.Barrier(LOOPS)

    async def main() -> None:
        async with Client(adapter):
            await asyncio.to_thread(together.wait, PATIENCE)
            with pytest.raises(BridgeError, match=f"which state\\? {LOOPS} event loops"):
                await asyncio.to_thread(lambda: bridge.state)
            await asyncio.to_thread(together.wait, PATIENCE)

    on_each_loop(main)


def test_the_end_of_one_loops_streams_leaves_the_others() -> None:
    """A websocket or an event stream ends with its own server."""
    app, _ = app_of_loops()
    adapter = WSGIToASGI(app)

    async def main() -> None:
        async with Client(adapter) as client:
            adapter.end_streams()
            assert (await client.get("/stream")).text == "True"

    on_each_loop(main)


async def test_a_worker_keeps_nothing_of_the_context_in_which_it_started() -> None:
    class Value:
        pass

    variable: ContextVar[Value] = ContextVar("variable")

    async def request(value: Value) -> None:
        variable.set(value)
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"Hello"]

    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context():
        value = Value()
        gone = weakref.ref(value)
        await asyncio.create_task(request(value))
        del value
        await asyncio.sleep(0)  # the loop's next turn lets go of the task
        gc.collect()
        assert gone() is None

"""The lifespan protocol, from the application's side and from the host's."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge import BridgeError, WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.testing import Client
from tests.asgi_host import ScriptedHost, http_scope


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(environ["asgi.state"]).encode()]


class Recorded:
    """A lifespan that notes what happens, and fails where it is told to."""

    def __init__(self, state: Any = None, *, fail: str = "") -> None:
        self.log: list[str] = []
        self.state = state
        self.fail = fail

    @asynccontextmanager
    async def __call__(self, app: Any) -> AsyncIterator[Any]:
        self.log.append(f"start {app.__name__}")
        if self.fail == "start":
            raise RuntimeError("no database")
        yield self.state
        self.log.append("stop")
        if self.fail == "stop":
            raise RuntimeError("cannot close")


async def speak(adapter: Any, *, state: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Say startup and shutdown to an app; return what it answers."""
    events: asyncio.Queue[Any] = asyncio.Queue()
    events.put_nowait({"type": "lifespan.startup"})
    answers: list[dict[str, Any]] = []

    async def send(event: Any) -> None:
        answers.append(event)
        if event["type"] == "lifespan.startup.complete":
            events.put_nowait({"type": "lifespan.shutdown"})

    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    if state is not None:
        scope["state"] = state
    await adapter(scope, events.get, send)
    return answers


COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]

CASES: list[tuple[str, Recorded | None, list[str], str, dict[str, Any]]] = [
    ("no lifespan", None, COMPLETE, "", {}),
    ("yields nothing", Recorded(), COMPLETE, "", {}),
    ("yields a mapping", Recorded({"a": 1}), COMPLETE, "", {"a": 1}),
    ("fails to start", Recorded(fail="start"), ["lifespan.startup.failed"], "RuntimeError: no database", {}),
    (
        "fails to stop",
        Recorded(fail="stop"),
        ["lifespan.startup.complete", "lifespan.shutdown.failed"],
        "RuntimeError: cannot close",
        {},
    ),
    ("yields a list", Recorded([1]), ["lifespan.startup.failed"], "it may yield a mapping, or nothing", {}),
]


@pytest.mark.parametrize(
    ("name", "lifespan", "answers", "message", "state"), CASES, ids=[row[0] for row in CASES]
)
async def test_the_events(
    name: str, lifespan: Recorded | None, answers: list[str], message: str, state: dict[str, Any]
) -> None:
    given: dict[str, Any] = {}
    got = await speak(WSGIToASGI(app, lifespan=lifespan), state=given)
    assert [answer["type"] for answer in got] == answers
    assert message in got[-1].get("message", "")
    assert given == state


async def test_a_host_without_state_is_served_too() -> None:
    """daphne, for one, has no `state` in the scope."""
    lifespan = Recorded({"a": 1})
    assert [answer["type"] for answer in await speak(WSGIToASGI(app, lifespan=lifespan))] == COMPLETE
    assert lifespan.log == ["start app", "stop"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_it_can_be_started_again_after_a_shutdown(times: int) -> None:
    lifespan = Recorded({"a": 1})
    adapter = WSGIToASGI(app, lifespan=lifespan)
    for _ in range(times):
        async with Client(adapter) as client:
            assert (await client.get("/")).text == "{'a': 1}"
    assert lifespan.log == ["start app", "stop"] * times


async def test_a_plain_generator_is_told_what_it_lacks() -> None:
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield

    got = await speak(WSGIToASGI(app, lifespan=lifespan))  # type: ignore[arg-type]  # the point of the test
    assert got[0]["type"] == "lifespan.startup.failed"
    assert "contextlib.asynccontextmanager" in got[0]["message"]


async def test_a_host_that_drops_the_lifespan_call_leaves_nothing_open() -> None:
    lifespan = Recorded()
    adapter = WSGIToASGI(app, lifespan=lifespan)
    started = asyncio.Event()
    events = [{"type": "lifespan.startup"}]

    async def receive() -> Any:
        if events:
            return events.pop()
        started.set()
        return await asyncio.Event().wait()

    async def send(event: Any) -> None:
        assert event["type"] == "lifespan.startup.complete"

    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    call = asyncio.ensure_future(adapter(scope, receive, send))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert lifespan.log == ["start app"]
    async with adapter.lifespan_context():  # it is not taken for running still
        pass


class TestMounted:
    """Where lifespan events do not reach the adapter, an outer framework's lifespan enters it."""

    async def test_the_state_reaches_the_app(self) -> None:
        adapter = WSGIToASGI(app, lifespan=Recorded({"db": 1, "own": 1}))
        async with adapter.lifespan_context() as state:
            assert state == {"db": 1, "own": 1}
            host = ScriptedHost()
            await adapter(http_scope(state={"db": 2, "outer": 2}), host.receive, host.send)
        assert host.body == b"{'db': 1, 'outer': 2, 'own': 1}"

    async def test_no_lifespan_at_all(self) -> None:
        adapter = WSGIToASGI(app, lifespan=Recorded({"db": 1}))
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
        assert host.body == b"{}"

    async def test_a_second_time_at_once_is_an_error(self) -> None:
        adapter = WSGIToASGI(app)
        async with adapter.lifespan_context():
            with pytest.raises(BridgeError, match="running already"):
                await adapter.lifespan_context().__aenter__()

    async def test_requests_that_were_given_up_are_waited_for_before_the_state_is_closed(self) -> None:
        order: list[str] = []
        started = threading.Event()
        go_on = threading.Event()

        def slow(environ: Any, start_response: Any) -> list[bytes]:
            started.set()
            go_on.wait()
            order.append("the call ended")
            start_response("200 OK", [])
            return []

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            yield
            order.append("the lifespan ended")

        adapter = WSGIToASGI(slow, lifespan=lifespan)
        async with adapter.lifespan_context():
            host = ScriptedHost()
            call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
            await asyncio.to_thread(started.wait)
            call.cancel()
            await asyncio.wait([call])
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert order == ["the call ended", "the lifespan ended"]


class TestTheHostsSide:
    async def test_an_app_without_lifespan_is_served(self) -> None:
        async def refuses(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"

        async with running(refuses) as state:
            assert state == {}

    async def test_an_app_that_ignores_it_is_served(self) -> None:
        async def returns(scope: Any, receive: Any, send: Any) -> None:
            return

        async with running(returns) as state:
            assert state == {}

    @pytest.mark.parametrize("when", ["start", "stop"])
    async def test_a_failure_is_raised_with_its_message(self, when: str) -> None:
        with pytest.raises(BridgeError, match=r"RuntimeError: (no database|cannot close)"):
            async with running(WSGIToASGI(app, lifespan=Recorded(fail=when))):
                pass

    async def test_an_error_in_the_block_still_shuts_down(self) -> None:
        lifespan = Recorded()
        with pytest.raises(ZeroDivisionError):
            async with running(WSGIToASGI(app, lifespan=lifespan)):
                raise ZeroDivisionError
        assert lifespan.log == ["start app", "stop"]

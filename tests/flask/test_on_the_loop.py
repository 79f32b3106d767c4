"""What an async view can do because it runs on the server's loop, and how it ends when it is cut short."""

import asyncio
import contextvars
import logging
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from flask import Flask, flash, g, get_flashed_messages, request, session

from bridge import BridgeError, WSGIToASGI, run_on_loop
from bridge.testing import Client
from tests.asgi_host import DISCONNECT, ScriptedHost, body_event, http_scope
from tests.flask.places import place, running_loop

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def make_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a test's"
    return app


def on_loop(app: Flask, **options: Any) -> WSGIToASGI:
    """The app with its async views on the loop, whatever hooks there are beside them."""
    return WSGIToASGI(app, async_views="loop", **options)


async def test_it_is_the_hosts_loop() -> None:
    app = make_app()
    loops = []

    @app.get("/")
    async def view() -> str:
        loops.append(running_loop())
        return ""

    async with Client(on_loop(app)) as client:
        await client.get("/")
        await client.get("/")
    assert loops == [asyncio.get_running_loop()] * 2


async def test_waiting_views_hold_no_threads() -> None:
    app = make_app()
    waiting = asyncio.Event()
    arrived = 0

    @app.get("/")
    async def view() -> str:
        nonlocal arrived
        arrived += 1
        if arrived == 200:
            waiting.set()
        await waiting.wait()
        return "x"

    async with Client(on_loop(app, threads=1)) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(200)))
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("bridge-1")]
    assert [answer.text for answer in answers] == ["x"] * 200


async def test_a_lifespans_objects_belong_to_the_same_loop() -> None:
    app = make_app()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"lock": asyncio.Lock()}

    @app.get("/")
    async def view() -> str:
        async with request.environ["asgi.state"]["lock"]:
            await asyncio.sleep(0.001)
        return "x"

    async with Client(on_loop(app, lifespan=lifespan)) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
    assert {answer.text for answer in answers} == {"x"}


async def test_tasks_outlive_the_request() -> None:
    app = make_app()
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[str]] = []

    @app.get("/")
    async def view() -> str:
        async def later() -> str:
            await go_on.wait()
            return request.path

        tasks.append(asyncio.create_task(later()))
        return "x"

    async with Client(on_loop(app)) as client:
        assert (await client.get("/")).text == "x"
        go_on.set()
        assert await tasks[0] == "/"


LIBRARIES: dict[str, Any] = {}


def library(function: Any) -> Any:
    LIBRARIES[function.__name__] = function
    return function


@library
async def timeout_that_passes() -> str:
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    return "x"


@library
async def timeout_that_expires() -> str:
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
    except TimeoutError:
        return "x"
    return "did not expire"


@library
async def task_group() -> str:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, letter)) for letter in "abc"]
    return "x" if "".join(task.result() for task in tasks) == "abc" else "lost"


@library
async def task_group_that_fails() -> str:
    async def fail() -> None:
        raise ZeroDivisionError

    answer = "did not fail"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(5)
    except* ZeroDivisionError:
        answer = "x"
    return answer


@library
async def gather_with_context() -> str:
    async def seen() -> str:
        return request.path

    return "x" if await asyncio.gather(*(seen() for _ in range(10))) == ["/"] * 10 else "lost"


@library
async def anyio_cancel_scope() -> str:
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(5)
    return "x" if scope.cancelled_caught else "did not expire"


@library
async def anyio_thread() -> str:
    return "x" if await anyio.to_thread.run_sync(place) == "thread" else "not in a thread"


@library
async def nested_plain_code_that_waits() -> str:
    """Plain code in a coroutine may wait in turn, and so on."""

    def plain(depth: int) -> str:
        return run_on_loop(coroutine(depth - 1)) if depth else "x"

    async def coroutine(depth: int) -> str:
        await asyncio.sleep(0)
        return plain(depth)

    return plain(5)


@library
async def a_future_of_the_loop() -> str:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_later(0.01, future.set_result, "x")
    return await future


@pytest.mark.parametrize("name", LIBRARIES)
async def test_what_asyncio_offers_works(name: str) -> None:
    app = make_app()
    app.add_url_rule("/", view_func=LIBRARIES[name])
    async with Client(on_loop(app)) as client:
        response = await client.get("/")
    assert (response.status_code, response.text) == (200, "x")


# run_on_loop


@pytest.mark.parametrize("kind", ["plain view", "plain hook", "thread of the app's", "template"])
async def test_run_on_loop_in_plain_code(kind: str) -> None:
    app = make_app()

    async def here() -> str:
        before = variable.get()
        variable.set("by the coroutine")
        await asyncio.sleep(0)
        return f"{place()} {request.path} {before}"

    def ask() -> str:
        variable.set("by the caller")
        return f"{run_on_loop(here())}, {variable.get()}"

    @app.before_request
    def before() -> None:
        if kind == "plain hook":
            g.answer = ask()

    @app.get("/")
    def view() -> str:
        if kind == "plain view":
            return ask()
        if kind == "template":
            return app.jinja_env.from_string("{{ ask() }}").render(ask=ask)
        if kind == "thread of the app's":
            answers: list[str] = []
            context = contextvars.copy_context()
            thread = threading.Thread(target=lambda: answers.append(context.run(ask)))
            thread.start()
            thread.join()
            return answers[0]
        return str(g.answer)

    async with Client(on_loop(app)) as client:
        assert (await client.get("/")).text == "loop / by the caller, by the coroutine"


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), asyncio.CancelledError(), KeyError("y")])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_run_on_loop_raises_what_the_coroutine_raised(error: BaseException, asynchronous: bool) -> None:
    app = make_app()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    def ask() -> str:
        try:
            run_on_loop(fail())
        except type(error) as caught:
            return repr(caught)
        return "nothing"

    @app.get("/plain")
    def plain() -> str:
        return ask()

    @app.get("/async")
    async def async_() -> str:
        return ask()

    async with Client(on_loop(app)) as client:
        assert (await client.get("/async" if asynchronous else "/plain")).text == repr(error)


def test_run_on_loop_outside_a_call() -> None:
    with pytest.raises(BridgeError, match="outside a request that Bridge serves"):
        run_on_loop(asyncio.sleep(0))


async def test_run_on_loop_in_a_thread_that_bridge_does_not_know() -> None:
    app = make_app()
    errors: list[str] = []

    def ask() -> None:
        try:
            run_on_loop(asyncio.sleep(0))
        except BridgeError as error:
            errors.append(str(error))

    @app.get("/")
    def view() -> str:
        thread = threading.Thread(target=contextvars.Context().run, args=(ask,))
        thread.start()
        thread.join()
        return "x"

    async with Client(on_loop(app)) as client:
        assert (await client.get("/")).text == "x"
    assert "copy_context" in errors[0]


async def test_run_on_loop_in_a_task_of_the_views() -> None:
    """It would block the loop that it waits for."""
    app = make_app()

    async def ask() -> str:
        try:
            return str(run_on_loop(asyncio.sleep(0)))
        except BridgeError as error:
            return str(error)

    @app.get("/")
    async def view() -> str:
        return await asyncio.create_task(ask())

    async with Client(on_loop(app)) as client:
        assert "use `await` there" in (await client.get("/")).text


# Isolation


async def test_thousands_of_interleaved_requests_keep_apart() -> None:
    app = make_app()

    @app.before_request
    def before() -> None:
        g.number = request.args["number"]
        variable.set(request.args["number"])

    @app.get("/")
    async def view() -> str:
        number = request.args["number"]
        session["number"] = number
        flash(number)

        async def child() -> tuple[str, ...]:
            await asyncio.sleep(random.random() / 100)
            return request.args["number"], g.number, session["number"], variable.get()

        seen = {number, *(await child()), *(await asyncio.gather(child()))[0]}
        await asyncio.sleep(random.random() / 100)
        return ",".join(sorted({*seen, *get_flashed_messages(), g.number, variable.get()}))

    @app.after_request
    def after(response: Any) -> Any:
        response.headers["X-Number"] = f"{g.number} {variable.get()}"
        return response

    adapter = on_loop(app, threads=8)

    async def ask(number: int) -> None:
        host = ScriptedHost([body_event()])
        await adapter(http_scope(query_string=b"number=%d" % number), host.receive, host.send)
        assert host.body == b"%d" % number
        assert (b"x-number", b"%d %d" % (number, number)) in [
            (name.lower(), value) for name, value in host.sent[0]["headers"]
        ]

    async with adapter.lifespan_context():
        for start in range(0, 2000, 500):
            tasks = [asyncio.create_task(ask(start + number)) for number in range(500)]
            await asyncio.gather(*tasks)
    assert variable.get() == "unset"


# Cut short


class Watched:
    """An app whose view waits for ever, and what has happened to it."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.waiting = asyncio.Event()
        self.app = make_app()
        self.app.teardown_request(self._teardown)
        self.app.add_url_rule("/", view_func=self._view, methods=["GET", "POST"])

    async def _view(self) -> str:
        try:
            self.waiting.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.happened.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)  # cleaning up may wait as well
            self.happened.append("cleaned up")
        return "never"

    def _teardown(self, error: BaseException | None) -> None:
        self.happened.append(f"teardown {type(error).__name__}")


ALL = ["cancelled", "cleaned up", "teardown CancelledError"]


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
async def test_a_client_that_leaves_cancels_the_view(size: int, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    events = [body_event(b"x" * size), DISCONNECT] if size else [body_event()]
    host = ScriptedHost(events)
    call = asyncio.create_task(on_loop(watched.app)(http_scope(method="POST"), host.receive, host.send))
    await watched.waiting.wait()
    if not size:
        host.disconnect()
    await asyncio.wait_for(call, 5)
    assert watched.happened == ALL
    assert host.sent == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_host_that_cancels(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    host = ScriptedHost([body_event()])
    call = asyncio.create_task(on_loop(watched.app)(http_scope(), host.receive, host.send))
    await watched.waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert watched.happened == ALL
    assert host.sent == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_host_that_times_out() -> None:
    watched = Watched()
    host = ScriptedHost([body_event()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await on_loop(watched.app)(http_scope(), host.receive, host.send)
    assert watched.happened == ALL
    await asyncio.sleep(0)  # the cancellation does not stay behind


async def test_a_view_that_will_not_be_cancelled() -> None:
    """It may finish; nobody hears it."""
    app = make_app()
    waiting = asyncio.Event()
    finished = []

    @app.get("/")
    async def view() -> str:
        try:
            waiting.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        finished.append(True)
        return "never mind"

    host = ScriptedHost([body_event()])
    call = asyncio.create_task(on_loop(app)(http_scope(), host.receive, host.send))
    await waiting.wait()
    host.disconnect()
    await asyncio.wait_for(call, 5)
    assert finished == [True]
    assert host.sent == []
    assert not call.cancelling()


async def test_a_view_that_goes_on_after_the_server_has_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """It is named and left behind; the host's task ends, and so does the lifespan."""
    app = make_app()
    waiting, refusals = asyncio.Event(), []

    @app.get("/stubborn")
    async def view() -> str:
        while True:
            try:
                waiting.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                refusals.append(True)

    adapter = on_loop(app)
    host = ScriptedHost([body_event()])
    loop = asyncio.get_running_loop()
    async with adapter.lifespan_context():
        scope = http_scope(path="/stubborn", raw_path=b"/stubborn")
        call = asyncio.create_task(adapter(scope, host.receive, host.send))
        await waiting.wait()
        call.cancel()
        await asyncio.sleep(0.01)
        assert not call.done()
        before = loop.time()
    assert 2 < loop.time() - before < 10
    with pytest.raises(asyncio.CancelledError):
        await call
    assert refusals == [True]
    assert "GET /stubborn: the async view goes on after it was cancelled" in caplog.text
    assert "Let CancelledError pass" in caplog.text


async def test_a_view_that_ends_after_the_server_has_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """The lifespan waits for those that are cleaning up, so that what they use is there still."""
    app = make_app()
    waiting, cleaned_up = asyncio.Event(), []

    @app.get("/")
    async def view() -> str:
        try:
            waiting.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned_up.append(True)
        return "never"

    adapter = on_loop(app)
    host = ScriptedHost([body_event()])
    async with adapter.lifespan_context():
        call = asyncio.create_task(adapter(http_scope(), host.receive, host.send))
        await waiting.wait()
        call.cancel()
    assert cleaned_up == [True]
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_leaves_while_a_plain_hook_runs() -> None:
    """A thread cannot be cancelled: the request goes on when it is done, and ends at its next wait."""
    app = make_app()
    loop = asyncio.get_running_loop()
    in_hook, go_on, happened = asyncio.Event(), threading.Event(), []

    @app.before_request
    def before() -> None:
        run_on_loop(asyncio.sleep(0))
        loop.call_soon_threadsafe(in_hook.set)
        go_on.wait()
        happened.append("hook")

    @app.get("/")
    async def view() -> str:
        happened.append("view")
        return "x"

    host = ScriptedHost([body_event()])
    call = asyncio.create_task(on_loop(app)(http_scope(), host.receive, host.send))
    await in_hook.wait()
    host.disconnect()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait_for(call, 5)
    assert happened[0] == "hook"

"""`bridge.flask.Bridge`: lifespans, state, and work after the response."""

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from flask import Flask, current_app, g, has_request_context

from bridge import BridgeError, WSGIToASGI, run_on_loop
from bridge.flask import Bridge, State
from bridge.lifespans import AppLifespan
from bridge.testing import Client
from bridge.types import AsyncViews
from tests.asgi_host import ScriptedHost, http_scope
from tests.flask.places import place, running_loop


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function around any, as of a decorator that knows nothing of async ones."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def make_app() -> tuple[Flask, Bridge]:
    app = Flask(__name__)
    return app, Bridge(app)


async def test_lifespans_are_entered_in_order_and_left_in_the_opposite_one() -> None:
    app, bridge = make_app()
    happened: list[str] = []

    @bridge.lifespan
    async def first(app: Flask) -> AsyncIterator[dict[str, Any]]:
        happened.append(f"first {app.name == __name__}")
        yield {"first": 1}
        happened.append("first ends")

    @bridge.on_startup
    async def startup() -> None:
        happened.append(f"startup {bridge.state.first} {current_app.name == __name__}")

    @bridge.on_shutdown
    def shutdown() -> None:
        happened.append(f"shutdown {place()} {current_app.name == __name__}")

    @bridge.lifespan
    @asynccontextmanager
    async def second(app: Flask) -> AsyncIterator[None]:
        happened.append("second")
        yield
        happened.append("second ends")

    async with Client(app):
        happened.append("serving")
    assert happened == [
        "first True",
        "startup 1 True",
        "second",
        "serving",
        "second ends",
        "shutdown thread True",
        "first ends",
    ]


async def test_each_extension_that_has_a_lifespan_is_run_and_adds_to_the_state() -> None:
    class Other(AppLifespan):
        ended = False

        @asynccontextmanager
        async def running(
            self, app: Flask, graceful_timeout: float, async_views: AsyncViews
        ) -> AsyncIterator[dict[str, Any]]:
            yield {"told": (app.name, graceful_timeout, async_views)}
            self.ended = True

    app, bridge = make_app()
    other = app.extensions["other"] = Other()
    app.extensions["something"] = object()

    @bridge.lifespan
    async def first(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"first": 1}

    async with WSGIToASGI(app, graceful_timeout=2.5, async_views="thread").lifespan_context() as state:
        assert state == {"first": 1, "told": (__name__, 2.5, "thread")}
        assert not other.ended
    assert other.ended


async def test_state_is_what_the_lifespans_have_yielded() -> None:
    app, bridge = make_app()

    @bridge.lifespan
    async def one(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"one": 1}

    @bridge.lifespan
    async def two(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"two": bridge.state.one + 1}

    async with Client(app):
        with app.app_context():
            assert dict(bridge.state) == {"one": 1, "two": 2}
            assert bridge.state is current_app.extensions["bridge"].state
            with pytest.raises(AttributeError, match="'three'; there is: one, two"):
                _ = bridge.state.three


@pytest.mark.parametrize("path", ["/plain", "/async"])
async def test_state_in_views(path: str) -> None:
    app, bridge = make_app()

    @bridge.lifespan
    async def lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"loop": asyncio.get_running_loop()}

    @app.get("/plain")
    def plain() -> str:
        async def here() -> bool:
            return running_loop() is bridge.state.loop

        return str(run_on_loop(here()))

    @app.get("/async")
    async def async_() -> str:
        return str(running_loop() is bridge.state["loop"])

    async with Client(app) as client:
        assert (await client.get(path)).text == "True"


async def test_the_adapters_own_lifespan_comes_first() -> None:
    app, bridge = make_app()
    happened = []

    @asynccontextmanager
    async def outer(app: Any) -> AsyncIterator[dict[str, Any]]:
        happened.append("outer")
        yield {"outer": 1}

    @bridge.on_startup
    def startup() -> None:
        happened.append("inner")

    async with Client(WSGIToASGI(app, lifespan=outer)):
        pass
    assert happened == ["outer", "inner"]


async def test_one_extension_for_several_apps() -> None:
    bridge = Bridge()
    apps = [Flask("one"), Flask("two")]
    for app in apps:
        bridge.init_app(app)

    @bridge.lifespan
    async def lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
        yield {"name": app.name}

    async with Client(apps[0]), Client(apps[1]):
        for app in apps:
            with app.app_context():
                assert bridge.state.name == app.name
        with pytest.raises(BridgeError, match="which app"):
            _ = bridge.state


# Without a server


def test_an_async_lifespan_needs_a_server() -> None:
    app, bridge = make_app()
    bridge.lifespan(yields_a_number)
    app.add_url_rule("/", view_func=lambda: bridge.state.a)
    app.testing = True
    with pytest.raises(BridgeError) as caught:
        app.test_client().get("/")
    said = str(caught.value)
    assert said.startswith(
        "there is no state, as 'yields_a_number' is async, and needs a server's event loop"
    )
    for cure in ("bridge serve", "bridge.WSGIToASGI", "bridge.testing.Client(app)", "plain functions"):
        assert cure in said


def plain_app() -> tuple[Flask, Bridge, list[str]]:
    """An app whose lifespan and hooks are plain, and what has happened to them."""
    app, bridge = make_app()
    happened: list[str] = []

    @bridge.lifespan
    def database(app: Flask) -> Iterator[dict[str, Any]]:
        happened.append("open")
        try:
            yield {"database": "a database"}
        finally:
            happened.append("closed")

    @bridge.on_startup
    def warm_up() -> None:
        happened.append(f"warm {bridge.state.database} {current_app.name == app.name}")

    @app.get("/")
    def index() -> str:
        return str(bridge.state.database)

    return app, bridge, happened


def test_plain_lifespans_run_with_the_first_use_of_the_state_once() -> None:
    app, _, happened = plain_app()
    client = app.test_client()
    assert happened == []
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.get("/").text, range(8)))
    assert answers == ["a database"] * 8
    assert happened == ["open", "warm a database True"]


async def test_plain_lifespans_run_on_a_server() -> None:
    app, _, happened = plain_app()
    async with Client(app) as client:
        assert happened == ["open", "warm a database True"]
        assert (await client.get("/")).text == "a database"
    assert happened[2:] == ["closed"]


def test_a_plain_lifespan_that_fails_is_tried_again_and_leaves_nothing_open() -> None:
    app, bridge, happened = plain_app()
    failures = [ZeroDivisionError("no database")]

    @bridge.on_startup
    def fail() -> None:
        if failures:
            raise failures.pop()

    app.testing = True
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/")
    assert happened[-1] == "closed"
    assert app.test_client().get("/").text == "a database"


def test_an_async_hook_below_a_decorator_is_found_out() -> None:
    app, bridge = make_app()
    bridge.on_startup(decorated(coroutine_hook))
    with app.app_context(), pytest.raises(BridgeError, match="is async below a decorator"):
        _ = bridge.state


async def coroutine_hook() -> None:
    pass


def test_state_is_a_mapping() -> None:
    state = State({"a": 1})
    assert (list(state), len(state), state["a"], state.a) == (["a"], 1, 1, 1)


def test_an_app_has_one_extension() -> None:
    app, bridge = make_app()
    bridge.init_app(app)
    with pytest.raises(RuntimeError, match="has a Bridge extension already"):
        Bridge(app)


# Lifespans with mistakes


async def never_yields(app: Flask) -> AsyncIterator[None]:
    for _ in ():
        yield


async def yields_twice(app: Flask) -> AsyncIterator[None]:
    yield
    yield


async def fails(app: Flask) -> AsyncIterator[None]:
    for failure in (ZeroDivisionError("no database"),):
        raise failure
    yield


async def fails_at_the_end(app: Flask) -> AsyncIterator[None]:
    yield
    raise ZeroDivisionError("no database")


async def yields_a_number(app: Flask) -> AsyncIterator[Any]:
    yield 7


def never_yields_plainly(app: Flask) -> Iterator[None]:
    yield from ()


def yields_twice_plainly(app: Flask) -> Iterator[None]:
    yield
    yield


def fails_at_the_end_plainly(app: Flask) -> Iterator[None]:
    yield
    raise ZeroDivisionError("no database")


WRONG_LIFESPANS = {
    never_yields_plainly: "ended without a `yield`",
    yields_twice_plainly: "yielded twice",
    fails_at_the_end_plainly: "no database",
    never_yields: "ended without a `yield`",
    yields_twice: "yielded twice",
    fails: "no database",
    fails_at_the_end: "no database",
    yields_a_number: "it may yield a mapping, or nothing",
}


@pytest.mark.parametrize(
    ("lifespan", "message"), WRONG_LIFESPANS.items(), ids=[function.__name__ for function in WRONG_LIFESPANS]
)
async def test_a_lifespan_with_a_mistake(lifespan: Any, message: str) -> None:
    app, bridge = make_app()
    bridge.lifespan(lifespan)
    with pytest.raises(BridgeError, match=message):
        async with Client(app):
            pass


async def coroutine(app: Flask) -> None:
    pass


def test_a_coroutine_can_be_no_lifespan() -> None:
    _, bridge = make_app()
    with pytest.raises(TypeError, match="the lifespan 'coroutine' must have a `yield`"):
        bridge.lifespan(coroutine)  # type: ignore[type-var]  # the point of the test


# Mounted, where no lifespan event comes

ADVICE = (
    "the host has sent no lifespan event, and sends none to an app that is mounted in another one. "
    "Enter the adapter's lifespan_context() in"
)


async def test_a_lifespan_that_nobody_enters_is_missed_at_the_first_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, _, _ = plain_app()
    adapter = WSGIToASGI(app)
    for _ in range(2):
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    await adapter.close()
    (warning,) = warnings
    assert warning.startswith(f"the app's lifespan and start-up hooks have not run: {ADVICE}")
    (error,) = {str(each.exc_info[1]) for each in caplog.records if each.exc_info}
    assert error.startswith(f"there is no state, as no lifespan is running: {ADVICE}")


@pytest.mark.parametrize("enters", [True, False])
async def test_nothing_is_missed_where_it_is_entered_or_where_there_is_none(
    enters: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = (plain_app() if enters else make_app())[0]
    adapter = WSGIToASGI(app)
    async with adapter.lifespan_context() if enters else nullcontext():
        host = ScriptedHost()
        await adapter(http_scope(), host.receive, host.send)
    await adapter.close()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_decorator_may_hide_that_a_hook_is_async() -> None:
    app, bridge = make_app()
    happened: list[str] = []

    @bridge.on_startup
    @decorated
    async def startup() -> None:
        happened.append(f"startup {current_app.name == __name__}")

    async with Client(app):
        assert happened == ["startup True"]


# Background


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async function", "plain function"])
@pytest.mark.parametrize("path", ["/async", "/plain"])
async def test_background_runs_after_the_response(asynchronous: bool, path: str) -> None:
    app, bridge = make_app()
    loop = asyncio.get_running_loop()
    answered, ended = asyncio.Event(), asyncio.Event()
    ran: list[object] = []

    def plain(word: str, *, number: int) -> None:
        ran.extend([word, number, place(), current_app.name == __name__, answered.is_set()])
        loop.call_soon_threadsafe(ended.set)

    async def waiting(word: str, *, number: int) -> None:
        await answered.wait()
        plain(word, number=number)

    @app.get("/plain")
    def plain_view() -> str:
        bridge.background(waiting if asynchronous else plain, "word", number=7)
        return "x"

    @app.get("/async")
    async def async_view() -> str:
        bridge.background(waiting if asynchronous else plain, "word", number=7)
        return "x"

    async with Client(app) as client:
        assert (await client.get(path)).text == "x"
        answered.set()
        await ended.wait()
    assert ran[:2] == ["word", 7]
    assert ran[2:4] == ["loop" if asynchronous else "thread", True]
    assert ran[4] or not asynchronous


@pytest.mark.parametrize("served", [True, False], ids=["served", "in the test client"])
async def test_a_decorator_may_hide_that_background_work_is_async(served: bool) -> None:
    app, bridge = make_app()
    done: list[bool] = []

    @decorated
    async def waiting() -> None:
        await asyncio.sleep(0)
        done.append(current_app.name == __name__)

    @app.get("/")
    def view() -> str:
        bridge.background(waiting)
        return "x"

    if served:
        async with Client(app) as client:
            assert (await client.get("/")).text == "x"
    else:
        await asyncio.to_thread(lambda: app.test_client().get("/").close())
    assert done == [True]


async def test_a_shutdown_waits_for_background_work() -> None:
    app, bridge = make_app()
    done = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append(True)

    @app.get("/")
    async def view() -> str:
        bridge.background(work)
        return "x"

    async with Client(app) as client:
        await client.get("/")
    assert done == [True]


async def test_a_shutdown_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    app, bridge = make_app()
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @app.get("/")
    async def view() -> str:
        bridge.background(work)
        return "x"

    async with Client(WSGIToASGI(app, graceful_timeout=0.05)) as client:
        await client.get("/")
    assert cancelled == [True]
    assert "background functions are not done after 0.05 s, and are cancelled: 1" in caplog.text


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_background_work_that_fails(asynchronous: bool, caplog: pytest.LogCaptureFixture) -> None:
    app, bridge = make_app()

    def plain() -> None:
        raise ZeroDivisionError

    async def waiting() -> None:
        raise ZeroDivisionError

    @app.get("/")
    async def view() -> str:
        bridge.background(waiting if asynchronous else plain)
        return "x"

    async with Client(app) as client:
        assert (await client.get("/")).text == "x"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the background function" in record.getMessage()
    assert "ZeroDivisionError" in str(record.exc_text)


async def test_background_work_may_use_the_loop() -> None:
    app, bridge = make_app()
    results = []

    def plain() -> None:
        results.append(run_on_loop(asyncio.sleep(0, "x")))

    @app.get("/")
    def view() -> str:
        bridge.background(plain)
        return "x"

    async with Client(app) as client:
        await client.get("/")
    assert results == ["x"]


async def test_background_work_has_a_thread_for_plain_code_which_ends_with_it() -> None:
    """asgiref's own thread for all would wait for itself here, for ever."""
    app, bridge = make_app()
    together = threading.Barrier(2, timeout=10)
    threads: list[threading.Thread] = []

    async def work() -> None:
        await sync_to_async(together.wait)()
        threads.append(await sync_to_async(threading.current_thread)())

    @app.get("/")
    async def view() -> str:
        bridge.background(work)
        return "x"

    async with Client(app) as client:
        await asyncio.gather(client.get("/"), client.get("/"))
    assert len(set(threads)) == 2
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async function", "plain function"])
async def test_background_work_has_the_context_variables_of_who_asked_for_it(asynchronous: bool) -> None:
    """Those by which log lines and traces say what request they belong to."""
    app, bridge = make_app()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen = []

    def plain() -> None:
        seen.append((variable.get(), has_request_context()))

    async def waiting() -> None:
        plain()

    @app.get("/")
    def view() -> str:
        variable.set("by the view")
        bridge.background(waiting if asynchronous else plain)
        variable.set("by the view, later")
        return "x"

    async with Client(app) as client:
        await client.get("/")
    assert seen == [("by the view", False)]


async def test_background_work_does_not_see_the_request() -> None:
    """That is over, and its `g` gone with it."""
    app, bridge = make_app()
    seen = []

    async def work() -> None:
        seen.append(g.get("number"))

    @app.get("/")
    async def view() -> str:
        g.number = 7
        bridge.background(work)
        return "x"

    async with Client(app) as client:
        await client.get("/")
    assert seen == [None]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_background_in_flasks_test_client(asynchronous: bool) -> None:
    """Without Bridge it is done when the response is closed."""
    app, bridge = make_app()
    done = []

    def plain() -> None:
        done.append(threading.current_thread() is threading.main_thread())

    async def waiting() -> None:
        await asyncio.sleep(0)
        done.append(True)

    @app.get("/")
    def view() -> str:
        bridge.background(waiting if asynchronous else plain)
        return "x"

    with app.test_client() as client:
        response = client.get("/")
        assert response.text == "x"
        response.close()
    assert done == [True]

"""Which requests of async views run on the loop, and which in a thread as Flask has them."""

import asyncio
import contextlib
import functools
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import flask_cors
import flask_login
import flask_sqlalchemy
import flask_wtf
import pytest
from asgiref.sync import sync_to_async
from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    message_flashed,
    request,
    request_started,
    template_rendered,
    url_for,
)
from flask.sessions import SecureCookieSessionInterface
from flask.views import MethodView
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from sqlalchemy import text
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from bridge import WSGIToASGI, run_on_loop
from bridge.check.routes import list_routes
from bridge.flask import Bridge, any_thread
from bridge.testing import Client
from bridge.types import AsyncViews
from tests.flask.places import place

Change = Callable[[Flask], object]


def app_with(change: Change) -> Flask:
    """An app with an async view at `/`, and whatever else."""
    app = Flask("shop", static_folder=None)
    app.secret_key = "a test's"

    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(0)
        return place()

    change(app)
    return app


def why(app: Flask, async_views: AsyncViews = "auto", rule: str = "/") -> str:
    """Where the routes say that GET runs, and why."""
    route = next(route for route in list_routes(app, async_views) if route.rule == rule)
    placement = next(each for each in route.placements if each.method == "GET")
    return f"{placement.runner}: {placement.why}"


async def where(app: Any, path: str = "/", async_views: AsyncViews = "auto") -> str:
    """Where GET does run."""
    async with Client(WSGIToASGI(app, async_views=async_views)) as client:
        response = await client.get(path)
    assert response.status_code == 200, response.text
    return str(response.text)


def nothing(*_: Any) -> None:
    pass


async def nothing_async(*_: Any) -> None:
    pass


def unchanged(response: Response) -> Response:
    return response


async def unchanged_async(response: Response) -> Response:
    return response


# Hooks: how one is declared, and how it is called

KINDS: dict[str, tuple[Callable[[Flask, Any], object], str]] = {
    "before_request": (lambda app, hook: app.before_request(hook), "before_request function"),
    "after_request": (lambda app, hook: app.after_request(hook), "after_request function"),
    "teardown_request": (lambda app, hook: app.teardown_request(hook), "teardown function"),
    "teardown_appcontext": (lambda app, hook: app.teardown_appcontext(hook), "teardown function"),
    "url_value_preprocessor": (
        lambda app, hook: app.url_value_preprocessor(hook),
        "URL value preprocessor",
    ),
}


@pytest.mark.parametrize(("mark", "expected"), [(lambda each: each, "thread"), (any_thread, "loop")])
async def test_url_defaults_count(mark: Any, expected: str) -> None:
    """Flask calls them as they are, in the thread of whoever builds a URL."""

    def defaults(endpoint: str, values: dict[str, Any]) -> None:
        values["by"] = place()

    app = app_with(lambda app: app.url_defaults(mark(defaults)))
    app.add_url_rule("/there", view_func=lambda: "there", endpoint="there")

    @app.get("/url")
    async def url() -> str:
        return url_for("there")

    assert await where(app, "/url") == f"/there?by={expected}"
    assert "url_defaults function 'defaults'" in why(app) or expected == "loop"


def hook_of(kind: str, *, is_async: bool) -> Any:
    """A new function each, as marks stay."""
    if kind == "after_request":
        model: Any = unchanged_async if is_async else unchanged
    else:
        model = nothing_async if is_async else nothing

    if is_async:

        async def hook(*args: Any) -> Any:
            return await model(*args)

    else:

        def hook(*args: Any) -> Any:  # type: ignore[misc]  # one of two
            return model(*args)

    return hook


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", ["plain", "async", "marked"])
async def test_every_hook_counts(kind: str, declared: str) -> None:
    declare, described = KINDS[kind]
    hook = hook_of(kind, is_async=declared == "async")
    app = app_with(lambda app: declare(app, any_thread(hook) if declared == "marked" else hook))
    if declared == "plain":
        assert why(app) == (
            f"thread: {described} 'hook' ({__name__}) is plain; if it keeps nothing in its thread, "
            "make it async, mark it with @bridge.flask.any_thread, or ask for --async-views loop"
        )
        assert await where(app) == "thread"
        assert why(app) != "loop: the view is async", "also when it has served"
    else:
        assert why(app) == "loop: the view is async"
        assert await where(app) == "loop"
    assert await where(app, async_views="loop") == "loop"
    assert why(app, "loop") == "loop: the view is async"
    assert await where(app, async_views="thread") == "thread"


def test_several_hooks_are_named_together() -> None:
    def change(app: Flask) -> None:
        app.before_request(nothing)
        app.teardown_request(nothing)

    assert why(app_with(change)) == (
        f"thread: before_request function 'nothing' ({__name__}) and "
        f"teardown function 'nothing' ({__name__}) are plain; if they keep nothing in their thread, "
        "make them async, mark them with @bridge.flask.any_thread, or ask for --async-views loop"
    )


def app_of_blueprints() -> Flask:
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    other = Blueprint("other", __name__, url_prefix="/other")
    outer.teardown_request(nothing)
    for blueprint in (outer, inner, other):

        @blueprint.get("/")
        async def view() -> str:
            return place()

    outer.register_blueprint(inner)

    def change(app: Flask) -> None:
        app.register_blueprint(outer)
        app.register_blueprint(other)

    return app_with(change)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", "loop"), ("/outer/", "thread"), ("/outer/inner/", "thread"), ("/other/", "loop")],
)
async def test_hooks_of_a_blueprint_are_for_its_routes(path: str, expected: str) -> None:
    assert await where(app_of_blueprints(), path) == expected


class Elsewhere(SecureCookieSessionInterface):
    """Sessions that are opened by code of the app's own."""

    def open_session(self, app: Flask, request: Any) -> Any:
        return super().open_session(app, request)


@any_thread
class MarkedElsewhere(Elsewhere):
    pass


class Renamed(SecureCookieSessionInterface):
    session_cookie_name = "other"


SESSIONS: dict[str, tuple[type[SecureCookieSessionInterface], str]] = {
    "one that opens them itself": (Elsewhere, "thread"),
    "a marked one": (MarkedElsewhere, "loop"),
    "Flask's with other attributes": (Renamed, "loop"),
}


@pytest.mark.parametrize(("interface", "expected"), SESSIONS.values(), ids=SESSIONS)
async def test_sessions_of_the_apps_own_count(
    interface: type[SecureCookieSessionInterface], expected: str
) -> None:
    app = app_with(lambda app: setattr(app, "session_interface", interface()))
    assert await where(app) == expected
    assert await where(app, async_views="loop") == "loop"


@pytest.mark.parametrize(("mark", "expected"), [(lambda each: each, "thread"), (any_thread, "loop")])
@pytest.mark.parametrize("signal", [request_started, template_rendered, message_flashed])
async def test_receivers_of_signals_count(signal: Any, mark: Any, expected: str) -> None:
    def receiver(sender: Flask, **_: Any) -> None:
        pass

    app = app_with(nothing)
    with signal.connected_to(mark(receiver), app):
        assert await where(app) == expected
        name = signal.name.replace("-", "_")
        assert f"receiver of {name} 'receiver'" in why(app) or expected == "loop"
    assert why(app) == "loop: the view is async"


class Stock(BaseConverter):
    """As those are that look up what is in the path; Flask calls them in the app's context."""

    def to_python(self, value: str) -> str:
        return f"{value} of {current_app.name}, looked up in a {place()}"


@any_thread
class MarkedStock(Stock):
    pass


class TwoLetters(BaseConverter):
    regex = "[a-z]{2}"


CONVERTERS: dict[str, tuple[type[BaseConverter], str, str]] = {
    "one that looks up": (Stock, "ab of shop, looked up in a thread", "thread"),
    "a marked one": (MarkedStock, "ab of shop, looked up in a loop", "loop"),
    "one that only matches": (TwoLetters, "ab", "loop"),
}


@pytest.mark.parametrize(("converter", "value", "expected"), CONVERTERS.values(), ids=CONVERTERS)
@pytest.mark.parametrize("by_host", [False, True])
async def test_converters_of_the_apps_own_count(
    converter: type[BaseConverter], value: str, expected: str, by_host: bool
) -> None:
    """They are called by Flask alone, not to decide where a request runs."""

    def change(app: Flask) -> None:
        app.subdomain_matching = by_host
        app.config["SERVER_NAME"] = "localhost" if by_host else None
        app.url_map.converters["stock"] = converter

        @app.get("/async/<stock:item>")
        async def in_coroutine(item: str) -> str:
            return f"{item}; {place()}"

        @app.get("/plain/<stock:item>")
        def plain(item: str) -> str:
            return f"{item}; {place()}"

        app.add_url_rule("/old/<stock:item>", endpoint="old", redirect_to="/plain/<item>")

    app = app_with(change)
    async with Client(WSGIToASGI(app)) as client:
        assert (await client.get("http://localhost/async/ab")).text == f"{value}; {expected}"
        in_thread = value.replace("loop", "thread")
        assert (await client.get("http://localhost/plain/ab")).text == f"{in_thread}; thread"
        assert (await client.get("http://localhost/old/ab")).status_code == 308
        assert (await client.get("http://localhost/")).text == "loop"
    assert why(app, rule="/async/<stock:item>").startswith(
        f"{expected}: " + (f"URL converter 'Stock' ({__name__}) is plain" if expected == "thread" else "")
    )


class PreprocessesItself(Flask):
    def preprocess_request(self) -> Any:
        return super().preprocess_request()


class RunsCoroutinesItself(Flask):
    """As Flask documents it, for an app whose clients belong to a loop of its own."""

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(func(*args, **kwargs))


class HandlesErrorsItself(Flask):
    def handle_user_exception(self, e: Exception) -> Any:
        return super().handle_user_exception(e)


@pytest.mark.parametrize("kind", [PreprocessesItself, RunsCoroutinesItself, HandlesErrorsItself])
async def test_methods_that_a_subclass_overrides_count(kind: type[Flask]) -> None:
    app = kind("shop", static_folder=None)

    @app.get("/")
    async def index() -> str:
        return place()

    for _ in range(2):
        assert f"overridden method '{kind.__name__}." in why(app)
        assert await where(app) == "thread"


@pytest.mark.parametrize("name", ["full_dispatch_request", "handle_exception", "make_response"])
@pytest.mark.parametrize(("mark", "expected"), [(lambda each: each, "thread"), (any_thread, "loop")])
async def test_methods_that_are_replaced_on_the_app_count(name: str, mark: Any, expected: str) -> None:
    """As extensions do, such as Flask-RESTful, and agents that measure."""
    app = app_with(nothing)
    plain = getattr(app, name)

    def replacement(*args: Any) -> Any:
        return plain(*args)

    setattr(app, name, mark(replacement))
    for _ in range(2):
        assert await where(app) == expected
        assert "overridden method 'replacement'" in why(app) or expected == "loop"


# Marks


def test_a_mark_returns_what_it_marks() -> None:
    def function() -> None:
        pass

    assert any_thread(function) is function


def test_a_mark_is_not_for_what_wraps_it() -> None:
    @any_thread
    def marked() -> None:
        pass

    @functools.wraps(marked)
    def wrapper() -> None:
        pass

    assert why(app_with(lambda app: app.before_request(marked))).startswith("loop")
    assert why(app_with(lambda app: app.before_request(wrapper))).startswith("thread")


class Counting:
    def before(self) -> None:
        pass

    def __call__(self) -> None:
        pass


@any_thread
class MarkedCounting(Counting):
    pass


MARKS: dict[str, tuple[Callable[[], Any], str]] = {
    "a method": (lambda: any_thread(MarkedByMethod().before), "loop"),
    "a method of a marked class": (lambda: MarkedCounting().before, "loop"),
    "an instance of a marked class": (MarkedCounting, "loop"),
    "a marked instance": (lambda: any_thread(Counting()), "loop"),
    "an instance": (Counting, "thread"),
    "a partial of a marked function": (lambda: functools.partial(any_thread(lambda: None)), "loop"),
    "a marked partial": (lambda: any_thread(functools.partial(nothing)), "loop"),
}


class MarkedByMethod(Counting):
    def before(self) -> None:
        pass


@pytest.mark.parametrize(("make", "expected"), MARKS.values(), ids=MARKS)
def test_what_can_be_marked(make: Callable[[], Any], expected: str) -> None:
    assert why(app_with(lambda app: app.before_request(make()))).startswith(expected)


def test_what_cannot_be_marked() -> None:
    with pytest.raises(TypeError, match="cannot mark"):
        any_thread(print)


async def test_a_marked_hook_may_wait() -> None:
    """It is called in a worker thread."""
    places = []

    @any_thread
    def before() -> None:
        places.append(place())

    assert await where(app_with(lambda app: app.before_request(before))) == "loop"
    assert places == ["thread"]


# Decorators


def plain(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(function)(*args, **kwargs)

    return wrapper


def silent(function: Any) -> Any:
    """One that does not say what it is around."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(function)(*args, **kwargs)

    return wrapper


def asynchronous(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def marked(function: Any) -> Any:
    return any_thread(plain(function))


DECORATORS: dict[str, tuple[list[Callable[[Any], Any]], str]] = {
    "plain": (
        [plain],
        f"thread: decorator 'plain' ({__name__}) around the view is plain; make it async, or mark it with "
        "@bridge.flask.any_thread if it never waits, and calls the view by ensure_sync",
    ),
    "plain, and silent": ([silent], "thread: the view is not async"),
    "async": ([asynchronous], "loop: the view is async"),
    "marked": ([marked], "loop: the view is async"),
    "marked around Flask-Login's": ([flask_login.login_required, marked], "loop: the view is async"),
    "Flask-Login's": ([flask_login.login_required], "loop: the view is async"),
    "Flask-Login's for a fresh login": ([flask_login.fresh_login_required], "loop: the view is async"),
}


class OwnLoginManager(flask_login.LoginManager):  # type: ignore[misc]  # it has no types
    pass


def app_of_users(kind: Any = flask_login.LoginManager) -> Flask:
    """An app with Flask-Login, in which everybody is logged in."""
    app = Flask("shop", static_folder=None)
    app.secret_key = "a test's"
    manager = kind(app)

    class User(flask_login.UserMixin):  # type: ignore[misc]  # it has no types
        def __init__(self, loaded_in: str) -> None:
            self.id = "7"
            self.loaded_in = loaded_in

    @manager.request_loader  # type: ignore[untyped-decorator]  # it has no types
    def load(request: Any) -> User | None:
        return User(place()) if request.args.get("user") != "nobody" else None

    return app


@pytest.mark.parametrize(("decorators", "expected"), DECORATORS.values(), ids=DECORATORS)
async def test_decorators(decorators: list[Callable[[Any], Any]], expected: str) -> None:
    app = app_of_users()

    async def view() -> str:
        await asyncio.sleep(0)
        return place()

    app.config["LOGIN_DISABLED"] = flask_login.fresh_login_required in decorators  # nobody's is fresh here
    app.add_url_rule("/", view_func=functools.reduce(lambda inner, each: each(inner), decorators, view))
    assert why(app) == expected
    assert await where(app) == expected.partition(":")[0]


def test_a_decorator_is_named_by_where_it_is_defined() -> None:
    def create_app() -> Flask:
        def cached(function: Any) -> Any:
            @functools.wraps(function)
            def wrapper() -> Any:
                return function()

            return wrapper

        app = Flask("app")

        @app.get("/")
        @cached
        async def view() -> str:
            return "x"

        return app

    assert ".create_app.cached' (" in why(create_app())


async def test_decorators_of_a_class() -> None:
    class Page(MethodView):
        decorators = [flask_login.login_required]  # noqa: RUF012  # as Flask documents it

        async def get(self) -> str:
            return place()

        def post(self) -> str:
            return place()

    app = app_of_users()
    app.add_url_rule("/", view_func=Page.as_view("page"))
    async with Client(WSGIToASGI(app)) as client:
        assert (await client.get("/")).text == "loop"
        assert (await client.post("/")).text == "thread"


# Extensions that were looked at


@pytest.mark.parametrize("kind", [flask_login.LoginManager, OwnLoginManager])
async def test_flask_login(kind: Any) -> None:
    """Its decorator runs on the loop, and who loads the user, which may wait, in a thread."""
    app = app_of_users(kind)

    @app.get("/")
    @flask_login.login_required  # type: ignore[untyped-decorator]  # it has no types
    async def index() -> str:
        return f"{place()}, loaded in a {flask_login.current_user.loaded_in}"

    async with Client(WSGIToASGI(app)) as client:
        assert (await client.get("/")).text == "loop, loaded in a thread"
        assert (await client.get("/?user=nobody")).status_code == 401


async def test_streams_behind_flask_logins_decorator_hold_no_thread() -> None:
    app = app_of_users()
    all_open, close = asyncio.Event(), asyncio.Event()
    count = 0

    @app.get("/stream")
    @flask_login.login_required  # type: ignore[untyped-decorator]  # it has no types
    async def stream() -> str:
        nonlocal count
        count += 1
        if count == 6:
            all_open.set()
        await close.wait()
        return "x"

    app.add_url_rule("/plain", view_func=lambda: "plain")
    async with Client(WSGIToASGI(app, threads=2)) as client:
        streams = [asyncio.create_task(client.get("/stream")) for _ in range(6)]
        async with asyncio.timeout(10):
            await all_open.wait()
            assert (await client.get("/plain")).text == "plain"
        close.set()
        assert {(await each).status_code for each in streams} == {200}


async def test_event_streams_in_threads_make_room_at_once() -> None:
    """They are known to take long, before they have done so."""
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/plain", view_func=lambda: "plain")
    close = threading.Event()

    @app.get("/events")
    @plain
    async def events() -> Response:
        def ticks() -> Iterator[str]:
            yield "data: tick\n\n"
            close.wait(10)

        return Response(ticks(), mimetype="text/event-stream")

    async with Client(WSGIToASGI(app, threads=2)) as client, contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(0.9):  # of the second after which any stream makes room
            for _ in range(6):
                response = await stack.enter_async_context(client.stream("GET", "/events"))
                assert await anext(response.aiter_raw()) == b"data: tick\n\n"
            assert (await client.get("/plain")).text == "plain"
        close.set()


async def test_flask_sqlalchemy(tmp_path: Any) -> None:
    """A session for each request, also where many are on the loop at once."""
    app = Flask("shop", static_folder=None)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'shop.db'}"
    database = flask_sqlalchemy.SQLAlchemy(app)
    sessions = set()

    @app.get("/")
    async def index() -> str:
        session = database.session()
        await asyncio.sleep(0.01)
        assert database.session() is session
        sessions.add(session)
        assert database.session.execute(text("select 7")).scalar() == 7
        return place()

    async with Client(WSGIToASGI(app)) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
        assert {answer.text for answer in answers} == {"loop"}
    assert len(sessions) == 20
    with app.app_context():
        database.engine.dispose()


async def test_flask_wtf() -> None:
    app = Flask("shop", static_folder=None)
    app.secret_key = "a test's"
    flask_wtf.CSRFProtect(app)

    @app.get("/")
    async def index() -> Any:
        return {"place": place(), "token": flask_wtf.csrf.generate_csrf()}

    @app.post("/")
    async def post() -> str:
        return f"{place()} {request.form['value']}"

    async with Client(WSGIToASGI(app)) as client:
        got = (await client.get("/")).json()
        assert got["place"] == "loop"
        assert (await client.post("/", data={"value": "x"})).status_code == 400
        posted = await client.post("/", data={"value": "x", "csrf_token": got["token"]})
        assert posted.text == "loop x"


async def test_flask_cors() -> None:
    async with Client(WSGIToASGI(app_with(flask_cors.CORS))) as client:
        response = await client.get("/", headers={"Origin": "https://example.org"})
    assert response.text == "loop"
    assert response.headers["Access-Control-Allow-Origin"]


def test_sentry() -> None:
    """In a process of its own, as it changes Flask for good: what it reports of forty requests at once."""
    module = "tests.flask.reported_to_sentry"
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "places loop, 40 messages, 8 exceptions, 40 transactions, 0 mixed"


async def test_opentelemetry() -> None:
    app = app_with(nothing)
    instrumentor: Any = FlaskInstrumentor()  # which has no types
    instrumentor.instrument_app(app)
    try:
        assert await where(app) == "loop"
    finally:
        instrumentor.uninstrument_app(app)


async def test_bridges_own_extension() -> None:
    app = app_with(nothing)
    bridge = Bridge(app)

    @app.get("/background")
    async def background() -> str:
        bridge.background(nothing)
        return place()

    assert await where(app) == "loop"
    assert await where(app, "/background") == "loop"


async def test_an_app_with_bridges_extension_goes_by_the_same_rule() -> None:
    app = app_with(Bridge)
    app.teardown_request(nothing)
    assert await where(app) == "thread"


@pytest.mark.parametrize(
    ("hook", "async_views", "warned"),
    [
        (nothing, "auto", True),
        (nothing, "thread", False),
        (nothing, "loop", False),
        (nothing_async, "auto", False),
    ],
)
async def test_what_a_lifespan_has_made_is_not_for_views_in_threads(
    hook: Any, async_views: AsyncViews, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with(lambda app: app.teardown_request(hook))

    @Bridge(app).lifespan
    async def clients(app: Flask) -> AsyncIterator[dict[str, str]]:
        yield {"client": "of the server's loop"}

    async with Client(WSGIToASGI(app, async_views=async_views)):
        pass
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warned
    assert all("each on a loop of its own: 'index'. What the lifespan" in message for message in messages)


# Middleware


def replaced(middleware: Any, **attributes: Any) -> Any:
    vars(middleware).update(attributes)
    return middleware


def closure(app: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    return middleware


class ByClass:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


@any_thread
class MarkedClass(ByClass):
    pass


@any_thread
class WithTheApp(ByClass):
    """One that is made with the app as a whole, for its config say, and calls what the app had before."""

    def __init__(self, app: Any) -> None:
        self.app = app.__self__
        self.wsgi_app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.wsgi_app(environ, start_response)


MIDDLEWARE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a function": (closure, "thread"),
    "a class": (ByClass, "thread"),
    "a marked function": (lambda app: any_thread(closure(app)), "loop"),
    "a marked class": (MarkedClass, "loop"),
    "a marked class that has the app": (WithTheApp, "loop"),
    "a class within a marked class that has the app": (
        lambda app: replaced(WithTheApp(app), wsgi_app=ByClass(app)),
        "thread",
    ),
    "one that was looked at": (ProxyFix, "loop"),
    "a function within one that was looked at": (lambda app: ProxyFix(closure(app)), "thread"),
    "a class within a marked function": (lambda app: any_thread(closure(ByClass(app))), "thread"),
    "several that were looked at": (lambda app: ProxyFix(ProxyFix(app)), "loop"),
    "a dispatcher, elsewhere": (lambda app: DispatcherMiddleware(app, {"/other": closure(app)}), "loop"),
    "a dispatcher, here": (lambda app: DispatcherMiddleware(app, {"": closure(app)}), "thread"),
}


@pytest.mark.parametrize(("wrap", "expected"), MIDDLEWARE.values(), ids=MIDDLEWARE)
@pytest.mark.parametrize("async_views", ["auto", "loop"])
async def test_middleware(wrap: Callable[[Any], Any], expected: str, async_views: AsyncViews) -> None:
    app = app_with(nothing)
    app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents it
    assert await where(app, async_views=async_views) == expected
    if expected == "thread" and not isinstance(app.wsgi_app, DispatcherMiddleware):
        assert "is behind middleware '" in why(app, async_views)


async def test_another_app_below_a_path_that_is_not_ascii() -> None:
    """Werkzeug's dispatcher compares paths as an environ has them, PEP 3333's bytes as latin-1."""
    app, places = app_with(nothing), []

    @app.get("/<path:path>")
    async def page(path: str) -> str:
        return "outer"

    def inner(environ: Any, start_response: Any) -> Any:
        places.append(place())
        return app.response_class("inner")(environ, start_response)

    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]  # as Flask documents it
        app.wsgi_app, {"/caf\xc3\xa9": inner}
    )
    async with Client(WSGIToASGI(app)) as client:
        assert (await client.get("/caf\u00e9/x")).text == "inner"
    assert places == ["thread"]


@pytest.mark.parametrize("async_views", ["auto", "loop", "thread"])
async def test_another_app_below_an_async_catch_all(async_views: AsyncViews) -> None:
    """It is called as Flask has it, whatever the outer app would do with its paths."""
    outer, inner = Flask("outer"), Flask("inner")

    @outer.get("/", defaults={"path": ""})
    @outer.get("/<path:path>")
    async def page(path: str) -> str:
        return f"outer {path} on the {place()}"

    @inner.get("/async")
    async def asynchronous() -> str:
        await asyncio.sleep(0)
        return f"inner async in a {place()}"

    @inner.get("/plain")
    def plain_view() -> str:
        return f"inner plain in a {place()}"

    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/api": inner})  # type: ignore[method-assign]  # as Flask documents it
    here = "thread" if async_views == "thread" else "loop"
    async with Client(WSGIToASGI(outer, async_views=async_views)) as client:
        assert (await client.get("/apiary")).text == f"outer apiary on the {here}"
        assert (await client.get("/api/async")).text == "inner async in a thread"
        assert (await client.get("/api/plain")).text == "inner plain in a thread"


# What asgiref shares among calls


async def test_sync_to_async_has_a_thread_for_each_call() -> None:
    """By itself it has one for all, in which six waits of 0.5 s would take 3 s."""
    app = Flask("shop")
    together = threading.Barrier(6, timeout=10)
    names: set[str] = set()

    @app.get("/")
    async def index() -> str:
        first = await sync_to_async(threading.current_thread)()
        await sync_to_async(together.wait)()
        second = await sync_to_async(threading.current_thread)()
        assert first is second
        names.add(first.name)
        return "x"

    async with Client(WSGIToASGI(app)) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(names) == 6


async def test_sync_to_async_in_a_coroutine_for_plain_code() -> None:
    together = threading.Barrier(2, timeout=10)
    app = Flask("shop")
    app.add_url_rule("/", view_func=lambda: str(run_on_loop(sync_to_async(together.wait)())))
    async with Client(WSGIToASGI(app)) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(2)))
    assert {answer.text for answer in answers} == {"0", "1"}


# A thread of the request's own


async def test_all_of_a_request_in_a_thread_is_in_one() -> None:
    """Hooks, teardown, and what asgiref sends back from the view, as under any WSGI server."""
    app = Flask("shop")
    threads: list[threading.Thread] = []

    def note(*_: Any) -> None:
        threads.append(threading.current_thread())

    app.before_request(note)
    app.teardown_request(note)
    app.teardown_appcontext(note)

    @app.get("/")
    async def index() -> str:
        await sync_to_async(note)()
        return ""

    async with Client(WSGIToASGI(app)) as client:
        for count in range(1, 4):
            await asyncio.gather(*(client.get("/") for _ in range(4)))
            assert len(threads) == 16 * count
        threads.clear()
        await client.get("/")
    assert len(threads) == 4
    assert len(set(threads)) == 1


async def test_run_on_loop_reaches_the_servers_loop_from_a_view_in_a_thread() -> None:
    app = app_with(lambda app: app.before_request(hook_of("before_request", is_async=False)))

    async def on_the_server() -> str:
        return place()

    @app.get("/reach")
    async def reach() -> str:
        own = place()
        return f"{own} {await asyncio.to_thread(lambda: run_on_loop(on_the_server()))}"

    @app.get("/reach-here")
    async def reach_here() -> str:
        return f"{place()} {run_on_loop(on_the_server())}"

    assert await where(app, "/reach") == "thread loop"
    assert await where(app, "/reach-here") == "thread loop"


@pytest.mark.parametrize("value", ["both", "", None])
def test_what_async_views_may_not_be(value: Any) -> None:
    with pytest.raises(ValueError, match='"auto", "loop" or "thread"'):
        WSGIToASGI(Flask("shop"), async_views=value)

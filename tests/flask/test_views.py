"""Where Flask's views and hooks run, and that all of them run as in Flask."""

import asyncio
import contextvars
import functools
import logging
import re
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from flask import Blueprint, Flask, Response, abort, current_app, g, request, session
from flask.views import MethodView, View
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import WSGIToASGI, run_on_loop
from bridge.flask import any_thread
from bridge.runners.greenlet_link import current_greenlet_link
from bridge.testing import Client
from tests.flask.places import Place, place


def make_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a test's"
    return app


async def get(app: Any, path: str, **options: Any) -> Any:
    async with Client(app) as client:
        return await client.get(path, **options)


def on_loop(app: Flask) -> WSGIToASGI:
    """The app with its async views on the loop, whatever hooks there are beside them."""
    return WSGIToASGI(app, async_views="loop")


# Which views run where


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """As Flask's documentation has an extension's decorator do it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(function)(*args, **kwargs)

    return wrapper


class AsyncView(View):
    async def dispatch_request(self) -> str:  # type: ignore[override]  # Flask takes it, its types do not
        await asyncio.sleep(0)
        return place()


class SyncView(View):
    def dispatch_request(self) -> str:
        return place()


class Mixed(MethodView):
    async def get(self) -> str:
        await asyncio.sleep(0)
        return place()

    def post(self) -> str:
        return place()


def app_of_views() -> Flask:
    app = make_app()

    @app.get("/sync")
    def sync() -> str:
        return place()

    @app.get("/async")
    async def async_() -> str:
        await asyncio.sleep(0)
        return place()

    @app.get("/item/<int:number>")
    async def item(number: int) -> str:
        await asyncio.sleep(0)
        return f"{place()} {number}"

    @app.get("/decorated")
    @decorated
    async def decorated_view() -> str:
        await asyncio.sleep(0)
        return place()

    @app.get("/marked")
    @any_thread
    @decorated
    async def marked_view() -> str:
        await asyncio.sleep(0)
        return place()

    inner = Blueprint("inner", __name__, url_prefix="/inner")
    outer = Blueprint("outer", __name__, url_prefix="/outer")

    @inner.get("/async")
    async def inner_async() -> str:
        await asyncio.sleep(0)
        return place()

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.add_url_rule("/class/async", view_func=AsyncView.as_view("class_async"))
    app.add_url_rule("/class/sync", view_func=SyncView.as_view("class_sync"))
    app.add_url_rule("/class/mixed", view_func=Mixed.as_view("class_mixed"))
    return app


PLACES = {
    "a plain view": ("GET", "/sync", "thread"),
    "an async view": ("GET", "/async", "loop"),
    "an async view with an argument": ("GET", "/item/7", "loop 7"),
    "an async view behind a decorator that nothing is known of": ("GET", "/decorated", "thread"),
    "an async view behind a decorator that is marked": ("GET", "/marked", "loop"),
    "an async view of a nested blueprint": ("GET", "/outer/inner/async", "loop"),
    "an async class": ("GET", "/class/async", "loop"),
    "a plain class": ("GET", "/class/sync", "thread"),
    "an async method": ("GET", "/class/mixed", "loop"),
    "a plain method of a class that has async ones": ("POST", "/class/mixed", "thread"),
    "a HEAD request": ("HEAD", "/async", ""),
}


@pytest.mark.parametrize(("method", "path", "expected"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("async_views", ["auto", "loop", "thread"])
async def test_where_a_view_runs(method: str, path: str, expected: str, async_views: Any) -> None:
    if async_views == "thread":
        expected = expected.replace("loop", "thread")
    async with Client(WSGIToASGI(app_of_views(), async_views=async_views)) as client:
        response = await client.request(method, path)
        again = await client.request(method, path)
    assert (response.status_code, response.text) == (200, expected)
    assert again.text == expected


@pytest.mark.parametrize("path", ["/nothing", "/item/seven"])
async def test_a_path_without_a_view_is_404(path: str) -> None:
    assert (await get(app_of_views(), path)).status_code == 404


async def test_a_redirect_to_the_path_with_a_slash() -> None:
    app = make_app()

    @app.get("/page/")
    async def page() -> str:
        return place()

    assert (await get(app, "/page")).status_code == 308
    assert (await get(app, "/page/")).text == "loop"


async def test_behind_middleware_of_the_app() -> None:
    app = app_of_views()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]  # as Flask documents it
    response = await get(app, "/async", headers={"X-Forwarded-Prefix": "/shop"})
    assert response.text == "loop"


async def test_mounted_below_a_path() -> None:
    async with Client(app_of_views(), root_path="/shop") as client:
        assert (await client.get("/async")).text == "loop"


HOSTS = {
    # what the app goes by: (its options, how a rule says it, the host of the async view, of the plain one)
    "subdomains": ({"subdomain_matching": True}, "subdomain", "api.example.org", "www.example.org"),
    "hosts": (
        {"host_matching": True, "static_host": "static.example.org"},
        "host",
        "api.example.org",
        "www.example.org",
    ),
}


@pytest.mark.parametrize(("options", "key", "async_host", "plain_host"), HOSTS.values(), ids=HOSTS)
async def test_rules_that_depend_on_the_host(
    options: dict[str, Any], key: str, async_host: str, plain_host: str
) -> None:
    """Two rules with the same path: each runs where its view belongs."""
    app = Flask(__name__, **options)
    app.config["SERVER_NAME"] = "example.org"

    async def in_coroutine() -> str:
        return f"async, {'in a greenlet' if current_greenlet_link() else 'for a thread'}"

    def name(host: str) -> dict[str, Any]:
        return {key: host if key == "host" else host.partition(".")[0]}

    app.add_url_rule("/", endpoint="async", view_func=in_coroutine, **name(async_host))
    app.add_url_rule("/", endpoint="plain", view_func=place, **name(plain_host))
    async with Client(WSGIToASGI(app)) as client:
        for _ in range(2):
            assert (await client.get(f"http://{async_host}/")).text == "async, in a greenlet"
            assert (await client.get(f"http://{plain_host}/")).text == "thread"
            assert (await client.get("http://other.example.org/")).status_code == 404


@pytest.mark.parametrize("async_views", ["auto", "loop"])
async def test_middleware_that_leads_elsewhere(async_views: Any) -> None:
    """Nobody decides by a path that may not be the one that Flask is called with."""
    app = app_of_views()
    plain = app.wsgi_app

    def swapping(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = {"/sync": "/async", "/async": "/sync"}[environ["PATH_INFO"]]
        return plain(environ, start_response)

    app.wsgi_app = swapping  # type: ignore[method-assign]  # as Flask documents it
    adapter = WSGIToASGI(app, async_views=async_views)
    assert (await get(adapter, "/sync")).text == "thread"
    assert (await get(adapter, "/async")).text == "thread"


@pytest.mark.timeout(60)  # thousands of requests
async def test_many_paths_are_decided_anew() -> None:
    """Those that are remembered are bounded in number and in length."""
    app = make_app()

    @app.get("/<path:anything>")
    async def anything(anything: str) -> str:
        return place()

    async with Client(app) as client:
        for number in range(5000):
            assert (await client.get(f"/{number}")).text == "loop"
        assert (await client.get("/" + "x" * 5000)).text == "loop"


# Hooks

HOOKS = ["before", "after", "teardown", "error", "context_processor"]


@pytest.mark.parametrize("async_view", [True, False])
@pytest.mark.parametrize("async_hook", [True, False])
async def test_url_value_preprocessors(async_hook: bool, async_view: bool) -> None:
    """Flask itself calls them without `ensure_sync`: one that is async would not run at all."""
    app = make_app()

    def plain(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        g.language = values.pop("language")
        g.place = place()

    async def coroutine(endpoint: str | None, values: dict[str, Any] | None) -> None:
        await asyncio.sleep(0)
        plain(endpoint, values)

    pages = Blueprint("pages", __name__)
    # Flask's type knows plain ones only.
    pages.url_value_preprocessor(cast(Any, coroutine if async_hook else plain))

    def answer() -> str:
        return f"{g.language} in a {g.place}, request in a {place()}"

    async def answer_later() -> str:
        return answer()

    pages.add_url_rule("/<language>/", view_func=answer_later if async_view else answer)
    app.register_blueprint(pages)
    expected_hook = "loop" if async_hook and async_view else "thread"
    expected_view = "loop" if async_view else "thread"
    assert (await get(on_loop(app), "/de/")).text == (
        f"de in a {expected_hook}, request in a {expected_view}"
    )
    outside = await asyncio.to_thread(lambda: app.test_client().get("/fr/").text)
    assert outside == "fr in a thread, request in a thread"


def app_of_hooks(ran: dict[str, Place], *, asynchronous: bool) -> Flask:
    """An app whose hooks write down where they run; the view is async, and fails."""
    app = make_app()

    def note(name: str, result: Any = None) -> Any:
        def plain(*args: Any) -> Any:
            ran[name] = place()
            assert request.path == "/"
            return result(*args) if result else None

        async def waiting(*args: Any) -> Any:
            await asyncio.sleep(0)
            return plain(*args)

        return waiting if asynchronous else plain

    app.before_request(note("before"))
    app.after_request(note("after", lambda response: response))
    app.teardown_request(note("teardown"))
    app.register_error_handler(ZeroDivisionError, note("error", lambda error: ("mended", 418)))

    @app.get("/")
    async def view() -> str:
        ran["view"] = place()
        raise ZeroDivisionError

    return app


@pytest.mark.parametrize(("asynchronous", "expected"), [(True, "loop"), (False, "thread")])
async def test_where_hooks_of_an_async_view_run(asynchronous: bool, expected: Place) -> None:
    ran: dict[str, Place] = {}
    response = await get(on_loop(app_of_hooks(ran, asynchronous=asynchronous)), "/")
    assert (response.status_code, response.text) == (418, "mended")
    assert ran.pop("view") == "loop"
    assert ran == dict.fromkeys(["before", "after", "teardown", "error"], expected)


async def test_async_hooks_of_a_plain_view_run_as_flask_has_them() -> None:
    app = make_app()

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        g.before = place()

    @app.get("/")
    def view() -> str:
        return f"{g.before} {place()}"

    assert (await get(app, "/")).text == "thread thread"


async def test_a_hook_may_answer() -> None:
    app = make_app()

    @app.before_request
    def before() -> Any:
        return "not today", 503

    @app.get("/")
    async def view() -> str:
        raise AssertionError("is not called")

    response = await get(app, "/")
    assert (response.status_code, response.text) == (503, "not today")


async def test_hooks_of_blueprints() -> None:
    app = make_app()
    blueprint = Blueprint("part", __name__, url_prefix="/part")

    @blueprint.before_request
    def before() -> None:
        g.plain = place()

    @blueprint.before_request
    async def before_too() -> None:
        g.waiting = place()

    @blueprint.get("/")
    async def view() -> str:
        return f"{g.plain} {g.waiting}"

    app.register_blueprint(blueprint)
    assert (await get(on_loop(app), "/part/")).text == "thread loop"


async def test_abort_in_an_async_view() -> None:
    app = make_app()

    @app.get("/")
    async def view() -> str:
        abort(403)

    assert (await get(app, "/")).status_code == 403


# What goes there and back

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables_go_to_plain_hooks_and_back() -> None:
    app = make_app()

    @app.before_request
    def before() -> None:
        variable.set("by before_request")

    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-Variable"] = variable.get()
        return response

    @app.get("/")
    async def view() -> str:
        seen = variable.get()
        variable.set("by the view")
        return seen

    response = await get(app, "/")
    assert response.text == "by before_request"
    assert response.headers["X-Variable"] == "by the view"


@pytest.mark.parametrize("refuses", [False, True], ids=["answered by the view", "refused by another hook"])
async def test_a_plain_hook_may_undo_what_another_has_set(refuses: bool) -> None:
    """A token is good for the context it was made in, and instrumentations keep theirs until teardown."""
    app = make_app()
    tokens = []
    seen = []

    @app.before_request
    def begin() -> None:
        tokens.append(variable.set("by before_request"))

    @app.before_request
    def refuse() -> None:
        if refuses:
            abort(401)

    @app.get("/")
    async def view() -> str:
        variable.set("by the view")
        return "x"

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        seen.append(variable.get())
        variable.reset(tokens.pop())

    @app.teardown_appcontext
    async def after(error: BaseException | None) -> None:
        seen.append(variable.get())

    assert (await get(app, "/")).status_code == (401 if refuses else 200)
    assert seen == ["by before_request" if refuses else "by the view", "unset"]


async def test_sessions_and_g() -> None:
    app = make_app()

    @app.before_request
    def before() -> None:
        session["count"] = session.get("count", 0) + 1
        g.count = session["count"]

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return f"{g.count} {session['count']}"

    async with Client(app) as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["1 1", "2 2", "3 3"]


@pytest.mark.parametrize("kind", ["json", "form", "data", "stream"])
@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_body_read_in_an_async_view(kind: str, size: int) -> None:
    """Its methods are plain ones, which wait: in a coroutine, without keeping the loop."""
    app = make_app()

    @app.post("/")
    async def view() -> str:
        await asyncio.sleep(0)
        if kind == "json":
            return str(len(request.get_json()))
        if kind == "form":
            return str(len(request.form["value"]))
        return str(len(request.get_data() if kind == "data" else request.stream.read()))

    value = "x" * size
    bodies: dict[str, dict[str, Any]] = {"json": {"json": value}, "form": {"data": {"value": value}}}
    options = bodies.get(kind, {"content": value.encode()})
    async with Client(app) as client:
        response = await client.post("/", **options)
    assert response.text == str(size)


def _in_thread_mode(app: Flask) -> WSGIToASGI:
    return WSGIToASGI(app, async_views="thread")


def _behind_middleware_that_leads_elsewhere(app: Flask) -> WSGIToASGI:
    plain = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = "/"
        return plain(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's documentation has it
    return WSGIToASGI(app)


@pytest.mark.parametrize("adapt", [_in_thread_mode, _behind_middleware_that_leads_elsewhere])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_body_read_in_an_async_view_whose_request_is_in_a_thread(
    adapt: Callable[[Flask], WSGIToASGI], size: int, is_chunked: bool
) -> None:
    """It has a loop of its own, where its plain way of reading may wait."""
    app = make_app()

    @app.post("/")
    async def view() -> str:
        await asyncio.sleep(0)
        assert place() == "thread"
        first = request.stream.read(1)
        return str(len(first) + len(request.stream.read()))

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, size, 10_000):
            yield b"x" * min(10_000, size - start)

    async with Client(adapt(app)) as client:
        response = await client.post(
            "/elsewhere" if adapt is not _in_thread_mode else "/",
            content=parts() if is_chunked else b"x" * size,
        )
    assert response.text == str(size)


async def test_a_body_read_in_a_plain_hook_of_an_async_view() -> None:
    app = make_app()

    @app.before_request
    def before() -> None:
        g.size = len(request.get_data())

    @app.post("/")
    async def view() -> str:
        return f"{g.size} {len(request.get_data())}"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100_000

    async with Client(app) as client:
        response = await client.post("/", content=chunks())
    assert response.text == "300000 300000"


# Responses


async def test_a_plain_generator_of_an_async_view_runs_in_a_thread() -> None:
    app = make_app()

    @app.get("/")
    async def view() -> Response:
        def chunks() -> Iterator[str]:
            for _ in range(3):
                yield place() + " "

        return Response(chunks())

    assert (await get(app, "/")).text == "thread thread thread "


async def test_a_generator_with_the_request_context() -> None:
    from flask import stream_with_context

    app = make_app()

    @app.get("/")
    async def view() -> Response:
        def chunks() -> Iterator[str]:
            yield place()
            yield request.args["word"]

        return Response(stream_with_context(chunks()))

    assert (await get(app, "/?word=x")).text == "threadx"


async def test_a_generator_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    closed = []

    @app.get("/")
    async def view() -> Response:
        def chunks() -> Iterator[str]:
            try:
                yield "x"
                raise ZeroDivisionError
            finally:
                closed.append(place())

        return Response(chunks())

    async with Client(app, raise_app_exceptions=False) as client:
        with pytest.raises(Exception, match="in the middle of its response"):
            await client.get("/")
    assert closed == ["thread"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_view_that_fails_is_flasks_500(caplog: pytest.LogCaptureFixture) -> None:
    """With the traceback of the view, in Flask's own log."""
    app = make_app()

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        raise ZeroDivisionError("in the view")

    response = await get(app, "/")
    assert response.status_code == 500
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == app.logger.name
    assert record.exc_text is not None
    assert "in view" in record.exc_text


# Mistakes


def _failing_app(asynchronous: bool) -> Flask:
    app = make_app()

    async def innermost() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("a lesson")

    def plain() -> str:
        run_on_loop(innermost())
        return "never"

    async def view() -> str:
        return plain()

    async def awaiting() -> str:
        await innermost()
        return "never"

    app.add_url_rule("/", view_func=view if asynchronous else plain)
    app.add_url_rule("/awaiting", view_func=awaiting)
    return app


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_the_traceback_leads_through_the_greenlet(
    asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """From Flask to the view, and on to the coroutine that failed, in this order."""
    response = await get(_failing_app(asynchronous), "/")
    assert response.status_code == 500
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    names = [frame.name for frame in traceback.extract_tb(record.exc_info[2])]
    wanted = ["wsgi_app", "dispatch_request", *(["view"] if asynchronous else []), "plain", "innermost"]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "innermost"


@pytest.mark.parametrize(("path", "view"), [("/", "plain"), ("/awaiting", "awaiting")])
async def test_werkzeugs_debugger_shows_the_view(path: str, view: str) -> None:
    """Nothing is known of it, so that even the async view is called from a thread."""
    app = _failing_app(False)
    app.debug = True
    debugger = DebuggedApplication(app.wsgi_app)
    app.wsgi_app = debugger  # type: ignore[method-assign]  # as Flask's own command does
    response = await get(app, path)
    debugger.frames.clear()  # which hold the thread that asgiref has made for the view
    assert response.status_code == 500
    assert "ZeroDivisionError: a lesson" in response.text
    shown = re.findall(r'<code class="function">(.*?)</code>', response.text)
    assert shown.index(view) < shown.index("innermost")


async def test_flasks_page_for_errors_in_debug_mode() -> None:
    """The error leaves the app, as Flask has it then, and Bridge answers."""
    app = _failing_app(True)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    assert (await get(app, "/")).status_code == 500


async def test_a_coroutine_that_nobody_awaited(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    async def answer() -> str:
        return "x"

    @app.get("/")
    def forgetful() -> Any:
        return answer()

    assert (await get(app, "/")).status_code == 500
    assert "'forgetful'" in caplog.text
    assert "return await" in caplog.text


async def test_an_async_generator_given_to_response(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.get("/")
    async def view() -> Response:
        async def chunks() -> Any:
            yield "x"

        return Response(chunks())

    assert (await get(app, "/")).status_code == 500
    assert "bridge.flask.stream" in caplog.text


@pytest.mark.parametrize("value", ["greenlet", None, 1])
def test_another_place_for_async_views_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="async_views must be"):
        WSGIToASGI(make_app(), async_views=value)

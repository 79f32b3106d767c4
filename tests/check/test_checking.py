"""`bridge routes` and `bridge check`: what they tell of an app, what they find wrong, and what not."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_login
import pytest
from click.testing import CliRunner, Result
from flask import Flask, request_started
from flask.sessions import SecureCookieSessionInterface

from bridge.check.checking import Report, Request, check_app
from bridge.check.routes import list_routes
from bridge.command import bridge
from bridge.errors import BridgeError
from bridge.flask import Bridge, any_thread
from bridge.interfaces import Interface
from bridge.loading import LoadedApp
from bridge.types import AsyncViews
from tests.server.apps import inspected, kinds
from tests.server.apps.inspected import TEXT, does, generates, returns, starts_with

APPS = Path(inspected.__file__).parent
INSPECTED = "tests.server.apps.inspected"


@pytest.fixture(autouse=True)
def imports_undone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The commands import in their process, which here is that of all the tests."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and any(Path(file).is_relative_to(folder) for folder in (tmp_path, APPS)):
            del sys.modules[name]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(bridge, arguments)


def loaded(app: Callable[..., Any], interface: Interface = "wsgi") -> LoadedApp:
    return LoadedApp(app, interface, "some:app")


def check(app: Callable[..., Any], timeout: float = 10.0) -> Report:
    """All that there is to check."""
    return check_app(loaded(app), all_routes=True, with_lifespan=True, timeout=timeout)


def messages(report: Report) -> list[str]:
    return [violation.message for violation in report.violations]


# bridge routes


def test_routes_are_a_table() -> None:
    result = invoke("routes", f"{INSPECTED}:app")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "Rule",
        "/",
        "/body",
        "/both",
        "/clock",
        "/empty",
        "/everything",
        "/item/<int:number>",
        "/page",
        "/shop/",
        "/shop/cart/",
        "/static/<path:filename>",
    ]
    rows = {line.split()[0]: line.split(maxsplit=1)[1].split("  ") for line in result.stdout.splitlines()}
    shown = {rule: [cell.strip() for cell in cells if cell.strip()] for rule, cells in rows.items()}
    assert shown["/"] == ["GET, POST", "index", "loop"]
    assert shown["/both"] == ["GET, POST", "both", "GET thread: the view's GET is not async, POST loop"]
    assert shown["/page"] == ["GET", "page", "thread: the view is not async"]
    assert shown["/shop/"] == ["GET", "shop.goods", "loop"]
    assert shown["/shop/cart/"] == [
        "GET",
        "shop.cart.content",
        f"thread: teardown function 'close_cart' ({INSPECTED}) is plain; if it keeps nothing in its thread, "
        "make it async, mark it with @bridge.flask.any_thread, or ask for --async-views loop",
    ]


@pytest.mark.parametrize(
    "arguments", [[f"{INSPECTED}:adapted"], [f"{INSPECTED}:app", "--async-views=thread"]]
)
def test_no_route_is_on_the_loop_if_async_views_are_to_be_in_threads(arguments: list[str]) -> None:
    _, *routes = invoke("routes", *arguments).stdout.splitlines()
    assert routes != []
    assert [route for route in routes if " loop" in route or "thread: " not in route] == []


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (
            "tests.server.apps.kinds:wsgi",
            "tests.server.apps.kinds:wsgi is a WSGI app without routes that can be",
        ),
        (
            "tests.server.apps.kinds:asgi",
            "tests.server.apps.kinds:asgi is an ASGI app without routes that can be",
        ),
        ("nosuch:app", "no module named 'nosuch'"),
        (f"{INSPECTED}:nosuch", f"module '{INSPECTED}' has no attribute 'nosuch'"),
    ],
)
def test_routes_says_what_cannot_be_listed(target: str, error: str) -> None:
    result = invoke("routes", target)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"bridge: {error}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["routes", "check"])
@pytest.mark.parametrize("arguments", [["made:make"], ["made:build", "--factory"], []])
def test_the_app_is_named_as_for_serve(
    command: str, arguments: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    monkeypatch.delenv("FLASK_APP", raising=False)
    code = "from flask import Flask\ndef make(): return Flask('m')\ndef build(*more): return Flask('m')\n"
    (tmp_path / "made.py").write_text(code)
    (tmp_path / "app.py").write_text(f"{code}app = make()\n")
    result = invoke(command, *arguments, "--app-dir", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "/static/<path:filename>" in result.stdout


@pytest.mark.parametrize("command", ["routes", "check"])
def test_an_app_that_fails_at_its_import_shows_its_own_traceback(command: str, tmp_path: Any) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    result = invoke(command, "broken:app", "--app-dir", str(tmp_path))
    assert result.exit_code == 3
    assert "broken.py" in result.stderr
    assert "loading.py" not in result.stderr
    assert result.stderr.endswith("bridge: importing 'broken' failed: ZeroDivisionError: division by zero\n")


ASYNC = """
import os, time
from flask import Flask
app = Flask("some", static_folder=None)
@app.get("/")
async def index():
    time.sleep(float(os.environ.get("SLEEP", 0)))
    return "index"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an app whose one view is async."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.py").write_text(ASYNC)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "variables", "typed", "runner"),
    [
        ("", {}, ["some:app"], "loop"),
        ("app = 'some:app'", {}, [], "loop"),
        ("", {"BRIDGE_APP": "some:app"}, [], "loop"),
        ("async-views = 'thread'", {}, ["some:app"], "thread"),
        ("", {"BRIDGE_ASYNC_VIEWS": "thread"}, ["some:app"], "thread"),
        ("async-views = 'thread'", {"BRIDGE_ASYNC_VIEWS": "loop"}, ["some:app"], "loop"),
        ("async-views = 'thread'", {}, ["some:app", "--async-views=loop"], "loop"),
        ("adapter = 'a2wsgi'", {}, ["some:app"], "thread"),
        ("port = 1\nworkers = 2", {}, ["some:app", "--threads=3", "--log-level=debug"], "loop"),
    ],
)
def test_settings_come_from_where_serve_has_them(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    variables: dict[str, str],
    typed: list[str],
    runner: str,
) -> None:
    (folder / "bridge.toml").write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _, route = invoke("routes", *typed).stdout.splitlines()
    assert re.split(" {2,}", route)[3].startswith(runner)
    _, _, placement = invoke("check", *typed).stdout.partition("Where views run\n")
    assert re.split(" {2,}", placement.strip())[2] == runner


def test_check_has_the_adapter_that_serve_would_have(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEP", "so that it is gone again at the end")
    monkeypatch.delenv("SLEEP")
    (folder / "variables").write_text("SLEEP=0.3\n")
    (folder / "bridge.toml").write_text("env-file = 'variables'\n")
    assert "Remarks" not in invoke("check", "some:app", "--all", "--blocking-threshold=30").stdout
    _, _, remarks = invoke("check", "some:app", "--all", "--blocking-threshold=0.01").stdout.partition(
        "Remarks\n"
    )
    assert "the view 'index' (some) has blocked the event loop" in remarks.splitlines()[0]


@pytest.mark.parametrize("command", ["routes", "check"])
def test_help_is_short_and_the_other_settings_are_taken(command: str) -> None:
    shown = invoke(command, "--help").stdout
    assert "--async-views" in shown
    assert "--backlog" not in shown
    assert invoke(command, f"{INSPECTED}:app", "--backlog=5").exit_code == 0
    assert invoke(command, f"{INSPECTED}:app", "--nosuch").exit_code == 2


# Where routes run, and why


async def async_view() -> str:
    return "async"


def plain_view() -> str:
    return "plain"


def host_app() -> Flask:
    app = Flask("some", host_matching=True, static_host="localhost")
    app.add_url_rule("/elsewhere", view_func=async_view, host="elsewhere", endpoint="elsewhere")
    return app


def one_route(view: Callable[..., Any], **options: Any) -> Flask:
    app = Flask("some", static_folder=None)
    app.add_url_rule("/", "view", view, **options)
    return app


@pytest.mark.parametrize(
    ("app", "async_views", "method", "runner", "why"),
    [
        (one_route(async_view), "loop", "GET", "loop", "the view is async"),
        (one_route(async_view), "thread", "GET", "thread", "async_views is thread"),
        (one_route(plain_view), "loop", "GET", "thread", "the view is not async"),
        (one_route(plain_view), "thread", "GET", "thread", "the view is not async"),
        (one_route(inspected.Both.as_view("b")), "loop", "GET", "thread", "the view's GET is not async"),
        (one_route(inspected.Both.as_view("b")), "loop", "HEAD", "thread", "the view's HEAD is not async"),
        (one_route(inspected.Both.as_view("b")), "loop", "POST", "loop", "the view's POST is async"),
        (
            one_route(async_view, subdomain="api"),
            "loop",
            "GET",
            "thread",
            "no request reaches it, as the app does not match subdomains",
        ),
        (host_app(), "loop", "GET", "loop", "the view is async"),
    ],
)
def test_where_a_method_of_a_route_runs(
    app: Flask, async_views: AsyncViews, method: str, runner: str, why: str
) -> None:
    route = list_routes(loaded(app), async_views=async_views)[0]
    placement = next(each for each in route.placements if each.method == method)
    assert (placement.runner, placement.why) == (runner, why)


@pytest.mark.parametrize(
    ("rule", "hooks"),
    [
        ("/", [("before_request", "load_user", None), ("teardown_appcontext", "give_back", None)]),
        (
            "/shop/",
            [
                ("url_value_preprocessor", "pull_language", "shop"),
                ("before_request", "load_user", None),
                ("after_request", "add_header", "shop"),
                ("teardown_appcontext", "give_back", None),
            ],
        ),
        (
            "/shop/cart/",
            [
                ("url_value_preprocessor", "pull_language", "shop"),
                ("before_request", "load_user", None),
                ("after_request", "add_header", "shop"),
                ("teardown_request", "close_cart", "shop.cart"),
                ("teardown_appcontext", "give_back", None),
            ],
        ),
    ],
)
def test_hooks_of_a_route(rule: str, hooks: list[tuple[str, str, str | None]]) -> None:
    route = next(each for each in list_routes(loaded(inspected.app)) if each.rule == rule)
    assert [(hook.kind, hook.name, hook.blueprint) for hook in route.hooks] == hooks
    assert [(hook.kind, hook.name) for hook in route.error_hooks] == [("errorhandler(404)", "not_found")]


def test_sessions_that_are_kept_elsewhere_are_hooks() -> None:
    class Elsewhere(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            return super().open_session(app, request)

        def save_session(self, app: Flask, session: Any, response: Any) -> None:
            super().save_session(app, session, response)

    app = one_route(async_view)
    app.session_interface = Elsewhere()
    (route,) = list_routes(loaded(app))
    assert [hook.name for hook in route.hooks] == ["Elsewhere.open_session", "Elsewhere.save_session"]


# bridge check


def test_check_of_an_app_that_is_right() -> None:
    inspected.methods_seen.clear()
    result = invoke("check", f"{INSPECTED}:app", "--all", "--with-lifespan")
    assert (result.exit_code, result.stderr) == (0, "")
    assert inspected.methods_seen == [
        "GET /",
        "GET /body",
        "GET /both",
        "GET /clock",
        "GET /empty",
        "GET /page",
        "GET /shop/",
        "GET /shop/cart/",
        "GET /no-such-path-for-bridge-check",
        "HEAD /",
        "OPTIONS /",
    ]
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == f"{INSPECTED}:app: Flask app, 10 routes and static files"
    for line in (
        "GET / 200",
        "GET /clock 200 it had not ended after 1 s",
        "GET /empty 204",
        "GET /no-such-path-for-bridge-check 404",
        "not requested: GET /item/<int:number>, for it has arguments",
        "/ GET, POST loop the view is async",
        "/both GET, POST GET thread, POST loop the view's GET is not async, the view's POST is async",
        "/, /both, /clock, /empty, /item/<int:number>: 2",
        "/shop/: 4",
        "after_request add_header of the blueprint shop",
        "errorhandler(404) not_found, if it comes to that",
    ):
        assert line in lines
    assert lines[-1] == "PEP 3333: no violation in 11 requests"


def test_check_calls_nothing_that_it_is_not_told_to() -> None:
    app, calls = one_route(plain_view), []
    app.before_request(lambda: calls.append("hook"))
    Bridge(app).on_startup(lambda: calls.append("start"))
    assert check_app(loaded(app)).answers == ()
    assert calls == []
    report = check_app(loaded(app), requests=[Request("GET", "/")])
    assert [(str(answer.request), answer.status) for answer in report.answers] == [("GET /", 200)]
    assert calls == ["hook"]
    check_app(loaded(app), with_lifespan=True)
    assert calls == ["hook", "start"]


def test_check_says_that_it_has_called_nothing() -> None:
    inspected.methods_seen.clear()
    result = invoke("check", f"{INSPECTED}:app")
    assert (result.exit_code, inspected.methods_seen) == (0, [])
    assert result.stdout.splitlines()[1:3] == [
        "requests: none made; --request PATH makes one, --all one of each route without arguments",
        "start-up hooks: not run; --with-lifespan runs them",
    ]
    assert result.stdout.endswith("\nPEP 3333: not checked, as no request was made\n")


def test_check_makes_the_requests_that_it_is_told_to() -> None:
    inspected.methods_seen.clear()
    typed = ("--request", "/item/7?q=ä", "--request", "post /")
    result = invoke("check", f"{INSPECTED}:app", *typed)
    assert (result.exit_code, result.stderr) == (0, "")
    assert inspected.methods_seen == ["GET /item/7", "POST /"]
    assert re.search(r"(?m)^  GET /item/7\?q=%C3%A4 +200", result.stdout)
    assert result.stdout.endswith("PEP 3333: no violation in 2 requests\n")


def test_check_refuses_what_is_no_request() -> None:
    result = invoke("check", f"{INSPECTED}:app", "--request", "item")
    assert result.exit_code == 2
    assert "'item' is no path, such as /user/7, nor a method and a path" in result.stderr


def test_check_counts_what_goes_to_a_thread_alone() -> None:
    """Flask-Login's hooks do not wait; receivers and `url_defaults` are called where the view is."""
    app = one_route(async_view)
    flask_login.LoginManager(app)

    @any_thread
    def marked(*_: Any, **__: Any) -> None:
        pass

    app.url_defaults(marked)
    app.before_request(marked)
    with request_started.connected_to(marked, app):
        (route,) = list_routes(app)
    assert route.runs_on_loop
    assert [hook.kind for hook in route.hooks] == ["before_request"]


def test_check_ends_with_the_violations() -> None:
    result = invoke("check", f"{INSPECTED}:swallows", "--all")
    assert result.exit_code == 1
    assert result.stdout.startswith(
        f"{INSPECTED}:swallows: WSGI app\nrequests: 4 made, see below\n"
        "start-up hooks: not run; --with-lifespan runs them\n\nRequests\n  GET /  "
    )
    _, _, violations = result.stdout.partition("Violations of PEP 3333\n")
    assert "shown by GET /, GET /no-such-path-for-bridge-check, HEAD / and 1 more" in violations


def test_check_runs_an_adapter_as_it_is_set() -> None:
    shown = invoke("check", f"{INSPECTED}:adapted", "--all", "--with-lifespan").stdout
    assert re.search(r"(?m)^  / .* async_views is thread$", shown)
    assert re.search(r"(?m)^  GET / +200", shown)
    assert "Hops to a thread" not in shown


def test_check_leaves_the_app_as_it_was() -> None:
    app = one_route(plain_view)
    check(app)
    assert "wsgi_app" not in vars(app)
    assert app.test_client().get("/").text == "plain"


def test_check_makes_no_more_than_50_requests_of_rules() -> None:
    app = Flask("some", static_folder=None)
    for number in range(60):
        app.add_url_rule(f"/{number}", str(number), plain_view)
    report = check(app)
    assert sum(answer.status == 200 for answer in report.answers) == 50
    assert [skipped.why for skipped in report.skipped] == ["50 rules are enough"] * 10


def test_an_exception_of_the_app_is_no_violation() -> None:
    result = invoke("check", f"{INSPECTED}:failing", "--all")
    assert result.exit_code == 0
    assert "ZeroDivisionError: no luck (tests/server/apps/inspected.py:" in result.stdout
    assert "in fails)\n    raised in GET /, HEAD /" in result.stdout


@pytest.mark.parametrize(
    ("app", "status", "remark", "failure"),
    [
        (inspected.raises, 500, "", "LookupError: nothing to be found ("),
        (inspected.raises_unspeakable, 500, "", "Unspeakable ("),
        (inspected.raises_late, 200, "cut short", "LookupError: no more ("),
    ],
)
def test_exceptions_of_apps_without_a_framework(
    app: Callable[..., Any], status: int, remark: str, failure: str
) -> None:
    report = check(app)
    assert messages(report) == []
    assert (report.answers[0].status, report.answers[0].remark) == (status, remark)
    assert [each.message[: len(failure)] for each in report.failures] == [failure]


def test_an_app_that_does_not_answer() -> None:
    inspected.released.clear()
    later = threading.Timer(1, inspected.released.set)
    later.start()
    report = check(inspected.sleeps, timeout=0.05)
    later.join()
    assert messages(report) == []
    assert report.answers[0].status is None
    assert report.answers[0].remark.startswith("no answer in 0.05 s")


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (
            "tests.server.apps.kinds:asgi",
            "tests.server.apps.kinds:asgi is an ASGI app; PEP 3333 is for WSGI apps",
        ),
        (f"{INSPECTED}:unstartable", "the lifespan failed to start: OSError: no database"),
    ],
)
def test_check_says_what_it_cannot_check(target: str, error: str) -> None:
    result = invoke("check", target, "--with-lifespan")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"bridge: {error}\n")


def test_check_of_another_asgi_app_is_an_error() -> None:
    with pytest.raises(BridgeError, match="is an ASGI 2 app"):
        check_app(loaded(kinds.ASGI2, "asgi2"))


# Violations


@pytest.mark.parametrize(
    ("app", "message", "section"),
    [
        (
            starts_with("OK 200", TEXT),
            "Status codes must be three characters",
            "The start_response() Callable",
        ),
        (
            starts_with("abc OK", TEXT),
            "the app's status is not one such as '200 OK'",
            "The start_response() Callable",
        ),
        (starts_with(200, TEXT), "Status must be of type str", "The start_response() Callable"),
        (starts_with("200", TEXT), "The status string ('200') should be", "The start_response() Callable"),
        (starts_with("200 OK"), "Invalid number of arguments", "The start_response() Callable"),
        (starts_with("200 OK", tuple(TEXT)), "must be of type list", "The start_response() Callable"),
        (starts_with("200 OK", [("A",)]), "a header is not a pair", "The start_response() Callable"),
        (starts_with("200 OK", [["A", "b"]]), "must be of type tuple", "The start_response() Callable"),
        (starts_with("200 OK", [("A", "b\n")]), "Bad header value", "The start_response() Callable"),
        (starts_with("200 OK", headers=TEXT), "Invalid number of arguments", "The start_response() Callable"),
        (starts_with("200 OK", TEXT, exc_info=None), "No keyword arguments", "The start_response() Callable"),
        (starts_with("200 OK", [("Connection", "close")]), "hop-by-hop", "Other HTTP Features"),
        (returns("body"), "You should not return a string", "The Application/Framework Side"),
        (returns(["body"]), "Iterator yielded non-bytestring", "The Application/Framework Side"),
        (returns(None), "The application must return an iterator", "The Application/Framework Side"),
        (returns(5), "a value of type int", "The Application/Framework Side"),
        (generates, "start_response has not yet been called", "The Application/Framework Side"),
        (does(lambda environ, start: start("200 OK", TEXT)("text")), "bytes", "The write() Callable"),
        (
            does(lambda environ, start: start("200 OK", TEXT)),
            "a second time",
            "The start_response() Callable",
        ),
        (
            does(lambda environ, start: environ["wsgi.input"].close()),
            "input.close()",
            "Input and Error Streams",
        ),
        (
            does(lambda environ, start: environ["wsgi.errors"].write(b"x")),
            "than a str to wsgi.errors",
            "Input and Error Streams",
        ),
        (
            returns([b"body"], [*TEXT, ("Content-Length", "5")]),
            "1 bytes shorter than its Content-Length",
            "Handling the Content-Length Header",
        ),
        (
            returns([b"body"], [*TEXT, ("Content-Length", "3")]),
            "cut the app's body at its Content-Length",
            "Handling the Content-Length Header",
        ),
    ],
)
def test_violation(app: Callable[..., Any], message: str, section: str) -> None:
    (found,) = [each for each in check(app).violations if "GET /" in each.requests]
    assert message in found.message
    assert found.message.endswith(f'(PEP 3333, "{section}")')


def test_a_violation_in_a_view_is_found_though_flask_answers_for_it() -> None:
    app = Flask("some", static_folder=None)

    @app.get("/")
    def view() -> str:
        from flask import request

        request.environ["wsgi.input"].close()
        return ""

    report = check(app)
    assert messages(report) == ['input.close() must not be called (PEP 3333, "Input and Error Streams")']
    assert report.failures == ()


def test_violations_are_told_once_with_the_requests_that_showed_them() -> None:
    result = invoke("check", f"{INSPECTED}:swallows", "--all")
    assert result.exit_code == 1
    assert result.stdout.endswith("PEP 3333: 1 violation in 4 requests\n")
    assert (
        '(PEP 3333, "The start_response() Callable")\n    shown by GET /, GET /no-such-path' in result.stdout
    )
    assert "and 1 more" in result.stdout


@pytest.mark.parametrize(
    "app",
    [
        inspected.correct,
        returns((b"a", b"b")),
        returns(iter([])),
        does(lambda environ, start: environ["wsgi.input"].read()),
        does(lambda environ, start: list(environ["wsgi.input"])),
        starts_with("404 Not Found", TEXT),
        starts_with("500 Internal Server Error", TEXT),
        starts_with("204 No Content", TEXT),
        starts_with("304 Not Modified", TEXT),
    ],
)
def test_no_violation(app: Callable[..., Any]) -> None:
    report = check(app)
    assert (messages(report), report.failures, report.remarks) == ([], (), ())

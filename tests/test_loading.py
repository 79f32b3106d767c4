"""`bridge.loading`: what can be named, and what is said where there is no such app."""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.cli import ScriptInfo

from bridge import WSGIToASGI
from bridge.interfaces import Interface, detect_interface
from bridge.loading import AppError, BrokenAppError, find_app, load_app

Project = Callable[[dict[str, str]], Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Writes files into an empty folder, which is the current one; their modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("FLASK_APP", raising=False)
    before = set(sys.modules)

    def write(files: dict[str, str]) -> Path:
        for name, source in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


# What can be loaded

# Each Flask app bears the name it is to be told by.
FILES = {
    "plain.py": "def app(environ, start_response): ...\ndef other(environ, start_response): ...",
    "shop.py": """
from types import SimpleNamespace
from flask import Flask
app = Flask("shop.app")
other = Flask("shop.other")
inner = SimpleNamespace(web=SimpleNamespace(app=Flask("shop.inner")))
def build(name="shop.build", *, debug=False):
    return Flask(f"{name}.debug" if debug else name)
class Makers:
    @staticmethod
    def make(name="shop.makers"):
        return Flask(name)
""",
    "application.py": "from flask import Flask\napplication = Flask('application')\ncreate_app = None",
    "named.py": "from flask import Flask\nwebsite = Flask('named.website')\nagain = website",
    "named_and_factory.py": """
from flask import Flask
website = Flask('named_and_factory.website')
def create_app(): raise AssertionError('not called')
""",
    "app_is_none.py": "from flask import Flask\napp = None\napplication = Flask('app_is_none.application')",
    "factory.py": "from flask import Flask\ndef create_app(config=None): return Flask('factory.create_app')",
    "maker.py": "from flask import Flask\ndef make_app(): return Flask('maker.make_app')",
    "both.py": """
from flask import Flask
def make_app(): raise AssertionError('not called')
def create_app(): return Flask('both.create_app')
""",
    "no_factories.py": """
def any(*arguments): ...
def defaults(environ=None, start_response=None): ...
def other_names(e=None, s=None): ...
def asgi(scope, receive=None, send=None): ...
""",
    "decorated.py": """
import functools
from flask import Flask
def with_config(make):
    @functools.wraps(make)
    def wrapper():
        return make("decorated.config")
    return wrapper
def logged(make):
    @functools.wraps(make)
    def wrapper(*args, **kwargs):
        return make(*args, **kwargs)
    return wrapper
@with_config
def create_app(config): return Flask(config)
@with_config
def build(config): return Flask(config)
@logged
def logged_build(): return Flask("decorated.logged")
""",
    "package/__init__.py": "from flask import Flask\napp = Flask('package')",
    "package/web/__init__.py": "",
    "package/web/site.py": "from flask import Flask\napp = Flask('package.web.site')",
    "folder/alone.py": "from flask import Flask\napp = Flask('folder.alone')",
    "my-app.py": "from flask import Flask\napp = Flask('my-app')",
}

LOADED = [
    # (target, the name it is loaded from, the Flask app's own name)
    ("shop:app", "shop:app", "shop.app"),
    ("shop:other", "shop:other", "shop.other"),
    ("shop", "shop:app", "shop.app"),
    (" shop : app ", "shop:app", "shop.app"),
    ("shop:inner.web.app", "shop:inner.web.app", "shop.inner"),
    ("shop:build()", "shop:build()", "shop.build"),
    ("shop:build", "shop:build()", "shop.build"),
    ("shop:build('mine')", "shop:build('mine')", "mine"),
    ("shop:build('a:b(c)')", "shop:build('a:b(c)')", "a:b(c)"),
    ("shop:build(debug=True)", "shop:build(debug=True)", "shop.build.debug"),
    ("shop:build('mine', debug=True)", "shop:build('mine', debug=True)", "mine.debug"),
    ("shop:Makers.make", "shop:Makers.make()", "shop.makers"),
    ("shop:Makers.make('mine')", "shop:Makers.make('mine')", "mine"),
    ("application", "application:application", "application"),
    ("named", "named:website", "named.website"),
    ("named_and_factory", "named_and_factory:website", "named_and_factory.website"),
    ("app_is_none", "app_is_none:application", "app_is_none.application"),
    ("factory", "factory:create_app()", "factory.create_app"),
    ("factory:create_app", "factory:create_app()", "factory.create_app"),
    ("factory:create_app()", "factory:create_app()", "factory.create_app"),
    ("maker", "maker:make_app()", "maker.make_app"),
    ("both", "both:create_app()", "both.create_app"),
    ("decorated", "decorated:create_app()", "decorated.config"),
    ("decorated:build", "decorated:build()", "decorated.config"),
    ("decorated:logged_build", "decorated:logged_build()", "decorated.logged"),
    ("package", "package:app", "package"),
    ("package.web.site:app", "package.web.site:app", "package.web.site"),
    ("package.web.site", "package.web.site:app", "package.web.site"),
    ("shop.py", "shop:app", "shop.app"),
    ("./shop.py", "shop:app", "shop.app"),
    ("./shop", "shop:app", "shop.app"),
    ("shop.py:other", "shop:other", "shop.other"),
    ("shop.py:build('mine')", "shop:build('mine')", "mine"),
    ("my-app.py", "my-app:app", "my-app"),
    ("folder/alone.py", "alone:app", "folder.alone"),
    ("folder/alone", "alone:app", "folder.alone"),
    ("package/__init__.py", "package:app", "package"),
    ("./package", "package:app", "package"),
    ("package/", "package:app", "package"),
    ("package/web/site.py", "package.web.site:app", "package.web.site"),
    ("package/web/../web/site.py:app", "package.web.site:app", "package.web.site"),
]

# What Flask's own command refuses, or takes for something else.
NOT_IN_FLASK = {
    " shop : app ",
    "shop:inner.web.app",
    "shop:build('a:b(c)')",
    "shop:Makers.make",
    "shop:Makers.make('mine')",
    "named",
    "package/",
}


@pytest.mark.parametrize(("target", "name", "import_name"), LOADED, ids=[case[0] for case in LOADED])
def test_an_app_is_loaded(project: Project, target: str, name: str, import_name: str) -> None:
    project(FILES)
    loaded = load_app(target)
    assert (loaded.name, loaded.interface, loaded.kind) == (name, "wsgi", "Flask")
    assert loaded.app.import_name == import_name  # type: ignore[attr-defined]  # Flask  # it is a Flask app


@pytest.mark.parametrize("target", [case[0] for case in LOADED if case[0] not in NOT_IN_FLASK])
def test_flask_loads_the_same_app(project: Project, target: str) -> None:
    project(FILES)
    loaded = load_app(target)
    theirs = ScriptInfo(target).load_app()
    assert loaded.app.import_name == theirs.import_name  # type: ignore[attr-defined]  # it is a Flask app


def test_the_path_of_a_file_may_be_absolute(project: Project) -> None:
    folder = project(FILES)
    assert load_app(f"{folder}/folder/alone.py").name == "alone:app"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("plain:app", "plain:app"),
        ("plain:other", "plain:other"),
        ("plain", "plain:app"),
        ("plain.py", "plain:app"),
        ("plain.py:other", "plain:other"),
    ],
)
def test_an_app_without_flask_is_loaded(project: Project, target: str, name: str) -> None:
    project(FILES)
    loaded = load_app(target)
    assert (loaded.name, loaded.interface, loaded.kind) == (name, "wsgi", "WSGI")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("made:build", "made:build()"),
        ("made:build()", "made:build()"),
        ("made:Builder", "made:Builder()"),
        ("made:builder.app", "made:builder.app()"),
        ("made", "made:app()"),
    ],
)
def test_factory_says_that_it_is_one(project: Project, target: str, name: str) -> None:
    # What they look like does not matter: two arguments, a class, a method.
    project(
        {
            "made.py": """
def served(environ, start_response): ...
def build(environ=None, start_response=None): return served
def app(*everything): return served
class Builder:
    def __call__(self, environ, start_response): ...
    def app(self): return served
builder = Builder()
"""
        }
    )
    loaded = load_app(target, factory=True)
    assert (loaded.name, loaded.interface) == (name, "wsgi")


# Without a name

FLASK = "from flask import Flask\napp = Flask({!r})"

FOLDERS: dict[str, tuple[dict[str, str], str]] = {
    "wsgi.py": ({"wsgi.py": FLASK.format("wsgi")}, "wsgi"),
    "app.py": ({"app.py": FLASK.format("app")}, "app"),
    "wsgi.py before app.py": (
        {"app.py": FLASK.format("app"), "wsgi.py": FLASK.format("wsgi")},
        "wsgi",
    ),
    "a package": ({"app/__init__.py": FLASK.format("package")}, "package"),
    "a package before a file": (
        {"app/__init__.py": FLASK.format("package"), "app.py": FLASK.format("app")},
        "package",
    ),
    "a folder that is no package": (
        {"wsgi/notes.txt": "", "app.py": FLASK.format("app")},
        "app",
    ),
}


@pytest.mark.parametrize(("files", "import_name"), FOLDERS.values(), ids=FOLDERS.keys())
def test_an_app_is_found_as_flask_finds_it(
    project: Project, files: dict[str, str], import_name: str, request: pytest.FixtureRequest
) -> None:
    project(files)
    loaded = load_app(find_app())
    assert loaded.app.import_name == import_name  # type: ignore[attr-defined]  # Flask  # it is a Flask app
    if "no package" not in request.node.callspec.id:  # that one, Flask takes for a module without an app
        assert ScriptInfo().load_app() is loaded.app


def test_an_app_is_found_in_another_folder(project: Project) -> None:
    project({"app.py": "", "src/app.py": FLASK.format("src")})
    assert load_app(find_app("src")).app.import_name == "src"  # type: ignore[attr-defined]  # Flask


@pytest.mark.parametrize(
    ("variable", "import_name"),
    [
        ("shop", "shop.app"),
        ("shop.py", "shop.app"),
        ("shop:other", "shop.other"),
        ("shop:build('mine')", "mine"),
        ("folder/alone.py", "folder.alone"),
        ("package.web.site", "package.web.site"),
    ],
)
def test_flask_app_comes_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, variable: str, import_name: str
) -> None:
    project({**FILES, "wsgi.py": "raise AssertionError", "app.py": "raise AssertionError"})
    monkeypatch.setenv("FLASK_APP", variable)
    assert load_app(find_app()).app.import_name == import_name  # type: ignore[attr-defined]  # Flask
    assert ScriptInfo(variable).load_app().import_name == import_name


def test_an_empty_flask_app_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project({"app.py": FLASK.format("app")})
    monkeypatch.setenv("FLASK_APP", "")
    assert load_app(find_app()).name == "app:app"


def test_it_is_said_when_there_is_nothing_to_find(project: Project) -> None:
    folder = project({"main.py": ""})
    with pytest.raises(AppError) as caught:
        find_app()
    assert str(caught.value) == (
        f"no app given, FLASK_APP is not set, and there is no wsgi.py or app.py in {folder}; "
        "name the app, as module:app"
    )


# WSGI and ASGI


class _WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def method(self, environ: Any, start_response: Any) -> Any: ...


class _WSGIClass:
    """PEP 3333, "The Application/Framework Side", has its example app so."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Any: ...


class _ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class _ASGIClass:
    """As Starlette's HTTPEndpoint."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


class _ASGI2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def _wsgi(environ: Any, start_response: Any) -> Any: ...
def _wsgi_with_more(environ: Any, start_response: Any, *, debug: bool = False, **more: Any) -> Any: ...
async def _asgi(scope: Any, receive: Any, send: Any) -> None: ...
def _asgi_without_async(scope: Any, receive: Any, send: Any) -> Any: ...
def _asgi2(scope: Any) -> Any: ...
def _configured(config: Any, environ: Any, start_response: Any) -> Any: ...
def _anything(*arguments: Any) -> Any: ...


@functools.wraps(_wsgi)
def _wrapped(*arguments: Any) -> Any: ...


def _flask() -> Any:
    from flask import Flask

    return Flask("detected")


def _starlette() -> Any:
    from starlette.applications import Starlette

    class FastAPI(Starlette):
        """FastAPI's is a subclass, too."""

    return FastAPI()


DETECTED: dict[str, tuple[Any, Interface | None, str | None]] = {
    "function": (_wsgi, "wsgi", "WSGI"),
    "function with options": (_wsgi_with_more, "wsgi", "WSGI"),
    "object": (_WSGIObject(), "wsgi", "WSGI"),
    "method": (_WSGIObject().method, "wsgi", "WSGI"),
    "class": (_WSGIClass, "wsgi", "WSGI"),
    "partial": (functools.partial(_configured, {}), "wsgi", "WSGI"),
    "decorated": (_wrapped, "wsgi", "WSGI"),
    "Flask": (_flask(), "wsgi", "Flask"),
    "subclass of Flask": (type("Shop", (type(_flask()),), {})("shop"), "wsgi", "Flask"),
    "Flask's wsgi_app": (_flask().wsgi_app, "wsgi", "WSGI"),
    "async function": (_asgi, "asgi", "ASGI"),
    "async object": (_ASGIObject(), "asgi", "ASGI"),
    "async method": (_ASGIObject().method, "asgi", "ASGI"),
    "async partial": (functools.partial(_asgi), "asgi", "ASGI"),
    "awaitable class": (_ASGIClass, "asgi", "ASGI"),
    "function that returns a coroutine": (_asgi_without_async, "asgi", "ASGI"),
    "Starlette or FastAPI": (_starlette(), "asgi", "ASGI"),
    "adapted already": (WSGIToASGI(_wsgi), "asgi", "ASGI"),
    "ASGI 2 class": (_ASGI2Class, "asgi2", "ASGI 2"),
    "ASGI 2 function": (_asgi2, "asgi2", "ASGI 2"),
    "anything goes": (_anything, None, None),
    "not an app": (object(), None, None),
    "builtin": (max, None, None),
}


@pytest.mark.parametrize(("app", "interface", "kind"), DETECTED.values(), ids=DETECTED.keys())
def test_the_interface_is_told_apart(
    project: Project, app: Any, interface: Interface | None, kind: str | None
) -> None:
    assert detect_interface(app) == interface
    if interface is not None:
        project({"found.py": "from sys import modules\napp = modules[__name__ + '_holds'].app"})
        sys.modules["found_holds"] = type(sys)("found_holds")
        sys.modules["found_holds"].app = app  # type: ignore[attr-defined]  # a module made on the spot
        loaded = load_app("found:app")
        assert (loaded.app, loaded.interface, loaded.kind) == (app, interface, kind)


@pytest.mark.parametrize("interface", ["wsgi", "asgi", "asgi2"])
def test_the_interface_can_be_said(project: Project, interface: Interface) -> None:
    """It is obeyed: no signature says so surely what an app is as who has written it."""
    project({"open.py": "def app(*arguments): ..."})
    loaded = load_app("open:app", interface=interface, factory=False)
    assert loaded.interface == interface


@pytest.mark.parametrize(
    ("name", "said", "interface"),
    [
        ("any", "wsgi", "wsgi"),
        ("any", "asgi", "asgi"),
        ("defaults", None, "wsgi"),
        ("defaults", "wsgi", "wsgi"),
        ("other_names", "wsgi", "wsgi"),
        ("asgi", None, "asgi"),
        ("asgi", "asgi2", "asgi2"),
    ],
)
def test_an_app_that_needs_no_arguments_is_not_called_as_a_factory(
    project: Project, name: str, said: Interface | None, interface: Interface
) -> None:
    project(FILES)
    loaded = load_app(f"no_factories:{name}", interface=said)
    assert (loaded.name, loaded.interface) == (f"no_factories:{name}", interface)


def test_a_factory_is_one_whatever_its_app_is_said_to_speak(project: Project) -> None:
    project(FILES)
    loaded = load_app("shop:build", interface="wsgi")
    assert (loaded.name, loaded.interface) == ("shop:build()", "wsgi")


def test_the_interface_of_a_builtin_can_be_said(project: Project) -> None:
    project({"builtin.py": "app = max"})
    assert load_app("builtin:app", interface="wsgi").app is max


def test_flask_need_not_be_there(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project({"bare.py": "def make_app():\n    return lambda environ, start_response: []"})
    monkeypatch.delitem(sys.modules, "flask")
    assert (load_app("bare").name, load_app("bare").kind) == ("bare:make_app()", "WSGI")


# What cannot be loaded

BROKEN_FILES = {
    "good.py": """
app = lambda environ, start_response: []
number = 7
word = "word"
def build(name, *, debug=False): ...
class Application:
    def __call__(self, environ, start_response): ...
def anything(*arguments): ...
async def later(scope, receive, send): ...
def view_of_four(a, b, c, d): ...
async def async_view(request): ...
async def streaming(scope, receive, send): yield
class Configured:
    def __init__(self, config): ...
    def __call__(self, environ, start_response): ...
async def build_later(): ...
def gives_a_number(): return 7
""",
    "empty.py": "",
    "several.py": "from flask import Flask\none = Flask('one')\ntwo = Flask('two')",
    "views.py": """
from flask import Flask
shop = Flask(__name__)
@shop.get("/")
def home(): return "Hello"
@shop.get("/<name>")
def show(name): return name
""",
    "wants_config.py": "def create_app(config): ...",
    "random.py": "app = None",
    "parent/__init__.py": "",
    "notes.txt": "",
}

FAILURES = [
    # (target, what is said; {folder} is where)
    ("", "'' does not name an app; write module:attribute, such as app:app"),
    (":app", "':app' does not name an app; write module:attribute, such as app:app"),
    ("good:", "'good:' does not name an app; write module:attribute, such as app:app"),
    (".good:app", "'.good:app' does not name an app; write module:attribute, such as app:app"),
    ("a..b:app", "'a..b:app' does not name an app; write module:attribute, such as app:app"),
    ("nosuch:app", "no module named 'nosuch' (looked in {folder} and on sys.path; is --app-dir right?)"),
    ("nosuch", "no module named 'nosuch' (looked in {folder} and on sys.path; is --app-dir right?)"),
    ("nosuch.web:app", "no module named 'nosuch' (looked in {folder} and on sys.path; is --app-dir right?)"),
    (
        "parent.nosuch:app",
        "no module named 'parent.nosuch' (looked in {folder} and on sys.path; is --app-dir right?)",
    ),
    (
        "good.nosuch:app",
        "no module named 'good.nosuch' (looked in {folder} and on sys.path; is --app-dir right?)",
    ),
    ("nosuch.py", "no Python file 'nosuch.py' (looked in {folder})"),
    ("./nosuch", "no Python file './nosuch' (looked in {folder})"),
    ("./notes.txt", "no Python file './notes.txt' (looked in {folder})"),
    (
        "random.py",
        "{folder}/random.py cannot be imported as 'random', for {random} has that name already; "
        "rename the file",
    ),
    ("good:ap", "module 'good' has no attribute 'ap'; it has 'app'"),
    ("good:nosuch", "module 'good' has no attribute 'nosuch'; it has 'app'"),
    ("good:biuld", "module 'good' has no attribute 'biuld'; it has 'app', 'build'"),
    ("good:app.web", "module 'good' has no attribute 'app.web'; it has 'app'"),
    ("several:oen", "module 'several' has no attribute 'oen'; it has 'one', 'two'"),
    ("empty:app", "module 'empty' has no attribute 'app'"),
    ("empty:create_app()", "module 'empty' has no attribute 'create_app'"),
    (
        "empty",
        "module 'empty' has no app: none of app, application, create_app, make_app is in it, "
        "and no single Flask app; say which: empty:attribute",
    ),
    ("several", "module 'several' has several Flask apps, one, two; say which: several:one"),
    ("good:number", "good:number is of type int, which is not callable, and so not an app"),
    ("good:word", "good:word is of type str, which is not callable, and so not an app"),
    ("good:number()", "good:number is of type int, which is not callable, and so not a factory"),
    (
        "good:gives_a_number()",
        "good:gives_a_number() is of type int, which is not callable, and so not an app",
    ),
    ("good:app()", "good:app() calls the app itself; name it without the parentheses and what is in them"),
    ("views:home", "views:home is a view of the Flask app 'shop', not an app; name the app, as views:shop"),
    ("views:show", "views:show is a view of the Flask app 'shop', not an app; name the app, as views:shop"),
    ("good:build()", "good:build(): the factory cannot be called so: missing a required argument: 'name'"),
    (
        "good:build('a', 'b')",
        "good:build('a', 'b'): the factory cannot be called so: too many positional arguments",
    ),
    (
        "good:build('a', test=1)",
        "good:build('a', test=1): the factory cannot be called so: got an unexpected keyword argument 'test'",
    ),
    (
        "wants_config",
        "wants_config:create_app(): the factory cannot be called so: missing a required argument: 'config'",
    ),
    (
        "wants_config:create_app",
        "wants_config:create_app(): the factory cannot be called so: missing a required argument: 'config'",
    ),
    (
        "good:build_later",
        "good:build_later(): the factory is async; it must be a plain function that returns the app",
    ),
    (
        "good:build_later()",
        "good:build_later(): the factory is async; it must be a plain function that returns the app",
    ),
    *(
        (f"good:{call}", f"the arguments in {call!r} must be literals, such as strings or numbers")
        for call in ("build(word)", "build(*'ab')", "build(**{'name': 'a'})", "build({[]: 1})")
    ),
    *(
        (
            f"good:{expression}",
            f"{expression!r} is neither an attribute, such as app, nor a call, such as create_app()",
        )
        for expression in ("app[0]", "app, word", "1", "app or word", "build(", "a b", "class", "app:app")
    ),
    (
        "good:Application",
        "good:Application is a class, not an app; if calling it gives the app, write good:Application()",
    ),
    (
        "good:Configured",
        "good:Configured is a class, not an app; if calling it gives the app, write good:Configured()",
    ),
    *(
        (
            f"good:{name}",
            f"good:{name} is no app: it can be called neither with (environ, start_response), as a WSGI app, "
            "nor with (scope, receive, send), as an ASGI app",
        )
        for name in ("view_of_four", "async_view", "streaming")
    ),
    (
        "good:anything",
        "cannot tell whether good:anything is a WSGI or an ASGI app; "
        "say --interface wsgi or --interface asgi",
    ),
]


def _filled_in(message: str, folder: Path) -> str:
    return message.replace("{folder}", str(folder)).replace("{random}", str(sys.modules["random"].__file__))


@pytest.mark.parametrize(("target", "message"), FAILURES, ids=[case[0] for case in FAILURES])
def test_what_cannot_be_loaded_is_named_in_one_line(project: Project, target: str, message: str) -> None:
    folder = project(BROKEN_FILES)
    with pytest.raises(AppError) as caught:
        load_app(target)
    assert str(caught.value) == _filled_in(message, folder)
    assert not isinstance(caught.value, BrokenAppError)


@pytest.mark.parametrize(
    ("target", "interface", "message"),
    [
        (
            "good:later",
            "wsgi",
            "good:later is async, so it is not what --interface wsgi says it is",
        ),
        (
            "good:app",
            "asgi",
            "good:app cannot be called with (scope, receive, send), "
            "so it is not what --interface asgi says it is",
        ),
        (
            "good:app",
            "asgi2",
            "good:app cannot be called with (scope), so it is not what --interface asgi2 says it is",
        ),
    ],
)
def test_an_interface_that_cannot_be_is_refused(
    project: Project, target: str, interface: Interface, message: str
) -> None:
    project(BROKEN_FILES)
    with pytest.raises(AppError, match=f"^{re.escape(message)}$"):
        load_app(target, interface=interface)


def test_the_folder_that_was_looked_in_is_that_of_the_file(project: Project) -> None:
    folder = project({"web/app.py": "import nosuch"})
    with pytest.raises(BrokenAppError, match="No module named 'nosuch'"):
        load_app("web/app.py")
    assert sys.path[0] == str(folder / "web")


# Apps that break

_RAISE = "raise ValueError('no database')"

BROKEN_APPS: dict[str, tuple[dict[str, str], str, str, list[tuple[str, int]]]] = {
    # (files, target, what is said, file and line of each frame in the report)
    "an import of its own is missing": (
        {"bad.py": "import os\nimport nosuch_package"},
        "bad:app",
        "importing 'bad' failed: ModuleNotFoundError: No module named 'nosuch_package'",
        [("bad.py", 2)],
    ),
    "a module it imports is missing something": (
        {"bad.py": "import os\nfrom os import nosuch"},
        "bad",
        f"importing 'bad' failed: ImportError: cannot import name 'nosuch' from 'os' ({os.__file__})",
        [("bad.py", 2)],
    ),
    "a submodule of its package is missing": (
        {"pack/__init__.py": "", "pack/bad.py": "from pack import nosuch\n"},
        "pack.bad:app",
        "importing 'pack.bad' failed: ImportError: cannot import name 'nosuch' from 'pack' "
        "({folder}/pack/__init__.py)",
        [("pack/bad.py", 1)],
    ),
    "its package breaks": (
        {"pack/__init__.py": "import pack.nosuch", "pack/web.py": ""},
        "pack.web:app",
        "importing 'pack.web' failed: ModuleNotFoundError: No module named 'pack.nosuch'",
        [("pack/__init__.py", 1)],
    ),
    "a module of its own breaks": (
        {"bad.py": "import deep.down\n", "deep/__init__.py": "", "deep/down.py": f"\n\n{_RAISE}"},
        "bad:app",
        "importing 'bad' failed: ValueError: no database",
        [("bad.py", 1), ("deep/down.py", 3)],
    ),
    "one it imports by name breaks": (
        {
            "bad.py": "import importlib\nimportlib.import_module('deep')",
            "deep.py": f"def f():\n    {_RAISE}\nf()",
        },
        "bad:app",
        "importing 'bad' failed: ValueError: no database",
        [("bad.py", 2), ("deep.py", 3), ("deep.py", 2)],
    ),
    "it is not Python": (
        {"bad.py": "app =\n"},
        "bad:app",
        "importing 'bad' failed: SyntaxError: invalid syntax (bad.py, line 1)",
        [],
    ),
    "what it imports is not Python": (
        {"bad.py": "import deep", "deep.py": "\n app = 1"},
        "bad:app",
        "importing 'bad' failed: IndentationError: unexpected indent (deep.py, line 2)",
        [("bad.py", 1)],
    ),
    "it raises": (
        {"bad.py": f"app = None\n{_RAISE}"},
        "bad:app",
        "importing 'bad' failed: ValueError: no database",
        [("bad.py", 2)],
    ),
    "it raises with many lines": (
        {"bad.py": "raise ValueError('\\nno database\\nnor anything else')"},
        "bad:app",
        "importing 'bad' failed: ValueError: no database",
        [("bad.py", 1)],
    ),
    "it raises without a word": (
        {"bad.py": "raise ValueError"},
        "bad:app",
        "importing 'bad' failed: ValueError",
        [("bad.py", 1)],
    ),
    "it exits": (
        {"bad.py": "import sys\nsys.exit('no database')"},
        "bad.py",
        "importing 'bad' failed: SystemExit: no database",
        [("bad.py", 2)],
    ),
    "it raises because of something else": (
        {
            "bad.py": """
try:
    {}["key"]
except KeyError as error:
    raise RuntimeError("no key") from error
"""
        },
        "bad:app",
        "importing 'bad' failed: RuntimeError: no key",
        [("bad.py", 3), ("bad.py", 5)],
    ),
    "it raises several at once": (
        {"bad.py": f"try:\n  {_RAISE}\nexcept ValueError as error:\n  raise ExceptionGroup('all', [error])"},
        "bad:app",
        "importing 'bad' failed: ExceptionGroup: all (1 sub-exception)",
        [("bad.py", 2), ("bad.py", 4), ("bad.py", 2)],
    ),
    "its factory raises": (
        {"bad.py": f"def create_app():\n    {_RAISE}"},
        "bad",
        "bad:create_app() failed: ValueError: no database",
        [("bad.py", 2)],
    ),
    "its factory raises a TypeError": (
        {"bad.py": "def build(name):\n    return len(7)"},
        "bad:build('name')",
        "bad:build('name') failed: TypeError: object of type 'int' has no len()",
        [("bad.py", 2)],
    ),
    "its factory calls another with wrong arguments": (
        {"bad.py": "def build():\n    return inner(1)\ndef inner(): ..."},
        "bad:build",
        "bad:build() failed: TypeError: inner() takes 0 positional arguments but 1 was given",
        [("bad.py", 2)],
    ),
    "its factory exits": (
        {"bad.py": "import sys\ndef create_app():\n    sys.exit(7)"},
        "bad:create_app()",
        "bad:create_app() failed: SystemExit: 7",
        [("bad.py", 3)],
    ),
    "the class that makes it raises": (
        {"bad.py": f"class App:\n    def __init__(self):\n        {_RAISE}"},
        "bad:App()",
        "bad:App() failed: ValueError: no database",
        [("bad.py", 3)],
    ),
}


@pytest.mark.parametrize(
    ("files", "target", "message", "frames"), BROKEN_APPS.values(), ids=BROKEN_APPS.keys()
)
def test_a_broken_app_is_reported_from_its_own_frames_on(
    project: Project, files: dict[str, str], target: str, message: str, frames: list[tuple[str, int]]
) -> None:
    folder = project(files)
    with pytest.raises(BrokenAppError) as caught:
        load_app(target)
    said = str(caught.value)
    assert said == _filled_in(message, folder)
    report = caught.value.report
    assert re.findall(r'File "(.*)", line (\d+), in', report) == [
        (str(folder / file), str(line)) for file, line in frames
    ]
    kind, _, text = said.split(" failed: ")[1].partition(": ")
    assert re.search(rf"^[ |+]*{kind}(: \s*{re.escape(text)})?$|^SyntaxError|^IndentationError", report, re.M)


def test_a_builtin_that_cannot_be_called_so_fails_when_it_is_called(project: Project) -> None:
    # Whether its arguments are right cannot be told before.
    project({"bad.py": "build = max"})
    with pytest.raises(BrokenAppError) as caught:
        load_app("bad:build()")
    assert re.match(r"^bad:build\(\) failed: TypeError: max expected at least 1 argument", str(caught.value))
    assert caught.value.report.startswith("TypeError: max expected")


def test_an_error_of_syntax_is_shown_where_it_is(project: Project) -> None:
    folder = project({"bad.py": "app = 1 +\n"})
    with pytest.raises(BrokenAppError) as caught:
        load_app("bad:app")
    assert caught.value.report == (
        f'  File "{folder}/bad.py", line 1\n    app = 1 +\n             ^\nSyntaxError: invalid syntax\n'
    )


@pytest.mark.parametrize("source", ["raise KeyboardInterrupt", "def create_app(): raise KeyboardInterrupt"])
def test_ctrl_c_goes_through(project: Project, source: str) -> None:
    project({"slow.py": source})
    with pytest.raises(KeyboardInterrupt):
        load_app("slow")


def test_a_module_that_was_broken_can_be_loaded_when_it_is_mended(project: Project) -> None:
    folder = project({"mended.py": "app ="})
    with pytest.raises(BrokenAppError):
        load_app("mended:app")
    (folder / "mended.py").write_text("app = lambda environ, start_response: []")
    assert load_app("mended:app").name == "mended:app"

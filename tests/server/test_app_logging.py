"""Apps that configure logging for themselves, and what the server says all the same."""

import json
import re
from pathlib import Path
from signal import Signals as Signal

import pytest

from tests.server.command import Command, Serving, run, wait_until

PORT = ("--port", "0")

APP = """
import contextlib
import logging.config

from bridge import WSGIToASGI


def configure(**more):
    logging.config.dictConfig({
        "version": 1,
        "handlers": {"app": {"class": "logging.FileHandler", "filename": "app.log"}},
        "root": {"handlers": ["app"], "level": "INFO"},
        **more,
    })


def plain(environ, start_response):
    if environ["PATH_INFO"] == "/configure":
        configure()
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("no such sheep")
    if environ["PATH_INFO"] == "/is-disabled":
        start_response("200 OK", [])
        return [str(logging.getLogger("bridge").disabled).encode()]
    logging.getLogger("sheep").warning("served")
    start_response("200 OK", [])
    return [b"served"]


def create_app():
    configure()
    return plain


@contextlib.asynccontextmanager
async def configuring(app):
    configure()
    yield


@contextlib.asynccontextmanager
async def failing(app):
    configure()
    raise ValueError("no such sheep")
    yield


in_its_lifespan = WSGIToASGI(plain, lifespan=configuring)
in_a_failing_lifespan = WSGIToASGI(plain, lifespan=failing)
"""

INI = """
[loggers]
keys = root
[handlers]
keys = app
[formatters]
keys =
[logger_root]
handlers = app
level = INFO
[handler_app]
class = FileHandler
args = ("app.log",)
"""

MODULES = {
    "app.py": APP,
    "imported.py": "from app import configure, plain as app\nconfigure()\n",
    "by_file.py": "import logging.config\nfrom app import plain as app\n"
    "logging.config.fileConfig('logging.ini')\n",
    "logging.ini": INI,
    "levels.py": "from app import configure, plain as app\n"
    "configure(loggers={'uvicorn.access': {'level': 'ERROR'}})\n",
    "handlers.py": "from app import configure, plain as app\n"
    "configure(loggers={'bridge': {'handlers': ['app']}})\n",
    "one.py": "import logging\nfrom app import plain as app\n"
    "logging.getLogger('uvicorn.access').disabled = True\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
    return tmp_path


SILENCING = [
    ["imported:app"],
    ["imported:app", "--workers", "2"],
    ["imported:app", "--reload"],
    ["by_file:app"],
    ["app:create_app()"],
    ["app:in_its_lifespan"],
]


@pytest.mark.parametrize("typed", SILENCING, ids=[" ".join(typed) for typed in SILENCING])
def test_an_app_that_configures_logging_does_not_silence_the_server(folder: Path, typed: list[str]) -> None:
    with Serving(*typed, *PORT, cwd=folder) as serving:
        serving.wait_for(r"^INFO: +W\S+ app '\S+' · adapter bridge|^INFO: +ASGI app '\S+' · served as it is")
        serving.wait_for("^INFO: +Application startup complete")
        assert serving.get("/").text == "served"
        assert serving.get("/fail").status == 500
        serving.wait_for("^ERROR: +GET /fail: the app raised ValueError")
        serving.wait_for("^ValueError: no such sheep$")
        serving.wait_for_access_log(r'^INFO: .*"GET / HTTP/1\.1" 200')
    assert "served" in (folder / "app.log").read_text()  # and the app has what it asked for


def test_nor_does_one_that_does_so_in_a_request(folder: Path) -> None:
    with Serving("app:plain", *PORT, cwd=folder) as serving:
        assert serving.get("/configure").status == 200
        wait_until(lambda: serving.get("/is-disabled").text == "False", "the server has noticed")
        assert serving.get("/fail").status == 500
        serving.wait_for("^ValueError: no such sheep$")
        serving.wait_for_access_log("GET /fail")


def test_a_lifespan_that_fails_is_told_of(folder: Path) -> None:
    code, _, err = run("serve", "app:in_a_failing_lifespan", *PORT, cwd=folder)
    assert code == 3
    assert re.search("^ERROR: .*ValueError: no such sheep$", err, re.MULTILINE)
    assert re.search(r"^ERROR: +Application startup failed\. Exiting\.$", err, re.MULTILINE)


def test_a_logger_that_the_app_names_is_as_it_says(folder: Path) -> None:
    with Serving("levels:app", *PORT, cwd=folder) as serving:
        assert serving.get("/").text == "served"
        assert serving.get("/fail").status == 500
        serving.wait_for("^ValueError: no such sheep$")
    assert serving.stdout == ""


def test_the_servers_messages_may_go_to_the_apps_handlers(folder: Path) -> None:
    with Command("serve", "handlers:app", *PORT, cwd=folder) as command:
        command.wait_for("Application startup complete")
        command.signal(Signal.SIGTERM)
        assert command.finish() == 0
    assert "Ctrl-C to stop" not in command.stderr
    assert "Ctrl-C to stop" in (folder / "app.log").read_text()


def test_a_logger_that_the_app_disables_stays_disabled(folder: Path) -> None:
    with Serving("one:app", *PORT, cwd=folder) as serving:
        assert serving.get("/").text == "served"
        assert serving.get("/fail").status == 500
        serving.wait_for("^ValueError: no such sheep$")
    assert serving.stdout == ""


def test_a_file_of_logging_need_not_name_the_servers_loggers(folder: Path) -> None:
    """`--log-config` is uvicorn's option, for files that were written for uvicorn."""
    handlers = {
        "console": {"class": "logging.StreamHandler", "formatter": "short"},
        # Closed when the app configures logging; it opens its file again.
        "file": {"class": "logging.FileHandler", "filename": "server.log"},
    }
    config = {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s: %(message)s"}},
        "handlers": handlers,
        "root": {"level": "INFO", "handlers": ["console"]},
        "loggers": {"uvicorn": {"handlers": ["file"]}},
    }
    (folder / "logging.json").write_text(json.dumps(config))
    with Command("serve", "app:create_app()", *PORT, "--log-config", "logging.json", cwd=folder) as command:
        wait_until(lambda: "startup complete" in _text(folder / "server.log"), "uvicorn's messages")
        wait_until(lambda: "Ctrl-C to stop" in _text(folder / "app.log"), "Bridge's, which are the root's")
        command.signal(Signal.SIGTERM)
        assert command.finish() == 0


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""

"""`bridge.serve`: the server in a program that goes on after it."""

import asyncio
import multiprocessing
import signal
import socket
import threading
import typing
import urllib.request
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

import bridge
from bridge.errors import BridgeError
from bridge.flask import Bridge
from bridge.loading import BrokenAppError
from bridge.server.options import GROUPS, SettingsError, setting_parameters
from bridge.server.program import Settings
from bridge.server.settings import CLUSTER
from tests.server.command import Command, Serving

# Leaves the logging of the tests as it is.
QUIET: dict[str, Any] = {"version": 1, "incremental": True}

PROGRAM = """
import gc
import signal
import bridge
from shop import app

if __name__ == "__main__":
    mine = lambda number, frame: None
    signal.signal(signal.SIGTERM, mine)
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    {call}
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() <= frozen
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print("went on")
"""

SHOP = """
from flask import Flask
app = Flask("shop")
app.add_url_rule("/", view_func=lambda: "the shop")
"""


def serving(folder: Path, call: str) -> Serving:
    """A program that has made a call; it ends with what it says afterwards."""
    (folder / "shop.py").write_text(SHOP)
    (folder / "program.py").write_text(PROGRAM.format(call=call))
    return Serving(cwd=folder, python=["program.py"])


# The names and types


def kind_of(parameter: click.Parameter) -> object:
    """The type that a program's value of a setting has."""
    kinds = {"integer": int, "integer range": int, "float": float, "float range": float, "boolean": bool}
    kind: Any = kinds.get(parameter.type.name, str)
    if isinstance(parameter.type, click.Choice):
        kind = typing.Literal[tuple(parameter.type.choices)]
    return list[kind] if isinstance(parameter, click.Option) and parameter.multiple else kind


def test_the_settings_are_those_of_the_command() -> None:
    others = {"app", "config", *GROUPS[CLUSTER]}
    parameters = {each.name: each for each in setting_parameters() if each.name not in others}
    expected = {name: kind_of(parameter) for name, parameter in parameters.items()}
    found = typing.get_type_hints(Settings)
    assert found.pop("log_config") == str | dict[str, Any]
    del expected["log_config"]
    assert found == expected


# Served


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "call",
    [
        "bridge.serve(app, port=0)",
        "bridge.serve('shop:app', port=0, threads=3)",
        "bridge.serve(app=lambda environ, start_response: app(environ, start_response), port=0)",
        "bridge.serve('shop:app', bind=['127.0.0.1:0', 'unix:shop.sock'])",
        "bridge.serve('shop:app', port=0, workers=2)",
        "bridge.serve('shop:app', port=0, reload=True)",
    ],
)
def test_a_program_goes_on_after_a_signal(tmp_path: Path, call: str, number: signal.Signals) -> None:
    with serving(tmp_path, call) as server:
        assert server.get("/").text == "the shop"
        server.signal(number)
        assert server.finish() == 0
        assert server.stdout.splitlines()[-1] == "went on"


def test_neither_variables_nor_files_set_anything(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text("threads = 5")
    (tmp_path / ".env").write_text("BRIDGE_STREAMS=wrong")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "program.py").write_text(PROGRAM.format(call="bridge.serve('shop:app', port=0)"))
    variables = {"BRIDGE_THREADS": "6", "UVICORN_PORT": "wrong", "WEB_CONCURRENCY": "2", "SCRIPT_NAME": "/x"}
    with Serving(cwd=tmp_path, python=["program.py"], env=variables) as server:
        server.wait_for("40 threads")
        assert server.get("/").status == 200
        assert server.get("/x/").status == 404


def test_a_worker_that_imports_an_unguarded_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "program.py").write_text("import bridge\nbridge.serve('shop:app', port=0, workers=2)")
    with Command(cwd=tmp_path, python=["program.py"]) as server:
        server.wait_for(r"it imports this program first; call it under `if __name__ == \"__main__\":`")
        assert server.finish() == 1
        assert "BridgeError: the server could not start (exit code 3); its log says why" in server.stderr


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number: int = taken.getsockname()[1]
    return number


def test_another_thread_ends_it(port: int) -> None:
    app = Flask(__name__)
    stop, serves, ended = threading.Event(), threading.Event(), threading.Event()
    extension = Bridge(app)
    extension.on_startup(serves.set)
    extension.on_shutdown(ended.set)
    app.add_url_rule("/", view_func=lambda: threading.current_thread().name)
    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(
        target=bridge.serve,
        args=(app,),
        kwargs={"port": port, "stop": stop, "log_config": QUIET},
    )
    thread.start()
    try:
        assert serves.wait(10)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read().startswith(b"bridge")
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        stop.set()
        thread.join(10)
    assert ended.is_set()


# What is wrong


def no_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown": (
        no_app,
        {"thread": 3},
        "bridge.serve(): there is no setting 'thread'; did you mean 'threads'?",
    ),
    "unknown, of two words": (
        no_app,
        {"timeout_reqest": 3},
        "bridge.serve(): there is no setting 'timeout_reqest'; did you mean 'timeout_request'?",
    ),
    "text": (no_app, {"threads": "3"}, "bridge.serve(): 'threads' must be an integer; it is a string: '3'"),
    "another type": (
        no_app,
        {"port": b"80"},
        "bridge.serve(): 'port' must be an integer; it is a bytes: b'80'",
    ),
    "none": (no_app, {"port": None}, "bridge.serve(): 'port' must be an integer; it is a NoneType: None"),
    "too small": (no_app, {"threads": 0}, "bridge.serve(): 'threads': 0 is not in the range x>=1"),
    "one for several": (
        no_app,
        {"bind": ":80"},
        "bridge.serve(): 'bind' must be a list of strings; it is a string: ':80'",
    ),
    "contradiction": (
        "shop:app",
        {"bind": [":80"], "port": 80},
        "--bind and --port exclude each other: both say where to listen; leave one of them out",
    ),
    "no app": (3, {"port": 0}, "int is of type int, which is not callable, and so not an app"),
    "no module": ("no_shop:app", {"port": 0}, "no module named 'no_shop'"),
    "empty": ("", {"port": 0}, "'' does not name an app"),
    "workers of an object": (no_app, {"workers": 2}, "workers=2 starts processes that load the app"),
    "debug of an object": (no_app, {"debug": True}, "debug=True starts processes that load the app"),
    "a limit of an object": (
        no_app,
        {"limit_max_requests": 9},
        "limit_max_requests=9 starts processes that load the app",
    ),
    "workers that cannot be stopped": (
        "shop:app",
        {"workers": 2, "stop": threading.Event()},
        "workers=2 starts processes, which signals end, and not `stop`",
    ),
}


@pytest.mark.parametrize(("app", "settings", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_an_error(app: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BridgeError) as caught:
        bridge.serve(app, log_config=QUIET, **settings)
    assert str(caught.value).startswith(message)


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BridgeError, match=f"127.0.0.1.*:{port} is taken by another process"):
            bridge.serve(no_app, port=port, log_config=QUIET)


def test_a_wrong_setting_is_a_settings_error() -> None:
    with pytest.raises(SettingsError):
        bridge.serve(no_app, threads=0)


def test_an_app_that_fails_when_it_is_loaded_is_the_cause() -> None:
    def create_app() -> Flask:
        raise KeyError("SECRET")

    with pytest.raises(BrokenAppError) as caught:
        bridge.serve(create_app, port=0, log_config=QUIET)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_lifespan_that_fails_is_an_error() -> None:
    app = Flask(__name__)

    @Bridge(app).on_startup
    def fail() -> None:
        raise KeyError("SECRET")

    with pytest.raises(BridgeError, match="the server could not start"):
        bridge.serve(app, port=0, log_config=QUIET)


def test_in_another_thread_it_needs_something_to_end_it() -> None:
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            bridge.serve(no_app, port=0)
        except BridgeError as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert "outside the main thread" in str(errors[0])


async def test_a_running_loop_is_in_the_way() -> None:
    assert asyncio.get_running_loop()
    with pytest.raises(BridgeError, match="one runs in this thread already"):
        bridge.serve(no_app, port=0)


def serve_no_app(port: int) -> None:
    bridge.serve(no_app, port=port, log_config=QUIET)


def test_it_serves_in_a_process_of_multiprocessing(port: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=serve_no_app, args=(port,))
    process.start()
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
                break
            except ConnectionRefusedError:
                process.join(0.1)
        process.terminate()
        process.join(10)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()

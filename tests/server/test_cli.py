"""The command line: what it takes, and that uvicorn's own options do here what they do there."""

import inspect
import json
import logging
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import uvicorn
from click.testing import CliRunner
from uvicorn.main import main as uvicorn_command

from bridge import __version__
from bridge.server.cli import bridge, make_config
from bridge.server.serving import ServeConfig
from tests.server.command import run, without

serve_command = bridge.commands["serve"]

# Handled here: what to serve, and the versions.
OURS = {"app", "app_dir", "factory", "interface", "version"}

OPTIONS = {parameter.name: parameter for parameter in uvicorn_command.params if parameter.name is not None}


@pytest.fixture(autouse=True)
def logging_left_alone() -> Iterator[None]:
    """A configuration sets logging up for its process, which here is that of all the tests."""
    names = ("bridge", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def configured(*arguments: str) -> ServeConfig:
    """The configuration that a command line makes."""
    context = serve_command.make_context("serve", ["nosuch:app", *arguments])
    options = dict(context.params)
    return make_config(options.pop("app"), options)


# uvicorn's options


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_uvicorn_is_here(name: str) -> None:
    theirs = OPTIONS[name]
    ours = {parameter.name: parameter for parameter in serve_command.params}
    assert name in ours or name == "version"
    if name not in OURS:
        assert ours[name].opts == theirs.opts
        assert ours[name].secondary_opts == theirs.secondary_opts
        assert ours[name].type is theirs.type
        assert (ours[name].multiple, ours[name].nargs) == (theirs.multiple, theirs.nargs)
        assert name == "timeout_graceful_shutdown" or ours[name].default == theirs.default


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - OURS))
def test_every_option_of_uvicorn_is_an_argument_of_its_configuration(name: str) -> None:
    assert name in inspect.signature(uvicorn.Config).parameters


@pytest.fixture
def some_file(tmp_path: Path) -> Path:
    """One that can be a logging configuration, a set of variables, a certificate."""
    file = tmp_path / "some.json"
    file.write_text(json.dumps({"version": 1, "disable_existing_loggers": False}))
    return file


def _given(option: click.Option, file: Path) -> list[str]:
    """An option and a value that is not its default, as they are typed."""
    if option.is_flag:
        return [*(option.secondary_opts if option.default else option.opts)]
    if isinstance(option.type, click.Choice):
        values = [str(choice) for choice in option.type.choices]
        return [option.opts[0], values[-1] if values[-1] != option.default else values[0]]
    if isinstance(option.type, click.Path):
        return [option.opts[0], str(file.parent if option.name == "reload_dirs" else file)]
    by_type = {"integer": "7", "float": "1.5", "boolean": "false", "text": "X-Some:text"}
    return [option.opts[0], by_type[option.type.name]]


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - OURS))
@pytest.mark.filterwarnings("ignore::UserWarning")  # uvicorn's, of options that it deprecates
def test_every_option_of_uvicorn_arrives(name: str, some_file: Path) -> None:
    option = OPTIONS[name]
    assert isinstance(option, click.Option)
    typed = _given(option, some_file)
    context = uvicorn_command.make_context("uvicorn", ["nosuch:app", *typed])
    theirs = context.params[name]
    assert theirs != option.get_default(context)
    if name == "env_file":
        return  # it is read, and not kept; see test_serve.py
    if name.startswith("reload_"):
        typed.append("--reload")
    arrived = getattr(configured(*typed), name)
    if name == "headers":
        assert arrived == [("X-Some", "text")]
    elif name == "reload_dirs":
        assert arrived == [some_file.parent]
    elif isinstance(theirs, tuple):
        assert set(theirs) <= set(arrived)
    else:
        assert arrived == theirs


def test_without_options_it_is_configured_as_uvicorn() -> None:
    ours, theirs = vars(configured()), vars(uvicorn.Config("nosuch:app"))
    different = {name for name, value in theirs.items() if ours[name] != value}
    # The app is loaded our way; Bridge logs where uvicorn does; a stop has an end.
    assert different == {"factory", "interface", "log_config", "timeout_graceful_shutdown"}
    assert ours["timeout_graceful_shutdown"] == 25


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ([], "target", "nosuch:app"),
        ([], "factory", False),
        (["--factory"], "factory", True),
        ([], "interface", None),
        (["--interface", "auto"], "interface", None),
        (["--interface", "wsgi"], "interface", "wsgi"),
        (["--interface", "asgi"], "interface", "asgi"),
        (["--interface", "asgi3"], "interface", "asgi"),
        (["--interface", "asgi2"], "interface", "asgi2"),
        ([], "adapter", "bridge"),
        (["--adapter", "a2wsgi"], "adapter", "a2wsgi"),
        (["--adapter", "asgiref"], "adapter", "asgiref"),
        ([], "threads", 40),
        (["--threads", "3"], "threads", 3),
        ([], "streams", 1000),
        (["--streams", "0"], "streams", 0),
    ],
)
def test_our_own_settings_arrive(typed: list[str], name: str, value: object) -> None:
    assert getattr(configured(*typed).settings, name) == value


# Variables


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("UVICORN_PORT", "9000", "port", 9000),
        ("UVICORN_HOST", "::1", "host", "::1"),
        ("UVICORN_WORKERS", "3", "workers", 3),
        ("UVICORN_LOG_LEVEL", "error", "log_level", "error"),
        ("UVICORN_ACCESS_LOG", "0", "access_log", False),
        ("UVICORN_RELOAD", "true", "reload", True),
        ("UVICORN_HEADERS", "X-One:1 X-Two:2", "headers", [("X-One", "1"), ("X-Two", "2")]),
        ("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN", "7", "timeout_graceful_shutdown", 7),
        ("WEB_CONCURRENCY", "3", "workers", 3),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1", "forwarded_allow_ips", "10.0.0.1"),
    ],
)
def test_variables_mean_what_they_mean_to_uvicorn(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, expected: object
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(configured(), name) == expected


def test_what_is_typed_comes_before_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_PORT", "9000")
    assert configured("--port", "9001").port == 9001


def test_what_to_serve_may_be_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_APP", "shop:app")
    monkeypatch.setenv("UVICORN_INTERFACE", "wsgi")
    monkeypatch.setenv("UVICORN_FACTORY", "1")
    options = dict(serve_command.make_context("serve", []).params)
    settings = make_config(options.pop("app"), options).settings
    assert (settings.target, settings.interface, settings.factory) == ("shop:app", "wsgi", True)


# What is typed


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["serve", "--nosuch"], "--nosuch"),
        (["serve", "app:app", "app:other"], "Got unexpected extra argument (app:other)"),
        (["serve", "--port", "http"], "Invalid value for '--port': 'http' is not a valid integer."),
        (["serve", "--threads", "0"], "Invalid value for '--threads': 0 is not in the range x>=1."),
        (["serve", "--streams", "-1"], "Invalid value for '--streams': -1 is not in the range x>=0."),
        (
            ["serve", "app:app", "--header", "X-A"],
            "Invalid value for --header: 'X-A' is not of the form Name:Value",
        ),
        (["nosuch"], "No such command 'nosuch'."),
    ],
)
def test_what_is_typed_wrong_is_named(typed: list[str], message: str) -> None:
    result = CliRunner().invoke(bridge, typed)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("typed", [["--version"], ["serve", "--version"]])
def test_the_versions_are_told(typed: list[str]) -> None:
    result = CliRunner().invoke(bridge, typed)
    assert result.exit_code == 0
    python = ".".join(map(str, sys.version_info[:3]))
    assert result.output == f"bridge {__version__}, uvicorn {version('uvicorn')}, Python {python}\n"


def test_help_has_every_option_and_its_default() -> None:
    result = CliRunner().invoke(bridge, ["serve", "--help"])
    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    assert shown.startswith("Usage: bridge serve [OPTIONS] [APP] Serve APP: module:attribute, ")
    for parameter in uvicorn_command.params:
        if isinstance(parameter, click.Option):
            assert re.search(rf"{re.escape(parameter.opts[0])}\b", shown), parameter.name
    for ours in (
        "--interface [auto|wsgi|asgi|asgi3|asgi2]",
        "--adapter [bridge|a2wsgi|asgiref]",
        "--threads INTEGER RANGE",
        "--streams INTEGER RANGE",
        "Maximum number of seconds to wait for graceful shutdown. [default: 25]",
    ):
        assert ours in shown


def test_help_says_what_there_is() -> None:
    result = CliRunner().invoke(bridge, ["--help"])
    assert result.exit_code == 0
    assert re.search(r"^ +serve +Serve APP: module:attribute", result.output, re.MULTILINE)


# The process


@pytest.mark.parametrize(
    "python",
    [
        ("-m", "bridge"),
        (str(Path(sys.executable).with_name("bridge")),),
    ],
    ids=["python -m bridge", "bridge"],
)
def test_it_is_a_command(tmp_path: Path, python: tuple[str, ...]) -> None:
    code, out, err = run("--version", cwd=tmp_path, python=python)
    assert (code, err) == (0, "")
    assert out.startswith(f"bridge {__version__}, uvicorn ")
    code, out, _ = run("serve", "--nosuch", cwd=tmp_path, python=python)
    assert (code, out) == (2, "")


@pytest.mark.parametrize("missing", ["click", "uvicorn"])
def test_it_says_what_to_install(tmp_path: Path, missing: str) -> None:
    code, out, err = run("serve", "app:app", cwd=tmp_path, python=without(missing))
    assert (code, out) == (1, "")
    assert err == (
        f"bridge: the command needs {missing}, which is not installed: pip install 'bridge[serve]'\n"
    )


def test_what_else_is_missing_is_not_hidden(tmp_path: Path) -> None:
    code, _, err = run("--version", cwd=tmp_path, python=without("uvicorn.importer"))
    assert code == 1
    assert "ModuleNotFoundError" in err
    assert "pip install" not in err

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
from bridge.command import bridge
from bridge.server.cli import make_config
from bridge.server.options import GROUPS, SettingsCommand, setting_parameters
from bridge.server.serving import ServeConfig
from bridge.version import DISTRIBUTION
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
        assert name == "workers" or ours[name].type is theirs.type
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
    if option.name in ("health_live", "health_ready"):
        return [option.opts[0], "/some"]
    if option.name == "uds_mode":
        return [option.opts[0], "660"]
    if option.name == "mount":
        return [option.opts[0], "/some=api:app"]
    if option.name == "root_path":
        return [option.opts[0], "/some"]
    if option.name == "replicas":
        return [option.opts[0], "2..20"]
    by_type = {"integer": "7", "float": "1.5", "boolean": "false", "text": "X-Some:text"}
    return [option.opts[0], by_type[option.type.name.removesuffix(" range")]]


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
        ([], "websockets", 1000),
        (["--websockets", "0"], "websockets", 0),
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
        (["serve", "--workers=-1"], "Invalid value for '--workers': -1 is not in the range x>=1."),
        (["serve", "--streams", "-1"], "Invalid value for '--streams': -1 is not in the range x>=0."),
        (
            ["serve", "app:app", "--header", "X-A"],
            "Invalid value for '--header': 'X-A' is not of the form Name:Value",
        ),
        (["nosuch"], "No such command 'nosuch'."),
        (["shop:app", "--port=1"], "'shop:app'; did you mean: bridge serve shop:app --port=1\n"),
        (["./shop.py"], "'./shop.py'; did you mean: bridge serve ./shop.py\n"),
        (["run", "shop:app"], "'run'; did you mean: bridge serve shop:app\n"),
        (["help"], "'help'; did you mean: bridge --help\n"),
        (["help", "serve"], "'help'; did you mean: bridge serve --help\n"),
        (["--port", "1", "shop:app"], "follow the command; did you mean: bridge serve --port 1 shop:app\n"),
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
    parts = ["uvicorn", "uvloop", "flask", "werkzeug", "asgiref", "greenlet"]
    versions = [f"{part} {version(part)}" for part in parts]
    python = ".".join(map(str, sys.version_info[:3]))
    assert result.output == ", ".join([f"bridge {__version__}", *versions, f"Python {python}"]) + "\n"


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
        "--websockets INTEGER RANGE",
        "2 for functions of atexit. [default: (25; 1 with --reload or --debug)]",
    ):
        assert ours in shown


@pytest.mark.parametrize("typed", [(), ("serve",), ("trace",), ("completion",)])
def test_help_has_a_short_name(tmp_path: Path, typed: tuple[str, ...]) -> None:
    code, out, err = run(*typed, "-h", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert re.search(r"^Usage: .*\n(.*\n)+ +-h, --help +Show this message and exit.$", out, re.MULTILINE)


def test_help_says_what_there_is() -> None:
    result = CliRunner().invoke(bridge, ["--help"])
    assert result.exit_code == 0
    assert re.search(r"^ +serve +Serve an app, WSGI or ASGI\.$", result.output, re.MULTILINE)
    commands = re.findall(r"^ +\w+ +[A-Z].*$", result.output.partition("Commands:\n")[2], re.MULTILINE)
    assert len(commands) == len(bridge.list_commands(click.Context(bridge)))
    assert [line for line in commands if not line.endswith(".") or line.endswith("..")] == []
    assert re.search(r"^ +config +Show the settings in force", result.output, re.MULTILINE)
    assert "echo 'eval \"$(bridge completion bash)\"' >> ~/.bashrc\n" in result.output


def help_in_groups(command: click.Command) -> dict[str, list[str]]:
    """The options that `--help` shows, by the titles they stand under."""
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    groups: dict[str, list[str]] = {}
    for line in result.output.splitlines():
        title = re.fullmatch(r"(\S.*):", line)
        option = re.match(r"  (?:-\w, )?(--[\w-]+)", line)
        if title:
            shown = groups.setdefault(title[1], [])
        elif option:
            shown.append(option[1])
    return groups


def test_help_has_each_option_once_in_a_group() -> None:
    groups = help_in_groups(serve_command)
    assert list(groups) == [*GROUPS, "Other"]
    shown = [option for options in groups.values() for option in options]
    known = [each.opts[0] for each in serve_command.params if isinstance(each, click.Option)]
    assert sorted(shown) == sorted([*known, "--help"])
    assert "--threads" in groups["Workers and threads"]
    assert {option.split("-")[2] for option in groups["TLS"]} == {"ssl"}
    # A new option of uvicorn's would be here, and is better given a place.
    other = {option for option in groups["Other"] if not option.startswith(("--ws", "--http"))}
    assert other == {"--server-header", "--date-header", "--header", "--config", "--version", "--help"}


def test_groups_name_each_option_once_and_no_others() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= {each.name for each in serve_command.params}


def test_help_shows_an_option_that_has_no_group_under_other() -> None:
    command = SettingsCommand("some", params=[*setting_parameters(), click.Option(["--brand-new"])])
    assert "--brand-new" in help_in_groups(command)["Other"]


# Settings: flag, variable, file, default


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_force(*typed: str) -> dict[str, tuple[object, str]]:
    """What `bridge config` says of each setting: its value and its source."""
    result = CliRunner().invoke(bridge, ["config", "--json", *typed])
    assert (result.exit_code, result.stderr) == (0, "")
    return {key: (row["value"], row["source"]) for key, row in json.loads(result.stdout).items()}


FILE = {"bridge.toml": "# ours\nthreads = 5\n"}
PROJECT = {"pyproject.toml": "[tool.bridge]\nthreads = 6\n"}


@pytest.mark.parametrize(
    ("typed", "variables", "files", "threads", "source"),
    [
        ([], {}, {}, 40, "default"),
        ([], {}, PROJECT, 6, "pyproject.toml"),
        ([], {}, FILE | PROJECT, 5, "bridge.toml"),
        ([], {"BRIDGE_THREADS": "4"}, FILE | PROJECT, 4, "BRIDGE_THREADS"),
        ([], {"BRIDGE_THREADS": ""}, FILE, 5, "bridge.toml"),
        (["--threads", "3"], {"BRIDGE_THREADS": "4"}, FILE | PROJECT, 3, "flag"),
        (["--threads", "40"], {}, FILE, 40, "flag"),
        (["--config", "other.toml"], {}, FILE | {"other.toml": "threads = 7"}, 7, "other.toml"),
        (["--config", "pyproject.toml"], {}, FILE | PROJECT, 6, "pyproject.toml"),
        (["--config", "other.toml"], {}, FILE | {"other.toml": ""}, 40, "default"),
        ([], {"BRIDGE_CONFIG": "other.toml"}, FILE | {"other.toml": "threads = 7"}, 7, "other.toml"),
    ],
)
def test_the_strongest_word_holds(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: list[str],
    variables: dict[str, str],
    files: dict[str, str],
    threads: int,
    source: str,
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert in_force(*typed)["threads"] == (threads, source)
    assert configured(*typed).settings.threads == threads


@pytest.mark.parametrize(
    ("variables", "key", "value", "source"),
    [
        ({"BRIDGE_PORT": "1", "UVICORN_PORT": "2"}, "port", 1, "BRIDGE_PORT"),
        ({"UVICORN_PORT": "2"}, "port", 2, "UVICORN_PORT"),
        ({"WEB_CONCURRENCY": "3"}, "workers", 3, "WEB_CONCURRENCY"),
        ({"UVICORN_WORKERS": "2", "WEB_CONCURRENCY": "3"}, "workers", 2, "UVICORN_WORKERS"),
        ({"FORWARDED_ALLOW_IPS": "*"}, "forwarded-allow-ips", "*", "FORWARDED_ALLOW_IPS"),
        ({"SCRIPT_NAME": "/shop"}, "root-path", "/shop", "SCRIPT_NAME"),
        ({"UVICORN_ROOT_PATH": "/a", "SCRIPT_NAME": "/b"}, "root-path", "/a", "UVICORN_ROOT_PATH"),
        ({"BRIDGE_APP": "shop:app"}, "app", "shop:app", "BRIDGE_APP"),
        ({"BRIDGE_SETTLE_GC": "no"}, "settle-gc", False, "BRIDGE_SETTLE_GC"),
        ({"BRIDGE_HEADER": "A:1 B:2"}, "header", ["A:1", "B:2"], "BRIDGE_HEADER"),
        ({"BRIDGE_HEADERS": "A:1"}, "header", ["A:1"], "BRIDGE_HEADERS"),
        ({"BRIDGE_SSL_KEYFILE_PASSWORD": "x"}, "ssl-keyfile-password", "***", "BRIDGE_SSL_KEYFILE_PASSWORD"),
    ],
)
def test_variables_of_ours_come_first(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    key: str,
    value: object,
    source: str,
) -> None:
    (folder / "bridge.toml").write_text("workers = 9\nport = 9\nforwarded-allow-ips = '9'\n")
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert in_force()[key] == (value, source)


@pytest.mark.parametrize(
    "option", [each for each in serve_command.params if each.expose_value], ids=lambda each: str(each.name)
)
def test_every_setting_may_come_from_anywhere(
    folder: Path, option: click.Parameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed, in a variable, and in a file it means the same, and not what it is by default."""
    (folder / "some.json").write_text("{}")
    if isinstance(option, click.Option):
        typed = _given(option, folder / "some.json")
        is_text = option.type.name in ("text", "choice", "path", "file", "directory")
        value = typed[-1]
        if option.is_flag:
            value = "false" if option.default else "true"
        in_file = json.dumps(value) if is_text else value
        key = option.opts[0].removeprefix("--")
    else:
        key, typed, value, in_file = "app", ["X-Some:text"], "X-Some:text", '"X-Some:text"'
    by_default = serve_command.make_context("serve", []).params
    (folder / "bridge.toml").write_text(f"{key} = {f'[{in_file}]' if option.multiple else in_file}\n")
    from_file = serve_command.make_context("serve", []).params
    (folder / "bridge.toml").unlink()
    monkeypatch.setenv(f"BRIDGE_{key.replace('-', '_').upper()}", value)
    from_variable = serve_command.make_context("serve", []).params
    monkeypatch.undo()
    from_flag = serve_command.make_context("serve", typed).params
    assert from_flag != by_default
    assert (from_file, from_variable) == (from_flag, from_flag)


@pytest.mark.parametrize("command", ["serve", "config", "routes", "check"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\nthread = 3", "bridge.toml: there is no setting 'thread'; did you mean 'threads'?"),
        ("threads = 'many'", "bridge.toml: 'threads' must be an integer; it is a string: 'many'"),
        ("threads = 0", "bridge.toml: 'threads': 0 is not in the range x>=1"),
        ("log-config = 'nosuch'", "bridge.toml: 'log-config': Path 'nosuch' does not exist"),
        ("header = ['X']", "bridge.toml: 'header': 'X' is not of the form Name:Value"),
        (
            "config = 'a'",
            "bridge.toml: there is no setting 'config'; did you mean 'log-config'?",
        ),
        ("version = true", "bridge.toml: there is no setting 'version'; did you mean 'ssl-version'?"),
        ("threads =", "bridge.toml is not TOML: Invalid value (at end of document)"),
    ],
)
def test_what_a_file_has_wrong_is_named(folder: Path, command: str, text: str, message: str) -> None:
    (folder / "bridge.toml").write_text(text)
    result = CliRunner().invoke(bridge, [command, "nosuch:app"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"bridge: {message}\n")


def test_a_file_that_is_typed_and_not_there_is_named(folder: Path) -> None:
    result = CliRunner().invoke(bridge, ["serve", "--config", "nosuch.toml"])
    assert result.exit_code == 3
    assert result.stderr == "bridge: cannot read the settings in nosuch.toml: No such file or directory\n"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BRIDGE_THREADS", "0", "BRIDGE_THREADS in the environment: 0 is not in the range x>=1."),
        ("UVICORN_PORT", "http", "UVICORN_PORT in the environment: 'http' is not a valid integer."),
        ("BRIDGE_HEADERS", "X", "BRIDGE_HEADERS in the environment: 'X' is not of the form Name:Value"),
    ],
)
def test_what_a_variable_has_wrong_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = CliRunner().invoke(bridge, ["serve", "nosuch:app"])
    assert result.exit_code == 2
    assert f"Error: Invalid value for {message}\n" in result.stderr


def test_a_wrong_file_keeps_nobody_from_reading_help(folder: Path) -> None:
    (folder / "bridge.toml").write_text("thread = 3")
    assert CliRunner().invoke(bridge, ["serve", "--help"]).exit_code == 0
    assert CliRunner().invoke(bridge, ["serve", "--version"]).exit_code == 0


# What is in force


def test_config_shows_what_was_said_before_what_was_not(folder: Path) -> None:
    (folder / "bridge.toml").write_text(
        "app = 'shop:app'\nuds = 'ä sock'\nheader = [\n'A: 1',\n]\nssl-keyfile-password = 'geheim'\n"
    )
    result = CliRunner().invoke(bridge, ["config", "--no-access-log"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [re.split("  +", line) for line in result.stdout.splitlines()]
    assert lines[:6] == [
        ["app", '"shop:app"', "bridge.toml"],
        ["uds", '"ä sock"', "bridge.toml"],
        ["ssl-keyfile-password", '"***"', "bridge.toml"],
        ["access-log", "false", "flag"],
        ["header", '["A: 1"]', "bridge.toml"],
        ["app-dir", "the current one", "default"],
    ]
    assert {source for _, _, source in lines[5:]} == {"default"}
    settings = {each.name for each in serve_command.params if each.expose_value}
    assert len(lines) == len(settings)
    assert ["fd", "-", "default"] in lines
    assert ["limit-request-body", "any number", "default"] in lines
    assert ["log-level", "info", "default"] in lines


def test_config_may_show_what_was_changed_alone(folder: Path) -> None:
    (folder / "bridge.toml").write_text("threads = 3")
    assert in_force("--changed", "--port", "1") == {"threads": (3, "bridge.toml"), "port": (1, "flag")}
    result = CliRunner().invoke(bridge, ["config", "--changed", "--port", "1"])
    assert result.stdout.split() == ["threads", "3", "bridge.toml", "port", "1", "flag"]


@pytest.mark.parametrize("key", ["workers", "forwarded-allow-ips"])
def test_config_knows_the_defaults_that_uvicorn_has_elsewhere(folder: Path, key: str) -> None:
    assert in_force()[key] == (getattr(configured(), key.replace("-", "_")), "default")


@pytest.mark.parametrize(
    ("files", "variable", "typed", "expected"),
    [
        ({}, None, [], (None, "default")),
        ({}, None, ["a:b"], ("a:b", "flag")),
        ({"app.py": ""}, None, [], ("app.py", "found")),
        ({"app.py": ""}, "shop", [], ("shop", "FLASK_APP")),
        ({"app.py": "", "bridge.toml": "app = 'a:c'"}, "shop", [], ("a:c", "bridge.toml")),
        ({"sub/wsgi.py": ""}, None, ["--app-dir", "sub"], ("sub/wsgi.py", "found")),
    ],
)
def test_config_says_which_app_it_would_be(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    variable: str | None,
    typed: list[str],
    expected: tuple[str | None, str],
) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.delenv("FLASK_APP", raising=False)
    if variable is not None:
        monkeypatch.setenv("FLASK_APP", variable)
    assert in_force(*typed)["app"] == expected


@pytest.mark.parametrize(
    ("file", "typed"),
    [
        (".env", []),
        ("some.env", ["--env-file", "some.env"]),
        ("some.env", ["--env-file", "some.env", "nosuch:app"]),
    ],
)
def test_config_knows_the_variables_that_are_read_late(folder: Path, file: str, typed: list[str]) -> None:
    (folder / "app.py").touch()
    (folder / file).write_text("WEB_CONCURRENCY=3")
    code, out, err = run("config", *typed, cwd=folder)
    assert (code, err) == (0, "")
    assert re.search(r"^workers +3 +WEB_CONCURRENCY$", out, re.MULTILINE)


def test_config_names_a_variable_that_is_misspelled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_THREAD", "3")
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "theirs")
    result = CliRunner().invoke(bridge, ["config"])
    assert result.exit_code == 0
    assert result.stderr == (
        "bridge: BRIDGE_THREAD in the environment is no setting; is BRIDGE_THREADS meant?\n"
    )


# Completion


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _bridge_completion bridge"),
        ("zsh", "#compdef bridge"),
        ("fish", 'complete --no-files --command bridge --arguments "(_bridge_completion)"'),
    ],
)
def test_a_shell_gets_its_script(shell: str, line: str) -> None:
    result = CliRunner().invoke(bridge, ["completion", shell])
    assert result.exit_code == 0
    assert line in result.stdout
    assert f"_BRIDGE_COMPLETE={shell}_complete" in result.stdout
    for name in ("bridge", DISTRIBUTION):
        again = CliRunner().invoke(bridge, ["completion", shell], prog_name=name)
        assert re.search(rf"(complete|compdef|--command).* {name}\b", again.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        (["bridge", "ser"], "ser", "serve"),
        (["bridge", "serve", "--thr"], "--thr", "--threads"),
        (["bridge", "serve", "--adapter", "a2"], "a2", "a2wsgi"),
        (["bridge", "completion", "fi"], "fi", "fish"),
    ],
)
def test_what_the_script_asks_is_answered(
    folder: Path, shell: str, words: list[str], last: str, expected: str
) -> None:
    (folder / "bridge.toml").write_text("this is wrong")
    variables = {"_BRIDGE_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words)}
    variables["COMP_CWORD"] = last if shell == "fish" else str(len(words) - 1)
    code, out, err = run(cwd=folder, env=variables)
    assert (code, err) == (0, "")
    assert expected in re.split(r"[\s,]", out)


# The process


@pytest.mark.parametrize(
    "python",
    [
        ("-m", "bridge"),
        (str(Path(sys.executable).with_name("bridge")),),
        (str(Path(sys.executable).with_name(DISTRIBUTION)),),
    ],
    ids=["python -m bridge", "bridge", DISTRIBUTION],
)
def test_it_is_a_command(tmp_path: Path, python: tuple[str, ...]) -> None:
    code, out, err = run("--version", cwd=tmp_path, python=python)
    assert (code, err) == (0, "")
    assert out.startswith(f"bridge {__version__}, uvicorn ")
    code, out, err = run("serve", "--nosuch", cwd=tmp_path, python=python)
    assert (code, out) == (2, "")
    typed = Path(python[0]).name if len(python) == 1 else "python -m bridge"
    assert err.startswith(f"Usage: {typed} serve [OPTIONS]")


@pytest.mark.parametrize("missing", ["click", "uvicorn", "websockets"])
def test_it_says_what_to_install(tmp_path: Path, missing: str) -> None:
    code, out, err = run("serve", "app:app", cwd=tmp_path, python=without(missing))
    assert (code, out) == (1, "")
    assert err == (
        f"bridge: the command needs {missing}, which is not installed: pip install click uvicorn websockets "
        "wsproto\n"
    )


def test_what_else_is_missing_is_not_hidden(tmp_path: Path) -> None:
    code, _, err = run("--version", cwd=tmp_path, python=without("uvicorn.importer"))
    assert code == 1
    assert "ModuleNotFoundError" in err
    assert "pip install" not in err

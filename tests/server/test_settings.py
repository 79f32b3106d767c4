"""Settings: the files of them, what is said of those that are wrong, and settings that exclude each other."""

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge import WSGIToASGI
from bridge.command import bridge
from bridge.errors import BridgeError
from bridge.server.options import strengths
from bridge.server.settings import ROWS, ServeSettings, check_settings, unused_on_ray

serve_command = bridge.commands["serve"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_file(*typed: str) -> dict[str, object]:
    """What the file sets, by its keys."""
    result = CliRunner().invoke(bridge, ["config", "--json", *typed])
    assert (result.exit_code, result.stderr) == (0, "")
    rows = json.loads(result.stdout).items()
    return {key: row["value"] for key, row in rows if row["source"].endswith(".toml")}


# The table


def test_what_nobody_sets_is_as_the_fields_have_it() -> None:
    options = serve_command.make_context("serve", ["nosuch:app"]).params
    made = ServeSettings.from_options("nosuch:app", options)
    assert made == dataclasses.replace(ServeSettings("nosuch:app"), app_dir=made.app_dir)


def test_the_adapter_and_the_server_have_the_same_defaults() -> None:
    settings = ServeSettings("nosuch:app")
    arguments = inspect.signature(WSGIToASGI).parameters
    shared = {"threads", "streams", "websockets", "async_views", "blocking_threshold", "graceful_timeout"}
    assert {name: getattr(settings, name) for name in shared} == {
        name: arguments[name].default for name in shared
    }


def test_a_setting_that_is_typed_reaches_its_field() -> None:
    typed = ["--timeout-request=2", "--uds-mode=660", "--bind=:1", "--bind=:2", "--queue-timeout=0"]
    options = serve_command.make_context("serve", ["nosuch:app", *typed, "--limit-request-line=9"]).params
    made = ServeSettings.from_options("nosuch:app", options)
    assert (made.request_timeout, made.uds_mode, made.binds) == (2, 0o660, (":1", ":2"))
    assert (made.queue_timeout, made.limits.request_line) == (None, 9)
    assert ROWS["request_timeout"].name == "timeout_request"


# Where settings are


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, {}),
        ({"bridge.toml": ""}, {}),
        ({"bridge.toml": "threads = 3"}, {"threads": 3}),
        ({"pyproject.toml": "[tool.bridge]\nthreads = 4"}, {"threads": 4}),
        ({"pyproject.toml": "[tool.bridge]"}, {}),
        ({"pyproject.toml": "[project]\nthreads = 4"}, {}),
        ({"pyproject.toml": "[tool.other]\nthreads = 4"}, {}),
        ({"pyproject.toml": "tool = 4"}, {}),
        ({"bridge.toml": "threads = 3", "pyproject.toml": "[tool.bridge]\nthreads = 4"}, {"threads": 3}),
        ({"bridge.toml": "", "pyproject.toml": "[tool.bridge]\nthreads = 4"}, {}),
    ],
)
def test_a_folder_has_one_file_of_settings(
    folder: Path, files: dict[str, str], found: dict[str, object]
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    assert from_file() == found


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("app = 'shop:app'", "app", "shop:app"),
        ("log-level = 'debug'", "log-level", "debug"),
        ("log_level = 'debug'", "log-level", "debug"),
        ("timeout-request = 2", "timeout-request", 2),
        ("timeout-request = 2.5", "timeout-request", 2.5),
        ("reload = true", "reload", True),
        ("header = []", "header", []),
        ("header = ['A: 1', 'B: 2']", "header", ["A: 1", "B: 2"]),
        ("headers = ['A: 1']", "header", ["A: 1"]),
    ],
)
def test_keys_may_be_spelled_in_several_ways(folder: Path, text: str, key: str, value: object) -> None:
    (folder / "other.toml").write_text(text)
    assert from_file("--config", "other.toml") == {key: value}


# What is wrong

WRONG = {
    # (file, what it says, the error)
    "unknown": (
        "bridge.toml",
        "\n\nthread = 3",
        "bridge.toml: there is no setting 'thread'; did you mean 'threads'?",
    ),
    "unknown, with an underscore": (
        "bridge.toml",
        "log_levle = 'info'",
        "bridge.toml: there is no setting 'log_levle'; did you mean 'log-level'?",
    ),
    "like nothing": (
        "bridge.toml",
        "zebra = 'red'",
        "bridge.toml: there is no setting 'zebra'; bridge serve --help has them all",
    ),
    "a table": (
        "bridge.toml",
        "app = 'a'\n[serve]\nthreads = 1",
        "bridge.toml: there is no setting 'serve'; settings stand at the top of this file, in no table below",
    ),
    "the table of pyproject.toml": (
        "bridge.toml",
        "[tool.bridge]\nthreads = 1",
        "bridge.toml: there is no setting 'tool'; settings stand at the top of this file, in no table below",
    ),
    "a table in the table": (
        "pyproject.toml",
        "[tool.bridge.serve]\nthreads = 1",
        "pyproject.toml: [tool.bridge] there is no setting 'serve'; settings stand in [tool.bridge] itself, "
        "in no table below",
    ),
    "unknown in pyproject.toml": (
        "pyproject.toml",
        "[project]\nname = 'thread'\n[tool.bridge]\nthread = 3",
        "pyproject.toml: [tool.bridge] there is no setting 'thread'; did you mean 'threads'?",
    ),
    "text for a number": (
        "bridge.toml",
        "threads = '40'",
        "bridge.toml: 'threads' must be an integer; it is a string: '40'",
    ),
    "part of a thread": (
        "bridge.toml",
        "threads = 1.5",
        "bridge.toml: 'threads' must be an integer; it is a number: 1.5",
    ),
    "a boolean for an integer": (
        "bridge.toml",
        "threads = true",
        "bridge.toml: 'threads' must be an integer; it is a boolean: true",
    ),
    "a boolean for a number": (
        "bridge.toml",
        "timeout-request = false",
        "bridge.toml: 'timeout-request' must be a number; it is a boolean: false",
    ),
    "a number for a boolean": (
        "bridge.toml",
        "reload = 1",
        "bridge.toml: 'reload' must be true or false; it is an integer: 1",
    ),
    "a number for text": (
        "bridge.toml",
        "app = 1",
        "bridge.toml: 'app' must be a string; it is an integer: 1",
    ),
    "a table for a number": (
        "bridge.toml",
        "[threads]\nmany = 1",
        "bridge.toml: 'threads' must be an integer; it is a table",
    ),
    "a list for one": (
        "bridge.toml",
        "app = ['a']",
        "bridge.toml: 'app' must be a string; it is a list: ['a']",
    ),
    "one for a list": (
        "bridge.toml",
        "header = 'A: 1'",
        "bridge.toml: 'header' must be a list of strings; it is a string: 'A: 1'",
    ),
    "a list of others": (
        "bridge.toml",
        "header = [1]",
        "bridge.toml: 'header' must be a list of strings; it is a list: [1]",
    ),
    "a date": (
        "bridge.toml",
        "app = 2026-01-02",
        "bridge.toml: 'app' must be a string; it is a date or a time: datetime.date(2026, 1, 2)",
    ),
    "long": (
        "bridge.toml",
        f"threads = '{'9' * 80}'",
        f"bridge.toml: 'threads' must be an integer; it is a string: '{'9' * 58}…",
    ),
    "secret": (
        "bridge.toml",
        "ssl-keyfile-password = 1234",
        "bridge.toml: 'ssl-keyfile-password' must be a string; it is an integer",
    ),
    "twice": (
        "bridge.toml",
        "log_level = 'info'\n\nlog-level = 'info'",
        "bridge.toml: 'log-level' and 'log_level' are the same setting; keep one of them",
    ),
    "no TOML": (
        "bridge.toml",
        "app = 'a'\nthreads = many",
        "bridge.toml is not TOML: Invalid value (at line 2, column 11)",
    ),
    "no TOML at the end": (
        "bridge.toml",
        "app = 'a'\nheader = [\n",
        "bridge.toml is not TOML: Invalid value (at end of document)",
    ),
    "a key twice": (
        "bridge.toml",
        "app = 'a'\napp = 'b'\n",
        "bridge.toml is not TOML: Cannot overwrite a value (at line 2, column 10)",
    ),
    "no UTF-8": (
        "bridge.toml",
        b"app = 'a'\n# \xff",
        "bridge.toml: byte 12 is not UTF-8, which TOML must be",
    ),
    "no table": (
        "pyproject.toml",
        "[tool]\nbridge = 3",
        "pyproject.toml: 'bridge' must be a table, [tool.bridge]; it is an integer: 3",
    ),
}


@pytest.mark.parametrize(("file", "text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(folder: Path, file: str, text: str | bytes, message: str) -> None:
    (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    result = CliRunner().invoke(bridge, ["config"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"bridge: {message}\n")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nosuch.toml", "cannot read the settings in nosuch.toml: No such file or directory"),
        ("pyproject.toml", "pyproject.toml has no settings; they belong in a table [tool.bridge]"),
    ],
)
def test_a_file_that_is_named_must_have_settings(folder: Path, file: str, message: str) -> None:
    (folder / "pyproject.toml").write_text("[project]\n")
    result = CliRunner().invoke(bridge, ["config", "--config", file])
    assert (result.exit_code, result.stderr) == (3, f"bridge: {message}\n")


def test_a_wrong_value_in_a_table_is_named_with_it(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.bridge]\nthreads = 0")
    result = CliRunner().invoke(bridge, ["config"])
    assert result.stderr == "bridge: pyproject.toml: [tool.bridge] 'threads': 0 is not in the range x>=1\n"


# Settings that exclude each other, and limits that can never be met

REFUSED = [
    # what is typed, the beginning of the error, and something much like it that is all right
    ("--bind :80 --host ::1", "--bind and --host exclude each other: both say where to listen", "--bind :80"),
    ("--bind :80 --uds a", "--bind and --uds exclude each other", "--bind :80 --bind unix:a"),
    ("--fd 0 --uds a", "--fd and --uds exclude each other", "--fd 0"),
    ("--uds a --port 81", "--uds and --port exclude each other", "--uds a --uds-mode 660"),
    ("--debug --workers 2", "--debug and 2 workers exclude each other", "--debug --workers 1"),
    ("--preload --reload", "--preload and --reload exclude each other", "--preload --workers 2"),
    (
        "--health-live /health --health-ready /health",
        "--health-live and --health-ready are both /health",
        "--health-live /health --health-ready /health --no-health",
    ),
    (
        "--limit-request-field-size 70000",
        "--limit-request-field-size 70000 can never be met: all fields together may have 65536 bytes",
        # Who lowers the limit of all has not spoken of one.
        "--limit-request-head 5",
    ),
    (
        "--queue-timeout 9 --timeout-request 9",
        "--queue-timeout 9 can never be met: a request ends after 9 seconds",
        "--timeout-request 9",
    ),
    ("--replicas 2", "--replicas is for a cluster: add --on ray", "--on ray --replicas 2"),
    ("--detach", "--detach is for a cluster: add --on ray", "--on ray --detach"),
    (
        "--on ray --workers 2",
        "--workers has no effect with --on ray: --replicas says how many processes serve the app",
        "--on ray --threads 2 --port 81",
    ),
    ("--on ray --uds a", "--uds has no effect with --on ray: Ray's own proxies", "--on ray --host ::1"),
    (
        "--on ray --debug",
        "--debug has no effect with --on ray: develop without --on",
        "--on ray --readiness a:b",
    ),
    (
        "--ssl-certfile bridge.toml --ssl-cert-reqs 2",
        "--ssl-cert-reqs 2 turns every client away",
        "--ssl-certfile bridge.toml --ssl-cert-reqs 1",
    ),
]


@pytest.mark.parametrize(("typed", "message"), [row[:2] for row in REFUSED])
def test_serve_refuses_what_cannot_be(folder: Path, typed: str, message: str) -> None:
    (folder / "bridge.toml").touch()
    result = CliRunner().invoke(bridge, ["serve", "nosuch:app", *typed.split()])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"bridge: {message}")
    assert result.stderr.count("\n") == 1


def test_settings_of_a_file_that_do_not_apply_on_ray_are_left_out(folder: Path) -> None:
    (folder / "bridge.toml").write_text("workers = 2\nuds = 'a'\n")
    context = serve_command.make_context("serve", ["nosuch:app", "--on", "ray"])
    check_settings(context.params, strengths(context))
    assert unused_on_ray(strengths(context)) == ["--uds", "--workers"]


def is_refused(typed: str) -> bool:
    context = serve_command.make_context("serve", ["nosuch:app", *typed.split()])
    try:
        check_settings(context.params, strengths(context))
    except BridgeError:
        return True
    return False


@pytest.mark.parametrize("typed", [row[2] for row in REFUSED])
def test_what_is_much_like_it_is_served(folder: Path, typed: str) -> None:
    (folder / "bridge.toml").touch()
    assert not is_refused(typed)


@pytest.mark.parametrize(
    ("file", "typed", "refused"),
    [
        ("port = 80", "--bind :81", False),
        ("port = 80\nbind = [':81']", "", True),
        ("queue-timeout = 9", "--timeout-request 9", False),
        ("queue-timeout = 9\ntimeout-request = 9", "", True),
        ("timeout-request = 9", "--queue-timeout 9", True),
        ("workers = 2", "--reload", False),
    ],
)
def test_a_stronger_source_overrules(folder: Path, file: str, typed: str, refused: bool) -> None:
    (folder / "bridge.toml").write_text(file)
    assert is_refused(typed) is refused


def test_a_path_of_health_begins_with_a_slash() -> None:
    result = CliRunner().invoke(bridge, ["serve", "nosuch:app", "--health-ready", "ready"])
    assert result.exit_code == 2
    assert "'--health-ready': 'ready' is not a path: it must begin with a slash" in result.stderr

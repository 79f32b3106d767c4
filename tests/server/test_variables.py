"""Files of variables: the same ones are read by every command, whether it is told which app it is or not."""

import json
import re
from pathlib import Path

import pytest

from tests.server.command import Serving, run, without

PORT = ("--port", "0")

# An app that cannot be imported without its variables.
APP = """
import os
import sys

from flask import Flask

app = Flask(__name__)
app.add_url_rule("/", view_func=lambda: {name: os.environ.get(name) for name in ("A", "B", "C")})
if "A" not in os.environ:
    sys.exit("there is no A")


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.environ.get("A")).encode()})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / ".env").write_text("A=env\nB=env\n")
    (tmp_path / ".flaskenv").write_text("B=flaskenv\nC=flaskenv\n")
    (tmp_path / "other").write_text("A=other\n")
    return tmp_path


READ = [
    # (what is typed, the variables that are there, what the app sees)
    ([], {}, ("env", "env", "flaskenv")),
    (["app:app"], {}, ("env", "env", "flaskenv")),
    (["app.py"], {}, ("env", "env", "flaskenv")),
    (["app:app", "--workers", "2"], {}, ("env", "env", "flaskenv")),
    (["app:app", "--reload"], {}, ("env", "env", "flaskenv")),
    (["app:app"], {"A": "set", "C": ""}, ("set", "env", "")),
    (["app:app"], {"FLASK_SKIP_DOTENV": "0"}, ("env", "env", "flaskenv")),
    (["app:app"], {"FLASK_SKIP_DOTENV": "1", "A": "set"}, ("set", None, None)),
    (["app:app", "--env-file", "other"], {}, ("other", None, None)),
    (["app:app"], {"BRIDGE_ENV_FILE": "other"}, ("other", None, None)),
]


@pytest.mark.parametrize(("typed", "env", "seen"), READ, ids=[f"{row[0]} {row[1]}" for row in READ])
def test_what_is_read(
    folder: Path, typed: list[str], env: dict[str, str], seen: tuple[str | None, ...]
) -> None:
    with Serving(*typed, *PORT, cwd=folder, env=env) as serving:
        assert tuple(json.loads(serving.get("/").text).values()) == seen


def test_those_above_the_current_folder_are_found(folder: Path) -> None:
    (folder / "deep").mkdir()
    with Serving("app:app", "--app-dir", "..", *PORT, cwd=folder / "deep") as serving:
        assert serving.get("/").text == '{"A":"env","B":"env","C":"flaskenv"}\n'


def test_an_asgi_app_has_them_too(folder: Path) -> None:
    """What an app is, is known when it has been imported; that is too late."""
    with Serving("app:asgi", *PORT, cwd=folder) as serving:
        assert serving.get("/").text == "env"


def test_a_file_of_settings_may_name_the_file_of_variables(folder: Path) -> None:
    (folder / "bridge.toml").write_text("env-file = 'other'\n")
    with Serving("app:app", *PORT, cwd=folder) as serving:
        assert json.loads(serving.get("/").text)["A"] == "other"


@pytest.mark.parametrize(
    "typed",
    [["check", "app:app"], ["routes", "app:app"], ["trace", "app:app", "/"], ["check"], ["routes"]],
    ids=" ".join,
)
def test_other_commands_read_them(folder: Path, typed: list[str]) -> None:
    code, _, err = run(*typed, cwd=folder)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("typed", [[], ["app:app"]], ids=["found", "typed"])
def test_settings_may_be_in_them(folder: Path, typed: list[str]) -> None:
    (folder / ".env").write_text("A=env\nBRIDGE_THREADS=7\nWEB_CONCURRENCY=1\nUVICORN_ROOT_PATH=/shop\n")
    code, out, err = run("config", *typed, cwd=folder)
    assert (code, err) == (0, "")
    for row in (
        "threads +7 +BRIDGE_THREADS",
        "workers +1 +WEB_CONCURRENCY",
        'root-path +"/shop" +UVICORN_ROOT_PATH',
    ):
        assert re.search(f"^{row}$", out, re.MULTILINE)
    with Serving(*typed, *PORT, cwd=folder) as serving:
        serving.wait_for("adapter bridge, 7 threads$")


def test_it_is_said_what_was_read(folder: Path) -> None:
    """With how many variables, and not what they are: those may be secret."""
    with Serving("app:app", *PORT, cwd=folder, env={"B": "set"}) as serving:
        lines = serving.stderr.splitlines()
        assert lines[:2] == [
            f"INFO:     variables from {folder}/.env: 1",
            f"INFO:     variables from {folder}/.flaskenv: 1",
        ]


@pytest.mark.parametrize(
    ("file", "value", "env", "typed", "is_warned_of"),
    [
        (".flaskenv", "1", {}, [], True),
        (".env", "true", {}, [], True),
        (".flaskenv", "0", {}, [], False),
        (".flaskenv", "1", {"FLASK_DEBUG": "1"}, [], False),  # it was set on purpose
        (".flaskenv", "1", {}, ["--debug"], False),
    ],
)
def test_debug_mode_from_a_file_is_warned_of(
    folder: Path, file: str, value: str, env: dict[str, str], typed: list[str], is_warned_of: bool
) -> None:
    """`flask run` has such files for development; a server may come upon one that was left over."""
    with (folder / file).open("a") as text:
        text.write(f"FLASK_DEBUG={value}\n")
    with Serving("app:app", *PORT, *typed, cwd=folder, env=env) as serving:
        said = f"WARNING:  FLASK_DEBUG in {folder / file} puts a Flask app into debug mode"
        assert (said in serving.stderr) == is_warned_of


def test_without_what_reads_them(folder: Path) -> None:
    code, out, err = run("config", "app:app", cwd=folder, python=without("dotenv"))
    assert (code, "BRIDGE_THREADS" in out) == (0, False)
    assert (
        err == "bridge: .env and .flaskenv cannot be read without python-dotenv: pip install python-dotenv\n"
    )
    typed = ("config", "app:app", "--env-file", "other")
    code, _, err = run(*typed, cwd=folder, python=without("dotenv"))
    assert code == 3
    assert (
        err == "bridge: --env-file needs python-dotenv, which is not installed: pip install python-dotenv\n"
    )
    (folder / ".env").unlink()
    (folder / ".flaskenv").unlink()
    assert run("config", "app:app", cwd=folder, python=without("dotenv"))[2] == ""


@pytest.mark.parametrize(
    ("text", "why"), [(b"A=\xff", "it is not UTF-8"), (b'A="x\x00y"', "embedded null byte")]
)
def test_what_cannot_be_read_is_named(folder: Path, text: bytes, why: str) -> None:
    (folder / ".env").write_bytes(text)
    code, _, err = run("serve", "app:app", *PORT, cwd=folder)
    assert (code, err) == (3, f"bridge: cannot read the variables in {folder}/.env: {why}\n")


def test_one_that_may_not_be_read_is_named(folder: Path) -> None:
    """An error where it was asked for; one that was found may be somebody else's."""
    (folder / ".env").unlink()
    (folder / ".env").symlink_to("/proc/self/mem")  # which even root cannot read at its beginning
    why = f"bridge: cannot read the variables in {folder}/.env: Input/output error"
    code, out, err = run("config", "app:app", cwd=folder)
    assert (code, err) == (0, f"{why}; going on without them\n")
    code, out, err = run("config", "app:app", "--env-file", f"{folder}/.env", cwd=folder)
    assert (code, out, err) == (3, "", f"{why}\n")

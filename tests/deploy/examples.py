"""The files of deploy/, and what the tests take from them."""

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.server.command import Command

DEPLOY = Path(__file__).parents[2] / "deploy"
APPS = Path(__file__).parent / "apps"


def text(name: str) -> str:
    """One of the files."""
    return (DEPLOY / name).read_text()


def unit_setting(name: str) -> str:
    """What the service's unit says, its lines joined."""
    joined = text("systemd/bridge.service").replace("\\\n", " ")
    (value,) = re.findall(rf"^{name}=(.*)$", joined, re.MULTILINE)
    return str(value)


def unit_arguments() -> list[str]:
    """What the service's unit has Bridge run with, after `serve`."""
    command = shlex.split(unit_setting("ExecStart"))
    assert command[:2] == ["/srv/app/venv/bin/bridge", "serve"]
    return command[2:]


def nginx_setting(name: str) -> str:
    """What nginx is told, in the one place where it is."""
    (value,) = re.findall(rf"^\s*{name}\s+(.*);$", text("nginx/bridge.conf"), re.MULTILINE)
    return str(value)


def find_program(name: str, *, package: str) -> str:
    """The path of a program; where there is none, the test is skipped."""
    folders = [str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    path = shutil.which(name) or shutil.which(name, path=":".join(folders))
    if path is None:
        pytest.skip(f"there is no {name} here; it comes with {package}")
    return path


def program(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Command:
    """Another program than Bridge, run in the same way."""
    become = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    return Command(*command, cwd=cwd, env=env, python=("-c", become), pass_fds=pass_fds)

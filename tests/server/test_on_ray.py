"""`bridge serve --on ray` without a cluster: what is wrong is one line, and nothing is started.

tests/end_to_end/test_ray.py runs it on real ones.
"""

import importlib.util
from pathlib import Path

import pytest

from tests.server.command import Command

HELLO = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n"
WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None\n"
    "from bridge.__main__ import main\n"
    "sys.argv = ['bridge', *sys.argv[1:]]; main()"
)


def refused(
    folder: Path, *arguments: str, address: str = "local", python: tuple[str, ...] = ("-m", "bridge")
) -> str:
    """The last line of what it says; the exit code is 3."""
    (folder / "hello.py").write_text(HELLO)
    command = ("serve", *arguments, "--on", "ray")
    variables = {"RAY_ADDRESS": address}
    with Command(*command, cwd=folder, env=variables, python=python, patience=60.0) as running:
        assert running.finish() == 3
        assert not running.stdout
        return running.stderr.splitlines()[-1]


@pytest.mark.timeout(90)
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray Serve is not installed: pip install 'ray[serve]'"
)
@pytest.mark.parametrize(
    ("address", "arguments", "line"),
    [
        (
            "127.0.0.1:1",
            ("hello:app",),
            "bridge: cannot reach the Ray cluster of RAY_ADDRESS=127.0.0.1:1: Connection refused; start it, ",
        ),
        (
            "nonsense",
            ("hello:app",),
            "bridge: cannot reach the Ray cluster of RAY_ADDRESS=nonsense: it is not of ",
        ),
        (
            "local",
            ("hello:app", "--detach"),
            "bridge: --detach needs a cluster that goes on running, and there is",
        ),
    ],
)
def test_a_cluster_that_is_not_there(
    tmp_path: Path, address: str, arguments: tuple[str, ...], line: str
) -> None:
    assert refused(tmp_path, *arguments, address=address).startswith(line)


def test_an_app_that_does_not_load(tmp_path: Path) -> None:
    line = refused(tmp_path, "nosuch:app")
    assert line.startswith(f"bridge: no module named 'nosuch' (looked in {tmp_path} and on sys.path; ")


def test_ray_that_is_not_installed(tmp_path: Path) -> None:
    line = refused(tmp_path, "hello:app", python=("-c", WITHOUT_RAY))
    assert line == "bridge: Ray Serve is not installed (ray is missing): pip install 'ray[serve]'"

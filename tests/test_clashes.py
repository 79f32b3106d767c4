"""Projects with modules that have the names of others: an error before anything starts, or no harm."""

import sys
from pathlib import Path

import pytest

from tests.server.command import Serving, run

PORT = ("--port", "0")

# The command as it is installed: with -m, Python would run the project's own module.
SCRIPT = (str(Path(sys.executable).with_name("bridge")),)

APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"served"]
"""

PROCESSES = {"one process": [], "workers": ["--workers", "2"], "reload": ["--reload"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def write(folder: Path, file: str) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine = 1\n")


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("file", ["bridge.py", "bridge/__init__.py", "uvicorn.py", "websockets.py"])
def test_the_name_of_a_package_that_the_server_needs(folder: Path, file: str, processes: str) -> None:
    write(folder, file)
    code, out, err = run("serve", "app:app", *PORT, *PROCESSES[processes], cwd=folder, python=SCRIPT)
    path = folder / file.removesuffix("/__init__.py")
    name = path.name.removesuffix(".py")
    assert code == 3
    assert err.startswith(f"bridge: {path} has the name of the package '{name}', which the server needs")
    assert (err.count("\n"), out) == (1, "")


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        (["check", "app:app"], "bridge.py"),
        (["trace", "app:app", "/"], "bridge.py"),
        (["routes", "app:app"], "bridge.py"),
        (["serve", "src/app.py"], "src/bridge.py"),
        (["serve", "bridge:app"], "bridge.py"),
        (["serve", "app:app", "--app-dir", "src"], "src/bridge.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_wherever_the_app_comes_from(folder: Path, typed: list[str], file: str) -> None:
    (folder / "src").mkdir()
    (folder / "src/app.py").write_text(APP)
    write(folder, file)
    code, _, err = run(*typed, cwd=folder, python=SCRIPT)
    assert (code, err.startswith(f"bridge: {folder / file} has the name of the package 'bridge'")) == (
        3,
        True,
    )


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize(
    ("file", "typed"),
    [
        ("bridge/notes.txt", []),  # no package
        ("queue.py", []),  # Python's own, imported before the app's folder is looked in
        ("uvicorn/__init__.py", []),  # it may be a copy of the package, and is not looked at
        ("bridge.py", ["--app-dir", "src"]),  # it is not where the app is
    ],
    ids=["no package", "Python's own", "a folder", "elsewhere"],
)
def test_what_does_no_harm_is_let_be(folder: Path, file: str, typed: list[str], processes: str) -> None:
    (folder / "src").mkdir()
    (folder / "src/app.py").write_text(APP)
    write(folder, file)
    with Serving("app:app", *typed, *PORT, *PROCESSES[processes], cwd=folder, python=SCRIPT) as serving:
        assert serving.get("/").text == "served"


def test_a_copy_of_the_package_itself_is_let_be(folder: Path) -> None:
    """As in a clone of the repository, with the package installed elsewhere."""
    write(folder, "bridge/__init__.py")
    (folder / "bridge/runners").mkdir()
    with Serving("app:app", *PORT, "--workers", "2", cwd=folder, python=SCRIPT) as serving:
        assert serving.get("/").text == "served"


@pytest.mark.parametrize("processes", ["workers", "reload"])
def test_a_module_without_which_python_cannot_start_a_process(folder: Path, processes: str) -> None:
    write(folder, "signal.py")
    write(folder, "queue.py")
    code, _, err = run("serve", "app:app", *PORT, *PROCESSES[processes], cwd=folder, python=SCRIPT)
    assert code == 3
    said = f"bridge: no worker can be started in {folder}: see above. queue.py, signal.py "
    assert any(line.startswith(said) for line in err.splitlines())  # Python's helpers may speak after it
    assert "module 'signal' has no attribute" in err  # Python's own words


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_configuration_of_logging_may_name_what_the_apps_folder_has(folder: Path, processes: str) -> None:
    """It is read before the app is loaded, in each process."""
    (folder / "handling.py").write_text("import logging\n\n\nclass Handler(logging.StreamHandler): ...\n")
    (folder / "logging.json").write_text(
        '{"version": 1, "formatters": {"short": {"format": "%(levelname)s: %(message)s"}},'
        '"handlers": {"mine": {"class": "handling.Handler", "formatter": "short"}},'
        '"root": {"handlers": ["mine"], "level": "INFO"}}'
    )
    typed = ("--log-config", "logging.json", *PROCESSES[processes])
    with Serving("app:app", *PORT, *typed, cwd=folder, python=SCRIPT) as serving:
        assert serving.get("/").text == "served"

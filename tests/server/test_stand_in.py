"""`--reload` with an app that cannot be loaded: browser and terminal say why, until a save mends it."""

import html
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.server.command import Serving, connect_to_path, run, wait_until

PORT = ("--port", "0")

BROKEN = "app = '<b>' +"
SAID = "importing 'app' failed: SyntaxError: invalid syntax (app.py, line 1)"
WAITS = r"^INFO: +no app to serve; this error answers every request · waiting for the next save$"

MENDED = "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index(): return 'mended'\n"

TITLE = "The app could not be loaded"
FOR_OTHERS = f"{TITLE}; the server's terminal shows why.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(BROKEN)
    return tmp_path


@pytest.fixture
def serving(folder: Path) -> Iterator[Serving]:
    with Serving(*PORT, "--reload", cwd=folder) as serving:
        serving.wait_for(WAITS)
        yield serving


def save(serving: Serving, file: Path, text: str, shown: str) -> None:
    """Write a file, and wait until what is served shows it."""

    def is_served() -> bool:
        if time.time() - file.stat().st_mtime > 2:
            file.write_text(text)  # again, if nobody had begun to watch
        try:
            return shown in serving.get("/").text
        except (OSError, HTTPException):  # from a process that is being replaced
            return False

    file.write_text(text)
    wait_until(is_served, f"{shown!r} is served")


def test_the_error_is_the_answer_from_the_start_until_a_save_mends_it(serving: Serving, folder: Path) -> None:
    file = folder / "app.py"
    for _ in range(2):
        answer = serving.get("/any")
        assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
        assert answer.text.startswith(f"{TITLE}: {SAID}\n\n")
        assert f'File "{file}", line 1\n    {BROKEN}\n' in answer.text
        save(serving, file, MENDED, "mended")
        file.write_text(BROKEN)
        save(serving, file, BROKEN, SAID)


def test_a_lifespan_that_fails_is_shown_too(folder: Path) -> None:
    hook = (
        "from bridge.flask import Bridge\n@Bridge(app).on_startup\ndef fail(): raise OSError('no database')\n"
    )
    (folder / "app.py").write_text(MENDED + hook)
    with Serving(*PORT, "--reload", cwd=folder) as serving:
        serving.wait_for(WAITS)
        assert "the lifespan failed to start: OSError: no database\n" in serving.get("/").text
        save(serving, folder / "app.py", MENDED, "mended")


def test_a_browser_gets_a_page(serving: Serving) -> None:
    page = serving.get("/", {"Accept": "text/html,*/*"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert html.escape(BROKEN) in page.text
    assert "<b>" not in page.text
    assert '<meta name="viewport"' in page.text
    assert '<meta name="color-scheme" content="light dark">' in page.text


def test_every_kind_of_request_is_answered(serving: Serving) -> None:
    assert httpx.head(serving.address).text == ""
    assert httpx.post(serving.address, content=b"x" * 1_000_000).status_code == 500
    with pytest.raises(InvalidStatus) as refused, connect(serving.address.replace("http", "ws")):
        raise AssertionError("it is accepted")
    assert refused.value.response.status_code == 500


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        {"Via": "1.1 x"},
    ],
)
def test_it_is_shown_to_this_machine_alone(serving: Serving, headers: dict[str, str]) -> None:
    answer = serving.get("/", {**headers, "Accept": "text/html"})
    assert (answer.status, answer.text) == (500, FOR_OTHERS)


def test_whoever_comes_by_a_unix_socket_may_be_anybody(folder: Path) -> None:
    with Serving("--uds", "s", "--reload", cwd=folder), connect_to_path(folder / "s") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.partition(b"\r\n\r\n")[2].decode() == FOR_OTHERS


def test_without_reload_it_ends(folder: Path) -> None:
    code, _, err = run("serve", *PORT, cwd=folder)
    assert code == 1
    assert err.endswith(f"bridge: {SAID}\n")


def test_a_wrong_setting_ends_it(folder: Path) -> None:
    (folder / "app.py").write_text(MENDED)
    (folder / "cert.pem").write_text("none")
    code, _, err = run("serve", *PORT, "--reload", "--ssl-certfile", "cert.pem", cwd=folder)
    assert code == 3
    assert "bridge: cannot use the certificate" in err
    assert "Ctrl-C to stop" not in err

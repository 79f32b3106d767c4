"""An ASGI app on real WSGI servers, by `bridge.wsgi`: one suite for all of them."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.apps import starlette_app
from tests.server.command import Command

APP = "tests.end_to_end.apps.starlette_app:app"
HERE = Path(__file__).parents[2]
SECONDS = 15.0  # for anything to happen on a busy machine

GUNICORN = ["gunicorn", f'bridge:wsgi("{APP}")', "-b", "127.0.0.1:0", "--graceful-timeout", "5"]
SERVERS = {
    "gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "4"],
    "gthread, preloaded": [*GUNICORN, "--worker-class", "gthread", "--threads", "4", "--preload"],
    "sync": [*GUNICORN, "--worker-class", "sync"],
    "waitress": ["waitress", "--listen=127.0.0.1:0", "--call", "tests.end_to_end.apps.wsgi:make"],
}
LISTENS = r"(?:Listening at|Serving on).* ?http://127\.0\.0\.1:(\d+)"


@dataclass(frozen=True)
class Served:
    name: str
    command: Command
    url: str


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    program, *arguments = SERVERS[request.param]
    with Command(*arguments, cwd=HERE, python=("-m", program)) as command:
        port = command.wait_for(LISTENS)[1]
        yield Served(request.param, command, f"http://127.0.0.1:{port}")
        command.signal(signal.SIGTERM)
        command.finish()
        if request.param != "waitress":  # which SIGTERM ends at once
            assert command.stderr.count("app: started in") == 1
            assert command.stderr.count("app: stopped in") == 1


def test_a_request_has_the_state_of_the_lifespan(served: Served) -> None:
    answer = httpx.get(f"{served.url}/caf%C3%A9?a=%20b", timeout=SECONDS)
    assert answer.json() == {"pool": "a pool", "path": "/café", "query": "a=%20b"}


def test_a_stream_arrives_as_it_is_made_and_ends_with_its_client(served: Served) -> None:
    with httpx.stream("GET", f"{served.url}/ticks", timeout=SECONDS) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["tick 0", "tick 1", "tick 2"]
    if served.name == "waitress":
        pytest.skip("waitress takes what the app sends into a buffer of 18 MB before it looks for the client")
    served.command.wait_for("^app: the ticks have ended$")


@pytest.mark.parametrize("form", ["with a length", "chunked"])
def test_an_upload_arrives_in_pieces(served: Served, form: str) -> None:
    parts = [b"x" * 50_000] * 20
    content = b"".join(parts) if form == "with a length" else iter(parts)
    found = httpx.post(f"{served.url}/upload", content=content, timeout=SECONDS).json()
    assert found["size"] == 1_000_000
    assert found["pieces"] >= 15


def test_a_file_arrives_whole(served: Served) -> None:
    assert httpx.get(f"{served.url}/file", timeout=SECONDS).text == Path(starlette_app.__file__).read_text()


def test_an_app_that_fails_is_a_500_of_the_servers(served: Served) -> None:
    assert httpx.get(f"{served.url}/fail", timeout=SECONDS).status_code == 500


def test_a_response_that_breaks_off_is_not_taken_for_a_whole_one(served: Served) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{served.url}/fail-late", timeout=SECONDS)


def test_what_comes_after_the_response_keeps_nobody(served: Served) -> None:
    assert httpx.get(f"{served.url}/after", timeout=SECONDS).json() == {}
    served.command.wait_for("^app: after the response$")


# A Flask app as it is, with plain lifespans

PLAIN = """
import os
from flask import Flask
from bridge.flask import Bridge
app = Flask(__name__)
bridge = Bridge(app)
@bridge.lifespan
def database(app):
    print(f"app: opened in {os.getpid()}", flush=True)  # at once, or two workers mix theirs
    yield {"database": "a database"}
    print(f"app: closed in {os.getpid()}", flush=True)
@app.get("/")
async def index(): return f"{bridge.state.database} {os.getpid()}"
"""


@pytest.mark.parametrize("typed", [[], ["--preload"], ["--worker-class", "gthread", "--threads", "4"]])
def test_plain_lifespans_of_a_flask_app_run_once_in_each_worker(tmp_path: Path, typed: list[str]) -> None:
    (tmp_path / "app.py").write_text(PLAIN)
    arguments = ["app:app", "-b", "127.0.0.1:0", "--workers", "2", *typed]
    with Command(*arguments, cwd=tmp_path, python=("-m", "gunicorn")) as command:
        url = f"http://127.0.0.1:{command.wait_for(LISTENS)[1]}"
        answers = {httpx.get(url, timeout=SECONDS).text for _ in range(6)}
        command.signal(signal.SIGTERM)
        assert command.finish() == 0
    workers = {answer.removeprefix("a database ") for answer in answers}
    for what in ("opened", "closed"):
        assert sorted(re.findall(rf"app: {what} in (\d+)", command.stdout)) == sorted(workers)

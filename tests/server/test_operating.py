"""What those who run `bridge serve` decide: where it listens, what it says of itself, whom it lets wait."""

import json
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from signal import Signals as Signal

import pytest

from tests.server.command import APPS, Serving, connect_to_path, run, wait_until

PORT = ("--port", "0")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One whose name is short enough for a socket's, whatever the name of the test."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def get(connection: socket.socket, path: str = "/") -> str:
    """The whole answer to one request, after which the connection is closed."""
    with connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    return received.decode()


# Health


def test_health_is_answered() -> None:
    with Serving("shop:app", *PORT) as serving:
        assert serving.get("/-/health/live").text == '{"status": "live"}'
        assert serving.get("/-/health/ready").text == '{"status": "ready"}'


def test_health_has_the_paths_it_is_given() -> None:
    with Serving("shop:app", *PORT, "--health-live", "/alive", "--health-ready", "/go") as serving:
        assert [serving.get(path).status for path in ("/alive", "/go")] == [200, 200]
        assert serving.get("/-/health/live").status == 404
        assert " · health at /go · " in serving.stderr


def test_health_is_off_by_one_flag() -> None:
    with Serving("shop:app", *PORT, "--no-health") as serving:
        assert serving.get("/-/health/live").status == 404
        assert "health" not in serving.stderr


@pytest.mark.parametrize(("check", "status"), [("yes", 200), ("no", 503), ("later_no", 503)])
def test_the_apps_own_check(check: str, status: int) -> None:
    with Serving("shop:app", *PORT, "--readiness", f"readiness:{check}") as serving:
        assert serving.get("/-/health/ready").status == status


def test_a_check_that_is_not_there() -> None:
    code, _, said = run("serve", "shop:app", *PORT, "--readiness", "readiness:nothing", cwd=APPS)
    assert code != 0
    assert "nothing" in said
    assert "Traceback" not in said


def test_health_is_where_it_is_with_a_root_path() -> None:
    """uvicorn puts it before the path that was asked for."""
    with Serving("shop:app", *PORT, "--root-path", "/shop") as serving:
        assert serving.get("/-/health/ready").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_on_for_a_while_when_it_is_to_stop(workers: str) -> None:
    with Serving("shop:app", *PORT, "--drain-delay", "2", "--workers", workers) as serving:
        serving.wait_for("Application startup complete", times=int(workers))
        before = time.monotonic()
        serving.signal(Signal.SIGTERM)
        wait_until(lambda: serving.get("/-/health/ready").status == 503, "not ready")
        assert serving.get("/").text == "Hello"
        assert serving.get("/-/health/live").status == 200
        assert serving.finish() == 0
        assert time.monotonic() - before > 1.9


# Addresses


def test_several_addresses(folder: Path) -> None:
    path = folder / "app.sock"
    with socket.socket() as inherited:
        inherited.bind(("127.0.0.1", 0))
        inherited.listen()
        binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}", "--bind", f"fd:{inherited.fileno()}")
        with Serving("shop:app", *binds, pass_fds=[inherited.fileno()]) as serving:
            addresses = re.findall(r"(http://127\.0\.0\.1:\d+|unix:\S+?),? ", serving.stderr)
            assert len(addresses) == 3
            for address in addresses:
                kind, _, where = address.partition(":")
                if kind == "unix":
                    connection = connect_to_path(Path(where))
                else:
                    connection = socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2])))
                assert get(connection).endswith("Hello")
            serving.signal(Signal.SIGTERM)
            assert serving.finish() == 0
    assert not path.exists()


def test_sockets_that_systemd_opened() -> None:
    """They come as descriptors from 3 on, with their number in a variable (sd_listen_fds(3))."""
    starter = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); "
        "from bridge.__main__ import main; sys.argv[0] = 'bridge'; main()"
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with (
            _as_descriptor(listening, 3),
            Serving("shop:app", env={"LISTEN_FDS": "1"}, python=("-c", starter), pass_fds=[3]) as serving,
        ):
            assert serving.address == f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert serving.get("/").text == "Hello"


class _as_descriptor:  # noqa: N801  # reads like a function
    """Have a socket at a certain descriptor as well, whatever was there."""

    def __init__(self, given: socket.socket, number: int) -> None:
        self._given = given
        self._number = number

    def __enter__(self) -> None:
        self._before = os.dup(self._number) if _is_open(self._number) else None
        os.dup2(self._given.fileno(), self._number)

    def __exit__(self, *error: object) -> None:
        os.close(self._number)
        if self._before is not None:
            os.dup2(self._before, self._number)
            os.close(self._before)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


ILL_FORMED = ["nowhere", "127.0.0.1", ":", "host:port", "unix:", "fd:", "fd:x", "::1:8000", "[::1]"]


@pytest.mark.parametrize("address", ILL_FORMED)
def test_an_address_that_is_none(address: str) -> None:
    code, _, said = run("serve", "shop:app", "--bind", address, cwd=APPS)
    assert code != 0
    assert f"bridge: {address!r} is no address to listen on; --bind takes " in said


@pytest.mark.parametrize(
    ("options", "mode"), [((), 0o600), (("--uds-mode", "666"), 0o666), (("--uds-mode", "0660"), 0o660)]
)
def test_who_may_connect_to_a_unix_socket(folder: Path, options: tuple[str, ...], mode: int) -> None:
    path = folder / "app.sock"
    with Serving("shop:app", "--uds", str(path), *options):
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", ["rw", "999", "-1", "1777"])
def test_a_mode_that_is_none(mode: str) -> None:
    code, _, said = run("serve", "shop:app", f"--uds-mode={mode}", cwd=APPS)
    assert code == 2
    assert "is not octal permissions, such as 660" in said


# Waiting for a thread


def test_one_too_many_is_a_503(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    options = ("--threads", "1", "--queue-length", "0")
    with Serving("shop:app", *PORT, *options) as serving, serving.connection() as busy:
        busy.request("GET", f"/slow?pipe={pipe}")
        wait_until(lambda: serving.get("/").status == 503, "all threads are busy")
        refused = serving.get("/")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert serving.get("/-/health/ready").status == 200
        pipe.write_text("done")
        assert busy.getresponse().read() == b"done"


# The log


def test_the_access_log_has_the_format_it_is_given() -> None:
    with Serving(
        "shop:app", *PORT, "--access-log-format", "%(m)s %(U)s %(s)s waited %(W)s app %(A)s"
    ) as serving:
        serving.get("/")
        serving.wait_for_access_log(r"(?m)^GET / 200 waited \d+\.\d+ app \d+\.\d+$")
        assert "HTTP/1.1" not in serving.stdout


def test_the_access_log_as_json() -> None:
    with Serving("shop:app", *PORT, "--access-log-format", "json", "--request-id") as serving:
        answer = serving.get("/", {"X-Request-ID": "mine"})
        assert answer.headers["X-Request-ID"] == "mine"
        serving.wait_for_access_log(r"(?m)^\{.*\}$")
        line = json.loads(serving.stdout.splitlines()[-1])
    assert (line["path"], line["status"], line["request_id"], line["bytes_sent"]) == ("/", 200, "mine", 5)


def test_an_access_log_format_that_is_none() -> None:
    code, _, said = run("serve", "shop:app", "--access-log-format", "%(nothing)s", cwd=APPS)
    assert code == 2
    assert "'nothing'" in said


def test_messages_begin_with_the_requests_id() -> None:
    with Serving("shop:app", *PORT, "--request-id") as serving:
        assert re.fullmatch("[0-9a-f]{32}", serving.get("/").headers["X-Request-ID"])
        assert (
            re.search(r"^INFO: +\[-\] http://", serving.stderr, re.MULTILINE) or "· Ctrl-C" in serving.stderr
        )


# Headers of the server's own


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/", (), {"date": 1, "server": ["uvicorn"]}),
        ("/own-date", (), {"date": ["Thu, 01 Jan 1970 00:00:00 GMT"], "server": ["uvicorn"]}),
        ("/own-server", (), {"date": 1, "server": ["mine"]}),
        ("/own-date", ("--no-server-header",), {"date": ["Thu, 01 Jan 1970 00:00:00 GMT"], "server": []}),
        ("/own-server", ("--no-date-header",), {"date": [], "server": ["mine"]}),
    ],
)
def test_what_the_app_has_set_the_server_does_not_set_again(
    path: str, options: tuple[str, ...], expected: dict[str, int | list[str]]
) -> None:
    """There may be one Date and one Server (RFC 9110, 5.3, 6.6.1, 10.2.4)."""
    with Serving("dated:app", *PORT, *options) as serving:
        head = get(serving.connect(), path).partition("\r\n\r\n")[0]
    for name, values in expected.items():
        found = [line.partition(": ")[2] for line in head.splitlines() if line.startswith(f"{name}: ")]
        assert (len(found) if isinstance(values, int) else found) == values

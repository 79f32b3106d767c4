"""What a server tells systemd of itself (sd_notify(3)); a socket of the test's is in systemd's place."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from signal import Signals as Signal

import pytest

from bridge.server.processes.systemd import Notifier
from tests.server.command import APPS, Command, Serving

PORT = ("--port", "0")

PROCESSES = {
    "one process": (),
    "one worker": ("--supervise",),
    "two workers": ("--workers", "2"),
    "two forked workers": ("--workers", "2", "--preload"),
}


class Systemd:
    """Takes note of what it is told."""

    def __init__(self, path: Path, *, abstract: bool = False) -> None:
        self.address = f"@{path}" if abstract else str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{path}" if abstract else self.address)
        self._socket.settimeout(15)

    def close(self) -> None:
        self._socket.close()

    def told(self) -> dict[str, str]:
        """The next thing, once it has come; heartbeats do not count."""
        while True:
            message = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))
            if "WATCHDOG" not in message:
                return message

    def was_told(self) -> list[bytes]:
        """What has come so far."""
        self._socket.setblocking(False)
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096))
        return messages

    def wait_for_heartbeat(self) -> float:
        """When the next one has come."""
        while self._socket.recv(4096) != b"WATCHDOG=1":
            pass
        return time.monotonic()

    def wait_for_silence(self) -> None:
        """Wait until nothing has come for a second; only waiting can show that."""
        deadline = time.monotonic() + 15
        self._socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while self._socket.recv(4096):
                assert time.monotonic() < deadline, "it is still told something"
        self._socket.settimeout(15)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    yield systemd
    systemd.close()


def test_a_server_that_does_not_start_is_not_ready(systemd: Systemd) -> None:
    with Command(
        "serve", "inspected:unstartable", *PORT, cwd=APPS, env={"NOTIFY_SOCKET": systemd.address}
    ) as it:
        assert it.finish() == 3
    assert b"READY=1" not in systemd.was_told()
    assert "Ctrl-C" not in it.stderr


@pytest.mark.parametrize("processes", PROCESSES.values(), ids=PROCESSES)
def test_it_is_told_of_the_beginning_and_the_end(systemd: Systemd, processes: tuple[str, ...]) -> None:
    with Serving("shop:app", *PORT, *processes, env={"NOTIFY_SOCKET": systemd.address}) as serving:
        assert systemd.told() == {"READY": "1"}
        assert serving.get("/").text == "Hello"
        serving.signal(Signal.SIGTERM)
        assert systemd.told() == {"STOPPING": "1"}
        assert serving.finish() == 0


def test_ready_is_said_when_the_app_has_started(systemd: Systemd, pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        f"""
import os
os.read(os.open({str(pipe)!r}, os.O_RDONLY), 1)
def app(environ, start_response):
    start_response('200 OK', [])
    return []
"""
    )
    typed = ("serve", "app:app", *PORT, "--workers", "2")
    with Command(*typed, cwd=tmp_path, env={"NOTIFY_SOCKET": systemd.address}) as command:
        command.wait_for("Started parent process")
        systemd.wait_for_silence()
        assert "Ctrl-C to stop" not in command.stderr
        # Open for both, so that a worker that comes late finds what is meant for it.
        with open(pipe, "r+b", buffering=0) as both:
            both.write(b"12")  # a byte for each worker
            assert systemd.told() == {"READY": "1"}
            command.wait_for("Ctrl-C to stop")


def test_ready_is_not_said_of_a_server_whose_workers_die(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os; os._exit(7)")
    with Command(
        "serve", "app:app", *PORT, "--supervise", cwd=tmp_path, env={"NOTIFY_SOCKET": systemd.address}
    ) as command:
        command.wait_for("starting another in 1 s")
        command.signal(Signal.SIGTERM)
        assert systemd.told() == {"STOPPING": "1"}


def test_it_is_told_of_a_restart(systemd: Systemd) -> None:
    """As `Type=notify-reload` wants it (systemd.service(5))."""
    with Serving("shop:app", *PORT, "--supervise", env={"NOTIFY_SOCKET": systemd.address}) as serving:
        assert systemd.told() == {"READY": "1"}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        serving.signal(Signal.SIGHUP)
        told = systemd.told()
        assert told.keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert systemd.told() == {"READY": "1"}


@pytest.mark.parametrize("processes", PROCESSES.values(), ids=PROCESSES)
def test_the_watchdog_is_fed(systemd: Systemd, processes: tuple[str, ...]) -> None:
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2000000"}
    with Serving("shop:app", *PORT, *processes, env=env):
        times = [systemd.wait_for_heartbeat() for _ in range(3)]
    assert all(0.5 < later - earlier < 2 for earlier, later in pairwise(times))


def test_the_watchdog_is_fed_while_requests_are_waited_for(systemd: Systemd, pipe: Path) -> None:
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    with Serving("shop:app", *PORT, env=env) as serving, serving.connection() as slow:
        slow.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w"):
            serving.signal(Signal.SIGTERM)
            while systemd.told() != {"STOPPING": "1"}:
                pass
            systemd.wait_for_heartbeat()
            systemd.wait_for_heartbeat()


def test_a_hung_event_loop_does_not_feed_the_watchdog(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        """
import time
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    time.sleep(600)
"""
    )
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    with Serving("app:app", *PORT, cwd=tmp_path, env=env) as serving, serving.connection() as connection:
        systemd.wait_for_heartbeat()
        connection.request("GET", "/")
        systemd.wait_for_silence()


def test_a_worker_that_hangs_is_replaced(systemd: Systemd) -> None:
    typed = ("--supervise", "--timeout-worker-healthcheck", "1")
    with Serving("shop:app", *PORT, *typed, env={"NOTIFY_SOCKET": systemd.address}) as serving:
        assert systemd.told() == {"READY": "1"}  # from here on it is known to serve
        pid = int(serving.wait_for(r"Started server process \[(\d+)\]")[1])
        os.kill(pid, signal.SIGSTOP)
        serving.wait_for(rf"worker \[{pid}\] does not answer, and was killed; starting another$")
        assert serving.get("/").text == "Hello"


def test_without_systemd_nothing_is_told() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.tell(READY=1)
    assert notifier.watchdog_interval is None


def test_an_abstract_socket_is_found(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "abstract", abstract=True)
    try:
        Notifier({"NOTIFY_SOCKET": systemd.address}).tell(STATUS="all is well", READY=1)
        assert systemd.told() == {"STATUS": "all is well", "READY": "1"}
    finally:
        systemd.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_interval_is_half_of_the_watchdogs(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).watchdog_interval == interval


def test_a_socket_that_is_gone_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": "/nowhere/notify"}).tell(READY=1)
    assert caplog.messages == [
        "cannot tell systemd READY: /nowhere/notify: [Errno 2] No such file or directory"
    ]

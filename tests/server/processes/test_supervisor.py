"""Workers that are replaced, die, hang or become more, while clients are at it."""

import json
import os
import resource
import signal
from pathlib import Path
from signal import Signals as Signal

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.server.command import APPS, Command, Serving, run, wait_until
from tests.server.steady import SteadyClients

# Without an access log: nobody reads it while clients are at work, and at some length it would have to wait.
PORT = ("--port", "0", "--no-access-log")

TWO = ("--workers", "2")
ONE = ("--workers", "1", "--supervise")

# Answers with the version that the module had when it was loaded.
VERSIONED = """
import os, pathlib
from flask import Flask
app = Flask(__name__)
version = pathlib.Path("version").read_text()
assert version != "broken", "broken version"
@app.get("/")
def index(): return version
@app.get("/pid")
def pid(): return str(os.getpid())
"""


@pytest.fixture
def versioned(tmp_path: Path) -> Path:
    """A folder with an app that reads a file when it is loaded."""
    (tmp_path / "app.py").write_text(VERSIONED)
    (tmp_path / "version").write_text("one")
    return tmp_path


def pids_of(serving: Serving, number: int) -> list[int]:
    """The processes of so many servers, in the order in which they have started."""
    pattern = r"Started server process \[(\d+)\]"
    return [int(serving.wait_for(pattern, times=n)[1]) for n in range(1, number + 1)]


def assert_ended(serving: Serving) -> None:
    assert serving.finish() == 0
    assert "Traceback" not in serving.stderr


# Rolling restart


@pytest.mark.parametrize(
    ("workers", "keep_alive"),
    [(ONE, True), (TWO, False)],
    ids=["one worker, connections kept", "two workers, a connection each"],
)
def test_hup_replaces_all_workers_without_losing_a_request(
    versioned: Path, workers: tuple[str, ...], keep_alive: bool
) -> None:
    number = int(workers[1])
    with Serving("app:app", *PORT, *workers, cwd=versioned) as serving:
        serving.wait_for("Application startup complete", times=number)
        old = set(pids_of(serving, number))
        with SteadyClients(serving, number=8, keep_alive=keep_alive) as clients:
            (versioned / "version").write_text("two")
            serving.signal(Signal.SIGHUP)
            serving.wait_for("reloaded: all workers have loaded the app again")
            serving.wait_for("Finished server process", times=number)
            clients.wait_for_more()
            assert serving.get("/").text == "two"
        new = set(pids_of(serving, 2 * number)) - old
        assert clients.failed == []
        assert [tally.refused for tally in clients.tallies] == [""] * 8
        assert {tally.pids[-1] for tally in clients.tallies} <= new
        serving.signal(Signal.SIGTERM)
        assert_ended(serving)


@pytest.mark.parametrize("version", ["two", "broken"])
def test_hup_while_a_worker_starts_for_another_hup(versioned: Path, pipe: Path, version: str) -> None:
    """It has loaded the app before, perhaps."""
    with Serving("app:app", *PORT, *ONE, cwd=versioned) as serving:
        serving.wait_for("Application startup complete")
        (versioned / "version").write_text(version)
        slow = VERSIONED.replace("assert", f"open({str(pipe)!r}).read()\nassert")
        (versioned / "app.py").write_text(slow)
        serving.signal(Signal.SIGHUP)
        with pipe.open("w"):  # waits for the worker
            (versioned / "version").write_text("three")
            (versioned / "app.py").write_text(VERSIONED)
            serving.signal(Signal.SIGHUP)
            serving.wait_for("Received SIGHUP", times=2)
        serving.wait_for("reloaded: all workers have loaded the app again")
        assert serving.get("/").text == "three"


def test_hup_with_an_app_that_no_longer_starts_keeps_the_workers(versioned: Path) -> None:
    with Serving("app:app", *PORT, *TWO, cwd=versioned) as serving:
        old = set(pids_of(serving, 2))
        serving.wait_for("Application startup complete", times=2)
        with SteadyClients(serving, number=4, keep_alive=False) as clients:
            (versioned / "version").write_text("broken")
            serving.signal(Signal.SIGHUP)
            serving.wait_for(r"new worker \[\d+\] could not start; the old workers go on")
            clients.wait_for_more()
        assert clients.failed == []
        assert {pid for tally in clients.tallies for pid in tally.pids} <= old
        # And when it is mended, it is taken.
        (versioned / "version").write_text("three")
        serving.signal(Signal.SIGHUP)
        serving.wait_for("reloaded: all workers have loaded the app again")
        assert serving.get("/").text == "three"


def test_a_slow_start_is_waited_for(versioned: Path) -> None:
    """Longer than a worker that serves may be silent."""
    slow = "import time; time.sleep(2)\n" + VERSIONED
    typed = (*ONE, "--timeout-worker-healthcheck", "1")
    with Serving("app:app", *PORT, *typed, cwd=versioned) as serving:
        serving.wait_for("Application startup complete")
        (versioned / "app.py").write_text(slow)
        (versioned / "version").write_text("slow")
        serving.signal(Signal.SIGHUP)
        serving.wait_for("reloaded: all workers have loaded the app again")
        assert serving.get("/").text == "slow"


def test_one_that_never_starts_is_given_up(versioned: Path) -> None:
    with Serving("app:app", *PORT, *ONE, "--timeout-worker-start", "5", cwd=versioned) as serving:
        serving.wait_for("Application startup complete")
        (versioned / "app.py").write_text("import time; time.sleep(60)")
        serving.signal(Signal.SIGHUP)
        serving.wait_for("new worker .* has not come to serve in time, and was killed; the old workers go on")
        assert serving.get("/").text == "one"


def test_a_request_may_outlast_the_restart(pipe: Path) -> None:
    with Serving("shop:app", *PORT, *ONE) as serving, serving.connection() as slow:
        serving.wait_for("Application startup complete")
        slow.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w") as writer:
            serving.signal(Signal.SIGHUP)
            serving.wait_for("reloaded: all workers have loaded the app again")
            assert serving.get("/").text == "Hello"
            writer.write("done")
        assert slow.getresponse().read() == b"done"


def test_a_limit_of_requests_has_the_worker_replaced() -> None:
    with Serving("shop:app", *PORT, "--limit-max-requests", "300") as serving:
        with SteadyClients(serving, number=4, keep_alive=True) as clients:
            serving.wait_for("has served --limit-max-requests; replacing it", times=2)
        assert clients.failed == []
        serving.signal(Signal.SIGTERM)
        assert_ended(serving)


def test_a_limit_of_requests_ends_the_server_that_has_no_supervisor() -> None:
    with Serving("shop:app", *PORT, "--limit-max-requests", "1", "--no-supervise") as serving:
        assert serving.get("/").text == "Hello"
        assert serving.finish() == 0


def handshakes(serving: Serving, number: int) -> list[int]:
    """Open a websocket so many times, and close it; return the status of each handshake."""
    statuses = []
    for _ in range(number):
        try:
            with connect("ws://localhost/receives", sock=serving.connect()) as ws:
                ws.recv(timeout=10)
            statuses.append(101)
        except InvalidStatus as denied:
            statuses.append(denied.response.status_code)
    return statuses


@pytest.mark.parametrize("library", ["auto", "wsproto"])
def test_a_limit_of_requests_counts_websockets(library: str) -> None:
    with Serving("chatting:app", *PORT, "--ws", library, "--limit-max-requests", "3") as serving:
        for times in (1, 2):
            assert handshakes(serving, 3) == [101] * 3
            serving.wait_for("has served --limit-max-requests; replacing it", times=times)
            serving.wait_for("Finished server process", times=times)
        serving.signal(Signal.SIGTERM)
        assert_ended(serving)


@pytest.mark.parametrize("library", ["auto", "wsproto"])
def test_a_limit_of_requests_counts_websockets_when_they_end(library: str) -> None:
    """As it does responses: what is open is not cut by its own opening."""
    options = ("--ws", library, "--limit-max-requests", "1", "--no-supervise")
    with Serving("chatting:app", *PORT, *options) as serving:
        with connect("ws://localhost/receives", sock=serving.connect()) as ws:
            assert ws.recv(timeout=10) == "here"
            with pytest.raises(TimeoutError):
                ws.recv(timeout=0.5)
        assert serving.finish() == 0


def test_a_limit_of_requests_counts_handshakes_that_are_denied() -> None:
    with Serving("chatting:app", *PORT, "--limit-max-requests", "1", "--no-supervise") as serving:
        with (
            pytest.raises(InvalidStatus),
            connect("ws://localhost/nowhere", sock=serving.connect()),
        ):
            pass
        assert serving.finish() == 0


# The end


@pytest.mark.parametrize("workers", [(), ONE, TWO], ids=["one process", "one worker", "two workers"])
def test_term_leaves_no_request_unanswered(workers: tuple[str, ...]) -> None:
    """Those on connections that are open. On new ones there is nobody any more, and the kernel tells clients.

    It refuses them, or, if nobody has accepted them when the last listening socket is closed, resets them.
    """
    with Serving("shop:app", *PORT, *workers) as serving:
        serving.wait_for("Application startup complete", times=2 if workers == TWO else 1)
        with SteadyClients(serving, number=8, keep_alive=True) as clients:
            serving.signal(Signal.SIGTERM)
            assert_ended(serving)
            wait_until(clients.all_refused, "all clients are told")
        lost = [(pid, why) for tally in clients.tallies for pid, why in tally.lost]
        assert [(pid, why) for pid, why in lost if pid is not None or "ConnectionReset" not in why] == []
        assert [tally.wrong for tally in clients.tallies] == [[]] * 8


# Deaths


def test_a_killed_worker_is_replaced_and_only_its_connections_are_lost() -> None:
    with Serving("shop:app", *PORT, *TWO) as serving:
        serving.wait_for("Application startup complete", times=2)
        killed, spared = pids_of(serving, 2)
        with SteadyClients(serving, number=8, keep_alive=True) as clients:
            os.kill(killed, signal.SIGKILL)
            serving.wait_for(rf"worker \[{killed}\] was killed by SIGKILL; starting another$")
            serving.wait_for("Application startup complete", times=3)
            clients.wait_for_more()
        lost = [pid for tally in clients.tallies for pid, _ in tally.lost]
        assert set(lost) <= {killed, None}
        assert len(lost) <= 8
        assert [tally.wrong for tally in clients.tallies] == [[]] * 8
        assert spared in {pid for tally in clients.tallies for pid in tally.pids}


def test_a_worker_that_the_system_cannot_start_is_tried_again() -> None:
    with Serving("shop:app", *PORT, *ONE) as serving:
        serving.wait_for("Application startup complete")
        (pid,) = pids_of(serving, 1)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = resource.prlimit(serving.pid, resource.RLIMIT_NOFILE, (1, most))
        os.kill(pid, signal.SIGKILL)
        serving.wait_for("cannot start a worker: Too many open files; trying again in 1 s$")
        resource.prlimit(serving.pid, resource.RLIMIT_NOFILE, before)
        assert serving.get("/").text == "Hello"


def test_a_worker_can_be_killed_by_a_signal_without_a_name() -> None:
    with Serving("shop:app", *PORT, *ONE) as serving:
        serving.wait_for("Application startup complete")
        (pid,) = pids_of(serving, 1)
        os.kill(pid, signal.SIGRTMIN + 1)
        serving.wait_for(rf"worker \[{pid}\] was killed by signal {signal.SIGRTMIN + 1}; starting another$")
        assert serving.get("/").text == "Hello"


def test_workers_that_die_again_and_again_are_started_less_and_less_often(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os; os._exit(7)")
    with Command("serve", "app:app", *PORT, *ONE, cwd=tmp_path) as command:
        command.wait_for(r"worker \[\d+\] ended with exit code 7; starting another$")
        command.wait_for(r"worker \[\d+\] ended with exit code 7; starting another in 1 s$")
        command.wait_for(r"worker \[\d+\] ended with exit code 7; starting another in 2 s$")
        command.signal(Signal.SIGTERM)
        assert command.finish() == 0


@pytest.mark.timeout(40)
def test_a_worker_whose_event_loop_is_held_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        """
import time
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/held":
        time.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello"})
"""
    )
    typed = (*ONE, "--timeout-worker-healthcheck", "1")
    with Serving("app:app", *PORT, *typed, cwd=tmp_path) as serving, serving.connection() as held:
        (pid,) = pids_of(serving, 1)
        assert serving.get("/").text == "Hello"
        held.request("GET", "/held")
        serving.wait_for(rf"worker \[{pid}\] does not answer, and was killed; starting another$")
        assert serving.get("/").text == "Hello"


def test_all_workers_are_replaced_at_once_if_all_are_killed() -> None:
    with Serving("shop:app", *PORT, "--workers", "3") as serving:
        serving.wait_for("Application startup complete", times=3)
        for pid in pids_of(serving, 3):
            os.kill(pid, signal.SIGKILL)
        serving.wait_for(r"worker \[\d+\] was killed by SIGKILL; starting another$", times=3)
        assert serving.get("/").text == "Hello"


def test_a_worker_that_cannot_start_when_others_have_does_not_stop_them(versioned: Path) -> None:
    with Serving("app:app", *PORT, *TWO, cwd=versioned) as serving:
        serving.wait_for("Application startup complete", times=2)
        killed, spared = pids_of(serving, 2)
        (versioned / "version").write_text("broken")
        os.kill(killed, signal.SIGKILL)
        serving.wait_for(r"worker \[\d+\] could not start; starting another in 1 s")
        assert int(serving.get("/pid").text) == spared
        (versioned / "version").write_text("mended")
        serving.wait_for("Application startup complete", times=3)


def test_a_worker_that_somebody_else_stops_is_replaced_at_once(pipe: Path) -> None:
    with Serving("shop:app", *PORT, *ONE) as serving, serving.connection() as slow:
        serving.wait_for("Application startup complete")
        (pid,) = pids_of(serving, 1)
        slow.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w") as writer:
            os.kill(pid, signal.SIGTERM)
            serving.wait_for(rf"worker \[{pid}\] was stopped from outside; starting another")
            assert serving.get("/").text == "Hello"
            writer.write("done")
        assert slow.getresponse().read() == b"done"


def test_an_error_in_the_supervisor_ends_the_workers_as_well(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        """
import logging
class Filter(logging.Filter):
    def filter(self, record):
        if "SIGTTIN" in record.getMessage():
            raise ValueError("the filter is broken")
        return True
"""
    )
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"broken": {"()": "broken.Filter"}},
        "handlers": {"all": {"class": "logging.StreamHandler", "filters": ["broken"]}},
        "loggers": {
            "uvicorn": {"handlers": ["all"], "level": "INFO"},
            "bridge": {"handlers": ["all"], "level": "INFO", "filters": ["broken"]},
        },
    }
    (tmp_path / "log.json").write_text(json.dumps(config))
    (tmp_path / "app.py").write_text((APPS / "shop.py").read_text())
    with Command("serve", "app:app", *PORT, *TWO, "--log-config", "log.json", cwd=tmp_path) as command:
        command.wait_for("Application startup complete", times=2)
        command.signal(Signal.SIGTTIN)
        command.wait_for("Finished server process", times=2)
        assert command.finish() == 1
        assert command.stderr.endswith("ValueError: the filter is broken\n")


def test_workers_do_not_outlive_their_supervisor() -> None:
    with Serving("shop:app", *PORT, *TWO) as serving:
        serving.wait_for("Application startup complete", times=2)
        serving.signal(Signal.SIGKILL)
        serving.wait_for(r"the supervisor of worker \[\d+\] is gone; stopping", times=2)
        serving.wait_for("Finished server process", times=2)
        assert serving.finish() == -Signal.SIGKILL


# More, and fewer


def test_ttin_and_ttou_change_the_number_of_workers() -> None:
    with Serving("shop:app", *PORT, *ONE) as serving:
        serving.wait_for("Application startup complete")
        (first,) = pids_of(serving, 1)
        with SteadyClients(serving, number=4, keep_alive=False) as clients:
            serving.signal(Signal.SIGTTIN)
            serving.wait_for("SIGTTIN adds a worker; there are 2 now")
            serving.wait_for("Application startup complete", times=2)
            serving.signal(Signal.SIGTTOU)
            serving.wait_for("SIGTTOU stops a worker; workers left: 1")
            _, second = pids_of(serving, 2)
            serving.wait_for(rf"Finished server process \[({first}|{second})\]")
            serving.signal(Signal.SIGTTOU)
            serving.wait_for("SIGTTOU stops no worker: there is only one")
            clients.wait_for_more()
        assert clients.failed == []


def test_no_supervisor_is_for_one_worker(tmp_path: Path) -> None:
    code, _, err = run("serve", "app:app", *PORT, *TWO, "--no-supervise", cwd=tmp_path)
    assert (code, err) == (3, "bridge: --no-supervise is for one worker; --workers is 2\n")

"""`--preload`: the supervisor loads the app, and forks workers that go on from there."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from signal import Signals as Signal

import pytest

from tests.server.command import Command, Serving, run, wait_until
from tests.server.hooks.test_metrics import requests, scrape
from tests.server.processes.test_supervisor import assert_ended, pids_of
from tests.server.steady import SteadyClients

PORT = ("--port", "0", "--no-access-log")
ONE = ("--supervise", "--preload")
TWO = ("--workers", "2", "--preload")

# Notes what happens, and in which process.
APP = """
import asyncio, atexit, multiprocessing, os, random, signal, threading, time, _thread
from concurrent.futures import ThreadPoolExecutor
from flask import Flask

def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what} {os.getpid()}\\n")

note("imported")
atexit.register(note, "exited")
signal.signal(signal.SIGUSR1, lambda *_: note("signalled"))
app = Flask(__name__)

@app.get("/")
def index(): return "Hello"
@app.get("/pid")
def pid(): return str(os.getpid())
@app.get("/random")
def drawn(): return str(random.random())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def notes(folder: Path, what: str) -> list[int]:
    """The processes that have noted it, in the order in which they did."""
    lines = [line.split() for line in (folder / "notes").read_text().splitlines()]
    return [int(pid) for noted, pid in lines if noted == what]


def test_the_app_is_imported_once_whatever_becomes_of_workers(folder: Path) -> None:
    with Serving("app:app", *PORT, *TWO, cwd=folder) as serving:
        serving.wait_for("Application startup complete", times=2)
        killed, told = pids_of(serving, 2)
        os.kill(killed, signal.SIGKILL)
        serving.wait_for(rf"worker \[{killed}\] was killed by SIGKILL; starting another$")
        serving.wait_for("Application startup complete", times=3)
        os.kill(told, signal.SIGTERM)
        serving.wait_for(rf"worker \[{told}\] was stopped from outside; starting another")
        serving.wait_for("Application startup complete", times=4)
        serving.signal(Signal.SIGTTIN)
        serving.wait_for("Application startup complete", times=5)
        assert serving.get("/").text == "Hello"
        serving.signal(Signal.SIGTERM)
        assert_ended(serving)
        assert notes(folder, "imported") == [serving.pid]
        ended = {*pids_of(serving, 5), serving.pid} - {killed}
        assert sorted(notes(folder, "exited")) == sorted(ended)


def test_hup_replaces_the_workers_and_says_that_the_app_stays(folder: Path) -> None:
    with Serving("app:app", *PORT, *TWO, cwd=folder) as serving:
        serving.wait_for("Application startup complete", times=2)
        with SteadyClients(serving, number=8, keep_alive=True) as clients:
            serving.signal(Signal.SIGHUP)
            serving.wait_for("^WARNING: +SIGHUP does not load new code with --preload")
            serving.wait_for("reloaded: all workers were replaced$")
            serving.wait_for("Finished server process", times=2)
            clients.wait_for_more()
        assert clients.failed == []
        assert {tally.pids[-1] for tally in clients.tallies} <= set(pids_of(serving, 4)[2:])
        assert notes(folder, "imported") == [serving.pid]


def test_a_limit_of_requests_has_the_worker_replaced(folder: Path) -> None:
    with Serving("app:app", *PORT, "--limit-max-requests", "300", "--preload", cwd=folder) as serving:
        with SteadyClients(serving, number=4, keep_alive=True) as clients:
            serving.wait_for("has served --limit-max-requests; replacing it", times=2)
        assert clients.failed == []
        assert notes(folder, "imported") == [serving.pid]
        serving.interrupt()
        assert_ended(serving)


def test_workers_differ_in_their_random_numbers(folder: Path) -> None:
    with Serving("app:app", *PORT, *ONE, "--limit-max-requests", "1", cwd=folder) as serving:
        first = serving.get("/random").text
        serving.wait_for("Finished server process")
        assert serving.get("/random").text != first


@pytest.fixture
def _sighup_is_not_ignored() -> Iterator[None]:
    """It is under nohup, and in all children."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_sighup_is_not_ignored")
def test_signals_do_in_a_worker_what_the_app_has_them_do(folder: Path) -> None:
    """The supervisor's own handlers would only take note of them."""
    with Serving("app:app", *PORT, *ONE, cwd=folder) as serving:
        serving.wait_for("Application startup complete")
        (pid,) = pids_of(serving, 1)
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: notes(folder, "signalled") == [pid], "the app's handler has been called")
        os.kill(pid, signal.SIGHUP)
        serving.wait_for(rf"worker \[{pid}\] was killed by SIGHUP; starting another$")


def test_workers_do_not_outlive_their_supervisor(folder: Path, pipe: Path) -> None:
    """Each sees that it is gone, also while another is still at work, which has been forked later."""
    waits = f"@app.get('/wait')\ndef wait(): return open({str(pipe)!r}).read()\n"
    (folder / "app.py").write_text(APP + waits)
    with Serving("app:app", *PORT, *TWO, cwd=folder) as serving, serving.connection() as slow:
        serving.wait_for("Application startup complete", times=2)
        slow.request("GET", "/wait")
        with pipe.open("w"):
            serving.signal(Signal.SIGKILL)
            serving.wait_for(r"the supervisor of worker \[\d+\] is gone; stopping", times=2)
        assert serving.finish() == -Signal.SIGKILL


def test_a_socket_that_was_opened_before_and_figures(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        typed = ("--fd", str(number), "--metrics-port", "0", *TWO)
        with Serving("app:app", *typed, cwd=folder, pass_fds=[number]) as serving:
            serving.wait_for("Application startup complete", times=2)
            workers = {*pids_of(serving, 2)}
            with SteadyClients(serving, number=4, keep_alive=False) as clients:
                wait_until(
                    lambda: {pid for tally in clients.tallies for pid in tally.pids} == workers,
                    "both workers are asked",
                )
                serving.signal(Signal.SIGHUP)
                serving.wait_for("reloaded: all workers were replaced$")
                clients.wait_for_more()
            assert clients.failed == []
            asked = {"GET 200 /pid": clients.answered}
            wait_until(
                lambda: requests(scrape(serving)) == asked, "the figures of all processes are added up"
            )


def test_what_holds_a_worker_is_named_and_left_behind(folder: Path) -> None:
    held = """
supervisor = os.getpid()
def hang(): time.sleep(0 if os.getpid() == supervisor else 1000)
atexit.register(hang)
@app.before_request
def start(): threading.Thread(target=time.sleep, args=(1000,), name="scheduler", daemon=False).start()
"""
    (folder / "app.py").write_text(APP + held)
    with Serving("app:app", *PORT, *ONE, "--timeout-graceful-shutdown", "1", cwd=folder) as serving:
        assert serving.get("/").text == "Hello"
        serving.signal(Signal.SIGTERM)
        serving.wait_for(r"without threads that have not ended in \S+ s after the server \(.*\): scheduler$")
        serving.wait_for(r"as a function of atexit has not returned in \S+ s: MainThread$")
        assert_ended(serving)
        assert "killing it" not in serving.stderr


# What cannot be forked

STARTED = [
    # (what the app does, what is said of it)
    ("threading.Thread(target=time.sleep, args=(2,), name='clock').start()", "thread 'clock'"),
    (
        "def poll(): time.sleep(2)\nthreading.Thread(target=poll, name='poller', daemon=True).start()",
        r"thread 'poller' of poll \(.*app\.py:\d+\)",
    ),
    ("threading.Timer(2, note, ['late']).start()", r"thread 'Thread-1' of note \(.*app\.py:\d+\)"),
    (
        "ThreadPoolExecutor(1, 'reports').submit(time.sleep, 2)",
        r"thread 'reports_0' of _worker \(.*thread\.py:\d+\)",
    ),
    (
        "_thread.start_new_thread(lambda: time.sleep(2), ())",
        r"a thread of _thread of <lambda> \(.*app\.py:\d+\)",
    ),
    ("loop = asyncio.new_event_loop()", "event loop <_UnixSelectorEventLoop running=False .*>"),
    (
        "import uvloop; asyncio.set_event_loop(uvloop.new_event_loop())",
        "event loop <uvloop.Loop running=False .*>",
    ),
    (
        "multiprocessing.Process(target=time.sleep, args=(2,), name='child').start()",
        r"process child \[\d+\]",
    ),
]


@pytest.mark.parametrize(("does", "said"), STARTED)
def test_what_could_not_be_used_after_a_fork_is_refused_by_its_name(
    folder: Path, does: str, said: str
) -> None:
    (folder / "app.py").write_text(f"{APP}{does}\n")
    code, _, err = run("serve", "app:app", *PORT, *TWO, cwd=folder)
    assert code == 3
    assert re.fullmatch(f"bridge: --preload forks .* started by then: {said}; start .*\n", err), err


def test_what_has_ended_by_then_is_no_reason(folder: Path) -> None:
    ended = "asyncio.run(asyncio.sleep(0))\nwith ThreadPoolExecutor() as executor: executor.submit(int)\n"
    (folder / "app.py").write_text(APP + ended)
    with Serving("app:app", *PORT, *ONE, cwd=folder) as serving:
        assert serving.get("/").text == "Hello"


def test_the_supervisor_is_not_monkey_patched(folder: Path) -> None:
    pytest.importorskip("gevent")
    (folder / "app.py").write_text(f"from gevent import monkey; monkey.patch_all()\n{APP}")
    code, _, err = run("serve", "app:app", *PORT, *TWO, cwd=folder)
    assert code == 3
    assert err.startswith("bridge: --preload has the supervisor load the app, and gevent has replaced ")


@pytest.mark.parametrize("number", [Signal.SIGTERM, Signal.SIGINT])
def test_a_signal_while_the_app_is_loaded_ends_the_server(tmp_path: Path, pipe: Path, number: Signal) -> None:
    (tmp_path / "app.py").write_text(f"open({str(pipe)!r}).read()")
    with Command("serve", "app:app", *PORT, *TWO, cwd=tmp_path) as command, pipe.open("w"):
        command.signal(number)
        assert command.finish() == 0
        assert command.stderr == ""


def test_an_app_that_cannot_be_loaded_is_said_once(folder: Path) -> None:
    (folder / "app.py").write_text("1 / 0")
    code, _, err = run("serve", "app:app", *PORT, *TWO, cwd=folder)
    assert code == 3
    assert err.endswith("bridge: importing 'app' failed: ZeroDivisionError: division by zero\n")
    assert err.count("ZeroDivisionError") == 2  # once in the traceback


@pytest.mark.parametrize("option", ["--reload", "--debug"])
def test_what_is_loaded_once_is_not_reloaded(folder: Path, option: str) -> None:
    code, _, err = run("serve", "app:app", *PORT, "--preload", option, cwd=folder)
    assert code == 3
    assert err.startswith(f"bridge: --preload and {option} exclude each other: ")


def test_one_process_loads_the_app_for_itself(folder: Path) -> None:
    with Serving("app:app", *PORT, "--preload", cwd=folder) as serving:
        assert serving.get("/").text == "Hello"

"""The end of each process: orderly, so that `atexit` is called, and in bounded time, whatever holds it."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals as Signal

import pytest

from tests.server.command import Command, Serving, run, wait_until

PORT = ("--port", "0", "--no-access-log")

ONE = ("--workers", "1", "--supervise")

MODES = {
    "one process": (),
    "two workers": ("--workers", "2"),
    "one worker": ONE,
    "reloading": ("--reload",),
}

# Leaves notes of what happens to each process.
NOTING = """
import asyncio, atexit, os, pathlib, subprocess, sys, threading, time, multiprocessing
from concurrent.futures import ThreadPoolExecutor
from bridge import run_on_loop
from flask import Flask

def note(text):
    with open("notes", "a") as file:
        file.write(f"{os.getpid()} {text}\\n")

app = Flask(__name__)
note("loaded")
atexit.register(note, "exited")

@app.get("/")
def index():
    return "Hello"
"""


def notes(folder: Path, text: str) -> set[int]:
    """The processes that have left a note."""
    lines = (folder / "notes").read_text().splitlines() if (folder / "notes").exists() else []
    return {int(pid) for pid, what in (line.split(maxsplit=1) for line in lines) if what == text}


def serving(folder: Path, *typed: str, more: str = "") -> Serving:
    (folder / "app.py").write_text(NOTING + more)
    return Serving("app:app", *PORT, *typed, cwd=folder)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# `atexit` is called


TRACED = """
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

provider = TracerProvider()
# Nothing is sent before the end.
exporter = ConsoleSpanExporter(out=open("spans", "a"), formatter=lambda span: span.name + "\\n")
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
app = Flask(__name__)

@app.get("/")
def index():
    with provider.get_tracer("shop").start_as_current_span("index"):
        return "Hello"
"""


@pytest.mark.parametrize("typed", MODES.values(), ids=MODES)
def test_the_last_spans_of_opentelemetry_are_sent(tmp_path: Path, typed: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(TRACED)
    with Serving("app:app", *PORT, *typed, cwd=tmp_path) as server:
        for _ in range(25):
            assert server.get("/").text == "Hello"
        server.signal(Signal.SIGTERM)
        assert server.finish() == 0
    assert (tmp_path / "spans").read_text().splitlines() == ["index"] * 25


WAYS: dict[str, tuple[tuple[str, ...], Callable[[Serving, int], None]]] = {
    # (what is typed, how a process is ended, by the server and the process's id)
    "HUP": (ONE, lambda server, pid: server.signal(Signal.SIGHUP)),
    "SIGTERM to the worker": (ONE, lambda server, pid: os.kill(pid, signal.SIGTERM)),
    "SIGINT to the worker": (ONE, lambda server, pid: os.kill(pid, signal.SIGINT)),
    "its requests used up": (("--limit-max-requests", "1"), lambda server, pid: _get(server)),
    "the supervisor is gone": (ONE, lambda server, pid: server.signal(Signal.SIGKILL)),
    "Ctrl-C": (ONE, lambda server, pid: server.interrupt()),
    "Ctrl-C in one process": ((), lambda server, pid: server.interrupt()),
    "Ctrl-C while reloading": (("--reload",), lambda server, pid: server.interrupt()),
}


def _get(server: Serving) -> None:
    server.get("/")


@pytest.mark.parametrize(("typed", "end"), WAYS.values(), ids=WAYS)
def test_atexit_is_called_however_a_process_ends(
    tmp_path: Path, typed: tuple[str, ...], end: Callable[[Serving, int], None]
) -> None:
    with serving(tmp_path, *typed) as server:
        server.wait_for("Application startup complete")
        (pid,) = notes(tmp_path, "loaded")
        end(server, pid)
        wait_until(lambda: pid in notes(tmp_path, "exited"), "atexit is called")
        if pid == server.pid:
            assert server.finish() == 0
        else:
            wait_until(lambda: is_gone(pid), "the process ends")


def test_atexit_is_called_in_a_worker_that_is_one_too_many(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        server.wait_for("Application startup complete", times=2)
        server.signal(Signal.SIGTTOU)
        wait_until(lambda: len(notes(tmp_path, "exited")) == 1, "one is ended")


def test_atexit_is_called_in_a_process_that_is_reloaded(tmp_path: Path) -> None:
    with serving(tmp_path, "--reload") as server:
        server.wait_for("Application startup complete")
        (pid,) = notes(tmp_path, "loaded")

        def is_reloaded() -> bool:
            (tmp_path / "app.py").touch()  # again, for it was missed if nobody had begun to watch
            return pid in notes(tmp_path, "exited")

        wait_until(is_reloaded, "atexit is called")


FAILING_LIFESPAN = """
from contextlib import asynccontextmanager
from bridge import WSGIToASGI

@asynccontextmanager
async def lifespan(app):
    raise ValueError("no database")
    yield

served = WSGIToASGI(app, lifespan=lifespan)
"""


@pytest.mark.parametrize("typed", [(), ONE], ids=["one process", "one worker"])
def test_atexit_is_called_when_the_app_cannot_start(tmp_path: Path, typed: tuple[str, ...]) -> None:
    held = 'threading.Thread(target=time.sleep, args=(1000,), name="scheduler").start()\n'
    (tmp_path / "app.py").write_text(NOTING + FAILING_LIFESPAN + held)
    code, _, err = run("serve", "app:served", *PORT, *typed, cwd=tmp_path)
    assert code == 3
    assert notes(tmp_path, "exited") == notes(tmp_path, "loaded") != set()
    assert re.search(r"the process ends without threads that have not ended in \S+ s after the server", err)
    assert "or make them daemons): scheduler\n" in err


SLOW_EXIT = """
def slow():
    note("exiting")
    time.sleep(1)
    note("has had the time")
atexit.register(slow)
"""


@pytest.mark.parametrize(
    ("number", "mode"),
    [
        (signal.SIGTERM, "one process"),
        (signal.SIGTERM, "two workers"),
        (signal.SIGINT, "one worker"),
    ],
)
def test_more_signals_do_not_disturb_atexit(tmp_path: Path, number: signal.Signals, mode: str) -> None:
    """A service manager may signal all processes, and the supervisor signals its own once more."""
    with serving(tmp_path, *MODES[mode], more=SLOW_EXIT) as server:
        server.wait_for("Application startup complete", times=2 if mode == "two workers" else 1)
        os.killpg(server.pid, number)
        pids = notes(tmp_path, "loaded")
        wait_until(lambda: notes(tmp_path, "exiting") == pids, "atexit is called")
        os.killpg(server.pid, number)
        assert server.finish() == 0
        assert "Traceback" not in server.stderr
    assert notes(tmp_path, "has had the time") == notes(tmp_path, "exited") == pids


def test_a_worker_may_be_told_to_stop_while_it_loads_the_app(tmp_path: Path, pipe: Path) -> None:
    first = (
        f"if not os.path.exists('first'):\n    open('first', 'w').close()\n    open({str(pipe)!r}).read()\n"
    )
    (tmp_path / "app.py").write_text(NOTING + first)
    with Command("serve", "app:app", *PORT, *ONE, cwd=tmp_path) as command:
        with pipe.open("w"):
            (pid,) = notes(tmp_path, "loaded")
            os.kill(pid, signal.SIGTERM)
            command.wait_for(rf"worker \[{pid}\] was stopped from outside; starting another$")
        command.wait_for("Application startup complete")
        assert notes(tmp_path, "exited") == {pid}
        assert "Traceback" not in command.stderr


# What holds a process

HOLDING = {
    # (what the app does, what is said, whether the other functions of atexit are called)
    "a thread": (
        'threading.Thread(target=time.sleep, args=(1000,), name="scheduler").start()',
        r"without threads that have not ended in \S+ s after the server \(.*\): scheduler$",
        True,
    ),
    "a timer": (
        "threading.Timer(1000, print).start()",
        r"without threads that have not ended in \S+ s after the server \(.*\): Thread-\d+$",
        True,
    ),
    "an executor": (
        "ThreadPoolExecutor(1, 'reports').submit(time.sleep, 1000)",
        r"without threads that have not ended in \S+ s after the server \(.*\): reports_0$",
        True,
    ),
    "a function of atexit": (
        "def hang(): time.sleep(1000)\natexit.register(hang)",
        r"ending the process, as a function of atexit has not returned in \S+ s: MainThread\n"
        r'(  .*\n)*  File ".*app\.py", line \d+, in hang$',
        False,
    ),
    "a child process": (
        "multiprocessing.Process(target=time.sleep, args=(1000,), name='reports').start()",
        r"^with the child processes reports \[\d+\]$",
        True,
    ),
}


@pytest.mark.parametrize(
    ("holding", "mode"),
    [
        *((holding, "one process") for holding in HOLDING),
        ("a thread", "two workers"),
        ("a thread", "reloading"),
    ],
)
def test_what_holds_a_process_is_named_and_left_behind(tmp_path: Path, holding: str, mode: str) -> None:
    code, said, is_called = HOLDING[holding]
    number = 2 if mode == "two workers" else 1
    with serving(tmp_path, *MODES[mode], "--timeout-graceful-shutdown", "1", more=code) as server:
        server.wait_for("Application startup complete", times=number)
        pids = notes(tmp_path, "loaded")
        server.signal(Signal.SIGTERM)
        server.wait_for(said, times=number)
        assert server.wait() == 0
        assert "Traceback" not in server.stderr
        assert "killing it" not in server.stderr
    assert notes(tmp_path, "exited") == (pids if is_called else set())


TO_THREAD = """
@app.before_request
def hold():
    async def hold():
        asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1, "reports"), time.sleep, 1000)
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)
    run_on_loop(hold())
"""


def test_the_threads_of_the_loop_do_not_hold_a_process(tmp_path: Path) -> None:
    """The loop waits for those of its own when it is closed, before Python waits for all."""
    with serving(tmp_path, *ONE, "--timeout-graceful-shutdown", "1", more=TO_THREAD) as server:
        assert server.get("/").text == "Hello"
        server.signal(Signal.SIGTERM)
        server.wait_for(r"without threads that have not ended in \S+ s after the server \(.*\): ")
        assert server.finish() == 0
        assert "\nreports_0\n" in server.stderr or ": reports_0\n" in server.stderr
    assert notes(tmp_path, "exited") == notes(tmp_path, "loaded")


def test_the_graceful_timeout_is_the_bound(tmp_path: Path) -> None:
    with serving(
        tmp_path, "--timeout-graceful-shutdown", "4", more="threading.Timer(1000, print).start()"
    ) as server:
        server.wait_for("Application startup complete")
        began = time.monotonic()
        server.signal(Signal.SIGTERM)
        assert server.finish() == 0
        assert 3.5 < time.monotonic() - began < 8


@pytest.mark.parametrize("typed", [(), ONE], ids=["one process", "one worker"])
def test_ctrl_c_shortens_the_wait(tmp_path: Path, typed: tuple[str, ...]) -> None:
    held = """
def hold():
    threading.main_thread().join()  # it counts as ended when it begins to wait for this one
    note("held")
    time.sleep(1000)
threading.Thread(target=hold).start()
"""
    with serving(tmp_path, *typed, "--timeout-graceful-shutdown", "100", more=held) as server:
        server.wait_for("Application startup complete")
        server.interrupt()
        wait_until(lambda: notes(tmp_path, "held") == notes(tmp_path, "loaded"), "Python waits for threads")
        server.interrupt()
        server.wait_for("without threads that have not ended")
        assert server.finish() == 0
    assert notes(tmp_path, "exited") == notes(tmp_path, "loaded")


BLOCKED = """
@app.get("/blocked")
async def blocked():
    note("blocked")
    time.sleep(1000)
"""

HANGING_LIFESPAN = """
from contextlib import asynccontextmanager
from bridge import WSGIToASGI

@asynccontextmanager
async def lifespan(app):
    yield
    await asyncio.Event().wait()

app = WSGIToASGI(app, lifespan=lifespan)
"""


@pytest.mark.parametrize("typed", [(), ONE], ids=["one process", "one worker"])
def test_a_loop_that_is_held_does_not_hold_the_process(tmp_path: Path, typed: tuple[str, ...]) -> None:
    typed = (*typed, "--timeout-graceful-shutdown", "0")
    with serving(tmp_path, *typed, more=BLOCKED) as server, server.connection() as connection:
        connection.request("GET", "/blocked")
        wait_until(lambda: notes(tmp_path, "blocked") != set(), "the loop is held")
        server.signal(Signal.SIGTERM)
        server.wait_for(
            r"the server, with the app's lifespan, has not stopped in \S+ s; ending it: MainThread.*\n"
            r'(  .*\n)*  File ".*app\.py", line \d+, in blocked\n'
        )
        assert server.finish() == 0
    assert notes(tmp_path, "exited") == notes(tmp_path, "loaded")


def test_a_lifespan_that_does_not_end_does_not_hold_the_process(tmp_path: Path) -> None:
    with serving(tmp_path, "--timeout-graceful-shutdown", "0", more=HANGING_LIFESPAN) as server:
        server.wait_for("Application startup complete")
        server.signal(Signal.SIGTERM)
        server.wait_for(r"the server, with the app's lifespan, has not stopped in \S+ s; ending it")
        assert server.finish() == 0
    assert notes(tmp_path, "exited") == notes(tmp_path, "loaded")

"""What every test is held to: it leaves no thread, no task and no socket behind.

For a quick look there is `-m "not slow"`; on a busy machine `PYTEST_TIMEOUT=100` gives each test, and what it
waits for, five times the usual 20 seconds.
"""

import asyncio
import gc
import inspect
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.hosts import HOSTS, LOOPS, Host
from tests.patience import PATIENCE

# They take over 15 seconds each, and come first: a process that got one last would keep the others waiting.
LONG = (
    "demos/api/test_document.py",
    "demos/api/test_phone_page.py",
    "demos/test_gallery.py",
    "demos/test_gallery_in_a_browser.py",
    "demos/test_guestbook.py",
    "demos/test_portal.py",
    "demos/test_table.py",
    "demos/test_xray.py",
    "end_to_end/test_ray.py",
    "flask/test_apps_of_others.py",
    "flask/test_hosts.py",
    "http/test_answers.py",
    "server/processes/test_ending.py",
    "server/processes/test_preload.py",
    "server/processes/test_supervisor.py",
    "server/processes/test_systemd.py",
    "server/test_serve.py",
    "server/websockets/test_library.py",
    "websockets/test_handshakes.py",
    "websockets/test_socketio.py",
    "websockets/test_threads.py",
    "tests/test_clashes.py",
    "tests/docs/test_code.py",
)


# What takes its time: it starts servers, browsers, or other processes.
SLOW = ("benchmarks", "browser", "demos", "deploy", "end_to_end", "server", "websockets")

# A shell ignores the first for what it runs in the background, and `nohup` the second. So would all processes
# that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long files, and mark what is slow."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))
    for item in items:
        path = item.path.as_posix()
        if path.endswith(LONG) or not {*item.path.relative_to(config.rootpath).parts}.isdisjoint(SLOW):
            item.add_marker("slow")
        mark = item.get_closest_marker("timeout")
        if mark is not None and mark.args:
            item.add_marker(pytest.mark.timeout(mark.args[0] * PATIENCE), append=False)


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Fail a test after which there are more threads or sockets than before it."""
    threads_before = set(threading.enumerate())
    sockets_before = _sockets()
    yield
    for thread in set(threading.enumerate()) - threads_before:
        # Asked to end by what owns it, or it would not end within the time of a test.
        thread.join(timeout=5)
        assert not thread.is_alive(), f"the test left the thread {thread.name!r} running"
    if _sockets() - sockets_before:
        gc.collect()
    assert not _sockets() - sockets_before, "the test left sockets open"


@pytest.fixture(autouse=True)
def nothing_left_over_on_the_loop(request: pytest.FixtureRequest, nothing_left_over: None) -> None:
    """Fail an async test after which tasks are running; its loop is closed before threads are looked for."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left_over")


@pytest.fixture(autouse=True)
def nothing_lost_on_a_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which asyncio reports what nobody heard of: an exception, a task that was destroyed."""
    yield
    lost = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "asyncio" and record.levelno >= logging.ERROR
    ]
    assert not lost, f"asyncio logged errors: {lost}"


@pytest.fixture
async def no_task_left_over() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # The loop closes an abandoned async generator in a task of its own, which drops the generator inside it.
    # A response that is left early abandons six of them, one inside the other, most of them httpx's.
    while closing := {task for task in _tasks_since(before) if "athrow" in type(task.get_coro()).__name__}:
        await asyncio.wait(closing)
    left = _tasks_since(before)
    assert not left, f"the test left tasks running: {left}"


def _tasks_since(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}


def _sockets() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(params=[f"{host}-{loop}" for host in HOSTS for loop in LOOPS])
def host(request: pytest.FixtureRequest) -> Host:
    """A real ASGI server on a real event loop: each test that asks for it runs on every pair."""
    name, loop = request.param.split("-")
    return Host(name, loop)

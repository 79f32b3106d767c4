"""`bridge.ray` and `bridge serve --on ray`, on a real cluster of two nodes on this machine."""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.server.command import Command

has_ray = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not has_ray, reason="Ray Serve is not installed: pip install 'ray[serve]'"),
]

ROOT = Path(__file__).parents[2]
MARK = "cluster: "
SECONDS = 60.0  # for anything to happen on a busy machine


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} seconds: {what}"
        time.sleep(0.1)


@dataclass
class Ray:
    """The cluster's process, and the app's notes."""

    process: "subprocess.Popen[str]"
    notes_file: Path
    url: str
    address: str = ""

    def answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        errors = self.notes_file.with_name("errors").read_text()
        raise AssertionError(f"the cluster has ended: {errors}")

    def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)
        return self.answer()

    def notes(self, kind: str) -> list[str]:
        lines = [line.split() for line in self.notes_file.read_text().splitlines()]
        return [value for each, value in lines if each == kind]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    folder = tmp_path_factory.mktemp("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notes = folder / "notes"
    notes.touch()
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "PYTHONPATH": str(ROOT),
        "NOTES": str(notes),
    }
    errors = (folder / "errors").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.end_to_end.apps.ray_cluster", str(port)],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    with errors, process:
        try:
            cluster = Ray(process, notes, f"http://127.0.0.1:{port}")
            cluster.address = cluster.answer()["address"]
            yield cluster
            family = psutil.Process(process.pid).children(recursive=True)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(SECONDS) == 0
            assert not psutil.wait_procs(family, timeout=10)[1]
        finally:
            process.kill()


# What an app can count on


def test_each_replica_has_a_lifespan_of_its_own(ray: Ray) -> None:
    pids = set(ray.notes("started"))
    for name in ("shop", "built"):
        answer = httpx.get(f"{ray.url}/{name}/", timeout=SECONDS).json()
        assert answer["state"] == answer["pid"]
        assert str(answer["pid"]) in pids


def test_a_plain_view_has_a_thread_of_bridge_and_the_prefix(ray: Ray) -> None:
    answer = httpx.get(f"{ray.url}/shop/", timeout=SECONDS).json()
    assert answer["thread"].startswith("bridge-")
    assert (answer["root"], answer["path"]) == ("/shop", "/")


def test_an_async_view_runs_on_the_loop_of_the_replica(ray: Ray) -> None:
    assert httpx.get(f"{ray.url}/shop/async", timeout=SECONDS).json() == {"same_loop": True}


def test_an_app_that_a_function_makes_is_served(ray: Ray) -> None:
    assert httpx.get(f"{ray.url}/built/", timeout=SECONDS).json()["root"] == "/built"


def test_a_stream_arrives_as_it_is_made(ray: Ray) -> None:
    with httpx.stream("GET", f"{ray.url}/shop/lines", timeout=SECONDS) as answer:
        arrived = [(time.time(), float(line.split()[1])) for line in answer.iter_lines()]
    assert len(arrived) == 3
    assert arrived[0][0] < arrived[2][1], "the first line came before the last was made"


def test_events_end_with_their_client(ray: Ray) -> None:
    with httpx.stream("GET", f"{ray.url}/shop/events", timeout=SECONDS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["data: tick", "", "data: tick"]
    until(lambda: "ended" in ray.notes("events"), "the app hears that the client has left")


@pytest.mark.parametrize("has_length", [True, False])
def test_an_upload_arrives_whole(ray: Ray, has_length: bool) -> None:
    size = 3_000_000
    content: Any = bytes(size) if has_length else (bytes(1000) for _ in range(size // 1000))
    answer = httpx.post(f"{ray.url}/shop/upload", content=content, timeout=SECONDS)
    assert answer.json() == {"received": size}


# The command, on a cluster that is there


def serving(ray: Ray, *arguments: str) -> Command:
    variables = {
        "RAY_ADDRESS": ray.address,
        "RAY_USAGE_STATS_ENABLED": "0",
        "NOTES": str(ray.notes_file),
        "PYTHONPATH": str(ROOT),
    }
    apps = ROOT / "tests" / "end_to_end" / "apps"
    return Command("serve", *arguments, cwd=apps, env=variables, patience=SECONDS)


def test_the_command_serves_until_it_is_interrupted(ray: Ray) -> None:
    started = set(ray.notes("started"))
    with serving(ray, "ray_app:app", "--on", "ray", "--replicas", "1..2", "--root-path", "/mine") as command:
        command.wait_for(r"^INFO: +Flask app 'ray_app:app' ")
        command.wait_for(r"^INFO: +Ray runs, with nodes: 2, CPUs: 6; deploying$")
        command.wait_for(r"^INFO: +'ray_app' on Ray · 1 running of 1\.\.2 replicas · .* · Ctrl-C to stop$")
        answer = httpx.get(f"{ray.url}/mine/", timeout=SECONDS).json()
        assert answer["root"] == "/mine"
        with serving(ray, "ray_app:app", "--on", "ray") as other:
            assert other.finish() == 3
            assert "bridge: an application 'ray_app' is on the cluster already; " in other.stderr
        command.interrupt()
        assert command.finish() == 0
    own = set(ray.notes("started")) - started
    assert own == {str(answer["pid"])}
    assert own <= set(ray.notes("ended")), "the lifespan has ended"
    assert httpx.get(f"{ray.url}/mine/", timeout=SECONDS).status_code == 404
    assert set(ray.ask("status")) == {"shop", "built"}, "others' applications are still there"


def test_the_command_leaves_an_app_running_if_asked(ray: Ray) -> None:
    arguments = ("ray_app:app", "--on", "ray", "--root-path", "/kept", "--detach")
    with serving(ray, *arguments) as command:
        assert command.finish() == 0
    first = httpx.get(f"{ray.url}/kept/", timeout=SECONDS).json()["pid"]
    with serving(ray, *arguments, "--threads", "7") as command:
        assert command.finish() == 0
    assert httpx.get(f"{ray.url}/kept/", timeout=SECONDS).json()["pid"] != first, "it was replaced"
    ray.ask("delete ray_app")


@pytest.mark.parametrize(
    ("asked", "last"),
    [
        (
            "fail",
            "'ray_app' does not start on Ray: the lifespan failed to start: LookupError: no database here",
        ),
        (
            "hang",
            "'ray_app' is not healthy on Ray after 3 seconds (--timeout-worker-start); replicas: 1 starting",
        ),
    ],
)
def test_an_app_that_does_not_start_is_one_line_and_gone(ray: Ray, asked: str, last: str) -> None:
    asks = Path(f"{ray.notes_file}.{asked}")
    asks.touch()
    limit = ("--timeout-worker-start", "3") if asked == "hang" else ()
    try:
        with serving(ray, "ray_app:app", "--on", "ray", "--root-path", "/mine", *limit) as command:
            assert command.finish() == 3
            assert command.stderr.splitlines()[-1] == f"bridge: {last}"
    finally:
        asks.unlink()
    assert "ray_app" not in ray.ask("status")


# What dies


@dataclass
class Load:
    """Clients that request one after the other; what became of each request."""

    url: str
    notes: Callable[[], list[str]]
    clients: int = 8

    def __post_init__(self) -> None:
        self.answers: dict[
            str, str
        ] = {}  # by the request's name: the process that answered, or what came instead
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._request, args=(each,)) for each in range(self.clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _request(self, client: int) -> None:
        host = self.url.removeprefix("http://")
        number = 0
        connection = http.client.HTTPConnection(host, timeout=SECONDS)
        while not self._is_over.is_set():
            name = f"{os.getpid()}-{id(self)}-{client}-{number}"
            number += 1
            try:
                connection.request("GET", f"/shop/work/{name}")
                response = connection.getresponse()
                body = response.read().decode()
                self.answers[name] = body if response.status == 200 else f"status {response.status}"
            except (OSError, http.client.HTTPException) as error:
                self.answers[name] = repr(error)
                connection.close()
        connection.close()

    def served(self) -> int:
        return sum(answer.isdigit() for answer in list(self.answers.values()))

    def serve_more(self, number: int) -> None:
        goal = self.served() + number
        until(lambda: self.served() >= goal, f"{number} more requests are served")

    def processes(self) -> set[int]:
        return {int(answer) for answer in list(self.answers.values()) if answer.isdigit()}

    @property
    def lost(self) -> dict[str, str]:
        return {name: answer for name, answer in self.answers.items() if not answer.isdigit()}


def test_a_replica_that_is_ill_is_replaced(ray: Ray) -> None:
    pid = httpx.get(f"{ray.url}/shop/", timeout=SECONDS).json()["pid"]
    Path(f"{ray.notes_file}.be-ill-{pid}").touch()
    until(lambda: not psutil.pid_exists(pid), "Ray kills it")
    until(lambda: ray.ask("status")["shop"] == {"RUNNING": 2}, "Ray starts another")


def test_requests_survive_a_replica(ray: Ray, record_property: Callable[[str, object], None]) -> None:
    with Load(ray.url, lambda: ray.notes("work")) as load:
        until(lambda: len(load.processes()) == 2, "all replicas serve")
        os.kill(min(load.processes()), signal.SIGKILL)
        load.serve_more(500)
    _check(ray, load, "a replica", record_property)


def test_requests_survive_a_node(ray: Ray, record_property: Callable[[str, object], None]) -> None:
    until(lambda: ray.ask("status")["shop"].get("RUNNING") == 2, "the replica is replaced")
    with Load(ray.url, lambda: ray.notes("work")) as load:
        until(lambda: len(load.processes()) == 2, "all replicas serve")
        ray.ask("kill the second node")
        load.serve_more(500)
    _check(ray, load, "a node", record_property)


def _check(ray: Ray, load: Load, what: str, record_property: Callable[[str, object], None]) -> None:
    """None is lost but what was on its way to a process that died, or in it: one of each client, at most.

    What the app had begun, no proxy may send again. Ray does not send the rest again, either: seldom, one is
    lost that had only reached the process.
    """
    begun = set(ray.notes("work"))
    not_begun = {name: answer for name, answer in load.lost.items() if name not in begun}
    counts = f"{len(load.answers)} requests, {len(load.lost)} lost, {len(not_begun)} of them not begun"
    report = f"{what} killed: {counts}"
    print(report, sorted(load.lost.values()))
    record_property("lost", report)
    assert len(load.lost) <= load.clients


# A cluster of the command's own


def test_the_command_makes_a_cluster_that_ends_with_it(tmp_path: Path) -> None:
    variables = {"RAY_ADDRESS": "local", "NOTES": str(tmp_path / "notes"), "PYTHONPATH": str(ROOT)}
    apps = ROOT / "tests" / "end_to_end" / "apps"
    with Command(
        "serve", "ray_app:app", "--on", "ray", "--port", "0", cwd=apps, env=variables, patience=SECONDS
    ) as command:
        command.wait_for(r"^INFO: +no Ray cluster at hand: starting one on this machine$")
        url = command.wait_for(
            r"^INFO: +'ray_app' on Ray · 1 running of 1 replicas · (http:\S+) · Ctrl-C to stop$"
        )[1]
        assert httpx.get(url, timeout=SECONDS).status_code == 200
        family = psutil.Process(command.pid).children(recursive=True)
        command.signal(signal.SIGTERM)
        assert command.finish() == 0
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert (tmp_path / "notes").read_text().split()[::2] == ["started", "ended"]

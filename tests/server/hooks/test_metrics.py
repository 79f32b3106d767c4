"""Figures for Prometheus: what is counted, under which labels, and that nothing is lost between processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request

from bridge import WSGIToASGI
from bridge.core.link import Head
from bridge.errors import BridgeError
from bridge.server.hooks.metrics import Metrics
from bridge.server.hooks.metrics_endpoint import MetricsEndpoint, metrics_endpoint
from bridge.testing import Client
from tests.server.apps.measured import app as measured
from tests.server.command import APPS, Serving, run, wait_until, without
from tests.server.exchanges import Driven, HookedApp
from tests.sockets import read_until

Figures = dict[str, float]

HEAD = Head(200, b"", [])

METRICS = ("--port", "0", "--metrics-port", "0")


def parsed(text: str) -> Figures:
    """Figures by their name and labels, as they are written."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def requests(figures: Figures) -> Figures:
    """How many requests there were, by `method status route`."""
    pattern = re.compile(r'bridge_requests_total{method="(.*)",route="(.*)",status="(.*)"}')
    found = {pattern.fullmatch(name): value for name, value in figures.items()}
    return {f"{match[1]} {match[3]} {match[2]}": value for match, value in found.items() if match}


class Counting:
    """Exchanges, or an app in memory, and what is counted of them."""

    def __init__(self, app: Any = None) -> None:
        self.metrics = Metrics([app] if isinstance(app, WSGIToASGI) else [])
        self.metrics.connections = range(3)
        self.app: Any = HookedApp(app, self.metrics)

    def begin(self) -> Driven:
        """A request has come."""
        driven = Driven(self.metrics)
        driven.begin()
        return driven

    @property
    def figures(self) -> Figures:
        registry = CollectorRegistry()
        endpoint = MetricsEndpoint()
        endpoint.own_figures = self.metrics.figures
        registry.register(endpoint)
        return parsed(generate_latest(registry).decode())


async def counted(app: Any, method: str, path: str) -> Counting:
    counting = Counting(app)
    async with Client(counting.app, interface="asgi") as client:
        await client.request(method, path)
    return counting


# Labels


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"done"]


def hello(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


starlette = Starlette(
    routes=[
        Route("/item/{number:int}", hello),
        Mount("/admin", routes=[Route("/user/{name}", hello)]),
    ]
)

FLASK = {
    ("GET", "/user/7"): "GET 200 /user/<int:number>",
    ("HEAD", "/user/7"): "HEAD 200 /user/<int:number>",
    ("OPTIONS", "/user/7"): "OPTIONS 200 /user/<int:number>",
    ("GET", "/async-user/eve"): "GET 200 /async-user/<name>",
    ("GET", "/boom/x"): "GET 500 /boom/<name>",
    ("GET", "/static/no.txt"): "GET 404 /static/<path:filename>",
    ("GET", "/user/eve"): "GET 404 ",
    ("GET", "/secret/1"): "GET 404 ",
    ("POST", "/user/7"): "POST 405 ",
    ("PROPFIND", "/user/7"): "other 405 ",
}
OTHERS = {
    ("GET", "/item/7"): "GET 200 /item/{number:int}",
    ("POST", "/item/7"): "POST 405 /item/{number:int}",
    ("GET", "/admin/user/eve"): "GET 200 /user/{name}",
    ("GET", "/secret/1"): "GET 404 ",
}
LABELS: list[tuple[Callable[[], Any], tuple[str, str], str]] = [
    *((lambda: WSGIToASGI(measured), request, labels) for request, labels in FLASK.items()),
    *((lambda: starlette, request, labels) for request, labels in OTHERS.items()),
    (lambda: WSGIToASGI(wsgi), ("GET", "/secret/1"), "GET 200 "),
]


@pytest.mark.parametrize(("app", "request_", "labels"), LABELS)
async def test_labels(app: Callable[[], Any], request_: tuple[str, str], labels: str) -> None:
    counting = await counted(app(), *request_)
    assert requests(counting.figures) == {labels: 1}
    method, _, route = labels.split(" ", 2)
    assert (
        counting.figures[f'bridge_request_duration_seconds_count{{method="{method}",route="{route}"}}'] == 1
    )


async def test_routes_of_views_in_threads() -> None:
    counting = await counted(WSGIToASGI(measured, async_views="thread"), "GET", "/async-user/eve")
    assert requests(counting.figures) == {"GET 200 /async-user/<name>": 1}


# What is counted


async def test_counts_add_up() -> None:
    counting = Counting(WSGIToASGI(measured))
    async with Client(counting.app, interface="asgi") as client:
        for expected in (3.0, 6.0):
            for number in range(3):
                await client.get(f"/user/{number}")
                await client.get("/secret")
            await client.post("/echo", content=b"x" * 10)
            figures = counting.figures
            assert requests(figures)["GET 200 /user/<int:number>"] == expected
            assert requests(figures)["GET 404 "] == expected
            assert figures["bridge_request_bytes_total"] == 10 * expected / 3
            assert figures["bridge_thread_wait_seconds_count"] == 7 * expected / 3
            assert figures["bridge_connections_open"] == 3
            assert figures["bridge_requests_in_flight"] == 0


async def test_views_on_the_loop_wait_for_no_thread() -> None:
    counting = await counted(WSGIToASGI(measured), "GET", "/async-user/eve")
    assert counting.figures["bridge_thread_wait_seconds_count"] == 0


def test_durations_are_observed_as_prometheus_client_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once go by a way of ours."""
    seconds = [0.0, 0.001, 0.0011, 0.3, 29.0, 30.0, 30.1, 4000.0, 0.3]

    counting = Counting()
    expected = CollectorRegistry()
    name, labels = "bridge_request_duration_seconds", ("method", "route")
    clock = iter([time for each in seconds for time in (1000.0, 1000.0 + each)])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    for _ in seconds:
        driven = counting.begin()
        driven.respond()
        driven.finish()
    monkeypatch.undo()
    figures = {key: value for key, value in counting.figures.items() if key.startswith(name)}
    bounds = [float(bound) for key in figures for bound in re.findall(r'le="([^"]+)"', key)]
    histogram = Histogram(name, "", labels, registry=expected, buckets=bounds).labels("GET", "")
    for each in seconds:
        histogram.observe(each)
    wanted = parsed(generate_latest(expected).decode())
    for key in wanted.keys() - {f'{name}_created{{method="GET",route=""}}'}:
        assert figures[key] == pytest.approx(wanted[key])


def test_what_is_open() -> None:
    """Requests in flight, those that stream, and what is left of both at the end."""
    counting = Counting()
    streams = [counting.begin(), counting.begin()]
    counting.begin()
    for driven in streams:
        driven.send(HEAD, b"123", more=True)
        driven.send(None, b"", more=True)
    figures = counting.figures
    assert (figures["bridge_requests_in_flight"], figures["bridge_streams_open"]) == (3, 2)
    assert requests(figures) == {}
    for driven in streams:
        driven.send(None, b"45")
        driven.finish()
    figures = counting.figures
    assert (figures["bridge_requests_in_flight"], figures["bridge_streams_open"]) == (1, 0)
    assert figures["bridge_response_bytes_total"] == 10
    assert requests(figures) == {"GET 200 ": 2}


def test_a_client_that_leaves() -> None:
    counting = Counting()
    driven = counting.begin()
    driven.exchange.received += 3
    driven.leave()
    driven.finish()
    assert requests(counting.figures) == {"GET  ": 1}
    assert counting.figures["bridge_disconnects_total"] == 1
    assert counting.figures["bridge_request_bytes_total"] == 3


def test_an_app_that_fails() -> None:
    counting = Counting()
    counting.begin().finish()
    assert requests(counting.figures) == {"GET 500 ": 1}
    assert counting.figures["bridge_requests_in_flight"] == 0


def test_requests_that_are_refused() -> None:
    """They are no requests of the app's, whether or not it has begun with them."""
    counting = Counting()
    begun, streaming, left = counting.begin(), counting.begin(), counting.begin()
    begun.exchange.received += 3
    streaming.send(HEAD, b"12345", more=True)
    left.leave()
    Driven(counting.metrics).refuse(431)
    for driven in (begun, streaming, left):
        assert counting.figures["bridge_requests_in_flight"] > 0
        driven.refuse(413)
    figures = counting.figures
    assert requests(figures) == {}
    assert figures['bridge_refused_requests_total{status="431"}'] == 1
    assert figures['bridge_refused_requests_total{status="413"}'] == 3
    assert (figures["bridge_requests_in_flight"], figures["bridge_streams_open"]) == (0, 0)
    assert (figures["bridge_request_bytes_total"], figures["bridge_response_bytes_total"]) == (3, 5)
    assert figures["bridge_disconnects_total"] == 0
    assert not [name for name in figures if name.startswith("bridge_request_duration_seconds_count")]


def test_websockets_that_are_open() -> None:
    counting = Counting()
    for status in (101, 101, 403):
        counting.metrics.on_websocket(status)
    counting.metrics.on_websocket_end()
    figures = counting.figures
    assert figures["bridge_websockets_open"] == 1
    assert figures['bridge_websockets_total{status="101"}'] == 2
    assert figures['bridge_websockets_total{status="403"}'] == 1


# One process, and several

PROCESSES = {"one process": (), "two workers": ("--workers", "2")}


def scrape(serving: Serving) -> Figures:
    found = re.search(r" · metrics at (\S+) · ", serving.stderr)
    assert found is not None
    with urllib.request.urlopen(found[1], timeout=10) as answer:
        return parsed(answer.read().decode())


def until(serving: Serving, **expected: float) -> Figures:
    """The figures, as soon as those with the names are as expected: they come ten times a second."""
    wait_until(lambda: expected.items() <= scrape(serving).items(), str(expected))
    return scrape(serving)


def until_requests(serving: Serving, expected: Figures) -> Figures:
    wait_until(lambda: requests(scrape(serving)) == expected, str(expected))
    return scrape(serving)


@pytest.mark.parametrize("options", PROCESSES.values(), ids=PROCESSES)
def test_what_was_sent_is_what_is_counted(options: tuple[str, ...]) -> None:
    with Serving("measured:app", *METRICS, *options, "--access-log-format", "%(U)s") as serving:
        pids: set[str] = set()
        count = 0
        while len(pids) < (2 if options else 1) or count < 20:
            pids.add(serving.get("/pid").text)
            count += 1
        for number in range(5):
            serving.get(f"/user/{number}")
            serving.get(f"/secret/{number}")
        assert serving.get("/-/health/ready").status == 200
        assert serving.get("/", {f"x-{number}": "x" for number in range(200)}).status == 431
        expected: Figures = {"GET 200 /pid": count, "GET 200 /user/<int:number>": 5, "GET 404 ": 5}
        figures = until_requests(serving, expected)
        assert figures["bridge_thread_wait_seconds_count"] == count + 10
        assert figures["shop_orders_total"] == 5
        assert figures['bridge_refused_requests_total{status="431"}'] == 1
        serving.wait_for_access_log("(?m)^/secret/4$")


def pipe_in(folder: Path) -> Path:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    return pipe


SLOW_APP = """
import asyncio, time
from flask import Flask
app = Flask(__name__)

@app.get("/thread/<int:number>")
def in_a_thread(number):
    time.sleep(0.5)
    return ""

@app.get("/loop/<int:number>")
async def on_the_loop(number):
    await asyncio.sleep(10)
"""


def test_routes_of_requests_that_take_too_long(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_APP)
    options = (*METRICS, "--timeout-request", "0.2")
    with Serving("slow:app", *options, cwd=tmp_path) as serving:
        assert [serving.get(f"/{kind}/7").status for kind in ("thread", "loop", "none")] == [504, 504, 404]
        expected: Figures = {
            "GET 504 /thread/<int:number>": 1,
            "GET 504 /loop/<int:number>": 1,
            "GET 404 ": 1,
        }
        until_requests(serving, expected)


@pytest.mark.parametrize("options", PROCESSES.values(), ids=PROCESSES)
def test_threads_and_connections(options: tuple[str, ...], tmp_path: Path) -> None:
    pipe = pipe_in(tmp_path)
    with (
        Serving("measured:app", *METRICS, *options, "--threads", "1") as serving,
        serving.connection() as one,
    ):
        one.request("GET", f"/slow?pipe={pipe}")
        until(serving, bridge_threads_busy=1, bridge_requests_in_flight=1, bridge_connections_open=1)
        if not options:
            with serving.connection() as two:
                two.request("GET", "/pid")
                until(serving, bridge_calls_waiting=1, bridge_connections_open=2)
                pipe.write_text("done")
                assert two.getresponse().status == 200
        else:
            pipe.write_text("done")
        assert one.getresponse().read() == b"done"
        until(serving, bridge_threads_busy=0, bridge_calls_waiting=0, bridge_requests_in_flight=0)


def test_a_stream_that_its_client_leaves(tmp_path: Path) -> None:
    pipe = pipe_in(tmp_path)
    with Serving("measured:app", *METRICS) as serving:
        with serving.connection() as connection:
            connection.request("GET", f"/stream?pipe={pipe}")
            with connection.getresponse() as response:
                assert response.read(4) == b"part"
                until(serving, bridge_streams_open=1, bridge_disconnects_total=0)
        until(serving, bridge_connections_open=0)  # it has been noticed that the client has left
        pipe.write_text("")
        figures = until(serving, bridge_streams_open=0, bridge_disconnects_total=1)
        assert requests(figures) == {"GET 200 /stream": 1}


def test_websockets() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    with (
        Serving("measured:websockets", *METRICS, "--interface", "asgi") as serving,
        serving.connect() as connection,
    ):
        connection.sendall(client.send(Request(host="localhost", target="/")))
        client.receive_data(read_until(connection, b"\r\n\r\n"))
        assert isinstance(next(client.events()), AcceptConnection)
        until(serving, bridge_websockets_open=1)
        connection.sendall(client.send(CloseConnection(code=1000)))
        until(serving, bridge_websockets_open=0)
        until(serving, **{'bridge_websockets_total{status="101"}': 1})


@pytest.mark.parametrize(("path", "status"), [("/denied", 401), ("/closed", 403), ("/fails", 500)])
def test_handshakes_that_are_denied(path: str, status: int) -> None:
    with Serving("measured:websockets", *METRICS, "--interface", "asgi") as serving:
        with pytest.raises(InvalidStatus) as caught, connect(f"ws://localhost{path}", sock=serving.connect()):
            pass
        assert caught.value.response.status_code == status
        until(serving, **{f'bridge_websockets_total{{status="{status}"}}': 1, "bridge_websockets_open": 0})
        serving.interrupt()
        serving.finish()
        assert ("ERROR" in serving.stderr) == (path == "/fails"), "to deny it is no error"


def test_handshakes_that_are_refused() -> None:
    """By the server: no app has answered them."""
    with Serving("measured:websockets", *METRICS, "--interface", "asgi") as serving:
        with serving.connect() as connection:
            connection.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 8\r\n\r\n"
            )
            assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 426 ")
        until(serving, **{'bridge_refused_requests_total{status="426"}': 1})


def test_the_counts_of_a_worker_that_was_killed_stay() -> None:
    with Serving("measured:app", *METRICS, "--workers", "2") as serving:
        pids = [serving.get("/pid").text for _ in range(10)]
        until_requests(serving, {"GET 200 /pid": 10})
        os.kill(int(pids[0]), signal.SIGKILL)
        serving.wait_for(r"Started server process", times=3)
        wait_until(lambda: scrape(serving)["bridge_connections_open"] == 0, "no connections")
        assert requests(scrape(serving)) == {"GET 200 /pid": 10}


def test_reloading() -> None:
    with Serving("measured:app", *METRICS, "--reload") as serving:
        serving.get("/user/1")
        until_requests(serving, {"GET 200 /user/<int:number>": 1})


def test_nothing_is_left_behind() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Serving("measured:app", *METRICS, "--workers", "2", env={"TMPDIR": folder}) as serving:
            assert len(os.listdir(folder)) == 1
            serving.signal(signal.SIGTERM)
            assert serving.finish() == 0
        assert os.listdir(folder) == []


def test_a_folder_of_the_operators(tmp_path: Path) -> None:
    with Serving("measured:app", *METRICS, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) as serving:
        serving.get("/user/1")
        until_requests(serving, {"GET 200 /user/<int:number>": 1})
        serving.signal(signal.SIGTERM)
        assert serving.finish() == 0
    assert list(tmp_path.glob("counter_*.db"))


# What a supervisor says

WORKER = """
import os
from prometheus_client import Counter, Gauge, Histogram, Summary
Counter("orders", "", ["kind"]).labels("a").inc({number})
Histogram("seconds", "", buckets=[1, 2]).observe({number})
Summary("size", "").observe({number})
Gauge("open", "", multiprocess_mode="livesum").set({number})
print(os.getpid())
"""


def run_worker(number: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", WORKER.format(number=number)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def test_workers_that_are_gone() -> None:
    with metrics_endpoint("127.0.0.1", 0, has_workers=True) as endpoint:
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        pids = [run_worker(number) for number in (1, 2, 3)]

        def served() -> Figures:
            assert endpoint.url is not None
            with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
                return parsed(answer.read().decode())

        before = served()
        assert before['orders_total{kind="a"}'] == before["open"] == before["seconds_sum"] == 6
        for left, pid in zip((5, 3, 0), pids, strict=True):
            endpoint.worker_gone(pid)
            endpoint.worker_restarted("died")
            figures = served()
            assert figures.get("open", 0) == left
            del before["open"]
            assert {name: figures[name] for name in before} == before
            before["open"] = left
        assert figures['bridge_worker_restarts_total{reason="died"}'] == 3
        assert list(folder.iterdir()) == []
        endpoint.worker_gone(pids[0])  # what is not there any more does no harm
    assert not folder.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


@pytest.mark.parametrize("left", [b"", b"\x40\0\0\0\0\0\0\0\xff\xff\0\0"], ids=["nothing", "a part"])
def test_a_worker_that_was_killed_as_it_made_its_file(left: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with metrics_endpoint("127.0.0.1", 0, has_workers=True) as endpoint:
        pid = run_worker(1)
        file = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / f"counter_{pid}.db"
        file.write_bytes(left)
        endpoint.worker_gone(pid)
        assert caplog.messages[0].startswith(f"a worker has left figures that cannot be read: {file}: ")
        assert not file.exists()
        assert endpoint.url is not None
        with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
            assert parsed(answer.read().decode())["seconds_sum"] == 1


def test_without_metrics_a_supervisor_may_say_what_it_wants() -> None:
    with metrics_endpoint("127.0.0.1", None, has_workers=True) as endpoint:
        endpoint.worker_gone(1)
        endpoint.worker_restarted("died")
        assert endpoint.url is None


# What is wrong


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = run("serve", "measured:app", "--port", "0", "--metrics-port", str(port), cwd=APPS)
    assert code != 0
    assert said == (
        f"bridge: cannot serve metrics on port {port} of 127.0.0.1: Address already in use; "
        "give another with --metrics-port or --metrics-host\n"
    )


def test_a_host_that_is_none() -> None:
    with (
        pytest.raises(BridgeError, match=r"port 0 of 192\.0\.2\.1: "),
        metrics_endpoint("192.0.2.1", 0, has_workers=False),
    ):
        pass


@pytest.mark.parametrize("options", PROCESSES.values(), ids=PROCESSES)
def test_prometheus_client_is_not_installed(options: tuple[str, ...]) -> None:
    python = without("prometheus_client")
    code, _, said = run("serve", "shop:app", *METRICS, *options, cwd=APPS, python=python)
    assert code != 0
    assert said == (
        "bridge: --metrics-port needs the package prometheus-client, which is not installed: "
        "pip install prometheus-client\n"
    )


def test_prometheus_client_is_not_needed_without() -> None:
    with Serving("shop:app", "--port", "0", python=without("prometheus_client")) as serving:
        assert serving.get("/").text == "Hello"
        assert "metrics" not in serving.stderr


def test_a_folder_that_is_not_there() -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": "/nowhere"}
    code, _, said = run("serve", "measured:app", *METRICS, cwd=APPS, env=env)
    assert code != 0
    assert said.startswith("bridge: PROMETHEUS_MULTIPROC_DIR names '/nowhere', which is no folder; ")
    assert said.count("\n") == 1

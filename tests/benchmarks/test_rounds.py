"""Servers are measured for a second; of one that fails it is told how, and nobody is compared with it."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping

import psutil
import pytest

from benchmarks.apps.sizes import KIB, MIB
from benchmarks.crowd import Events, SlowReaders
from benchmarks.in_process import InProcessError, call_in_process
from benchmarks.loads import CrowdAlone, CrowdBeside, Requests
from benchmarks.processes import ProcessTree
from benchmarks.results import REFERENCE, Round, Sample, ratios
from benchmarks.rivals import ON_EVENT_LOOP, RIVALS, Rival
from benchmarks.rounds import Contender, contenders_of_workload, measure_rounds
from benchmarks.servers import Server, ServerError, environment
from benchmarks.tables import verdicts
from benchmarks.workloads import WORKLOADS
from benchmarks.wrk import WrkLoad
from tests.benchmarks.made import results, sample
from tests.benchmarks.needs import needs_wrk
from tests.benchmarks.odd_server import KINDS

pytestmark = pytest.mark.timeout(90)

ODD = [*KINDS, "ends"]


@pytest.fixture(autouse=True)
def no_process_left_over() -> Iterator[None]:
    """Fail a test that has left a server, or what makes the load, running."""
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    assert not left, f"the test left processes running: {left}"


@pytest.fixture(autouse=True)
def odd_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rivals that fail, in the table from which all are taken."""
    for kind in ODD:
        command = f"tests.benchmarks.odd_server {kind} {{host}} {{port}}"
        monkeypatch.setitem(RIVALS, f"odd-{kind}", Rival(f"the odd one: {kind}", command, kinds=("working",)))


def measured(contenders: Mapping[str, Contender]) -> Round:
    """One round of a second."""
    reported: Round = {}
    (found,) = measure_rounds(contenders, rounds=1, seconds=1, materials={}, report=reported.__setitem__)
    assert reported == found
    return found


def is_whole(found: Sample) -> bool:
    """Whether all that is measured of every server is there."""
    in_order = 0 < found.p50_ms <= found.p99_ms <= found.p999_ms
    has_memory = 0 < found.rss_before <= found.peak_rss
    return in_order and has_memory and found.cpu_us_per_request > 0 and found.requests > 0


# Those that fail

# What is said in words, and the share of failed requests.
ALL = (1.0, 1.0)
FAILURES: dict[str, tuple[str, tuple[float, float]]] = {
    "ends": (r"ended with status 3\b.*no such luck", ALL),
    "closes": (r"closed connection", ALL),
    "error": (r"GET / with 500", ALL),
    "short": (r"5 bytes in place of 13", ALL),
}
FAILURES_UNDER_LOAD: dict[str, tuple[str, tuple[float, float]]] = {
    "third": (r"^3\d\.\d% of the requests failed: [\d,]+ bad statuses$", (0.3, 0.37)),
    "once": (r"^no request was answered$", ALL),
}


@pytest.mark.parametrize(
    ("kind", "words", "share"),
    [
        *(pytest.param(kind, *expected, id=kind) for kind, expected in FAILURES.items()),
        *(
            pytest.param(kind, *expected, id=kind, marks=needs_wrk)
            for kind, expected in FAILURES_UNDER_LOAD.items()
        ),
    ],
)
def test_a_server_that_fails_is_reported_and_not_ranked(
    kind: str, words: str, share: tuple[float, float]
) -> None:
    name = f"odd-{kind}"
    contenders = contenders_of_workload(WORKLOADS["hello"], [name])
    assert list(contenders) == [name]
    found = measured(contenders)[name]
    least, most = share
    assert least <= found.failed <= most
    assert found.failure is not None
    assert re.search(words, found.failure), found.failure

    rounds = [{REFERENCE: sample(1), name: found}]  # far behind any that answers at all
    assert ratios(rounds, "rate", name) == []
    (verdict,) = verdicts(results(rounds, titles={name: RIVALS[name].title}), "hello")
    assert f"the odd one: {kind}" in verdict
    assert found.failure in verdict
    assert "BEHIND" not in verdict


def test_one_that_fails_does_not_keep_others_from_being_measured() -> None:
    load = Requests(WrkLoad("/", 1))
    contenders = {
        "ends": Contender("odd-ends", "flask", load),
        "is no app": Contender("in-process", "nosuch", load),
        "refuses": Contender("odd-error", "flask", load),
    }
    found = measured(contenders)
    assert list(found) == list(contenders)
    assert {each.failed for each in found.values()} == {1.0}
    for name, words in {"ends": "no such luck", "is no app": "nosuch", "refuses": "500"}.items():
        assert words in str(found[name].failure)


# Those that do not


EVENTS = Events("/events?interval=0.1", 5, interval=0.1)
SLOW_READERS = SlowReaders(f"/download/{8 * MIB}", 5, bytes_per_second=KIB)


@needs_wrk
@pytest.mark.parametrize("crowd", [EVENTS, SLOW_READERS], ids=["event streams", "slow readers"])
def test_a_crowd_is_served_beside_requests(crowd: Events | SlowReaders) -> None:
    load = CrowdBeside(WrkLoad("/", 2), crowd)
    found = measured({"bridge": Contender("bridge", "flask", load, 13)})["bridge"]
    assert (found.failure, found.failed) == (None, 0.0)
    assert is_whole(found)
    if isinstance(crowd, Events):
        assert found.events_on_time is not None
        assert found.events_on_time > 0.5
    else:
        assert found.events_on_time is None


def test_a_crowd_alone_is_measured_by_its_events() -> None:
    found = measured({"bare": Contender("bare-asgi", "flask", CrowdAlone(EVENTS))})["bare"]
    assert (found.failure, found.failed) == (None, 0.0)
    assert found.requests > 0
    assert found.events_on_time is not None
    assert found.events_on_time > 0.5


def test_a_crowd_that_is_not_served_is_a_failure() -> None:
    found = measured({"odd": Contender("odd-error", "flask", CrowdAlone(EVENTS))})["odd"]
    assert found.failed == 1.0
    assert found.failure is not None
    assert "0 of the 5 clients" in found.failure


# In process


def test_an_app_is_called_in_process() -> None:
    calls = call_in_process("flask", "POST", "/upload", 100_000, 1, environment({}))
    assert calls.requests > 0
    assert calls.seconds >= 1
    assert calls.cpu_seconds > 0
    assert 0 < calls.p50_ms <= calls.p99_ms <= calls.p999_ms
    assert 0 < calls.rss_before <= calls.peak_rss
    assert calls.answer_size == len('{"received":100000}\n')


def test_an_app_that_fails_in_process_is_an_error() -> None:
    with pytest.raises(InProcessError, match="answered GET /nosuch with 404"):
        call_in_process("flask", "GET", "/nosuch", 0, 1, environment({}))


# Servers that a program calls


def test_a_server_is_called_by_the_name_of_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "benchmarks.run_wsgi tests.benchmarks.odd_server {wsgi} {host} {port}"
    monkeypatch.setitem(RIVALS, "called", Rival("called", command))
    for app in ("flask", "bare"):
        with Server("called", app) as server:
            assert server.request("GET", "/") == b"Hello, World!"


def test_one_that_is_not_installed_fails_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "benchmarks.run_wsgi nosuchserver {wsgi} {host} {port}"
    monkeypatch.setitem(RIVALS, "missing", Rival("missing", command))
    found = measured(contenders_of_workload(WORKLOADS["hello"], ["missing"]))["missing"]
    assert found.failed == 1.0
    assert "No module named 'nosuchserver'" in str(found.failure)


@pytest.mark.parametrize("name", ON_EVENT_LOOP)
def test_one_on_its_event_loop_serves_what_others_do(name: str) -> None:
    pytest.importorskip(name, reason=f"needs {name}, as benchmarks/README.md installs it")
    with Server(name) as server:
        assert server.request("GET", "/") == b"Hello, World!"
        assert len(server.request("GET", "/stream")) == 100 * KIB
        assert server.request("POST", "/upload", b"x" * MIB) == b'{"received":%d}\n' % MIB


# Servers and their processes


def test_a_server_is_there_within_its_block_and_gone_after_it() -> None:
    with Server("odd-good") as server:
        assert server.request("GET", "/") == b"Hello, World!"
        (root, *_) = server.tree.members()
        assert server.tree.rss() > 0
        assert server.tree.cpu_seconds() > 0
    assert not root.is_running()
    assert server.tree.members() == []
    assert server.tree.rss() == 0


def test_a_server_is_gone_after_an_error_in_its_block() -> None:
    with pytest.raises(ServerError, match="500"), Server("odd-error") as server:
        server.request("GET", "/")
    assert server.tree.members() == []


STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, "-c", sys.stdin.read(), "child"], stdin=subprocess.DEVNULL)
    child.wait()
else:
    print("there", flush=True)
    signal.pause()
"""


def test_processes_that_do_not_want_to_end_are_killed_with_their_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(STUBBORN)
        process.stdin.close()
        assert process.stdout.readline() == "there\n"
        tree = ProcessTree(process.pid)
        members = tree.members()
        assert len(members) == 2
        tree.end(patience=0.1)
        _, alive = psutil.wait_procs(members, timeout=10)
        assert alive == []

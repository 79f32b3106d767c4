"""The command, as a person types it: a run from its command line to its charts, and what is done with it."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

import benchmarks
from benchmarks.__main__ import main
from benchmarks.results import Results, ResultsError
from tests.benchmarks.made import COSTS, layer_rounds, results, rounds_of
from tests.benchmarks.needs import needs_wrk
from tests.server.command import Command

pytestmark = pytest.mark.timeout(90)

ROOT = Path(benchmarks.__file__).parents[1]
RIVALS = ("bridge-serve", "a2wsgi")


@dataclass(frozen=True)
class Run:
    """A run that has ended, with all that it left behind: files, temporary ones, and processes."""

    code: int
    out: str
    err: str
    directory: Path
    temporary: list[str]
    processes: list[psutil.Process]

    def file(self, ending: str) -> Path:
        """The one file with that ending in the directory of the results."""
        (found,) = self.directory.glob(f"*.{ending}")
        return found


def run(directory: Path, *arguments: str, path: str | None = None, interrupt_at: str | None = None) -> Run:
    """Run the command with a directory for its results; SIGTERM comes when it has printed what is given."""
    output, temporary = directory / "results", directory / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)} | ({} if path is None else {"PATH": path})
    typed = [*arguments, "--output", str(output)]
    with Command(*typed, cwd=ROOT, env=environment, python=("-m", "benchmarks")) as command:
        if interrupt_at is not None:
            command.wait_for_access_log(interrupt_at)  # it is stdout that this reads
            _wait_for_results(output)
            command.signal(signal.SIGTERM)
        code = command.finish()
        left = _session(command.pid)
    return Run(code, command.stdout, command.stderr, output, os.listdir(temporary), left)


def _wait_for_results(directory: Path) -> None:
    """Wait until there is a whole file of them; not long, for that is what is tested."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        for path in directory.glob("*.json"):
            with contextlib.suppress(ResultsError):
                Results.load(path)
                return
        time.sleep(0.02)


def _session(leader: int) -> list[psutil.Process]:
    """The processes of a session; those of one that has ended are somebody else's children by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


# A run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """One run to its end, and one of many rounds that is ended after the first; at once, to save time."""
    whole = ["--workload", "hello", "--rival", *RIVALS, "--rounds", "1", "--seconds", "1"]
    endless = ["--workload", "query", "--rival", "bridge-serve", "--rounds", "50", "--seconds", "1"]
    first = r"1 of 50: query: bridge-serve: [\d,]+/s\n"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, tmp_path_factory.mktemp("whole"), *whole)
        interrupted = run(tmp_path_factory.mktemp("interrupted"), *endless, interrupt_at=first)
        return running.result(), interrupted


@pytest.fixture
def whole(runs: tuple[Run, Run]) -> Run:
    """The run of a workload with two rivals."""
    return runs[0]


@pytest.fixture
def interrupted(runs: tuple[Run, Run]) -> Run:
    """The run that has not come to its end."""
    return runs[1]


@needs_wrk
def test_a_run_succeeds_and_says_what_it_has_written(whole: Run) -> None:
    assert (whole.code, whole.err) == (0, "")
    assert str(whole.file("json")) in whole.out
    assert whole.file("md").name in whole.out


@needs_wrk
def test_a_run_says_how_far_it_has_come(whole: Run) -> None:
    lines = [line for line in whole.out.splitlines() if re.match(r"\d+ of \d+: ", line)]
    for number, (line, rival) in enumerate(zip(lines, RIVALS, strict=True), start=1):
        assert re.fullmatch(rf"{number} of 2: hello: {rival}: [\d,]+/s", line)


@needs_wrk
def test_a_run_keeps_its_results(whole: Run) -> None:
    kept = Results.load(whole.file("json"))
    assert kept.rivals.keys() == kept.commands.keys() == set(RIVALS)
    assert kept.settings["rounds"] == kept.settings["seconds"] == 1
    (samples,) = kept.workloads["hello"].rounds
    assert list(samples) == list(RIVALS)
    for found in samples.values():
        assert (found.failure, found.failed) == (None, 0.0)
        assert found.rate > 0
        assert found.cpu_us_per_request > 0
        assert 0 < found.p50_ms <= found.p99_ms <= found.p999_ms
        assert 0 < found.rss_before <= found.peak_rss


@needs_wrk
@pytest.mark.parametrize("package", ["flask", "werkzeug", "jinja2", "sqlalchemy", "uvicorn", "a2wsgi"])
def test_a_run_tells_the_versions_it_was_made_with(whole: Run, package: str) -> None:
    assert re.search(rf"\b{package} {re.escape(version(package))}\b", whole.file("md").read_text(), re.I)


@needs_wrk
def test_a_run_shows_and_writes_its_tables(whole: Run) -> None:
    titles = Results.load(whole.file("json")).rivals.values()
    written = whole.file("md").read_text()
    for text in (whole.out, written):
        assert "Flask hello" in text
        for title in titles:
            assert title in text


def charts(directory: Path) -> set[str]:
    """The names of the charts there, each of which is XML."""
    paths = sorted((directory / "charts").iterdir())
    for path in paths:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    return {path.name for path in paths}


HELLO_CHARTS = {f"{name}-{theme}.svg" for name in ("overview", "hello") for theme in ("light", "dark")}


@needs_wrk
def test_a_run_draws_its_charts(whole: Run) -> None:
    assert charts(whole.directory) == HELLO_CHARTS


@needs_wrk
def test_a_run_leaves_nothing_but_its_results(whole: Run) -> None:
    assert whole.temporary == []
    assert whole.processes == []
    assert {path.suffix for path in whole.directory.iterdir()} == {".json", ".md", ""}


# A run that does not come to its end


@needs_wrk
def test_a_run_that_is_ended_leaves_nothing_behind(interrupted: Run) -> None:
    assert (interrupted.code, interrupted.err) == (130, "")
    assert interrupted.temporary == []
    assert interrupted.processes == []


@needs_wrk
def test_a_run_that_is_ended_keeps_the_rounds_that_are_whole(interrupted: Run) -> None:
    kept = Results.load(interrupted.file("json"))
    assert 1 <= len(kept.workloads["query"].rounds) < 50


def test_without_wrk_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run(tmp_path, "--quick", path=str(tmp_path / "empty"))
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"benchmarks: wrk\b.* not installed.*\bapt-get install wrk\b.*\n", ended.err)
    assert not ended.directory.exists()
    assert (ended.temporary, ended.processes) == ([], [])


# In this process: nothing is measured


@pytest.fixture(autouse=True)
def sigterm_left_alone() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@needs_wrk
@pytest.mark.parametrize("is_there", [True, False], ids=["an old directory", "a new directory"])
def test_a_run_of_nobody_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    """Of these rivals, none takes part in the workload: there is nothing to keep, to show or to draw."""
    output = tmp_path / "results"
    if is_there:
        output.mkdir()
    assert main(["--workload", "events-10000", "--rival", "a2wsgi", "--output", str(output)]) == 2
    out, err = capsys.readouterr()
    assert "written" not in out
    assert err.startswith("benchmarks: ")
    assert "Errno" not in err
    assert not output.exists() or not list(output.iterdir())


@needs_wrk
def test_a_run_compared_with_itself_has_not_changed(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(whole.file("json"))
    assert main(["--compare", path, path]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "not the same in both runs" not in out
    rows = [line for line in out.splitlines() if line.strip().startswith("hello")]
    assert len(rows) == 3  # its rate, CPU time and latency
    for row in rows:
        assert row.rstrip().endswith("within the noise")


MADE = results(
    rounds_of(
        {"bridge-serve": [1000, 1010], "a2wsgi": [500, 510], "broken": [500, None], "inline": [1100, 1110]}
    ),
    layers=layer_rounds(COSTS, COSTS),
    skipped={"quart": "it is late & <b>left</b>"},
)


def test_results_are_shown_and_drawn_once_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kept.json"
    MADE.save(path)
    assert main(["--draw", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in (
        "hello: Flask hello",
        "bridge-serve",
        "broken fails in 1 of 2",
        "quart left out",
        "layers: ",
    ):
        assert words in out
    assert charts(tmp_path) == HELLO_CHARTS | {"layers-light.svg", "layers-dark.svg"}
    assert (tmp_path / "kept.md").read_text().startswith("# Results of 2026-01-31\n")
    assert Results.load(path) == MADE


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--draw", "nosuch.json"], id="draw what is missing"),
        pytest.param(["--draw", "text.json"], id="draw what is no results"),
        pytest.param(["--compare", "kept.json", "nosuch.json"], id="compare with what is missing"),
        pytest.param(["--compare", "text.json", "kept.json"], id="compare with what is no results"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    MADE.save(Path("kept.json"))
    Path("text.json").write_text("Results")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    (wrong,) = {"nosuch.json", "text.json"} & set(arguments)
    assert out == ""
    assert re.fullmatch(rf"benchmarks: .*\b{re.escape(wrong)}\b.*\n", err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--workload", "nosuch"], "'nosuch'", id="no such workload"),
        pytest.param(["--rival", "nosuch"], "'nosuch'", id="no such rival"),
        pytest.param(["--rounds", "0"], "must be at least 1, got 0", id="no rounds"),
        pytest.param(["--seconds", "-1"], "must be at least 1, got -1", id="no seconds"),
        pytest.param(["--seconds", "many"], "'many'", id="no number"),
        pytest.param(["--compare", "one.json"], "--compare", id="one to compare"),
    ],
)
def test_what_is_typed_wrong_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert message in err.splitlines()[-1]


@needs_wrk
def test_a_workload_is_measured_anew_in_kept_results(tmp_path: Path) -> None:
    """It takes the place of what was there; all else stays."""
    kept = results(rounds_of({"bridge-serve": [1.0], "a2wsgi": [1.0]}))
    kept.workloads["other"] = kept.workloads["hello"]
    path = tmp_path / "kept.json"
    kept.save(path)
    arguments = ["--workload", "hello", "--rival", "bridge-serve", "--rounds", "1", "--seconds", "1"]
    assert main([*arguments, "--into", str(path)]) == 0
    found = Results.load(path)
    (samples,) = found.workloads["hello"].rounds
    assert list(samples) == ["bridge-serve"]
    assert samples["bridge-serve"].rate > 1
    assert found.workloads["other"] == kept.workloads["other"]
    assert (found.date, found.machine) == (kept.date, kept.machine)

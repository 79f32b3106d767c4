"""`bridge.server.contradictions`: what is found in settings, what is not, and who says it."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bridge.server.cli import bridge
from bridge.server.contradictions import find_contradictions
from bridge.server.options import InForce, settings_in_force
from tests.server.command import APPS, Serving

serve_command = bridge.commands["serve"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*typed: str, has_sockets: bool = False) -> list[str]:
    """What is found in the settings of a command line, with the variables and the file that are there."""
    context = serve_command.make_context("serve", list(typed))
    return find_contradictions(settings_in_force(context), has_sockets=has_sockets)


# What is typed, what is said of it, and something much like it that is all right.
CONTRADICTIONS = [
    ("--bind :80 --host ::1 --port 81", "--host and --port have no effect: --bind says where to listen", ""),
    ("--bind :80 --uds a", "--uds has no effect: --bind says where to listen", "--bind :80 --bind unix:a"),
    ("--bind :80 --fd 0", "--fd has no effect: --bind says where to listen", "--bind :80"),
    ("--fd 0 --uds a", "--uds has no effect: --fd is the socket to listen on", "--fd 0"),
    ("--uds a --port 81", "--port has no effect: --uds is the socket to listen on", "--uds a"),
    ("--uds-mode 660", "--uds-mode has no effect: no unix socket is made", "--uds-mode 660 --uds a"),
    ("--uds-mode 660 --fd 3", "--uds-mode has no effect: no unix socket is made", "--fd 3"),
    (
        "--uds-mode 660 --bind :80",
        "--uds-mode has no effect: no unix socket is made",
        "--uds-mode 660 --bind :80 --bind unix:a",
    ),
    (
        "--no-health --health-live /live --health-ready /ready --readiness a:b",
        "--health-live, --health-ready and --readiness have no effect: with --no-health the server does not "
        "answer for its health",
        # The delay is waited for all the same, and who stops the server may well know without asking.
        "--no-health --drain-delay 5",
    ),
    (
        "--health-ready ready",
        "--health-ready ready is never asked for: paths begin with a slash",
        "--health-ready /ready",
    ),
    (
        "--health-live /health --health-ready /health",
        "--health-live and --health-ready are the same path: it says whether the server is alive, and none "
        "whether it is ready",
        "--health-live /health --health-ready /health/ready",
    ),
    (
        "--health-ready /-/health/live",
        "--health-live and --health-ready are the same path: it says whether the server is alive, and none "
        "whether it is ready",
        "--health-ready /-/health/live --health-live /live",
    ),
    (
        "--interface asgi --threads 3 --async-views thread",
        "--threads and --async-views have no effect: --interface asgi has the app served as it is",
        "--interface wsgi --threads 3 --async-views thread",
    ),
    (
        "--adapter a2wsgi --streams 3 --websockets 3 --async-views loop",
        "--async-views, --streams and --websockets have no effect: --adapter a2wsgi has none of it",
        "--adapter a2wsgi --threads 3 --async-views thread",
    ),
    (
        "--adapter asgiref --threads 2",
        "--threads has no effect: --adapter asgiref has none of it",
        "--adapter asgiref --threads 1",
    ),
    (
        "--queue-length 0 --queue-timeout 3",
        "--queue-timeout has no effect: --queue-length 0 lets no request wait for a thread",
        "--queue-length 1 --queue-timeout 3",
    ),
    (
        "--queue-timeout 20 --timeout-request 20",
        "--queue-timeout 20.0 has no effect: --timeout-request 20.0 ends a request before",
        "--queue-timeout 19 --timeout-request 20",
    ),
    (
        "--queue-timeout 99 --timeout-request 1 --adapter a2wsgi",
        "--queue-timeout has no effect: --adapter a2",
        "",
    ),
    (
        "--reload --workers 2",
        "--workers has no effect: with --reload one process serves",
        "--reload --workers 1",
    ),
    (
        "--reload-dir . --reload-delay 1",
        "--reload-dir and --reload-delay have no effect: without --reload no files are watched",
        "--reload --reload-dir . --reload-delay 1",
    ),
    (
        "--preload",
        "--preload has no effect: one process serves, and loads the app for itself",
        "--preload --supervise",
    ),
    ("--preload --workers 1 --no-supervise", "--preload has no effect: one", "--preload --workers 2"),
    (
        "--limit-max-requests-jitter 5",
        "--limit-max-requests-jitter has no effect: without --limit-max-requests there is no number to add "
        "it to",
        "--limit-max-requests 50 --limit-max-requests-jitter 5",
    ),
    (
        "--http h11 --limit-request-body 5 --timeout-first-byte 1",
        "--limit-request-body and --timeout-first-byte have no effect: --http h11 has none of "
        "Bridge's limits",
        "--http httptools --limit-request-body 5 --timeout-first-byte 1",
    ),
    (
        "--limit-request-field-size 70000",
        "--limit-request-field-size 70000 has no effect: --limit-request-head 65536 (the default) is the "
        "limit of all fields together",
        "--limit-request-field-size 65536",
    ),
    (
        "--limit-request-field-size 200 --limit-request-head 100",
        "--limit-request-field-size 200 has no effect: --limit-request-head 100 is the limit of all",
        "--limit-request-head 100",  # the other is but the default
    ),
    (
        "--h11-max-incomplete-event-size 99",
        "--h11-max-incomplete-event-size has no effect: it is for --http h11",
        "--h11-max-incomplete-event-size 99 --http h11",
    ),
    (
        "--ssl-ciphers A --ssl-keyfile-password b",
        "--ssl-keyfile-password and --ssl-ciphers have no effect: without --ssl-certfile the server speaks "
        "plain HTTP",
        "--ssl-ciphers A --ssl-certfile c",
    ),
    (
        "--ssl-certfile c --ssl-cert-reqs 2",
        "--ssl-cert-reqs 2 turns every client away: without --ssl-ca-certs no certificate can be verified",
        "--ssl-certfile c --ssl-cert-reqs 2 --ssl-ca-certs d",
    ),
    (
        "--no-access-log --access-log-format json",
        "--access-log-format has no effect: with --no-access-log there is no access log",
        "--access-log --access-log-format json",
    ),
    (
        "--access-log --log-level warning",
        "--access-log has no effect: --log-level warning leaves its lines out",
        "--access-log --log-level warning --access-log-format json",
    ),
    (
        "--log-config log.json --no-use-colors",
        "--no-use-colors has no effect: what --log-config says holds instead",
        "--log-config log.json --access-log-format json --request-id --log-level debug",
    ),
    (
        "--no-proxy-headers --forwarded-allow-ips *",
        "--forwarded-allow-ips has no effect: with --no-proxy-headers nobody is trusted",
        "--proxy-headers --forwarded-allow-ips *",
    ),
    (
        "--uds a --forwarded-allow-ips 127.0.0.1",
        "--forwarded-allow-ips has no effect: clients of a unix socket have no address, so that only * "
        "trusts them",
        "--bind unix:a --bind :80 --forwarded-allow-ips 127.0.0.1",
    ),
    (
        "--clear-forwarded --forwarded-allow-ips *",
        "--clear-forwarded has no effect: --forwarded-allow-ips * trusts everybody",
        "--clear-forwarded --no-proxy-headers",
    ),
    (
        "--ws wsproto --ws-max-queue 3",
        "--ws-max-queue has no effect: --ws wsproto has no queue",
        "--ws wsproto --ws-max-size 3",
    ),
    (
        "--ws-max-queue 3",
        '--ws-max-queue has no effect: --ws "auto" (the default) has no queue',
        "--ws-max-size 3",
    ),
]


@pytest.mark.parametrize(("typed", "sentence", "fine"), CONTRADICTIONS)
def test_what_is_found_and_what_is_not(folder: Path, typed: str, sentence: str, fine: str) -> None:
    (folder / "log.json").write_text("{}")
    (only,) = found(*typed.split())
    assert only.startswith(sentence)
    assert found(*fine.split()) == []


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "--limit-request-head 100",
        "--timeout-request 1",
        "--adapter asgiref",
        "--adapter a2wsgi",
        "--interface asgi",
        "--http h11",
        "--no-health",
        "--no-proxy-headers",
        "--uds a",
        "--reload",
        "--ws wsproto",
        # Unusual, and possible all the same.
        "--timeout-request 60 --timeout-graceful-shutdown 5",
        "--limit-concurrency 5 --threads 40",
        "--limit-max-requests 5",
        "--root-path api",
        # What asks for nothing.
        "--no-health --health-ready=",
        "--adapter a2wsgi --blocking-threshold 0",
        "--limit-max-requests-jitter 0",
        "--ssl-cert-reqs 0",
    ],
)
def test_what_is_only_a_default_or_unusual_contradicts_nothing(typed: str) -> None:
    assert found(*typed.split()) == []


@pytest.mark.parametrize(
    ("file", "variables", "typed", "sentence"),
    [
        (
            "reload = true\nworkers = 2",
            {},
            "",
            "workers in bridge.toml:2 has no effect: with reload in bridge.toml:1",
        ),
        ("reload = true", {}, "--workers 2", "--workers has no effect: with reload in bridge.toml:1 one"),
        (
            "reload = true",
            {"BRIDGE_WORKERS": "2"},
            "",
            "BRIDGE_WORKERS has no effect: with reload in bridge.toml:1",
        ),
        ("", {"BRIDGE_RELOAD": "1"}, "--workers 2", "--workers has no effect: with BRIDGE_RELOAD one"),
        (
            "readiness = 'a:b'\nhealth = false",
            {},
            "",
            "readiness in bridge.toml:1 has no effect: with health = false",
        ),
        (
            "",
            {"BRIDGE_HEALTH": "no"},
            "--readiness a:b",
            "--readiness has no effect: with BRIDGE_HEALTH=false the",
        ),
        (
            "queue-timeout = 9\ntimeout-request = 9",
            {},
            "",
            "queue-timeout = 9.0 in bridge.toml:1 has no effect",
        ),
        (
            "",
            {"UVICORN_H11_MAX_INCOMPLETE_EVENT_SIZE": "9"},
            "",
            "UVICORN_H11_MAX_INCOMPLETE_EVENT_SIZE has no",
        ),
        ("", {"FORWARDED_ALLOW_IPS": "1.2.3.4"}, "--uds a", "FORWARDED_ALLOW_IPS has no effect: clients of"),
        # One source overrules another, as it is meant to.
        ("workers = 2", {}, "--reload", None),
        ("", {"WEB_CONCURRENCY": "2"}, "--reload", None),
        ("readiness = 'a:b'", {"BRIDGE_HEALTH": "no"}, "", None),
        ("port = 80\nuds-mode = '660'\nuds = 'a'", {}, "--bind :81", None),
        ("queue-timeout = 9", {}, "--timeout-request 9", None),
        # In a file it may wait for --reload to be typed.
        ("reload-dir = ['.']", {}, "", None),
        ("preload = true", {}, "", None),
        ("", {"BRIDGE_PRELOAD": "1"}, "", "BRIDGE_PRELOAD has no effect: one process serves"),
    ],
)
def test_settings_are_named_as_they_were_spelled(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    variables: dict[str, str],
    typed: str,
    sentence: str | None,
) -> None:
    (folder / "bridge.toml").write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sentences = found(*typed.split())
    assert [each[: len(sentence or "")] for each in sentences] == ([] if sentence is None else [sentence])


@pytest.mark.parametrize(
    ("file", "typed", "sentences"),
    [
        ("", "", []),
        ("host = '::1'", "", []),
        ("", "--port 81", ["--port has no effect: systemd has opened the sockets (LISTEN_FDS)"]),
        ("", "--bind :80", ["the sockets that systemd has opened are not served: --bind names others"]),
        ("", "--forwarded-allow-ips 127.0.0.1", []),
    ],
)
def test_sockets_that_systemd_has_opened(folder: Path, file: str, typed: str, sentences: list[str]) -> None:
    (folder / "bridge.toml").write_text(file)
    assert found(*typed.split(), has_sockets=True) == sentences


def test_a_secret_is_not_told() -> None:
    assert "hush" not in " ".join(found("--ssl-keyfile-password", "hush"))


def test_settings_that_are_not_there_contradict_nothing() -> None:
    assert find_contradictions([InForce("workers", 2, "flag")]) == []


# Who says it


def test_check_reports_them(folder: Path) -> None:
    target = "tests.server.apps.inspected:plain"
    result = CliRunner().invoke(bridge, ["check", target])
    assert (result.exit_code, "Settings" in result.stdout) == (0, False)
    result = CliRunner().invoke(bridge, ["check", target, "--uds-mode=660"])
    assert result.exit_code == 1
    heading = "Settings that contradict each other\n  --uds-mode has no effect: no unix socket is made\n"
    assert heading in result.stdout
    result = CliRunner().invoke(bridge, ["check", target, "--uds-mode=660", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["contradictions"] == ["--uds-mode has no effect: no unix socket is made"]


@pytest.mark.parametrize("how", ["--workers=2", "--reload"])
def test_serve_warns_of_them_once(how: str) -> None:
    with Serving("shop:app", how, "--port=0", "--uds-mode=660", cwd=APPS) as server:
        server.wait_for("Application startup complete")
        server.interrupt()
        server.finish()
    warnings = re.findall(r"^WARNING: +(.*)$", server.stderr, re.MULTILINE)
    assert warnings == ["--uds-mode has no effect: no unix socket is made"]


def test_serve_warns_in_the_place_of_uvicorn() -> None:
    with Serving("shop:app", "--port=0", "--reload-dir=.", cwd=APPS) as server:
        pass
    warnings = re.findall(r"^WARNING: +(.*)$", server.stderr, re.MULTILINE)
    assert warnings == ["--reload-dir has no effect: without --reload no files are watched"]

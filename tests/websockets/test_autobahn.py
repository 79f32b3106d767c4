"""The Autobahn test suite's cases: the hosts' own failures, beyond which an app of ours may have none."""

from pathlib import Path

import pytest

from tests.websockets import autobahn
from tests.websockets.hosts import WEBSOCKET_HOSTS

# By host, the cases that fail with an app that has nothing of ours in it.
KNOWN: dict[str, set[str]] = {
    # A close amid a fragmented message: websockets 17.4 answers 1002, "incomplete fragmented message".
    "uvicorn-sansio": {"7.1.5"},
    "uvicorn-wsproto": set(),
}


@pytest.mark.timeout(180)
@pytest.mark.skipif(not autobahn.is_installed(), reason="not installed: python -m tests.websockets.autobahn")
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("app", ["by_hand:app", "on_loop:app", "in_threads:app"])
def test_no_case_fails_beyond_the_hosts_own(app: str, name: str, tmp_path: Path) -> None:
    with WEBSOCKET_HOSTS[name](f"tests.websockets.apps.{app}") as host:
        failed = autobahn.failures(f"ws://127.0.0.1:{host.port}/echo", tmp_path)
    assert {case: how for case, how in failed.items() if case not in KNOWN[name]} == {}

"""What the suite promises to who runs it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_ctrl_c_reaches_what_tests_start() -> None:
    """A library may have set its own handler; a signal that is ignored stays ignored in new processes."""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.timeout(60)
@pytest.mark.parametrize("options", [[], ["-n", "1"]])
def test_the_suite_runs_in_the_background_of_a_shell(options: list[str]) -> None:
    """Where `&` and nohup have SIGINT ignored."""
    test = f"{__file__}::{test_ctrl_c_reaches_what_tests_start.__name__}"
    done = subprocess.run(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "pytest", "-q", *options, test],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr

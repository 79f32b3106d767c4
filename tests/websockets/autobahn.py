"""The Autobahn test suite: the cases that implementations of RFC 6455 are measured by.

It is written for Python 2.7; `python -m tests.websockets.autobahn` installs it into a folder of its own.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["failures", "install", "is_installed"]

PACKAGE = "autobahntestsuite==25.10.1"

FOLDER = Path(os.environ.get("AUTOBAHN_FOLDER", "~/.cache/autobahn-testsuite")).expanduser()

# By Autobahn's numbers: 1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8,
# 7 closing, 9 limits (messages up to 16 MB), 10 fragments that are large. The rest of 9 measures speed, and
# 12 and 13 are compression, which is between the host and the client.
CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.*", "9.2.*", "10.*")

# "Non-strict" is late in failing, as RFC 6455 allows; "informational" has no right and wrong.
_GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}

_RUN = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"


def is_installed() -> bool:
    """Whether it can be run here."""
    return (FOLDER / "autobahntestsuite").is_dir() and _python() is not None


def install() -> None:
    """Install it for the Python 2.7 of this machine.

    Raises:
        FileNotFoundError: there is none.
    """
    python = _python()
    if python is None:
        raise FileNotFoundError("the Autobahn test suite needs a python2.7, on the PATH or of pyenv")
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--target", FOLDER, PACKAGE], check=True)


def failures(url: str, reports: Path, cases: Sequence[str] = CASES) -> dict[str, str]:
    """Run its fuzzing client against an echo.

    Args:
        url: of a websocket that sends back what it gets.
        reports: a folder for what it writes; it has an `index.html`.
        cases: which of them.

    Returns:
        By the number of the case, how it ended, and how the connection did: those that are not as demanded.
    """
    python = _python()
    assert python is not None
    specification = reports / "fuzzingclient.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(reports),
                "servers": [{"agent": "server", "url": url}],
                "cases": list(cases),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    command = [python, "-c", _RUN, str(FOLDER), "-m", "fuzzingclient", "-s", str(specification)]
    subprocess.run(command, check=True, cwd=reports, stdout=subprocess.DEVNULL)
    results = json.loads((reports / "index.json").read_text())["server"]
    assert results, "no case was run"
    return {
        case: f"{result['behavior']}, closed: {result['behaviorClose']}"
        for case, result in results.items()
        if not {result["behavior"], result["behaviorClose"]} <= _GOOD
    }


def _python() -> str | None:
    """A Python 2.7 that runs; pyenv's shim of that name need not."""
    of_pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("2.7*/bin/python2.7"))
    for candidate in (shutil.which("python2.7"), *map(str, of_pyenv)):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


if __name__ == "__main__":
    install()

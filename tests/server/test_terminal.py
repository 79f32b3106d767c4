"""The command as a person has it: in a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.server.command import APPS

_CTRL_C = b"\x03"


class Terminal:
    """A terminal of 80 columns in which a command runs."""

    def __init__(self, *typed: str, cwd: Path = APPS, env: Mapping[str, str] | None = None) -> None:
        self.seen = ""
        self._is_closed = False
        self._master, slave = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        # A session of its own, of which the terminal is the controlling one: Ctrl-C is a signal then.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *typed],
            cwd=cwd,
            env=environment | {"TERM": "xterm", "COLUMNS": "80"} | dict(env or {}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if not self._is_closed:
            os.close(self._master)
        if error is not None:
            error.add_note(f"on the screen:\n{self.seen}")

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.seen)):
            assert self._read(), f"ended without {pattern!r}"
        return found

    def finish(self) -> int:
        while self._read():
            pass
        return self._process.wait(15)

    def close(self) -> int:
        """Close the window; return the command's exit code."""
        os.close(self._master)
        self._is_closed = True
        return self._process.wait(15)

    def _read(self) -> bool:
        assert select.select([self._master], [], [], 15)[0], "nothing more was written"
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False  # EIO: nobody has it open any more
        self.seen += data.decode()
        return bool(data)


_IN_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from bridge.__main__ import main
main()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_until_ctrl_c(workers: str) -> None:
    with Terminal("serve", "shop:app", "--port", "0", "--workers", workers) as terminal:
        terminal.wait_for(
            r"Flask app 'shop:app' \(\d+ routes and static files\) · adapter bridge, 40 threads"
        )
        address = terminal.wait_for(r"\x1b\[1m(http://127\.0\.0\.1:\d+)\x1b\[0m · \d workers? · ")[1]
        with urllib.request.urlopen(address) as response:
            assert response.read() == b"Hello"
        terminal.wait_for(r'"\x1b\[1mGET / HTTP/1.1\x1b\[0m" \x1b\[32m200 OK')
        terminal.type(_CTRL_C)
        assert terminal.finish() == 0
    assert "Traceback" not in terminal.seen
    assert "\x1b[32mINFO\x1b[0m:" in terminal.seen
    assert not re.search("server process|application|startup|shutdown", terminal.seen)


def test_the_usual_steps_are_shown_for_debugging() -> None:
    with Terminal("serve", "shop:app", "--port", "0", "--log-level", "debug") as terminal:
        terminal.wait_for(r"Started server process[^$]*Application startup complete[^$]*Ctrl-C to stop")
        terminal.type(_CTRL_C)
        assert terminal.finish() == 0


def test_there_may_be_no_colours() -> None:
    with Terminal("serve", "shop:app", "--port", "0", env={"NO_COLOR": "1"}) as terminal:
        address = terminal.wait_for(r"INFO:     (http://127\.0\.0\.1:\d+) · 1 worker · ")[1]
        with urllib.request.urlopen(address) as response:
            assert response.read() == b"Hello"
        terminal.wait_for('"GET / HTTP/1.1" 200 OK')
        terminal.type(_CTRL_C)
        assert terminal.finish() == 0
    assert "\x1b" not in terminal.seen


@pytest.mark.parametrize(
    ("env", "name"), [({}, "\x1b[31m\x1b[1mbridge:\x1b[0m"), ({"NO_COLOR": "1"}, "bridge:")]
)
def test_a_mistake_is_one_line(env: dict[str, str], name: str) -> None:
    with Terminal("serve", "shop:nosuch", env=env) as terminal:
        assert terminal.finish() == 3
    assert terminal.seen.startswith(f"{name} module 'shop' has no attribute ")
    assert "Traceback" not in terminal.seen


def test_a_reload_says_what_has_changed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def app(environ, start_response): ...")
    with Terminal("serve", "--port", "0", "--debug", cwd=tmp_path) as terminal:
        terminal.wait_for(r"its PIN: [\d-]+")
        terminal.wait_for(r"\x1b\[1mhttp://127\.0\.0\.1:\d+\x1b\[0m · debug mode · reloads on save · ")
        (tmp_path / "other.py").write_text("x = 1")
        terminal.wait_for(r"detected changes in 'other.py'")
        terminal.type(_CTRL_C)
        assert terminal.finish() == 0


@pytest.mark.parametrize("typed", [(), ("serve",), ("config",), ("check",), ("routes",), ("completion",)])
def test_help_fits_the_terminal(typed: tuple[str, ...]) -> None:
    with Terminal(*typed, "--help") as terminal:
        assert terminal.finish() == 0
    lines = terminal.seen.splitlines()
    assert lines[0].startswith("Usage: ")
    assert [line for line in lines if len(line) > 80] == []


def test_check_shows_in_a_terminal_which_request_it_makes() -> None:
    with Terminal("check", "shop:app", "--request", "/") as terminal:
        terminal.wait_for(r"\r\x1b\[K1 of 1: GET /\r\x1b\[K")
        assert terminal.finish() == 0

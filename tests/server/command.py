"""Run the command as a person does: in a process of its own, by what it prints, until a signal ends it."""

import contextlib
import http.client
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.patience import PATIENCE

APPS = Path(__file__).parent / "apps"

# Seconds for anything to happen, by default; less than those after which a hanging test is cut.
_DEADLINE = 15.0 * PATIENCE


class Command:
    """A running `bridge`. It is in a process group of its own, of which nothing is left after the block.

    Args:
        arguments: what is typed after `bridge`.
        cwd: the folder it is run in.
        env: variables on top of those of this process.
        python: how Python is to run it.
        pass_fds: file descriptors it gets from this process.
        patience: seconds for anything to happen.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = ("-m", "bridge"),
        pass_fds: Sequence[int] = (),
        patience: float = _DEADLINE,
    ) -> None:
        self._patience = patience
        self._process = subprocess.Popen(
            [sys.executable, *python, *arguments],
            cwd=cwd,
            env=_clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._output = {"stdout": b"", "stderr": b""}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ, "stdout")
        self._selector.register(self._process.stderr, selectors.EVENT_READ, "stderr")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None or self._selector.get_map():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._selector.close()
        if error is not None:
            error.add_note(f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}")

    @property
    def stdout(self) -> str:
        """What it has written there so far."""
        return self._output["stdout"].decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written there so far."""
        return self._output["stderr"].decode(errors="replace")

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def wait_for(self, pattern: str, *, times: int = 1) -> re.Match[str]:
        """Wait until lines on stderr match a pattern; return the last of as many as were asked for."""
        wanted = re.compile(pattern, re.MULTILINE)
        while len(found := list(wanted.finditer(self.stderr))) < times:
            assert self._read(), f"ended without writing {pattern!r}"
        return found[times - 1]

    def wait_for_access_log(self, pattern: str) -> None:
        """Wait until a line on stdout matches a pattern."""
        while not re.search(pattern, self.stdout):
            assert self._read(), f"ended without writing {pattern!r}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, as `kill` does."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Press Ctrl-C: every process of the group gets it."""
        os.killpg(self._process.pid, signal.SIGINT)

    def finish(self) -> int:
        """Wait for the end, also of its children, for they hold the pipes as well; return the exit code."""
        while self._read():
            pass
        return self._process.wait(self._patience)

    def wait(self) -> int:
        """Wait for the end of the process alone, whose children may go on; return the exit code."""
        return self._process.wait(self._patience)

    def _read(self) -> bool:
        """Wait for more to be written; False if there is nobody left to write."""
        ready = self._selector.select(self._patience)
        assert ready or not self._selector.get_map(), "nothing more was written"
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            self._output[key.data] += data
            if not data:
                self._selector.unregister(key.fileobj)
        return bool(self._selector.get_map())


class Serving(Command):
    """A running `bridge serve` that has said where it serves. Arguments as for `Command`, after `serve`."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path = APPS,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = ("-m", "bridge"),
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__("serve", *arguments, cwd=cwd, env=env, python=python, pass_fds=pass_fds)
        self._cwd = cwd

    def __enter__(self) -> Self:
        try:
            self.address = self.wait_for(r"^INFO: +(?:\[-\] )?(\S+?)(?:, \S+)* · .* · Ctrl-C to stop$")[1]
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def connect(self) -> socket.socket:
        """A plain connection."""
        kind, _, where = self.address.partition(":")
        if kind == "unix":
            return connect_to_path(self._cwd / where)
        host, _, port = where.removeprefix("//").rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_DEADLINE)

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that speaks HTTP; sending a request and waiting for its answer are two steps."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        with contextlib.closing(connection):
            yield connection

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> "Answer":
        """Make a request on a new connection."""
        with self.connection() as connection:
            connection.request("GET", path, headers=dict(headers or {}))
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read().decode())


class Answer:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text


def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    python: Sequence[str] = ("-m", "bridge"),
) -> tuple[int, str, str]:
    """Run `bridge` to its end; return its exit code, stdout and stderr."""
    with Command(*arguments, cwd=cwd, env=env, python=python) as command:
        code = command.finish()
    return code, command.stdout, command.stderr


def without(*modules: str) -> tuple[str, str]:
    """How Python is to run the command as if modules were not installed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    return "-c", f"{blocked}; from bridge.__main__ import main; main()"


def connect_to_path(path: Path) -> socket.socket:
    """A connection to a unix socket."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_DEADLINE)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does, and that tells nobody when it is done."""
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def _clean_environment() -> dict[str, str]:
    """The variables of this process, less those that mean something to the command."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BRIDGE_", "UVICORN_", "FLASK_"))
        and name not in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "NOTIFY_SOCKET", "WATCHDOG_USEC")
    }

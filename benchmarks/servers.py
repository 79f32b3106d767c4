"""The rivals, and how one of them is started and ended."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from benchmarks.processes import ProcessTree

__all__ = ["RIVALS", "Server", "ServerError"]

_HOST = "127.0.0.1"
_START_TIMEOUT = 20.0
_ROOT = Path(__file__).resolve().parent.parent


def _uvicorn(app: str, loop: str = "uvloop") -> tuple[str, ...]:
    options = f"--loop {loop} --http httptools --no-access-log --log-level warning --workers 1"
    return ("uvicorn", f"benchmarks.apps:{app}", "--host", _HOST, "--port", "{port}", *options.split())


def _granian(threads: int) -> tuple[str, ...]:
    options = f"--interface wsgi --workers 1 --blocking-threads {threads} --no-access-log --log-level warning"
    return ("granian", "benchmarks.apps:wsgi", "--host", _HOST, "--port", "{port}", *options.split())


RIVALS: dict[str, tuple[str, ...]] = {
    "bridge": _uvicorn("bridge"),
    "a2wsgi": _uvicorn("a2wsgi"),
    "bridge-asyncio": _uvicorn("bridge", "asyncio"),
    "a2wsgi-asyncio": _uvicorn("a2wsgi", "asyncio"),
    "inline": _uvicorn("inline"),
    "bare-asgi": _uvicorn("bare"),
    "granian-1": _granian(1),
    "granian-40": _granian(40),
}
"""Name → the command line of one worker process, to be run with `python -m`."""


class ServerError(Exception):
    """A server that did not start, or has ended, or answers what it should not."""


class Server:
    """A rival that runs within a `with` block, on a free port of the loopback interface.

    Args:
        rival: a name in `RIVALS`.

    Raises:
        ServerError: on entering, if it does not answer in time.
    """

    def __init__(self, rival: str) -> None:
        self.name = rival
        self.host = _HOST
        self.port = _free_port()

    def __enter__(self) -> "Server":
        command = [part.format(port=self.port) for part in RIVALS[self.name]]
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.tree = ProcessTree(self._process.pid)
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def url(self, path: str) -> str:
        """The address of a path on this server."""
        return f"http://{self.host}:{self.port}{path}"

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Make one request and return the body of the response.

        Raises:
            ServerError: the status is not 200.
            OSError: no connection, or it broke.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_START_TIMEOUT)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            if response.status != 200:
                raise ServerError(f"answered {method} {path} with {response.status}")
            return response.read()
        finally:
            connection.close()

    def log(self) -> list[str]:
        """The lines that the server has printed so far."""
        self._log.seek(0)
        return self._log.read().splitlines()

    def _wait_until_ready(self) -> None:
        """Connect until somebody listens, then wait for the answer to one request."""
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                self.request("GET", "/")
                return
            except ConnectionError:
                self._expect_alive()
        raise ServerError(f"does not listen after {_START_TIMEOUT:.0f} s: {self.log()[-1:]}")

    def _expect_alive(self) -> None:
        """Give the server a moment, and notice if it ends in it."""
        try:
            self._process.wait(0.02)
        except subprocess.TimeoutExpired:
            return
        raise ServerError(f"ended with status {self._process.returncode}: {self.log()[-1:]}")

    def _end(self) -> None:
        try:
            self.tree.end()
            self._process.wait()
        finally:
            self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port

"""How a rival is started, asked, and ended."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.processes import ProcessTree
from benchmarks.rivals import HOST, RIVALS

__all__ = ["Server", "ServerError", "environment"]

_START_TIMEOUT = 20.0
_ROOT = Path(__file__).resolve().parent.parent


class ServerError(Exception):
    """A server that did not start, or has ended, or answers what it should not."""


class Server:
    """A rival that runs within a `with` block, on a free port of the loopback interface.

    Args:
        rival: a name in `RIVALS`.
        app: the app it serves, a name in `benchmarks.apps.APPS`.
        materials: what the app needs in its environment.
        options: more of the command line; later options replace earlier ones.

    Raises:
        ServerError: on entering, if it does not listen in time.
    """

    def __init__(
        self,
        rival: str,
        app: str = "flask",
        materials: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.host = HOST
        self.port = _free_port()
        self._command = [*RIVALS[rival].command(app, self.port), *options]
        self._environment = environment(materials or {})

    def __enter__(self) -> "Server":
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment,
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

    def is_alive(self) -> bool:
        """Whether its process still runs."""
        return self._process.poll() is None

    def log(self) -> list[str]:
        """The lines that the server has printed so far."""
        self._log.seek(0)
        return self._log.read().splitlines()

    def _wait_until_ready(self) -> None:
        """Connect until somebody listens."""
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.host, self.port), _START_TIMEOUT).close()
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


def environment(materials: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is to find this package, and what its app needs."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **materials}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port

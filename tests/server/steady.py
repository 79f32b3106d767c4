"""Clients that make one request after the other, and take down what became of each."""

import contextlib
import http.client
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.server.command import Serving, wait_until


@dataclass
class Tally:
    """What became of one client's requests."""

    answered: int = 0
    pids: list[int] = field(default_factory=list)
    """The processes that have answered, each once in a row."""
    refused: str = ""
    """Why no new connection could be made; ends the client."""
    lost: list[tuple[int | None, str]] = field(default_factory=list)
    """Requests without an answer: the process that the connection had been with, if it is known, and why."""
    wrong: list[tuple[int, str]] = field(default_factory=list)
    """Answers that are not 200."""


class SteadyClients:
    """Clients at work for the length of the block.

    Args:
        serving: the server; `path` is to answer with the id of the process.
        number: how many there are.
        keep_alive: whether they keep their connections.
    """

    def __init__(self, serving: Serving, path: str = "/pid", *, number: int, keep_alive: bool) -> None:
        self.tallies = [Tally() for _ in range(number)]
        self._serving = serving
        self._path = path
        self._headers = {} if keep_alive else {"Connection": "close"}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(tally,)) for tally in self.tallies]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: all(tally.answered > 2 for tally in self.tallies), "all clients are at work")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        """How many requests have an answer that is right."""
        return sum(tally.answered for tally in self.tallies)

    @property
    def failed(self) -> Sequence[object]:
        """What went wrong with any of the others."""
        return [each for tally in self.tallies for each in (*tally.lost, *tally.wrong)]

    def all_refused(self) -> bool:
        """Whether none of them can connect any more."""
        return all(tally.refused for tally in self.tallies)

    def wait_for_more(self, number: int = 50) -> None:
        """Wait until each has had some more answers."""
        before = [tally.answered for tally in self.tallies]
        wait_until(
            lambda: all(
                tally.answered >= least + number for tally, least in zip(self.tallies, before, strict=True)
            ),
            "the clients have had more answers",
        )

    def _work(self, tally: Tally) -> None:
        while not self._end.is_set() and not tally.refused:
            try:
                connection = self._connect()
            except OSError as error:
                tally.refused = repr(error)
                return
            with contextlib.closing(connection):
                self._use(connection, tally)

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self._serving.connect()
        return connection

    def _use(self, connection: http.client.HTTPConnection, tally: Tally) -> None:
        """Make requests until the connection is to be closed."""
        with_pid = None
        while not self._end.is_set():
            try:
                connection.request("GET", self._path, headers=self._headers)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                tally.lost.append((with_pid, repr(error)))
                return
            if response.status != 200:
                tally.wrong.append((response.status, text))
                return
            with_pid = int(text)
            tally.answered += 1
            if tally.pids[-1:] != [with_pid]:
                tally.pids.append(with_pid)
            if response.will_close:
                return

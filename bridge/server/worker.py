"""One worker process, as its supervisor sees it, and as it sees its supervisor."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Process

from bridge.server.preloading import Fork
from bridge.server.server import TERMINATED, Server, State

if TYPE_CHECKING:
    from bridge.server.serving import ServeConfig

__all__ = ["Worker", "let_ctrl_c_through"]

logger = logging.getLogger("bridge")

_PING = b"ping"
_RETIRE = b"retire"


def let_ctrl_c_through() -> None:
    """Undo in a child what its supervisor has done.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed meanwhile.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Worker(Process):
    """uvicorn's process, which tells what it is at when it is asked, and stops without its supervisor.

    Args:
        config: what it serves, and how.
        sockets: where it listens.
        pipes: what its supervisor has open to other workers, and none of them may have if it is forked.
    """

    config: "ServeConfig"

    def __init__(
        self, config: "ServeConfig", sockets: list[socket.socket], pipes: "Sequence[Connection]" = ()
    ) -> None:
        super().__init__(config, sockets)
        if config.preloads:
            self.process = Fork(partial(self._go_on, sockets, [*pipes, self.parent_conn]))  # type: ignore[assignment]  # uvicorn's is spawned
        self.state: State = "starting"
        """What it was at when it last answered."""
        self.is_hung = False
        self.started_at = 0.0
        self._asked_at: float | None = None

    # In the supervisor

    def start(self) -> None:
        """Start the process."""
        self.started_at = time.monotonic()
        super().start()
        # From here on it is the other process's; without a copy here, it is noticed when that one ends.
        self.child_conn.close()

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return not self.process.is_alive()

    @property
    def was_terminated(self) -> bool:
        """Whether it is over because of SIGTERM, which it may have been too young to obey in order."""
        return self.has_ended and self.exitcode in (TERMINATED, -signal.SIGTERM)

    def look(self) -> None:
        """Ask the process what it is at, and read what it has answered; waits for nothing.

        One that serves and has not answered in `--timeout-worker-healthcheck` is hung, and so is one that has
        not come to serve in `--timeout-worker-start`. It answers in a thread, so that it may be busy; but not
        when its event loop has been held for six times as long.
        """
        now = time.monotonic()
        try:
            while self.parent_conn.poll():
                self.state = self.parent_conn.recv()
                self._asked_at = None
            if self._asked_at is None:
                self.parent_conn.send(_PING)
                self._asked_at = now
        except (OSError, EOFError):
            return  # it has ended, which is noticed as well, or is about to
        if self.state == "starting":
            self.is_hung = now - self.started_at > self.config.settings.worker_start_timeout
        else:
            self.is_hung = now - self._asked_at > self.config.timeout_worker_healthcheck

    def retire(self) -> None:
        """Have it stop, as another is there in its place."""
        with suppress(OSError):  # it has ended by itself
            self.parent_conn.send(_RETIRE)

    def terminate(self) -> None:
        """Have it stop, with all others."""
        # uvicorn would close the pipe as well, before it is known that the signal has been seen.
        if not self.has_ended and self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def hurry(self) -> None:
        """Have it stop at once: it is told for the second time."""
        if not self.has_ended and self.pid is not None:
            os.kill(self.pid, signal.SIGINT)

    def bury(self) -> str:
        """Make sure that it has ended; say what became of it."""
        if self.has_ended:
            self.join()
            return _describe(self.exitcode)
        what = "does not answer" if self.state != "starting" else "has not come to serve in time"
        self.kill()
        self.join()
        return f"{what}, and was killed"

    def join(self) -> None:
        """Wait for its end, and give back what it has taken."""
        self.process.join()
        self.parent_conn.close()

    # In the process

    def _go_on(self, sockets: list[socket.socket], pipes: "Sequence[Connection]") -> None:
        """Serve in a process that was forked."""
        for pipe in pipes:  # that the others, and this one, see when the supervisor is gone
            pipe.close()
        with suppress(KeyboardInterrupt):
            let_ctrl_c_through()
            self.target(sockets)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end; this is what the process runs."""
        self._server = Server(self.config, has_supervisor=True)  # before the thread below asks for it
        try:
            super().target(sockets)
        except KeyboardInterrupt:
            if not self.server.was_terminated:
                raise
        if self.server.was_terminated:
            sys.exit(TERMINATED)

    @property
    def server(self) -> Server:
        """The server that runs in it."""
        assert isinstance(self._server, Server)
        return self._server

    def always_pong(self) -> None:
        """Answer the supervisor, in a thread. When there is none any more, stop: nobody else would do it."""
        try:
            while True:
                if self.child_conn.recv() == _RETIRE:
                    self.server.retire()
                elif not self.server.is_stuck:
                    self.child_conn.send(self.server.state)
                # else nothing is said, which the supervisor takes for an answer
        except (OSError, EOFError):
            if not self.server.should_exit:
                logger.error("the supervisor of worker [%d] is gone; stopping", os.getpid())
                self.server.retire()

    def __getstate__(self) -> dict[str, Any]:
        # With both ends of the pipe in the process, it would never see that the other one is closed.
        return {**self.__dict__, "parent_conn": None}


def _describe(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"was killed by {_name_of(-exitcode)}"
    if exitcode == STARTUP_FAILURE:
        return "could not start"
    if exitcode == TERMINATED:
        return "was told to stop by somebody else"
    return f"ended with exit code {exitcode}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal: Python has names for the first and the last of them
        return f"signal {number}"

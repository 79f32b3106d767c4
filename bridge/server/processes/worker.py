"""One worker process: the supervisor's handle of it, and the code that runs in it."""

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE

from bridge.free_threading import inherits_nothing
from bridge.server.processes.fleet import Event, Member, State
from bridge.server.processes.preloading import Fork
from bridge.server.processes.server import TERMINATED, Server

if TYPE_CHECKING:
    from bridge.server.serving import ServeConfig

__all__ = ["Worker", "ctrl_c_held_back", "let_ctrl_c_through"]

logger = logging.getLogger("bridge")

_PING = b"ping"
_RETIRE = b"retire"

# Seconds that a worker has for the end of the app's lifespan, and its own, after the requests.
_LIFESPAN = 10.0


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Start a process in this block: Ctrl-C reaches it when it lets the signal through.

    A terminal sends Ctrl-C to all processes. One that is still importing would die of it with a traceback. It
    inherits the blocked signal, and gets it when it can end in good order.
    """
    resource_tracker.ensure_running()  # or it is started with the first process, and lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_ctrl_c_through() -> None:
    """Undo `ctrl_c_held_back` in the process that was started.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed meanwhile.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Worker(Member):
    """A worker process that reports its state when polled.

    Args:
        config: the app to serve, and how.
        sockets: the listening sockets.
        generation: see `Member`.
        others: the workers there are; a forked one closes their pipes.

    Raises:
        OSError: the system has no process, file or memory for it.
    """

    def __init__(
        self,
        config: "ServeConfig",
        sockets: list[socket.socket],
        generation: int,
        others: "list[Worker]",
    ) -> None:
        super().__init__(time.monotonic(), generation)
        self._config = config
        self._polled_at: float | None = None  # if the answer has not come yet
        self._deadline = math.inf
        self._pipe, end = multiprocessing.Pipe()
        self._process: Fork | multiprocessing.context.SpawnProcess
        if config.preloads:
            pipes = [self._pipe, *(other._pipe for other in others)]
            self._process = Fork(partial(_run_forked, config, sockets, end, pipes))
        else:
            stdin = None
            with suppress(AttributeError, OSError, ValueError):  # there is none, or no file
                stdin = sys.stdin.fileno()
            self._process = multiprocessing.get_context("spawn").Process(
                target=_run_spawned, args=(config, sockets, end, stdin)
            )
        try:
            with ctrl_c_held_back():
                self._process.start()
        except OSError:
            self._pipe.close()
            raise
        finally:
            end.close()  # with no copy here, this process notices when that one ends

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def sentinel(self) -> "int | Connection":
        """Ready once the process has ended: see `multiprocessing.connection.wait`."""
        return self._process.sentinel

    @property
    def could_not_start(self) -> bool:
        """Whether it has ended because it cannot serve the app."""
        return self._process.exitcode == STARTUP_FAILURE

    def poll(self, now: float) -> Event | None:
        """Return what has happened since the last time; does not wait.

        A worker that serves is silent if it has not answered in `--timeout-worker-healthcheck`, and one that
        starts if it does not serve in `--timeout-worker-start`. A thread answers, so that it may be busy, but
        not when the event loop has been held for six times as long.
        """
        with suppress(OSError, EOFError):  # it has ended, or is about to
            if self._pipe.poll():
                state = self._pipe.recv()
                self._polled_at = None
                if state is not State.STARTING:
                    return Event(state.value)
            if self._polled_at is None:
                self._pipe.send(_PING)
                self._polled_at = now
        if not self._process.is_alive():
            # SIGTERM may have come before it could report that it stops.
            was_terminated = self._process.exitcode in (TERMINATED, -signal.SIGTERM)
            return Event.LEAVES if was_terminated and self.state is not State.STOPPING else Event.EXITED
        if self.state is State.STOPPING:
            return Event.OVERDUE if now > self._deadline else None
        if self.state is State.STARTING:
            is_silent = now - self.started_at > self._config.settings.worker_start_timeout
        else:
            is_silent = now - (self._polled_at or now) > self._config.timeout_worker_healthcheck
        return Event.SILENT if is_silent else None

    def expect_end(self, delay: float = 0) -> None:
        """Give it the time that requests and the app's lifespan have, after a delay; then it is overdue."""
        patience = self._config.settings.graceful_timeout
        if patience is not None:
            self._deadline = min(self._deadline, time.monotonic() + delay + patience + _LIFESPAN)

    def retire(self) -> None:
        """Have it stop without a delay, as another has replaced it."""
        with suppress(OSError):  # it has ended by itself
            self._pipe.send(_RETIRE)
        self.expect_end()

    def terminate(self) -> None:
        """Have it stop with all others, after `--drain-delay`."""
        self._signal(signal.SIGTERM)
        self.expect_end(self._config.settings.drain_delay)

    def interrupt(self) -> None:
        """Have it stop at once: Ctrl-C was pressed again."""
        self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def reap(self) -> str:
        """Kill it, if it has not ended, and give its resources back; return what has ended it."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()
        return _describe(self._process.exitcode)


# In the process


def _run_spawned(
    config: "ServeConfig", sockets: list[socket.socket], pipe: Connection, stdin: int | None
) -> None:
    if stdin is not None:
        sys.stdin = os.fdopen(stdin)  # for debuggers
    config.configure_logging()
    _run(config, sockets, pipe)


def _run_forked(
    config: "ServeConfig", sockets: list[socket.socket], pipe: Connection, others: list[Connection]
) -> None:
    for each in others:  # or nobody would see that the supervisor is gone
        each.close()
    with suppress(KeyboardInterrupt):
        let_ctrl_c_through()
        _run(config, sockets, pipe)


def _run(config: "ServeConfig", sockets: list[socket.socket], pipe: Connection) -> None:
    """Serve until the end."""
    server = Server(config, has_supervisor=True)
    threading.Thread(target=_answer, args=(server, pipe), daemon=True, **inherits_nothing()).start()
    with suppress(KeyboardInterrupt):
        server.run(sockets)
    if server.was_terminated:
        sys.exit(TERMINATED)


def _answer(server: Server, pipe: Connection) -> None:
    """Answer the supervisor's polls; stop when it is gone, as nobody else would stop this process."""
    try:
        while True:
            if pipe.recv() == _RETIRE:
                server.retire()
            elif not server.is_stuck:  # else its silence is the answer
                pipe.send(server.state)
    except (OSError, EOFError):
        if not server.should_exit:
            logger.error("the supervisor of worker [%d] is gone; stopping", os.getpid())
            server.retire()


def _describe(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            return f"was killed by {signal.Signals(-exitcode).name}"
        except ValueError:  # a real-time signal: Python has names for the first and the last of them
            return f"was killed by signal {-exitcode}"
    return "could not start" if exitcode == STARTUP_FAILURE else f"ended with exit code {exitcode}"

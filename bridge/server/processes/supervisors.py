"""The processes that keep others serving: `Supervisor` several workers, `Reloader` one that is edited."""

import logging
import os
import signal
import socket
import time
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload

from bridge.server.processes.ending import forget_after_fork
from bridge.server.processes.fleet import Event, Fleet, State
from bridge.server.processes.hangups import Hangups
from bridge.server.processes.server import Server
from bridge.server.processes.systemd import Notifier
from bridge.server.processes.worker import Worker, ctrl_c_held_back

if TYPE_CHECKING:
    from bridge.server.hooks.metrics_endpoint import MetricsEndpoint
    from bridge.server.serving import ServeConfig

__all__ = ["Reloader", "Supervisor"]

logger = logging.getLogger("bridge")

# Seconds between two polls.
_TICK = 0.5

# The last four do nothing: as with other servers, they must not end the process.
SIGNALS = [
    getattr(signal, f"SIG{name}")
    for name in ("INT", "TERM", "HUP", "TTIN", "TTOU", "QUIT", "USR1", "USR2", "WINCH")
]


class Supervisor:
    """Keeps a number of worker processes serving, and replaces them without losing a request.

    A worker goes on until the one that replaces it serves, and then finishes what it has begun. Both listen
    on the same sockets, which this process holds open, so that no connection is refused meanwhile.

    INT and TERM stop everything. HUP replaces each worker by one that has loaded the app anew, one after the
    other; with `--preload` by one that has the app as it was loaded at the start. TTIN adds a worker, TTOU
    takes one away.

    Args:
        config: the app to serve, and how.
        sockets: the listening sockets.
        metrics: counts the workers that come and go.
    """

    def __init__(
        self, config: "ServeConfig", sockets: list[socket.socket], metrics: "MetricsEndpoint"
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._metrics = metrics
        self._fleet: Fleet[Worker] = Fleet(config.workers)
        self._notifier = Notifier(os.environ)
        self._signals: list[int] = []  # not obeyed yet
        self._is_stopping = False
        self._is_ready = False
        self._exit_code = 0
        before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
        forget_after_fork(self._take_signal, before)
        for number in SIGNALS:
            signal.signal(number, self._take_signal)

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def run(self) -> int:
        """Keep them serving until a signal ends it; return the exit code.

        An error in here ends them as well: nobody else would watch them.
        """
        logger.info("Started parent process [%d]", os.getpid())
        try:
            self._adjust()
            while not self._is_stopping:
                self._wait()
                # In this order: Ctrl-C stops the workers, too, which is no reason to start others.
                events = self._poll()
                self._obey()
                for worker, event in [] if self._is_stopping else events:
                    self._follow(worker, event)
                if not self._is_stopping:
                    self._adjust()
        finally:
            self._stop()
        logger.info("Stopping parent process [%d]", os.getpid())
        return self._exit_code

    def _wait(self) -> None:
        """Wait for the next tick, or for a worker's end."""
        wait([worker.sentinel for worker in self._fleet.workers], timeout=_TICK)
        self._notifier.feed_watchdog()

    def _poll(self) -> list[tuple[Worker, Event]]:
        now = time.monotonic()
        polled = [(worker, worker.poll(now)) for worker in self._fleet.workers]
        return [(worker, event) for worker, event in polled if event is not None]

    def _obey(self) -> None:
        """Act on the signals that have come."""
        fleet = self._fleet
        while self._signals:
            number = self._signals.pop(0)
            if number in (signal.SIGINT, signal.SIGTERM):
                logger.info("Received %s, exiting.", signal.Signals(number).name)
                self._is_stopping = True
            elif number == signal.SIGHUP:
                logger.info("Received SIGHUP, restarting processes.")
                if self._config.preloads:
                    logger.warning(
                        "SIGHUP does not load new code with --preload: new workers serve the app as it was "
                        "loaded at the start. For new code, restart the server"
                    )
                microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                self._notifier.tell(RELOADING=1, MONOTONIC_USEC=microseconds)
                fleet.restart()
            elif number == signal.SIGTTIN:
                fleet.wanted += 1
                logger.info("SIGTTIN adds a worker; there are %d now", fleet.wanted)
            elif number == signal.SIGTTOU and fleet.wanted == 1:
                logger.info("SIGTTOU stops no worker: there is only one")
            elif number == signal.SIGTTOU:
                fleet.wanted -= 1
                logger.info("SIGTTOU stops a worker; workers left: %d", fleet.wanted)

    def _follow(self, worker: Worker, event: Event) -> None:
        """Act on an event of a worker."""
        was, had_served = worker.state, self._fleet.has_served
        if not self._fleet.apply(worker, event):
            return
        if self._fleet.has_served and not had_served:
            self._config.log_addresses()
        if event is Event.SERVED_ENOUGH:
            logger.info("worker [%d] has served --limit-max-requests; replacing it", worker.pid)
        elif event is Event.LEAVES:
            logger.info("worker [%d] was stopped from outside; starting another", worker.pid)
            self._metrics.worker_restarted("stopped")
            worker.expect_end(self._config.settings.drain_delay)
        elif worker.state is State.GONE:
            if event is Event.OVERDUE:
                logger.error("worker [%d] has not stopped in time; killing it", worker.pid)
            what = worker.reap()
            self._metrics.worker_gone(worker.pid)
            if event is Event.SILENT:
                silence = "has not come to serve in time" if was is State.STARTING else "does not answer"
                what = f"{silence}, and was killed"
            if was is not State.STOPPING:
                self._replace(worker, was, what, "hung" if event is Event.SILENT else "died")

    def _replace(self, worker: Worker, was: State, what: str, reason: str) -> None:
        """Act on the death of a worker that nobody has told to stop."""
        was_restarting = self._fleet.is_restarting
        loss = self._fleet.lose(worker, was, time.monotonic(), could_not_start=worker.could_not_start)
        if not loss.is_new:
            self._metrics.worker_restarted(reason)
        if was_restarting and not self._fleet.is_restarting:
            self._notifier.tell(READY=1)
        logger.error(
            "%s [%d] %s; %s%s",
            "new worker" if loss.is_new else "worker",
            worker.pid,
            what,
            loss.consequence,
            _in_seconds(loss.wait),
        )
        if loss.is_final:
            self._exit_code = STARTUP_FAILURE
            self._is_stopping = True

    def _adjust(self) -> None:
        """Start missing workers, and retire surplus ones."""
        fleet = self._fleet
        if fleet.has_restarted():  # the old ones were told to stop a tick ago: no new connection is theirs
            what = "were replaced" if self._config.preloads else "have loaded the app again"
            logger.info("reloaded: all workers %s", what)
            self._notifier.tell(READY=1)
        while fleet.lacks_worker(time.monotonic()):
            began = time.monotonic()
            try:
                fleet.workers.append(Worker(self._config, self._sockets, fleet.generation, fleet.workers))
            except OSError as error:
                seconds = fleet.backoff.after(began, time.monotonic())
                logger.error(
                    "cannot start a worker: %s; trying again%s", error.strerror, _in_seconds(seconds)
                )
        while (worker := fleet.superfluous()) is not None:
            if fleet.is_old(worker):
                self._metrics.worker_restarted("spent" if worker.state is State.SPENT else "hup")
            fleet.apply(worker, Event.RETIRED)
            worker.retire()
        if fleet.is_ready and not self._is_ready:
            self._is_ready = True
            self._notifier.tell(READY=1)

    def _stop(self) -> None:
        """Have all workers stop, and wait until they have; kill those that take too long."""
        self._notifier.tell(STOPPING=1)
        # Connections are refused as soon as the last worker does not listen any more, not left to wait.
        for each in self._sockets:
            each.close()
        for worker in self._fleet.workers:
            worker.terminate()
            self._fleet.apply(worker, Event.RETIRED)
        while self._fleet.workers:
            self._wait()
            if signal.SIGINT in self._signals:  # Ctrl-C again, or the first after a TERM
                self._signals.clear()
                for worker in self._fleet.workers:
                    worker.interrupt()
            for worker, event in self._poll():
                self._follow(worker, event)


def _in_seconds(seconds: float) -> str:
    return f" in {seconds:.2g} s" if seconds else ""


class Reloader(ChangeReload):  # type: ignore[misc,valid-type]  # one of two classes, by what is installed
    """Keeps a process serving, and replaces it when a file changes, or for SIGHUP.

    Signals wait until it has done so.

    Args:
        config: the app to serve, and how.
        sockets: the listening sockets.
        metrics: counts the processes that come and go.
    """

    def __init__(
        self, config: "ServeConfig", sockets: list[socket.socket], metrics: "MetricsEndpoint"
    ) -> None:
        super().__init__(config, Server(config).run, sockets)
        self._metrics = metrics
        self._hangups = Hangups()

    def run(self) -> int:
        """Keep it serving until a signal ends it, or a setting is wrong; return the exit code."""
        super().run()
        return STARTUP_FAILURE if self._has_wrong_setting else 0

    @property
    def _has_wrong_setting(self) -> bool:
        """Whether the process has ended for one; it goes on without an app."""
        return bool(self.process.exitcode == STARTUP_FAILURE)

    def startup(self) -> None:
        """Start it."""
        logger.info("watching for changes: %s", ", ".join(map(str, self.config.reload_dirs)))
        self._hangups.listen()
        with ctrl_c_held_back():
            super().startup()

    def should_restart(self) -> list[Path] | None:
        """Return the files that have changed; replace it at once for SIGHUP."""
        if self._has_wrong_setting:
            self.should_exit.set()
        if self._hangups.has_come():
            logger.info("Received SIGHUP, reloading.")
            self.restart()
        changed: list[Path] | None = super().should_restart()
        return changed

    def restart(self) -> None:
        """Replace it."""
        old = self.process.pid
        with ctrl_c_held_back():
            super().restart()
        if old is not None:
            self._metrics.worker_gone(old)
        self._metrics.worker_restarted("reload")

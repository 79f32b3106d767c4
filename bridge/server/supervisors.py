"""uvicorn's supervisors, with children that Ctrl-C cannot hit before they are able to end cleanly.

A terminal sends Ctrl-C to all processes. Those that are still importing what they need would die of it with
tracebacks, and the supervisor would wait seconds for an answer of theirs. So they are started with the signal
blocked, which they inherit, and let it through when the time has come. It is late then, but not lost.
"""

import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload, Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from bridge.server.backoff import Backoff
from bridge.server.ending import forget_after_fork
from bridge.server.server import Server
from bridge.server.systemd import Notifier
from bridge.server.worker import Worker

if TYPE_CHECKING:
    from bridge.server.metrics_endpoint import MetricsEndpoint
    from bridge.server.serving import ServeConfig

__all__ = ["Reloader", "Workers"]

logger = logging.getLogger("bridge")

# Seconds between two looks at whether a process has ended.
_TICK = 0.5

# Seconds that a worker has for the end of the app's lifespan, and its own, after the requests.
_LIFESPAN = 10.0


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    # It is started with the first child, and lets the signal through when it has been.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers(Multiprocess):
    """Keeps a number of worker processes serving, and replaces them without losing a request.

    A worker that is replaced goes on until the other one serves, and then finishes what it has begun. Both
    listen on the same sockets, which this process holds open, so that no connection is refused meanwhile.

    INT and TERM stop everything. HUP replaces each worker by one that has loaded the app anew, one after the
    other; with `--preload` by one that has the app as it was loaded at the start. TTIN adds a worker, TTOU
    takes one away.

    Args:
        config: what they serve, and how.
        sockets: where they listen.
        metrics: where it is counted that workers come and go.
    """

    config: "ServeConfig"

    def __init__(
        self, config: "ServeConfig", sockets: list[socket.socket], metrics: "MetricsEndpoint"
    ) -> None:
        before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
        super().__init__(config, sockets)
        for number in before:
            forget_after_fork(cast(Any, signal.getsignal(number)), before)
        self._metrics = metrics
        self.has_failed = False
        """Whether it has ended because the app cannot be served."""
        self._workers: list[Worker] = []
        self._to_replace: list[Worker] = []  # some of those, the next one first
        self._replacement: Worker | None = None  # the one that is to take the place of the first of these
        self._is_replacement_old = False  # it may have loaded the app before the last HUP
        self._leaving: dict[Worker, float] = {}  # told to stop, and until when that may take
        self._is_restarting = False
        self._has_served = False
        self._is_ready = False
        self._backoff = Backoff()
        self._notifier = Notifier(os.environ)

    def run(self) -> None:
        """Keep them serving until a signal ends it.

        An error in here ends them as well: there would be nobody to watch them, or to hear of a signal.
        """
        try:
            super().run()
        except BaseException:
            self.terminate_all()
            self.join_all()
            raise

    # Called by uvicorn's loop

    def init_processes(self) -> None:
        """Start the first workers."""
        with _ctrl_c_held_back():
            self._start_missing()

    def handle_signals(self) -> None:
        """Do what signals ask for."""
        with _ctrl_c_held_back():
            super().handle_signals()

    def keep_subprocess_alive(self) -> None:
        """See what the workers are at, twice a second, and do what follows from it."""
        self._notifier.feed_watchdog()
        self._see_off()
        for worker in self._all():
            worker.look()
        # Ctrl-C stops the workers, too; that is no reason to start others.
        if self.should_exit.is_set() or self.signal_queue:
            return
        with _ctrl_c_held_back():
            for worker in list(self._workers):
                self._judge(worker)
            if self.should_exit.is_set():
                return
            self._replace()
            self._start_missing()
        self._retire_surplus()
        self._tell_readiness()

    def terminate_all(self) -> None:
        """Have all of them stop, after the drain delay."""
        self._notifier.tell(STOPPING=1)
        # Connections are refused as soon as the last worker does not listen any more, not left to wait.
        for each in self.sockets:
            each.close()
        for worker in self._all():
            worker.terminate()
            self._expect_end(worker, self.config.settings.drain_delay)

    def join_all(self) -> None:
        """Wait until all have stopped; kill those that take too long."""
        while self._leaving:
            self._notifier.feed_watchdog()
            if signal.SIGINT in self.signal_queue:  # Ctrl-C again, or the first after a TERM
                self.signal_queue.clear()
                for worker in self._leaving:
                    worker.hurry()
            wait([worker.process.sentinel for worker in self._leaving], timeout=_TICK)
            self._see_off()

    # Signals

    def restart_all(self) -> None:
        """Begin to replace each worker, for HUP."""
        if self.config.preloads:
            logger.warning(
                "SIGHUP cannot load the app anew with --preload: new workers serve it as it was loaded at "
                "the start; for new code, restart the server"
            )
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=microseconds)
        self._is_restarting = True
        self._to_replace = list(self._workers)
        self._is_replacement_old = self._replacement is not None

    def handle_ttin(self) -> None:
        """Have one worker more."""
        self.processes_num += 1
        logger.info("one more worker for SIGTTIN: %d", self.processes_num)

    def handle_ttou(self) -> None:
        """Have one worker less, if there are several."""
        if self.processes_num == 1:
            logger.info("no worker less for SIGTTOU: there is only one")
            return
        self.processes_num -= 1
        logger.info("one worker less for SIGTTOU: %d", self.processes_num)

    # What follows from what workers are at

    def _judge(self, worker: Worker) -> None:
        if worker.state == "stopping" or worker.was_terminated:
            logger.info("worker [%d] was told to stop by somebody else; starting another", worker.pid)
            self._metrics.worker_restarted("stopped")
            self._workers.remove(worker)
            self._expect_end(worker, self.config.settings.drain_delay)
        elif worker.has_ended or worker.is_hung:
            self._bury(worker)
        elif worker.state != "starting":
            self._has_served = True
            if worker.state == "spent" and worker not in self._to_replace:
                logger.info("worker [%d] has served as many requests as it may; replacing it", worker.pid)
                self._to_replace.append(worker)

    def _bury(self, worker: Worker) -> None:
        """Deal with the death of a worker that nobody has told to stop."""
        self._workers.remove(worker)
        self._metrics.worker_restarted("hung" if worker.is_hung else "died")
        what = self._end(worker)
        if worker.exitcode == STARTUP_FAILURE and not self._has_served:
            # It would be the same with every other: the app, a certificate or a setting is wrong.
            logger.error("worker [%d] %s; stopping", worker.pid, what)
            self.has_failed = True
            self.should_exit.set()
            return
        has_served = worker.state != "starting"
        self._wait_after(
            worker.started_at, f"worker [{worker.pid}] {what}; starting another", has_served=has_served
        )

    def _wait_after(self, started_at: float, message: str, *, has_served: bool = False) -> None:
        """Put off the next start, the longer the more of them have died, or could not be started."""
        seconds = self._backoff.after(started_at, time.monotonic(), has_served=has_served)
        logger.error("%s%s", message, f" in {seconds:.2g} s" if seconds else "")

    def _replace(self) -> None:
        """Take the next step in replacing workers, one at a time."""
        self._to_replace = [worker for worker in self._to_replace if worker in self._workers]
        new = self._replacement
        if new is None:
            self._begin_to_replace()
        elif not self._to_replace:  # the old one has died meanwhile
            self._workers.append(new)
            self._adopt(new)
        elif new.has_ended or new.is_hung:
            self._give_up_replacing(new)
        elif new.state != "starting":
            old = self._to_replace.pop(0)
            self._workers[self._workers.index(old)] = new
            self._adopt(new)
            self._metrics.worker_restarted("spent" if old.state == "spent" else "hup")
            self._retire(old)

    def _adopt(self, new: Worker) -> None:
        """Have a replacement be a worker like the others, to be replaced itself if HUP came meanwhile."""
        self._replacement = None
        if self._is_replacement_old:
            self._is_replacement_old = False
            self._to_replace.append(new)

    def _begin_to_replace(self) -> None:
        if self._to_replace:
            if self._backoff.is_over(time.monotonic()):
                self._replacement = self._try_to_start()
        elif self._is_restarting:
            what = "were replaced" if self.config.preloads else "have loaded the app anew"
            logger.info("restarted: all workers %s", what)
            self._end_restart()

    def _give_up_replacing(self, new: Worker) -> None:
        self._replacement = None
        what = f"new worker [{new.pid}] {self._end(new)}"
        if self._is_replacement_old:  # what it has failed of may be mended
            self._is_replacement_old = False
            self._wait_after(new.started_at, f"{what}; starting another for the last HUP")
            return
        self._to_replace.clear()
        self._wait_after(new.started_at, f"{what}; going on with the old ones")
        self._end_restart()

    def _end_restart(self) -> None:
        if self._is_restarting:
            self._is_restarting = False
            self._notifier.tell(READY=1)

    def _start_missing(self) -> None:
        while len(self._workers) < self.processes_num and self._backoff.is_over(time.monotonic()):
            worker = self._try_to_start()
            if worker is not None:
                self._workers.append(worker)

    def _try_to_start(self) -> Worker | None:
        """Start a worker; put it off if the system has no process, file or memory for it just now."""
        began = time.monotonic()
        try:
            worker = Worker(self.config, self.sockets, [each.parent_conn for each in self._all()])
            worker.start()
        except OSError as error:
            self._wait_after(began, f"cannot start a worker: {error.strerror}; trying again")
            return None
        return worker

    def _retire_surplus(self) -> None:
        while len(self._workers) > self.processes_num:
            worker = (self._to_replace or self._workers)[-1]
            self._workers.remove(worker)
            self._retire(worker)

    def _tell_readiness(self) -> None:
        if self._is_ready or len(self._workers) < self.processes_num:
            return
        if all(worker.state != "starting" for worker in self._workers):
            self._is_ready = True
            self._notifier.tell(READY=1)

    # Workers that are told to stop

    def _retire(self, worker: Worker) -> None:
        worker.retire()
        self._expect_end(worker, 0)

    def _expect_end(self, worker: Worker, delay: float) -> None:
        patience = self.config.settings.graceful_timeout
        most = math.inf if patience is None else delay + patience + _LIFESPAN
        self._leaving.setdefault(worker, time.monotonic() + most)

    def _see_off(self) -> None:
        """Forget those that have ended; kill those that should have."""
        for worker, deadline in list(self._leaving.items()):
            is_late = time.monotonic() > deadline
            if is_late and not worker.has_ended:
                logger.error("worker [%d] has not stopped in time; killing it", worker.pid)
            if is_late or worker.has_ended:
                self._end(worker)
                del self._leaving[worker]

    def _end(self, worker: Worker) -> str:
        """Make sure that a worker has ended; say what became of it."""
        what = worker.bury()
        if worker.pid is not None:
            self._metrics.worker_gone(worker.pid)
        return what

    def _all(self) -> list[Worker]:
        replacement = [] if self._replacement is None else [self._replacement]
        return [*self._workers, *replacement, *self._leaving]


class Reloader(ChangeReload):  # type: ignore[misc,valid-type]  # one of two classes, by what is installed
    """Keeps a process serving, and replaces it when a file changes. Signals wait until it has done so.

    Args:
        config: what it serves, and how.
        sockets: where it listens.
        metrics: where it is counted that processes come and go.
    """

    config: "ServeConfig"

    def __init__(
        self, config: "ServeConfig", sockets: list[socket.socket], metrics: "MetricsEndpoint"
    ) -> None:
        super().__init__(config, Server(config).run, sockets)
        self._metrics = metrics

    def startup(self) -> None:
        """Start it."""
        with _ctrl_c_held_back():
            super().startup()

    def restart(self) -> None:
        """Replace it."""
        old = self.process.pid
        self._see_off()
        with _ctrl_c_held_back():
            super().restart()
        if old is not None:
            self._metrics.worker_gone(old)
        self._metrics.worker_restarted("reload")

    def shutdown(self) -> None:
        """End it."""
        self._see_off()
        super().shutdown()

    def _see_off(self) -> None:
        """Have it end; kill it if it does not, as uvicorn would wait for ever."""
        self.process.terminate()
        patience = self.config.settings.graceful_timeout
        self.process.join(
            None if patience is None else self.config.settings.drain_delay + patience + _LIFESPAN
        )
        if self.process.is_alive():
            logger.error("process [%d] has not stopped in time; killing it", self.process.pid)
            self.process.kill()

"""The port that serves the figures, and what a supervisor of workers adds to them.

With one process, prometheus-client's own registry is served: the app's figures are in it, too. Several
processes keep theirs in files, which are added up for each answer (prometheus-client, "Multiprocess Mode");
the parent serves them. The folder for the files is made here, unless PROMETHEUS_MULTIPROC_DIR names one: then
it is the operator's, who empties it before each start.
"""

import contextlib
import logging
import os
import shutil
import signal
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bridge.errors import BridgeError
from bridge.server.sockets import address_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

__all__ = ["MetricsEndpoint", "metrics_endpoint"]

logger = logging.getLogger("bridge")

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# What processes that have ended leave to those that go on; of the gauges, theirs are of no use any more.
_LASTING = ("counter", "histogram", "summary")


class MetricsEndpoint:
    """Where the figures are served, and whom a supervisor tells of its workers.

    Without metrics, it is nowhere, and what it is told has no effect.

    Args:
        folder: where processes keep their figures; None if there is but one.
        owns_folder: whether nobody else keeps figures there.
    """

    def __init__(self, folder: Path | None = None, *, owns_folder: bool = False) -> None:
        self.url: str | None = None
        self._folder = folder
        self._owns_folder = owns_folder
        self._restarts: Counter[str] = Counter()
        self._lock = threading.Lock()  # an answer is made in another thread than that of the supervisor

    def worker_restarted(self, reason: str) -> None:
        """Count a worker that takes the place of another.

        Args:
            reason: why, in a word; one of few, as it becomes a label.
        """
        with self._lock:
            self._restarts[reason] += 1

    def worker_gone(self, pid: int) -> None:
        """Forget what a worker has had open; keep what it has counted. To be called when it has ended.

        Its counts go into one file for all that are gone, or there would be three more for each restart.
        """
        if self._folder is None:
            return
        from prometheus_client.multiprocess import mark_process_dead

        with self._lock:
            mark_process_dead(pid, str(self._folder))
            if self._owns_folder:  # others who read there would find the counts twice for a moment, or not
                for kind in _LASTING:
                    _add_to(self._folder / f"{kind}_gone.db", self._folder / f"{kind}_{pid}.db")

    def registry(self) -> "CollectorRegistry":
        """What is to be served."""
        from prometheus_client import REGISTRY, CollectorRegistry

        if self._folder is None:
            return REGISTRY
        registry = CollectorRegistry()
        registry.register(cast(Any, self))  # it has what a Collector has to have
        return registry

    def collect(self) -> "Iterable[Metric]":
        """The figures of all processes: see prometheus-client's `Collector`."""
        from prometheus_client.metrics_core import CounterMetricFamily
        from prometheus_client.multiprocess import MultiProcessCollector

        restarts = CounterMetricFamily(
            "bridge_worker_restarts", "Workers that have taken the place of others.", labels=["reason"]
        )
        with self._lock:
            figures = list(MultiProcessCollector(None, str(self._folder)).collect())
            for reason, count in self._restarts.items():
                restarts.add_metric([reason], count)
        return [*figures, restarts]


@contextlib.contextmanager
def metrics_endpoint(host: str, port: int | None, *, has_workers: bool) -> Iterator[MetricsEndpoint]:
    """Serve figures for the time of a block, in a thread. Workers are to be started within it.

    Args:
        host: the address to listen on.
        port: the port; 0 for any free one, None for no metrics at all.
        has_workers: whether other processes than this one will serve requests.

    Raises:
        BridgeError: prometheus-client is not installed, or the port is taken, or PROMETHEUS_MULTIPROC_DIR
            names what is no folder.
    """
    if port is None:
        yield MetricsEndpoint()
        return
    with _shared_folder(has_workers) as endpoint, _listening(host, port, endpoint):
        yield endpoint


@contextlib.contextmanager
def _shared_folder(has_workers: bool) -> Iterator[MetricsEndpoint]:
    """An endpoint for one process; or one for several, with the variable set by which they know of it."""
    given = os.environ.get(_DIRECTORY)
    if given is not None:
        if not os.path.isdir(given):
            raise BridgeError(
                f"{_DIRECTORY} names {given!r}, which is no folder; make it, or unset the variable"
            )
        yield MetricsEndpoint(Path(given))
    elif not has_workers:
        yield MetricsEndpoint()
    else:
        made = tempfile.mkdtemp(prefix="bridge-metrics-")  # forked workers would remove a TemporaryDirectory
        os.environ[_DIRECTORY] = made
        try:
            yield MetricsEndpoint(Path(made), owns_folder=True)
        finally:
            del os.environ[_DIRECTORY]
            shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _listening(host: str, port: int, endpoint: MetricsEndpoint) -> Iterator[None]:
    try:
        from prometheus_client import start_http_server  # looks for the variable as it is imported
    except ModuleNotFoundError:
        raise BridgeError(
            "--metrics-port needs the package prometheus-client, which is not installed: "
            "pip install 'bridge[metrics]'"
        ) from None
    # Signals are for the main thread, which may hold them back, and not for this one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        server, thread = start_http_server(port, host, endpoint.registry())
    except OSError as error:
        raise BridgeError(
            f"cannot serve metrics on port {port} of {host}: {error.strerror}; give another with "
            "--metrics-port or --metrics-host"
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    endpoint.url = f"{address_of(server.socket, tls=False)}/metrics"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _add_to(target: Path, source: Path) -> None:
    """Add a file's values to those of another, and remove it."""
    from prometheus_client.mmap_dict import MmapedDict

    if not source.exists():
        return
    try:
        counted = list(MmapedDict.read_all_values_from_file(str(source)))
    except (struct.error, RuntimeError, UnicodeDecodeError) as error:
        # Its process was killed as it made it. No answer could be given as long as it is there.
        logger.warning("a worker has left figures that cannot be read: %s: %s", source, error)
        counted = []
    values = MmapedDict(str(target))
    try:
        for key, value, _, _ in counted:
            before, _ = values.read_value(key)
            values.write_value(key, before + value, 0.0)
    finally:
        values.close()
    source.unlink()

"""The port that serves the figures: those of Bridge, and those that the app keeps in prometheus-client.

One process serves its own. Several processes report theirs to files, and the parent adds them up for each
answer; prometheus-client adds up the app's ("Multiprocess Mode"). The folder of the files is made here.
PROMETHEUS_MULTIPROC_DIR may name another for the app's files: the operator empties that before each start.
"""

import contextlib
import logging
import os
import shutil
import signal
import struct
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bridge.errors import BridgeError
from bridge.server.hooks.metrics import FAMILIES, Family, Figures, lasting, read, summed
from bridge.server.processes.sockets import address_of

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MetricsEndpoint", "metrics_endpoint"]

logger = logging.getLogger("bridge")

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# The kinds of prometheus-client's files whose values outlive their process.
_LASTING = ("counter", "histogram", "summary")


_SampleKey: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class MetricsEndpoint:
    """Adds up figures for each answer, and counts the workers that a supervisor replaces.

    Without metrics, all that it is told has no effect.

    Args:
        folder: the folder of the processes' reports; None if this process alone serves requests.
        app_folder: the folder of prometheus-client's files; None if it keeps the app's figures in memory.
    """

    def __init__(self, folder: Path | None = None, app_folder: Path | None = None) -> None:
        self.url: str | None = None
        self.folder = folder
        self.own_figures: Callable[[], Figures] = dict
        """Returns the figures of this process."""
        self._app_folder = app_folder
        self._gone: Figures = {}  # of processes that have ended
        self._app_gone: list[Metric] = []
        self._restarts: Counter[str] = Counter()
        self._lock = threading.Lock()  # an answer is made in another thread than the supervisor's

    def worker_restarted(self, reason: str) -> None:
        """Count a worker that replaces another.

        Args:
            reason: why, in a word; one of few, as it becomes a label.
        """
        with self._lock:
            self._restarts[reason] += 1

    def worker_gone(self, pid: int) -> None:
        """Keep a worker's counts, and forget its gauges. Call this when it has ended.

        Its files go, or there would be more of them for each restart.
        """
        if self.folder is None:
            return
        from prometheus_client.multiprocess import mark_process_dead

        with self._lock:
            file = self.folder / f"{pid}.json"
            self._gone = summed([self._gone, lasting(read(file))])
            file.unlink(missing_ok=True)
            mark_process_dead(pid, str(self._app_folder))
            if self._app_folder == self.folder:  # others who read an operator's folder need the files
                for kind in _LASTING:
                    self._take_over(self.folder / f"{kind}_{pid}.db")

    def _take_over(self, file: Path) -> None:
        """Keep the counts of one of the app's files, and remove it."""
        from prometheus_client.multiprocess import MultiProcessCollector

        if not file.exists():
            return
        try:
            self._app_gone = _added_up([*self._app_gone, *MultiProcessCollector.merge([str(file)])])
        except (struct.error, RuntimeError, ValueError) as error:
            # Its process was killed while writing it. As long as the file exists, no answer is possible.
            logger.warning("a worker has left figures that cannot be read: %s: %s", file, error)
        file.unlink()

    def collect(self) -> "Iterable[Metric]":
        """Return the figures of all processes: see prometheus-client's `Collector`."""
        from prometheus_client import REGISTRY
        from prometheus_client.multiprocess import MultiProcessCollector

        with self._lock:
            restarts: Figures = {
                "bridge_worker_restarts": {(reason,): [count] for reason, count in self._restarts.items()}
            }
            reported = [] if self.folder is None else map(read, self.folder.glob("*.json"))
            figures = summed([self._gone, *reported, self.own_figures(), restarts])
            if self._app_folder is None:
                of_app: Iterable[Metric] = REGISTRY.collect()
            else:
                alive = MultiProcessCollector(None, str(self._app_folder)).collect()
                of_app = _added_up([*self._app_gone, *alive])
            return [*of_app, *(_exposed(name, family, figures[name]) for name, family in FAMILIES.items())]


def _exposed(name: str, family: Family, values: dict[tuple[str, ...], list[float]]) -> "Metric":
    """Return figures in prometheus-client's form."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.about, labels=family.labels)
        for labels, (*counts, total) in values.items():
            bounds = [*map(str, family.buckets), "+Inf"]
            up_to = [sum(counts[: number + 1]) for number in range(len(counts))]
            histogram.add_metric(labels, list(zip(bounds, up_to, strict=True)), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, family.about, labels=family.labels)
    for labels, (value,) in values.items():
        metric.add_metric(labels, value)
    return metric


def _added_up(metrics: "Iterable[Metric]") -> "list[Metric]":
    """Return a metric for each name, with the sums of the values that have the same labels."""
    from prometheus_client import Metric

    found: dict[str, Metric] = {}
    sums: dict[str, defaultdict[_SampleKey, float]] = {}
    for metric in metrics:
        found[metric.name] = Metric(metric.name, metric.documentation, metric.type)
        values = sums.setdefault(metric.name, defaultdict(float))
        for sample in metric.samples:
            values[sample.name, tuple(sample.labels.items())] += sample.value
    for name, total in found.items():
        for (sample_name, labels), value in sums[name].items():
            total.add_sample(sample_name, dict(labels), value)
    return list(found.values())


@contextlib.contextmanager
def metrics_endpoint(host: str, port: int | None, *, has_workers: bool) -> Iterator[MetricsEndpoint]:
    """Serve figures for the time of a block, in a thread. Start workers within it.

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
    given = os.environ.get(_DIRECTORY)
    if given is not None and not os.path.isdir(given):
        raise BridgeError(f"{_DIRECTORY} names {given!r}, which is no folder; make it, or unset the variable")
    with contextlib.ExitStack() as stack:
        made = None
        if has_workers:
            # Not a TemporaryDirectory, which forked workers would remove.
            made = tempfile.mkdtemp(prefix="bridge-metrics-")
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            if given is None:
                os.environ[_DIRECTORY] = made
                stack.callback(os.environ.pop, _DIRECTORY)
        app_folder = given or made
        endpoint = MetricsEndpoint(
            None if made is None else Path(made), None if app_folder is None else Path(app_folder)
        )
        try:
            # Only now, as prometheus-client looks for the variable when it is imported; and all of it, as a
            # fork while another thread imports would leave that import locked in the child.
            import prometheus_client.core
            import prometheus_client.multiprocess
        except ModuleNotFoundError:
            raise BridgeError(
                "--metrics-port needs the package prometheus-client, which is not installed: "
                "pip install prometheus-client"
            ) from None
        registry = prometheus_client.CollectorRegistry()
        registry.register(endpoint)
        # Signals are for the main thread, which may hold them back, and not for this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            server, thread = prometheus_client.start_http_server(port, host, registry)
        except OSError as error:
            raise BridgeError(
                f"cannot serve metrics on port {port} of {host}: {error.strerror}; give another with "
                "--metrics-port or --metrics-host"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for end in (thread.join, server.server_close, server.shutdown):  # the last one is called first
            stack.callback(end)
        endpoint.url = f"{address_of(server.socket, tls=False)}/metrics"
        yield endpoint

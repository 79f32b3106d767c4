"""What is measured, and on whom. A new workload is one entry in `WORKLOADS`."""

from dataclasses import dataclass, field

from benchmarks.apps.sizes import KIB, MIB
from benchmarks.crowd import Events, SlowReaders
from benchmarks.loads import CrowdAlone, CrowdBeside, Load, Requests
from benchmarks.rivals import IN_PROCESS, ON_EVENT_LOOP, RIVALS, Kind
from benchmarks.wrk import WrkLoad

__all__ = ["QUICK_RIVALS", "QUICK_WORKLOADS", "WORKLOADS", "Workload"]


@dataclass(frozen=True)
class Workload:
    """A load on an app, and who gets it.

    Args:
        title: for people.
        kind: what the view does with its time; the rivals of that kind take part.
        load: what is put on the server.
        app: its name in `benchmarks.apps.APPS`.
        answer_size: bytes of a right answer, checked before measuring; None: not looked at.
        also: further rivals, the limits among them.
        skipped: rivals that are left out, and why.
        unit: what is counted.
    """

    title: str
    kind: Kind
    load: Load
    app: str = "flask"
    answer_size: int | None = None
    also: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    unit: str = "requests"

    def rivals(self) -> list[str]:
        """The names of those that take part, in the order of the table."""
        return [
            name
            for name, rival in RIVALS.items()
            if name not in self.skipped and (self.kind in rival.kinds or name in self.also)
        ]


_HELLO_SIZE = 13
_LIMITS = ("bare-asgi", IN_PROCESS)
# What happens to a large body depends on the loop.
_LOOPS = ("bridge-asyncio", "a2wsgi-asyncio")

_ONE_THREAD_EACH = {
    name: "every open stream takes a thread of it, also from an async view"
    for name, rival in RIVALS.items()
    if rival.holds_threads and "async" in rival.kinds
}
_ALL_WAIT = dict.fromkeys(
    ON_EVENT_LOOP, "its event loop waits for the next event of one stream, and all others with it"
)


def _requests(path: str, connections: int = 64) -> Requests:
    return Requests(WrkLoad(path, connections))


WORKLOADS: dict[str, Workload] = {
    "hello": Workload(
        "Flask hello, 64 connections",
        "working",
        _requests("/"),
        answer_size=_HELLO_SIZE,
        also=("inline", *_LIMITS),
    ),
    "json": Workload("Flask JSON, 64 connections", "working", _requests("/json"), also=(IN_PROCESS,)),
    "page": Workload(
        "Flask page from Jinja2, 64 connections", "working", _requests("/page"), also=(IN_PROCESS,)
    ),
    "query": Workload(
        "SQLite query through SQLAlchemy, 64 connections", "working", _requests("/query"), also=(IN_PROCESS,)
    ),
    "bare": Workload(
        "bare WSGI callable, 64 connections",
        "working",
        _requests("/"),
        app="bare",
        answer_size=_HELLO_SIZE,
        also=("inline", *_LIMITS),
    ),
    "stream": Workload(
        "100 × 1 KiB streamed, 16 connections",
        "working",
        _requests("/stream", 16),
        answer_size=100 * KIB,
        also=_LIMITS,
    ),
    "body": Workload(
        "10 MiB body, the same each time, 4 connections",
        "working",
        _requests("/whole/static", 4),
        answer_size=10 * MIB,
        also=(*_LOOPS, *_LIMITS),
    ),
    "fresh-body": Workload(
        "10 MiB body, made for each request, 4 connections",
        "working",
        _requests("/whole/fresh", 4),
        answer_size=10 * MIB,
        also=(*_LOOPS, IN_PROCESS),
    ),
    "file": Workload(
        "10 MiB file by send_file, 4 connections",
        "working",
        _requests("/file", 4),
        answer_size=10 * MIB,
        also=(IN_PROCESS,),
    ),
    "upload": Workload(
        "1 MiB upload, 8 connections",
        "working",
        Requests(WrkLoad("/upload", 8, method="POST", body_size=MIB)),
        also=_LIMITS,
    ),
    "blocking": Workload(
        "blocking view of 50 ms, 64 connections", "waiting", _requests("/sleep"), answer_size=_HELLO_SIZE
    ),
    "async-hello": Workload(
        "async view without a wait, 64 connections",
        "async",
        _requests("/"),
        app="async_flask",
        answer_size=_HELLO_SIZE,
        also=_LIMITS,
    ),
    "async": Workload(
        "async view of 50 ms, 64 connections",
        "async",
        _requests("/sleep"),
        app="async_flask",
        answer_size=_HELLO_SIZE,
        also=("bare-asgi",),
    ),
    "async-1000": Workload(
        "async view of 50 ms, 1,000 connections",
        "async",
        _requests("/sleep", 1_000),
        app="async_flask",
        answer_size=_HELLO_SIZE,
        also=("bare-asgi",),
    ),
    "slow-clients": Workload(
        "short requests on 16 connections beside 200 clients that read 1 KiB/s",
        "waiting",
        CrowdBeside(WrkLoad("/", 16), SlowReaders(f"/download/{4 * MIB}", 200, bytes_per_second=KIB)),
        answer_size=_HELLO_SIZE,
    ),
    "events": Workload(
        "short requests on 16 connections beside 30 event streams",
        "waiting",
        CrowdBeside(WrkLoad("/", 16), Events("/events?interval=0.1", 30, interval=0.1)),
        answer_size=_HELLO_SIZE,
    ),
    "events-10000": Workload(
        "10,000 event streams from an async view, one event a second each",
        "async",
        CrowdAlone(Events("/events?interval=1", 10_000, interval=1.0)),
        app="async_flask",
        also=("bare-asgi",),
        skipped=_ONE_THREAD_EACH | _ALL_WAIT,
        unit="events",
    ),
}

QUICK_WORKLOADS = ("hello", "stream", "upload", "async")
QUICK_RIVALS = ("bridge-serve", "a2wsgi", "gunicorn", "granian", "quart")

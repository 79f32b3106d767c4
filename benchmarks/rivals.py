"""Who is measured: Bridge, what a user would pick instead, and limits that nobody passes.

A new rival is one entry in `RIVALS`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.apps import THREADS, import_string
from benchmarks.results import REFERENCE

__all__ = [
    "EVENT_LOOP_MARK",
    "HOST",
    "IN_PROCESS",
    "LIMITS",
    "ON_EVENT_LOOP",
    "RIVALS",
    "Kind",
    "Rival",
    "footnotes",
]

HOST = "127.0.0.1"

Kind: TypeAlias = Literal["working", "waiting", "async"]
"""What views do with their time: use the processor, wait in a thread, or wait in a coroutine."""

_EVERYTHING: tuple[Kind, ...] = ("working", "waiting", "async")


@dataclass(frozen=True)
class Rival:
    """A server with its best documented settings, one worker process, no access log.

    Args:
        title: for people. `EVENT_LOOP_MARK` at its end is explained below every table and chart.
        options: the command line after `python -m`, split at spaces. `{app}` stands for the name of an app,
            `{wsgi}` for the `module:attribute` it is imported from, `{host}` and `{port}` for the address.
        kinds: the workloads it takes part in; others have to name it.
        version: the package whose version matters.
        holds_threads: whether an event stream takes a thread of it for as long as it is open.
    """

    title: str
    options: str
    kinds: tuple[Kind, ...] = _EVERYTHING
    version: str = "bridge"
    holds_threads: bool = True

    def command(self, app: str, port: int | str) -> list[str]:
        """The command line after `python -m`."""
        values = {"app": app, "wsgi": import_string(app), "host": HOST, "port": port}
        return [option.format(**values) for option in self.options.split()]


EVENT_LOOP_MARK = "†"
_EVENT_LOOP_NOTE = f"{EVENT_LOOP_MARK} runs the app on its event loop: one blocking view stops all"

ON_EVENT_LOOP = ("fastpysgi", "bjoern")
"""Those that call the app in the one thread that serves every connection."""

_SERVE = "--host {host} --port {port} --no-access-log --log-level warning --workers 1"
_UVICORN = f"{_SERVE} --http httptools"
_GRANIAN = (
    "granian {wsgi} --host {host} --port {port} --interface wsgi --workers 1 --no-access-log "
    "--log-level warning"
)

RIVALS: dict[str, Rival] = {
    REFERENCE: Rival(
        "bridge serve",
        f"bridge serve {{wsgi}} {_SERVE} --loop uvloop --threads {THREADS}",
        holds_threads=False,
    ),
    "bridge": Rival(
        "Bridge in uvicorn",
        f"uvicorn benchmarks.apps.on_bridge:{{app}} {_UVICORN} --loop uvloop",
        holds_threads=False,
    ),
    "a2wsgi": Rival(
        "a2wsgi in uvicorn",
        f"uvicorn benchmarks.apps.on_a2wsgi:{{app}} {_UVICORN} --loop uvloop",
        version="a2wsgi",
    ),
    # Calls one at a time, in one thread: it has no setting for that.
    "asgiref": Rival(
        "asgiref in uvicorn",
        f"uvicorn benchmarks.apps.on_asgiref:{{app}} {_UVICORN} --loop uvloop",
        version="asgiref",
    ),
    # Ten threads, without a setting.
    "uvicorn-wsgi": Rival(
        "uvicorn's WSGI",
        f"uvicorn {{wsgi}} --interface wsgi {_UVICORN} --loop uvloop",
        version="uvicorn",
    ),
    # The parser in C is the one its documentation calls faster; the heartbeat in memory is what it advises.
    # Its default of 1,000 connections would refuse some of the workload with a thousand.
    "gunicorn": Rival(
        "gunicorn gthread",
        "gunicorn {wsgi} --bind {host}:{port} --workers 1 --worker-class gthread "
        f"--threads {THREADS} --worker-connections 10000 --http-parser fast --worker-tmp-dir /dev/shm "
        "--no-control-socket --log-level warning",
        version="gunicorn",
    ),
    # Its defaults refuse more than 100 connections, and select() fails from a thousand on.
    "waitress": Rival(
        "waitress",
        "waitress --host={host} "
        f"--port={{port}} --threads={THREADS} "
        "--connection-limit=10000 --asyncore-use-poll {wsgi}",
        version="waitress",
    ),
    "granian-1": Rival(
        "granian, 1 thread", f"{_GRANIAN} --blocking-threads 1", kinds=("working",), version="granian"
    ),
    "granian": Rival(
        f"granian, {THREADS} threads", f"{_GRANIAN} --blocking-threads {THREADS}", version="granian"
    ),
    # As many threads as asyncio's own pool has, without a setting.
    "hypercorn": Rival(
        "hypercorn",
        "hypercorn wsgi:{wsgi} --bind {host}:{port} --workers 1 --worker-class uvloop --log-level WARNING",
        version="hypercorn",
    ),
    "cheroot": Rival(
        "cheroot",
        f"cheroot {{wsgi}} --bind {{host}}:{{port}} --threads {THREADS} --max-threads {THREADS}",
        version="cheroot",
    ),
    # One thread, and no access log. Their documentation advises no setting.
    **{
        name: Rival(
            f"{name} {EVENT_LOOP_MARK}",
            f"benchmarks.run_wsgi {name} {{wsgi}} {{host}} {{port}}",
            version=name,
            holds_threads=False,
        )
        for name in ON_EVENT_LOOP
    },
    "quart": Rival(
        "Quart in uvicorn",
        f"uvicorn benchmarks.apps.quart_app:app {_UVICORN} --loop uvloop",
        kinds=("async",),
        version="quart",
        holds_threads=False,
    ),
    "starlette": Rival(
        "Starlette in uvicorn",
        f"uvicorn benchmarks.apps.starlette_app:app {_UVICORN} --loop uvloop",
        kinds=(),
        version="starlette",
        holds_threads=False,
    ),
    # asyncio's transport copies what a socket does not take at once, uvloop's does not: it tells with large
    # bodies, and only there.
    "bridge-asyncio": Rival(
        "Bridge in uvicorn, asyncio",
        f"uvicorn benchmarks.apps.on_bridge:{{app}} {_UVICORN} --loop asyncio",
        kinds=(),
    ),
    "a2wsgi-asyncio": Rival(
        "a2wsgi in uvicorn, asyncio",
        f"uvicorn benchmarks.apps.on_a2wsgi:{{app}} {_UVICORN} --loop asyncio",
        kinds=(),
        version="a2wsgi",
    ),
    "inline": Rival(
        "on uvicorn's event loop itself",
        f"uvicorn benchmarks.apps.inline:{{app}} {_UVICORN} --loop uvloop",
        kinds=(),
    ),
    "bare-asgi": Rival(
        "ASGI app without Flask",
        f"uvicorn benchmarks.apps.bare_asgi:app {_UVICORN} --loop uvloop",
        kinds=(),
        version="uvicorn",
        holds_threads=False,
    ),
    "in-process": Rival(
        "called in process, no server", "benchmarks.in_process {app}", kinds=(), version="flask"
    ),
}
"""Name → how it is run. Those without kinds take part where a workload names them."""

IN_PROCESS = "in-process"

LIMITS = ("inline", "bare-asgi", IN_PROCESS)
"""What no server with threads can be expected to reach, or be used as: shown, and not ranked."""


def footnotes(titles: Iterable[str]) -> list[str]:
    """What the marks at the end of titles say: a line for each mark that there is."""
    return [_EVENT_LOOP_NOTE] if any(title.endswith(EVENT_LOOP_MARK) for title in titles) else []

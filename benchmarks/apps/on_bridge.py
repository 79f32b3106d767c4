"""Each app on Bridge, as an embedder has it: `benchmarks.apps.on_bridge:flask`."""

from benchmarks.apps import THREADS, load
from bridge import WSGIToASGI

__all__: list[str] = []


def __getattr__(name: str) -> WSGIToASGI:
    return WSGIToASGI(load(name), threads=THREADS)

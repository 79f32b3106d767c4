"""Each app on a2wsgi: `benchmarks.apps.on_a2wsgi:flask`."""

from a2wsgi import WSGIMiddleware

from benchmarks.apps import THREADS, load

__all__: list[str] = []


def __getattr__(name: str) -> WSGIMiddleware:
    return WSGIMiddleware(load(name), workers=THREADS)  # type: ignore[arg-type]  # it has WSGI types of its own

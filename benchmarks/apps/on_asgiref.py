"""Each app on asgiref's adapter: `benchmarks.apps.on_asgiref:flask`. It has no setting for threads."""

from asgiref.wsgi import WsgiToAsgi

from benchmarks.apps import load

__all__: list[str] = []


def __getattr__(name: str) -> WsgiToAsgi:
    return WsgiToAsgi(load(name))  # type: ignore[no-untyped-call]  # asgiref has no types there

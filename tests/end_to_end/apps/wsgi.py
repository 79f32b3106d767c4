"""`bridge.wsgi` as a factory, for servers that call a function without arguments."""

import bridge
from bridge.types import WSGIApplication


def make() -> WSGIApplication:
    return bridge.wsgi("tests.end_to_end.apps.starlette_app:app")

"""Mounted apps on Bridge's own HTTP: a WSGI app is served as if it were alone, without ASGI in between."""

from collections.abc import Mapping
from typing import Any

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.mounts import Mounts
from bridge.http.connection import Connection
from bridge.http.exchange import Exchange
from bridge.http.server import Serve, serve_asgi
from bridge.http.serving import Serving
from bridge.http.wsgi import WSGIServe
from bridge.server.request_scope import RequestScope

__all__ = ["serve_mounted"]


def serve_mounted(mounts: Mounts, adapters: Mapping[str, WSGIToASGI], state: dict[str, Any]) -> Serve:
    """Have each request served by the app whose prefix it has.

    Args:
        mounts: all apps; serves what no adapter does.
        adapters: of the WSGI apps, by their prefixes.
        state: the lifespan state of `mounts`.
    """
    serves = {
        prefix: WSGIServe(adapter, RequestScope, mounts.state_of(prefix, state), prefix)
        for prefix, adapter in adapters.items()
    }
    serve_other = serve_asgi(mounts, state)

    def serve(connection: Connection, exchange: Exchange) -> Serving:
        request = exchange.request
        root = request.root_path.rstrip("/")
        prefix = mounts.prefix_of(request.decoded_path[len(root) :])
        if prefix is None or prefix not in serves:
            return serve_other(connection, exchange)
        request.root_path = root + prefix
        return serves[prefix](connection, exchange)

    return serve

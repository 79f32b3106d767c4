"""Choose who serves the websocket of a handshake on our own connection."""

import asyncio
from copy import copy
from typing import Any

from bridge.asgi.adapter import WSGIToASGI
from bridge.http.connection import Connection
from bridge.http.exchange import Exchange, Hooks
from bridge.http.request import Request
from bridge.http.server import ServerState
from bridge.http.serving import Serving
from bridge.http.websocket_handshake import read_handshake
from bridge.http.wsgi import make_environ
from bridge.server.hooks.forwarded import Forwarded
from bridge.server.request_scope import RequestScope
from bridge.server.websockets.answers import WebSocketAnswers
from bridge.server.websockets.library import LibraryWebSocket
from bridge.websockets.host import WEBSOCKET

__all__ = ["WebSocketUpgrades"]


class WebSocketUpgrades:
    """Decides who serves a websocket: an app that may have a library for it, or uvicorn's class.

    Args:
        hooks: the hooks that learn of the answers.
        forwarded: applies the headers of proxies.
        adapter: that of the WSGI app whose libraries get connections; None if there is none.
        config: uvicorn's, with its class for websockets.
        server_state: uvicorn's.
        app_state: the lifespan state.
    """

    def __init__(
        self,
        hooks: Hooks,
        forwarded: Forwarded,
        adapter: WSGIToASGI | None,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        self._hooks = hooks
        self._forwarded = forwarded
        self._adapter = adapter
        self._config = config
        self._server_state = server_state
        self._app_state = app_state

    def __call__(self, connection: Connection, request: Request) -> Serving | None:
        """Return what serves a websocket by a thread; None if the connection is given away."""
        serving = None
        if self._adapter is not None and connection.plain_socket is not None:  # a library cannot use TLS's
            serving = self._for_library(self._adapter, connection, request)
        if serving is None:
            self._give_away(connection, request)
        return serving

    def _for_library(
        self, adapter: WSGIToASGI, connection: Connection, request: Request
    ) -> LibraryWebSocket | None:
        """Return what serves the websocket by a thread; None if the app serves it on the event loop."""
        seen = copy(request)  # a proxy's headers apply once
        self._forwarded.apply(seen)
        # A library's compression would evade the limit for messages.
        seen.headers = [field for field in seen.headers if field[0] != b"sec-websocket-extensions"]
        state = self._app_state.copy()
        environ = make_environ(seen, state)
        environ["asgi.scope"] = RequestScope(seen, state)
        engine = adapter.websocket_engine_of_running_loop(self._app_state)
        if adapter.request_on_loop({**environ, WEBSOCKET: None}) is not None:
            return None
        exchange = Exchange(seen, connection.server.new_context())
        return LibraryWebSocket(connection, exchange, adapter.app, environ, engine, self._config)

    def _give_away(self, connection: Connection, request: Request) -> None:
        """Hand the connection to uvicorn's class."""
        early = connection.give_away()
        transport = connection.transport
        kind = self._config.ws_protocol_class
        websocket = kind(self._config, self._server_state, self._app_state)
        websocket.connection_made(transport)
        transport.set_protocol(websocket)
        if connection.outlet.is_behind:  # by an earlier answer; the transport has paused only `connection`
            websocket.pause_writing()
        if isinstance(websocket, WebSocketAnswers):
            self._forwarded.apply(request)
            handshake = read_handshake(request.headers)
            websocket.hooks = self._hooks
            websocket.take_handshake(
                handshake,
                {
                    "scheme": "wss" if request.scheme == "https" else "ws",
                    "client": request.client,
                    "headers": request.headers,
                    "path": request.decoded_path,
                    "raw_path": request.path,
                    "root_path": request.root_path,
                    "query_string": request.query,
                    "subprotocols": [name.decode("ascii") for name in handshake.subprotocols],
                },
                early,
            )
        else:
            protocol: asyncio.Protocol = websocket  # reads the handshake itself, as it came
            fields = [b"%b: %b\r\n" % field for field in request.headers]
            target = request.target.encode("ascii")
            protocol.data_received(b"".join([b"GET ", target, b" HTTP/1.1\r\n", *fields, b"\r\n"]))
            if early and not transport.is_closing():
                protocol.data_received(early)

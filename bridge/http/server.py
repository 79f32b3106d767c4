"""What the connections of one server share."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, NamedTuple, Protocol

from bridge.http.asgi_serving import ASGIServing
from bridge.http.connection import Connection
from bridge.http.exchange import Exchange, Hooks
from bridge.http.http1 import DefaultFields
from bridge.http.limits import Limits
from bridge.http.lingering import Lingering
from bridge.http.request import Request
from bridge.http.serving import Serving
from bridge.http.tls import certificate_in

__all__ = ["HTTPServer", "Serve", "ServeWebSocket", "ServerState", "Settings", "serve_asgi"]


class ServerState(Protocol):
    """Shared by the connections and the server behind them; uvicorn's `ServerState` is one."""

    total_requests: int
    connections: set[Any]
    tasks: set[Any]
    default_headers: list[tuple[bytes, bytes]]


class Serve(Protocol):
    """Makes what serves a request."""

    def __call__(self, connection: Connection, exchange: Exchange, /) -> Serving:
        """Return what will serve the request; nothing is begun before its `start`."""


ServeWebSocket = Callable[[Connection, Request], Serving | None]
"""Has a handshake served as a request; or has the connection given away, and returns None."""


class Settings(NamedTuple):
    """What uvicorn's config says of connections.

    Args:
        keep_alive: seconds that a connection may be idle.
        root_path: the path that the app as a whole is below.
        limit_concurrency: how many requests may be served at once; None for any number.
        serves_websockets: whether there is something that serves websockets.
        certificate: the server's, PEM; None without TLS.
    """

    keep_alive: float
    root_path: str
    limit_concurrency: int | None
    serves_websockets: bool
    certificate: str | None


class HTTPServer:
    """The connections of one server; called as uvicorn calls its `http=` protocol, it makes one.

    Args:
        limits: what a request may be.
        hooks: what is told of each exchange.
        make_serve: called with the lifespan state when the first connection is made; returns what serves
            requests. By default uvicorn's app, by ASGI.
        make_serve_websocket: called with uvicorn's config and states, too; returns what serves websockets.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        hooks: Hooks | None = None,
        make_serve: Callable[[dict[str, Any]], Serve] | None = None,
        make_serve_websocket: Callable[[Any, Any, dict[str, Any]], ServeWebSocket] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.hooks = hooks or Hooks()
        self.is_stopping = False
        self.lingering: set[Lingering] = set()
        self._make_serve = make_serve
        self._make_serve_websocket = make_serve_websocket
        self._config: object = None
        # As the server has made them last, and as they are sent.
        self._defaults: tuple[list[tuple[bytes, bytes]] | None, DefaultFields] = None, DefaultFields()

    loop: asyncio.AbstractEventLoop
    state: ServerState
    serve: Serve
    serve_websocket: ServeWebSocket
    settings: Settings
    _context: Context  # of a new request

    def __call__(
        self,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        """Make a connection."""
        if self._config is not config:
            self._set_up(config, server_state, app_state, _loop)
        return Connection(self)

    def _set_up(
        self,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._config = config
        self.state = server_state
        self.loop = loop or asyncio.get_running_loop()
        # uvicorn's option, which not all versions have.
        self._context = Context() if getattr(config, "reset_contextvars", True) else copy_context()
        self.is_stopping = False
        self.settings = Settings(
            config.timeout_keep_alive,
            config.root_path,
            config.limit_concurrency,
            config.ws_protocol_class is not None,
            certificate_in(config.ssl_certfile) if config.ssl_certfile else None,
        )
        if self._make_serve is None:
            self.serve = serve_asgi(config.loaded_app, app_state)
        else:
            self.serve = self._make_serve(app_state)
        if self._make_serve_websocket is not None:
            self.serve_websocket = self._make_serve_websocket(config, server_state, app_state)

    @property
    def connections(self) -> set[Any]:
        """Those that the server waits for when it stops."""
        return self.state.connections

    @property
    def tasks(self) -> set[Any]:
        """The requests that are being served; each can be cancelled, as a task."""
        return self.state.tasks

    @property
    def default_fields(self) -> DefaultFields:
        """The fields that each response has; the server makes them anew every second."""
        headers = self.state.default_headers
        if headers is not self._defaults[0]:
            self._defaults = headers, DefaultFields((name.lower(), value) for name, value in headers)
        return self._defaults[1]

    def new_context(self) -> Context:
        """The context variables of a new request: the server's, or none.

        Not those of the code that runs just now. It may be within the request before, whose end has the next
        one read.
        """
        return self._context.copy()

    def abort_lingering(self) -> None:
        """End the connections whose last answer has been sent, and whose clients have not closed them."""
        for connection in list(self.lingering):
            connection.abort()


def serve_asgi(app: Any, state: dict[str, Any]) -> Serve:
    """Have an ASGI app serve requests."""

    def serve(connection: Connection, exchange: Exchange) -> Serving:
        return ASGIServing(connection, exchange, app, state)

    return serve

"""A connection in memory, whose bytes come in parts of one's choice; an app that notes what it is asked."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from bridge import WSGIToASGI
from bridge.http.exchange import Hook, Hooks
from bridge.http.limits import Limits
from bridge.http.server import HTTPServer
from bridge.http.wsgi import WSGIServe
from bridge.server.hooks.forwarded import Forwarded
from bridge.server.request_scope import RequestScope
from bridge.server.websockets.upgrade import WebSocketUpgrades

__all__ = ["Asked", "Wire", "exchange", "http_server"]

# Turns of the loop after which nothing more is to come.
_QUIET = 5


class Wire(asyncio.Transport):
    """The server's end of the connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = b""
        self.reads = asyncio.Event()
        self.reads.set()
        self.is_closed = False
        self.has_ended = False
        self.protocol: Any = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True
        self.reads.set()

    def abort(self) -> None:
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert isinstance(self.protocol, asyncio.BaseProtocol)
        return self.protocol


class Asked:
    """An ASGI app: it writes down each request, when its body has come, and answers 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event["body"]
            more = event["more_body"]
        self.requests.append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


async def exchange(
    app: Any,
    parts: Iterable[bytes],
    *,
    limits: Limits | None = None,
    hooks: Iterable[Hook] = (),
    until: asyncio.Event | None = None,
) -> Wire:
    """Send the parts, one after the other, while the server reads; return the connection as it is then.

    Args:
        app: the ASGI app.
        parts: each of them is one read.
        limits: of the requests.
        hooks: told of each exchange.
        until: what is waited for before the client leaves.
    """
    config = uvicorn.Config(
        app,
        http=http_server(limits, app if isinstance(app, WSGIToASGI) else None, hooks),
        lifespan="off",
        log_config=None,
    )
    config.load()
    protocol: Any = config.http_protocol_class
    state = ServerState()
    state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
    wire = Wire()
    wire.protocol = protocol(config=config, server_state=state, app_state={})
    wire.protocol.connection_made(wire)
    async with asyncio.timeout(10):
        for part in parts:
            await wire.reads.wait()
            if wire.is_closed:
                break
            wire.protocol.data_received(part)
            await asyncio.sleep(0)
        if until is not None:
            await until.wait()
        else:
            await _all_served(state)
    wire.protocol.connection_lost(ConnectionResetError())
    await _all_served(state)
    return wire


async def _all_served(state: ServerState) -> None:
    """Wait until nothing is served, and nothing begins to be in a few turns of the loop."""
    turns = 0
    while turns < _QUIET:
        turns = 0 if state.tasks else turns + 1
        await asyncio.sleep(0.001 if state.tasks else 0)  # a thread may be at work


def http_server(
    limits: Limits | None = None, adapter: WSGIToASGI | None = None, hooks: Iterable[Hook] = ()
) -> Any:
    """What `uvicorn.Config` takes as `http`, with websockets.

    Args:
        limits: of the requests.
        adapter: has a WSGI app served, in the place of uvicorn's app; uvicorn tells it of the lifespan.
        hooks: told of each exchange.
    """
    all_hooks = Hooks(hooks)
    upgrades = partial(WebSocketUpgrades, all_hooks, Forwarded(None, clear=False), adapter)
    make_serve = None if adapter is None else partial(WSGIServe, adapter, RequestScope)
    return HTTPServer(limits, all_hooks, make_serve, upgrades)

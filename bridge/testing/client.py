"""The client: httpx's AsyncClient over `ASGITransport`, and websockets beside it."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn

import httpx

from bridge.asgi.adapter import WSGIToASGI
from bridge.interfaces import as_asgi3, detect_interface
from bridge.testing.transport import ASGITransport
from bridge.testing.websocket import ClientWebSocket
from bridge.types import ASGI3Application

__all__ = ["Client", "as_asgi", "handshake"]


class Client(httpx.AsyncClient):
    """An httpx.AsyncClient whose requests go to an app in memory; `async with` runs the app's lifespan.

    Args:
        app: a WSGI or an ASGI application, the latter of the old form, too. The former is wrapped in
            `WSGIToASGI`; wrap it yourself to set its threads or its lifespan.
        interface: "wsgi" or "asgi", if it cannot be told by looking at the app.
        base_url: what relative URLs are relative to.
        root_path: the ASGI `root_path`, where the app is mounted.
        raise_app_exceptions: raise what the app raises, in the test. If false, the client sees what one
            behind a real server would: a 500, or a `httpx.RemoteProtocolError` in the middle of a body.
        options: what `httpx.AsyncClient` takes.

    Raises:
        TypeError: the app is neither, or it cannot be told which.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        interface: Literal["wsgi", "asgi"] | None = None,
        base_url: str = "http://testserver",
        root_path: str = "",
        raise_app_exceptions: bool = True,
        **options: Any,
    ) -> None:
        transport = ASGITransport(
            as_asgi(app, interface), root_path=root_path, raise_app_exceptions=raise_app_exceptions
        )
        super().__init__(transport=transport, base_url=base_url, **options)
        self._in_memory = transport

    def __enter__(self) -> NoReturn:
        """Say what to use.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "bridge.testing.Client is asynchronous: use `async with` in an async function, or "
            "`with bridge.testing.SyncClient(app)` in a plain one"
        )

    def __exit__(self, *exception: object) -> None:
        """Do nothing: `with` asks for it before it enters."""

    def websocket(
        self,
        path: str,
        *,
        subprotocols: Iterable[str] = (),
        params: httpx._types.QueryParamTypes | None = None,
        headers: httpx._types.HeaderTypes | None = None,
        timeout: float = 5.0,
    ) -> ClientWebSocket:
        """A websocket to the app; `async with` opens and closes it.

        The client's `base_url`, headers, parameters and cookies go along, and a cookie that the app sets in
        its answer to the handshake goes into the client's jar. The app is held to the ASGI spec: an event out
        of order or with a wrong value is an error in the test.

        Args:
            path: of the websocket, or its URL.
            subprotocols: what the client offers, the one it likes best first.
            params: of the query string.
            headers: fields of the handshake, beside those of every handshake.
            timeout: how long the app may take for each thing that the test waits for, in seconds.
        """
        offered = tuple(subprotocols)
        request = handshake(self, path, offered, params, headers)
        return self._in_memory.websocket(request, offered, self.cookies, timeout=timeout)


def handshake(
    client: httpx.Client | httpx.AsyncClient,
    path: str,
    offered: tuple[str, ...],
    params: httpx._types.QueryParamTypes | None,
    headers: httpx._types.HeaderTypes | None,
) -> httpx.Request:
    """Return the request that opens a websocket; see `Client.websocket`."""
    fields = httpx.Headers(_HANDSHAKE)
    if offered:
        fields["sec-websocket-protocol"] = ", ".join(offered)
    fields.update(headers)
    return client.build_request("GET", path, params=params, headers=fields)


# RFC 6455, 4.1; the key is the example of 1.3.
_HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def as_asgi(app: Callable[..., Any], interface: Literal["wsgi", "asgi"] | None) -> ASGI3Application:
    """Return what a client talks to; see `Client`."""
    found = interface or detect_interface(app)
    if found is None:
        raise TypeError(f'cannot tell whether {app!r} is WSGI or ASGI; say interface="wsgi" or "asgi"')
    return WSGIToASGI(app) if found == "wsgi" else as_asgi3(app, found)

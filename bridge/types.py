"""The ASGI and WSGI types used here: asgiref's and the standard library's, under one roof.

ASGI frameworks disagree on how to write the types down: asgiref has TypedDicts, Starlette has mutable
mappings. Inside, Bridge uses asgiref's. At its border it accepts either, so that `Mount(app=WSGIToASGI(app))`
passes a type checker as it passes at run time: `AnyScope`, `AnyReceive`, `AnySend`.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPResponseBodyEvent,
    HTTPResponsePathsendEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    LifespanScope,
    Scope,
    WebSocketAcceptEvent,
    WebSocketCloseEvent,
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
    WebSocketResponseBodyEvent,
    WebSocketResponseStartEvent,
    WebSocketScope,
    WebSocketSendEvent,
    WWWScope,
)

__all__ = [
    "ASGI3Application",
    "ASGIReceiveCallable",
    "ASGIReceiveEvent",
    "ASGISendCallable",
    "ASGISendEvent",
    "AnyReceive",
    "AnyScope",
    "AnySend",
    "AsyncViews",
    "ExcInfo",
    "HTTPDisconnectEvent",
    "HTTPReceive",
    "HTTPRequestEvent",
    "HTTPRequestSideEvent",
    "HTTPResponseBodyEvent",
    "HTTPResponseEvent",
    "HTTPResponsePathsendEvent",
    "HTTPResponseStartEvent",
    "HTTPScope",
    "HTTPSend",
    "LifespanFactory",
    "LifespanScope",
    "Scope",
    "StartResponse",
    "WSGIApplication",
    "WSGIEnvironment",
    "WWWScope",
    "WebSocketAppEvent",
    "WebSocketHostEvent",
    "WebSocketReceive",
    "WebSocketScope",
    "WebSocketSend",
    "WebSocketSendEvent",
]

AsyncViews: TypeAlias = Literal["auto", "loop", "thread"]
"""Where requests run whose Flask view is `async def`; see `WSGIToASGI`."""

AnyScope: TypeAlias = Scope | MutableMapping[str, Any]
AnyReceive: TypeAlias = ASGIReceiveCallable | Callable[[], Awaitable[MutableMapping[str, Any]]]
AnySend: TypeAlias = ASGISendCallable | Callable[[MutableMapping[str, Any]], Awaitable[None]]

HTTPResponseEvent: TypeAlias = HTTPResponseStartEvent | HTTPResponseBodyEvent | HTTPResponsePathsendEvent
"""The events a WSGI response can become."""

HTTPRequestSideEvent: TypeAlias = HTTPRequestEvent | HTTPDisconnectEvent
"""The events a host has for an http request."""

HTTPReceive: TypeAlias = Callable[[], Awaitable[HTTPRequestSideEvent]]
HTTPSend: TypeAlias = Callable[[HTTPResponseEvent], Awaitable[None]]

WebSocketHostEvent: TypeAlias = WebSocketConnectEvent | WebSocketReceiveEvent | WebSocketDisconnectEvent
"""The events a host has for a websocket."""

WebSocketAppEvent: TypeAlias = (
    WebSocketAcceptEvent
    | WebSocketSendEvent
    | WebSocketCloseEvent
    | WebSocketResponseStartEvent
    | WebSocketResponseBodyEvent
)
"""The events an app may send on a websocket."""

WebSocketReceive: TypeAlias = Callable[[], Awaitable[WebSocketHostEvent]]
WebSocketSend: TypeAlias = Callable[[WebSocketAppEvent], Awaitable[None]]

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
"""What `sys.exc_info()` returns, the third argument of `start_response`."""

LifespanFactory: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""`lifespan(app)`: an async context manager around the life of the app; what it yields is its state."""

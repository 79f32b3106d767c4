"""The ASGI and WSGI types, collected from asgiref and the standard library.

ASGI frameworks write the types down differently: asgiref has TypedDicts, Starlette has mutable mappings.
Bridge uses asgiref's inside and accepts both at its border (`AnyScope`, `AnyReceive`, `AnySend`), so that
`Mount(app=WSGIToASGI(app))` passes a type checker.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
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

if TYPE_CHECKING:
    from typing_extensions import override  # which type checkers bring; typing has it from Python 3.12 on
else:

    def override(method):
        """Return the method; type checkers and linters look for the decorator."""
        return method


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
    "HTTPReceive",
    "HTTPRequestEvent",
    "HTTPRequestSideEvent",
    "HTTPResponseBodyEvent",
    "HTTPResponseEvent",
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
    "WebSocketReceive",
    "WebSocketScope",
    "WebSocketSend",
    "WebSocketSendEvent",
    "override",
]

AsyncViews: TypeAlias = Literal["auto", "loop", "thread"]
"""Where Bridge runs the `async def` views of a Flask app; see `WSGIToASGI`."""

AnyScope: TypeAlias = Scope | MutableMapping[str, Any]
AnyReceive: TypeAlias = ASGIReceiveCallable | Callable[[], Awaitable[MutableMapping[str, Any]]]
AnySend: TypeAlias = ASGISendCallable | Callable[[MutableMapping[str, Any]], Awaitable[None]]

HTTPResponseEvent: TypeAlias = HTTPResponseStartEvent | HTTPResponseBodyEvent | HTTPResponsePathsendEvent
"""The events that Bridge sends for a WSGI response."""

HTTPRequestSideEvent: TypeAlias = HTTPRequestEvent | HTTPDisconnectEvent
"""The events that a host sends for an http request."""

HTTPReceive: TypeAlias = Callable[[], Awaitable[HTTPRequestSideEvent]]
HTTPSend: TypeAlias = Callable[[HTTPResponseEvent], Awaitable[None]]

WebSocketHostEvent: TypeAlias = WebSocketConnectEvent | WebSocketReceiveEvent | WebSocketDisconnectEvent
"""The events that a host sends for a websocket."""

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
"""`lifespan(app)` returns an async context manager, which yields the lifespan state."""

"""Request ids: from `X-Request-ID` or new, for the app, for the client, and for every line of the log.

The id is in a context variable. Context variables go with a request wherever it goes, also to the worker
threads of `WSGIToASGI`. `RequestIdFilter` makes it an attribute of log records:

    {"filters": {"request_id": {"()": "bridge.server.request_id.RequestIdFilter"}},
     "formatters": {"default": {"format": "%(levelname)s [%(request_id)s] %(message)s"}},
     "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default",
                              "filters": ["request_id"]}}}
"""

import logging
import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import cast

from bridge.types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

__all__ = ["REQUEST_ID", "RequestIdFilter", "RequestIds", "current_request_id"]

REQUEST_ID: ContextVar[str | None] = ContextVar("bridge_request_id", default=None)
"""The id of the request that is being served; `current_request_id()` reads it."""

# What can do no harm in a log, in a header, or in the address of a tracing tool.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:+=/@-]{1,128}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2

# The bits of a UUID that say that it is random, version 4 (RFC 9562, 5.4), and those that are.
_UUID4 = (4 << 76) | (2 << 62)
_UUID4_RANDOM = ~((15 << 76) | (3 << 62))

_Header = tuple[bytes, bytes]


def current_request_id() -> str | None:
    """The id of the request that this code works for, or None outside of any."""
    return REQUEST_ID.get()


class RequestIds:
    """ASGI middleware that gives every http request an id.

    The id is the one in the request's header, if there is one header and it has 1 to 128 of the characters
    `A-Z a-z 0-9 . _ : + = / @ -`; if not, a new one, in 32 hexadecimal digits, which also takes the place of
    what was in the header. The app finds it in the request's headers, the client in the response's, unless
    the app has set that header itself.

    Args:
        app: the ASGI application.
        header: the name of the header.

    Raises:
        ValueError: `header` cannot be the name of a header.

    It belongs outside of all other middleware, which then has the id as well. The variable keeps its value
    when the request has ended: what the host says about it afterwards, such as that the app has failed, is a
    part of it. Hosts serve each request in a context of its own.
    """

    def __init__(self, app: ASGI3Application, header: str = "X-Request-ID") -> None:
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"the header for request ids cannot be named {header!r}; e.g. X-Request-ID")
        self.app = app
        self._name = header.lower().encode("ascii")

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one ASGI scope; those other than `http` go to the app as they are."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = self._name
        given = [value for name, value in scope["headers"] if name == wanted]
        if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]):
            value = given[0]
        else:
            value = _new_id()
            scope = _with_header(scope, wanted, value, replace=bool(given))
        REQUEST_ID.set(value.decode("ascii"))
        await self.app(scope, receive, _SendWithHeader(send, (wanted, value)))


class RequestIdFilter(logging.Filter):
    """Sets `request_id` on every record: the id of the request, or "-" outside of any.

    It belongs to handlers: a filter of a logger does not see what comes from the loggers below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute, and let the record pass."""
        record.request_id = REQUEST_ID.get() or "-"
        return True


def _new_id() -> bytes:
    # As uuid.uuid4().hex, in less than half of its time.
    return b"%032x" % (int.from_bytes(os.urandom(16)) & _UUID4_RANDOM | _UUID4)


def _with_header(scope: HTTPScope, name: bytes, value: bytes, *, replace: bool) -> HTTPScope:
    headers: Iterable[_Header] = scope["headers"]
    if replace:
        headers = [header for header in headers if header[0] != name]
    return cast(HTTPScope, {**scope, "headers": [*headers, (name, value)]})


class _SendWithHeader:
    """A host's `send` that adds the header to what begins a response; the event is the app's, and stays."""

    __slots__ = ("_header", "_send")

    def __init__(self, send: ASGISendCallable, header: _Header) -> None:
        self._send = send
        self._header = header

    @property
    def disconnected(self) -> bool:
        """Whether the client has left, where the host says so: see `Cycle`."""
        return getattr(self._send, "disconnected", False)

    async def __call__(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            headers = list(event.get("headers", ()))
            wanted = self._header[0]
            for name, _ in headers:
                if name.lower() == wanted:
                    break
            else:
                headers.append(self._header)
            event = {**event, "headers": headers}
        await self._send(event)

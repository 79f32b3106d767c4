"""Request ids: from `X-Request-ID` or new, for the app, for the client, and for every line of the log.

The id is in a context variable. Context variables go with a request wherever it goes, also to a worker
thread. `RequestIdFilter` makes it an attribute of log records:

    {"filters": {"request_id": {"()": "bridge.server.hooks.request_id.RequestIdFilter"}},
     "formatters": {"default": {"format": "%(levelname)s [%(request_id)s] %(message)s"}},
     "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default",
                              "filters": ["request_id"]}}}
"""

import logging
import os
import re
from contextvars import ContextVar
from dataclasses import replace

from bridge.core.link import Head
from bridge.http.exchange import Exchange, Hook
from bridge.http.limits import Refusal

__all__ = ["REQUEST_ID", "RequestIdFilter", "RequestIds", "current_request_id"]

REQUEST_ID: ContextVar[str | None] = ContextVar("bridge_request_id", default=None)
"""The id of the request that is being served; `current_request_id()` reads it."""

_HEADER = b"x-request-id"

# What can do no harm in a log, in a header, or in the address of a tracing tool.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:+=/@-]{1,128}")

# The bits of a UUID that say that it is random, version 4 (RFC 9562, 5.4), and those that are.
_UUID4 = (4 << 76) | (2 << 62)
_UUID4_RANDOM = ~((15 << 76) | (3 << 62))


def current_request_id() -> str | None:
    """The id of the request that this code works for, or None outside of any."""
    return REQUEST_ID.get()


class RequestIds(Hook):
    """Gives every request an id.

    The id is the one in the request's header, if there is one X-Request-ID and it has 1 to 128 of the
    characters `A-Z a-z 0-9 . _ : + = / @ -`; if not, a new one, in 32 hexadecimal digits, which also replaces
    what was in the header. The app finds it in the request's headers, the client in the response's, unless
    the app has set that header itself.

    It comes before every hook that logs a request, so that their lines have the id. The variable keeps its
    value after the request, for what the server logs about it later, such as a failure of the app.
    """

    def on_refused(self, exchange: Exchange, refusal: Refusal) -> Refusal:
        """Tell the client, and the log, of the id of a request that no app has seen."""
        if exchange.request_id is None:
            self.on_request(exchange)
        field = _HEADER, str(exchange.request_id).encode("ascii")
        return replace(refusal, headers=(*refusal.headers, field))

    def on_request(self, exchange: Exchange) -> None:
        """Have the request be known by its id, from here on."""
        request = exchange.request
        given = request.values(_HEADER)
        if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]):
            value = given[0]
        else:
            # As uuid.uuid4().hex, in less than half of its time.
            value = b"%032x" % (int.from_bytes(os.urandom(16)) & _UUID4_RANDOM | _UUID4)
            if given:
                request.headers = [field for field in request.headers if field[0] != _HEADER]
            request.headers.append((_HEADER, value))
        exchange.request_id = value.decode("ascii")
        exchange.context.run(REQUEST_ID.set, exchange.request_id)

    def on_head(self, exchange: Exchange, head: Head) -> Head:
        """Tell the client of the id. The list of fields is the app's, and stays."""
        if exchange.request_id is None or any(name.lower() == _HEADER for name, _ in head.headers):
            return head
        return head._replace(headers=[*head.headers, (_HEADER, exchange.request_id.encode("ascii"))])


class RequestIdFilter(logging.Filter):
    """Sets `request_id` on every record: the id of the request, or "-" outside of any.

    It belongs to handlers: a filter of a logger does not see what comes from the loggers below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute, and let the record pass."""
        record.request_id = REQUEST_ID.get() or "-"
        return True

"""One response on the wire: how it is framed, and whether the connection can go on after it.

| request | response | framing | the connection |
| --- | --- | --- | --- |
| any | to HEAD; 204, 304 | no body (RFC 9112, 6.3) | goes on |
| any | with a Content-Length | the length | goes on |
| HTTP/1.1 | without | chunked | goes on |
| HTTP/1.0 | without | the end of the connection (RFC 9112, 6.1) | closes |

It closes, too, if the client or the app asks for that. And it closes after a request whose body was announced
by `Expect: 100-continue` and not asked for: the client may send it, or the next request (RFC 9110, 10.1.1).
"""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from bridge.asgi.host import events_of
from bridge.core.link import plain_answer

__all__ = ["Cycle"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, 5.5

# The names that have passed once, in lower case: apps say the same few again. Bounded, as some don't.
_NAMES: dict[bytes, bytes] = {}
_MAX_REMEMBERED = 1024


class _ReleasedTransport(asyncio.Transport):
    """In the place of the connection when the answer is whole: an app that fails then does not end it."""

    def close(self) -> None:
        pass


_RELEASED = _ReleasedTransport()

_STOPPED = b"Service Unavailable: the server stops, and the request took too long."


def _do_nothing() -> None:
    """In the place of who is told of an answer, when there is none to come."""


class Cycle(RequestResponseCycle):
    """uvicorn's `receive` and `send` of one request; the app's `send` is the cycle itself.

    So middleware sees by its `disconnected` whether the client has left. When the response is complete, it
    calls `on_response` with itself.
    """

    client_closes = False
    """Whether the client has said that this is its last request."""

    _has_body = True
    _ends_with_connection = False

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Call the app; see uvicorn. That a server's end cuts a request is no failure of the app's.

        It does not call uvicorn's: one coroutine more takes half a kilobyte for each open stream.
        """
        try:
            await app(self.scope, self.receive, self)
        except BaseException as error:  # a request is answered, whatever fails
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                await self._cut()
            else:
                self.logger.error("Exception in ASGI application\n", exc_info=error)
                await self._break_off()
        else:
            if not self.response_complete and not self.disconnected:
                missing = "completing" if self.response_started else "starting"
                self.logger.error("ASGI callable returned without %s response.", missing)
                await self._break_off()
        finally:
            self.on_response = _do_nothing

    async def _break_off(self) -> None:
        """End the response of an app that has failed: by a 500, if it has not begun."""
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()

    async def _cut(self) -> None:
        """End the response: by a 503, if it has not begun, or else by the end of the connection."""
        if not self.response_started:
            for event in events_of(plain_answer(503, _STOPPED, self.scope["method"])):
                await self.send(event)
        elif not self.response_complete:
            self.transport.close()
            self.disconnected = True

    async def send(self, message: Any) -> None:
        """See ASGI.

        Raises:
            RuntimeError: the app has sent an event out of turn, an ill-formed header, or a body that does not
                have the length that it said.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._send_head(message)
        elif not self.response_complete:
            self._send_body(message)
        else:
            raise RuntimeError(
                f"the app sent {message['type']!r} after its response was complete; nothing may follow"
            )

    __call__ = send

    def receive(self) -> Coroutine[Any, Any, Any]:  # a coroutine sooner
        """See ASGI."""
        if self.waiting_for_100_continue and (self.body or not self.more_body):
            self.waiting_for_100_continue = False  # the client has not waited for it
        return super().receive()

    def _send_head(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"the app sent {message['type']!r} first; a response begins with its start")
        status = message["status"]
        self._has_body = self.scope["method"] != "HEAD" and status != 204 and status != 304
        content = [STATUS_LINE[status]]
        connection: list[bytes] = []
        length = None
        for given_name, value in self.default_headers + list(message.get("headers", ())):
            name = _NAMES.get(given_name) or _parse_name(given_name)
            if _has_control(value):
                raise RuntimeError("the app sent a header with a control character (RFC 9110, 5.5)")
            if name == b"content-length":
                if length is None:
                    length = int(value)
            elif name == b"transfer-encoding":  # what is in use on this connection is known here only
                continue
            elif name == b"connection":
                connection += (option.strip().lower() for option in value.split(b","))
                continue
            content += (name, b": ", value, b"\r\n")
        content += self._frame(length, connection)
        content.append(b"\r\n")
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.access_log:
            self._log(status)
        self.transport.write(b"".join(content))

    def _frame(self, length: int | None, connection: list[bytes]) -> list[bytes]:
        """Decide on the framing and on the connection; return the fields that say so."""
        is_http_10 = self.scope["http_version"] == "1.0"
        fields = []
        self.chunked_encoding = False
        if not self._has_body:
            pass
        elif length is not None:
            self.expected_content_length = length
        elif is_http_10:
            self._ends_with_connection = True
        else:
            self.chunked_encoding = True
            fields.append(b"transfer-encoding: chunked\r\n")
        if self._ends_with_connection or b"close" in connection or self._may_be_without_body():
            self.keep_alive = False
        if not self.keep_alive:
            fields.append(b"connection: close\r\n")
        elif connection:
            fields.append(b"connection: %b\r\n" % b", ".join(connection))
        elif is_http_10:
            fields.append(b"connection: keep-alive\r\n")
        return fields

    def _may_be_without_body(self) -> bool:
        """Whether the client has announced a body, and nobody has asked it to send it."""
        return self.waiting_for_100_continue and self.more_body and not self.body

    def _log(self, status: int) -> None:
        self.access_logger.info(
            '%s - "%s %s HTTP/%s" %d',
            get_client_addr(self.scope),
            self.scope["method"],
            get_path_with_query_string(self.scope),
            self.scope["http_version"],
            status,
        )

    def _send_body(self, message: Any) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError(f"the app sent {message['type']!r} in the middle of its response's body")
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if not self._has_body:
            pass
        elif self.chunked_encoding:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            if not more:
                parts.append(b"0\r\n\r\n")
            self.transport.write(b"".join(parts))
        elif self._ends_with_connection:
            self.transport.write(body)
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("Response content longer than Content-Length")
            self.transport.write(body)
        if more:
            return
        if self._has_body and self.expected_content_length:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self.message_event.set()
        self.transport = _RELEASED
        self.on_response(self)


def _parse_name(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise RuntimeError("the app sent a header whose name is not a token (RFC 9110, 5.1)")
    lower = name.lower()
    if len(_NAMES) < _MAX_REMEMBERED:
        _NAMES[name] = lower
    return lower

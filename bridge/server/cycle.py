"""The `receive` and `send` of one request, on today's connection.

`http.http1` frames the response. Its head waits for the first part of the body, until the loop's next turn at
most (ASGI spec, "Response Start"): one write in place of two.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from bridge.asgi.host import events_of
from bridge.core.link import plain_answer
from bridge.http.http1 import ResponseEncoder

__all__ = ["Cycle"]


class _ReleasedTransport(asyncio.Transport):
    """In the place of the connection when the answer is whole: an app that fails then does not end it."""

    def close(self) -> None:
        pass


_RELEASED = _ReleasedTransport()

# Bytes of a body that are not copied to be written together with the head.
_LARGE = 65536

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

    _encoder: ResponseEncoder | None = None  # once the app has begun its response
    _head = b""  # of the response, as long as it has not been sent

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
            self._flush_head()
            self.transport.close()
        else:
            await self.send_500_response()

    async def _cut(self) -> None:
        """End the response: by a 503, if it has not begun, or else by the end of the connection."""
        if not self.response_started:
            for event in events_of(plain_answer(503, _STOPPED, self.scope["method"])):
                await self.send(event)
        elif not self.response_complete:
            self._flush_head()
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
            self._take_head(message)
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

    def _take_head(self, message: Any) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"the app sent {message['type']!r} first; a response begins with its start")
        status = message["status"]
        scope = self.scope
        # After `Expect: 100-continue` the client may send the body that nobody has asked for, or the next
        # request (RFC 9110, 10.1.1).
        self.keep_alive = self.keep_alive and not self._may_be_without_body()
        encoder = ResponseEncoder(scope["method"], scope["http_version"], keep_alive=self.keep_alive)
        self._head = encoder.head(status, self.default_headers + list(message.get("headers", ())))
        self._encoder = encoder
        self.keep_alive = encoder.keep_alive
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.access_log:
            self._log(status)
        asyncio.get_running_loop().call_soon(self._flush_head)

    def _flush_head(self) -> None:
        """Send the head by itself, if no part of the body has taken it along."""
        head, self._head = self._head, b""
        if head and not self.disconnected:
            self.transport.write(head)

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
        assert self._encoder is not None
        head, self._head = self._head, b""
        data = self._encoder.body(body, more)
        # A large body is not copied: it leaves by itself.
        if head and len(data) > _LARGE:
            self.transport.write(head)
            self.transport.write(data)
        elif head or data:
            self.transport.write(head + data)
        if more:
            return
        self.response_complete = True
        self.message_event.set()
        self.transport = _RELEASED
        self.on_response(self)

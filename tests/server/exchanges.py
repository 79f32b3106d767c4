"""Exchanges in a test's hands: hooks are told of them as a connection tells its hooks."""

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from typing import Any

from bridge import WSGIToASGI
from bridge.core.call_facts import CallFacts
from bridge.core.link import Head, Part
from bridge.http.exchange import Answer, Exchange, Hook, Hooks
from bridge.http.limits import Refusal
from bridge.http.request import Address, Request

Field = tuple[bytes, bytes]


def make_request(
    method: str = "GET",
    path: bytes = b"/",
    query: bytes = b"",
    version: str = "1.1",
    headers: Iterable[Field] = ((b"host", b"example.org"),),
    client: Address | None = ("127.0.0.1", 50000),
) -> Request:
    """A plain GET, changed as asked."""
    request = Request(method, path, query, version, list(headers))
    request.client = client
    return request


class Driven:
    """One request, and what a connection tells its hooks of it.

    Args:
        hooks: the hooks, in their order.
        request: the request; a plain GET if it is left out.
    """

    def __init__(self, *hooks: Hook, request: Request | None = None) -> None:
        self._hooks = Hooks(hooks)
        self.exchange = Exchange(request or make_request(), copy_context())
        self.exchange.serving = self
        self.cuts: list[Part] = []
        self._is_cut = asyncio.Event()

    def begin(self) -> Answer | None:
        """The request has come; return the answer of a hook, if one has answered."""
        for on_request in self._hooks.request:
            answer = on_request(self.exchange)
            if answer is not None:
                return answer
        return None

    def send(self, head: Head | None, data: bytes = b"", *, more: bool = False) -> None:
        """The app sends a part of its response."""
        exchange = self.exchange
        if head is not None:
            for on_head in self._hooks.head:
                head = on_head(exchange, head)
            exchange.head = head
        if exchange.request.method != "HEAD":
            exchange.sent += len(data)
        if not more:
            exchange.end()
        elif data and not exchange.is_streaming:
            exchange.is_streaming = True
            for on_stream in self._hooks.stream:
                on_stream(exchange)

    def respond(self, status: int = 200, *headers: Field, data: bytes = b"") -> None:
        """The app sends a whole response."""
        self.send(Head(status, b"", list(headers)), data)

    def leave(self) -> None:
        """The client leaves."""
        self.exchange.end(has_left=True)

    def finish(self) -> None:
        """It is over."""
        self.exchange.end()
        self.exchange.serving = None
        self._hooks.end(self.exchange)

    def refuse(self, status: int) -> None:
        """The server answers in the app's place, and it is over."""
        self.exchange.refusal = Refusal(status, "For a test.")
        self.finish()

    @property
    def fields(self) -> list[Field]:
        """The header of the response, as it was sent."""
        assert self.exchange.head is not None
        return self.exchange.head.headers

    # Called by hooks

    def hint(self, fields: list[Field]) -> None:
        """No hook of the server's gives early hints."""
        raise NotImplementedError

    def cut(self, answer: Part) -> None:
        """See `Cuttable`."""
        self.cuts.append(answer)
        self._is_cut.set()

    async def until_cut(self) -> None:
        """Wait until it has been cut."""
        await asyncio.wait_for(self._is_cut.wait(), 5)


class HookedApp:
    """An ASGI app, with the hooks of a server around its http requests.

    Args:
        app: the app.
        hooks: the hooks, in their order.
    """

    def __init__(self, app: Any, *hooks: Hook) -> None:
        self._app = app
        self._hooks = hooks

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = make_request(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["http_version"],
            scope["headers"],
            scope["client"],
        )
        driven = Driven(*self._hooks, request=request)
        assert driven.begin() is None
        exchange = driven.exchange
        scope = {**scope, "headers": request.headers}
        if isinstance(self._app, WSGIToASGI):
            exchange.call = scope["bridge.call"] = CallFacts()
        else:
            exchange.scope = scope

        async def receive_body() -> Any:
            event = await receive()
            exchange.received += len(event.get("body", b""))
            return event

        async def send_part(event: Any) -> None:
            if event["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in event.get("headers", ())]
                driven.send(Head(event["status"], b"", headers), more=True)
                assert exchange.head is not None
                await send({**event, "headers": exchange.head.headers})
            else:
                driven.send(None, event.get("body", b""), more=event.get("more_body", False))
                await send(event)

        call = self._app(scope, receive_body, send_part)
        try:
            await asyncio.get_running_loop().create_task(call, context=exchange.context)
        finally:
            driven.finish()


async def part_of(answer: Answer | None) -> Part | None:
    """The answer of a hook, when it is there."""
    return answer if answer is None or isinstance(answer, tuple) else await answer

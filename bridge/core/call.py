"""One WSGI call, as PEP 3333 wants it made. Plain synchronous code that knows neither threads nor asyncio.

What "waiting" means is the link's business: it parks a thread, switches a greenlet, or, in a test, appends to
a list. All of PEP 3333 is here and in `response`, `body` and `environ`, written once for every link.
"""

# Not for style: without it, the annotations of the two callables are built anew for every request, 1.6 us.
from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, Protocol, TypeVar, cast

from bridge.asgi.environ import build_environ
from bridge.asgi.scope_view import ScopeView
from bridge.core.body import RequestBody
from bridge.core.files import FileWrapper
from bridge.core.response import Response, State, internal_server_error
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import (
    ExcInfo,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPScope,
    StartResponse,
    WSGIApplication,
)

__all__ = ["Link", "LoopIterable", "LoopLink", "comes_from_disconnect", "request_name", "run_call"]

logger = logging.getLogger("bridge")

_T = TypeVar("_T")

# The superfluous headers that have been told of: every event stream made after a tutorial has one.
_TOLD: set[str] = set()


class Link(Protocol):
    """The two ways between a call and its ASGI host."""

    @property
    def on_loop(self) -> LoopLink | None:
        """The same link, if the call is made on the event loop."""

    def receive(self) -> HTTPRequestSideEvent:
        """Wait for the next event of the request."""

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        """Hand on events that belong together, or none; wait while the client is behind.

        Raises:
            ClientDisconnected: nobody is there to send to any more.
        """

    def answer(self, produce: Callable[[Link], None]) -> None:
        """Call `produce`, which iterates over what the app has returned, with a link to send it by.

        This one, where the app's code may wait in this thread, else one of another kind in another thread.
        """


class LoopLink(Link, Protocol):
    """Those of a call on the event loop, where coroutines can be awaited."""

    def await_for_app(self, awaitable: Awaitable[_T]) -> _T:
        """Wait for something of the app's; it is cancelled if the client leaves meanwhile."""

    async def send_from_loop(self, events: Sequence[HTTPResponseEvent]) -> None:
        """`send`, in a coroutine."""


class LoopIterable(Iterable[bytes]):
    """What an app may return as a body whose parts come from the event loop, but which plain code can use."""

    @abstractmethod
    def begin_on_loop(self, link: LoopLink) -> AsyncIterator[str | bytes]:
        """The parts, for a coroutine in the call's own context; `close` will be called as ever."""


def run_call(
    app: WSGIApplication, scope: HTTPScope | ScopeView, state: Mapping[str, Any], link: Link
) -> None:
    """Call the app once, send what it answers, and close it.

    An app that fails is logged. If its headers are not out yet the client gets a 500, and all is well.

    Args:
        app: the WSGI application.
        scope: the ASGI scope of the request, or the view of one.
        state: the lifespan state, for `asgi.state`.
        link: the ways to the host.

    Raises:
        ApplicationError: the app failed with its headers out. The host must cut the connection, or the
            client would take half a body for a whole one.
    """
    # Error reporters show the variables of each frame that an exception has gone through: those from here to
    # the app have the view only, so that the headers of the scope are not in a report.
    view = scope if isinstance(scope, ScopeView) else ScopeView(scope)
    del scope
    response = Response(view["method"])
    try:
        _call(app, view, state, link, response)
    except BaseException as error:  # noqa: BLE001  # a view's SystemExit is a failure like any other
        _answer_failure(error, view, link, response)
    finally:
        for warning in response.warnings or ():
            logger.warning("%s: %s", request_name(view), warning)
        for name in response.superfluous or ():
            if name not in _TOLD:
                _TOLD.add(name)
                logger.debug(
                    "%s: removed the app's header %r, here and from now on: the server keeps connections "
                    'alive itself (PEP 3333, "Other HTTP Features")',
                    request_name(view),
                    name,
                )


def _call(
    app: WSGIApplication,
    view: ScopeView,
    state: Mapping[str, Any],
    link: Link,
    response: Response,
) -> None:
    chunks = app(
        build_environ(view, body=RequestBody(link.receive), file_wrapper=FileWrapper, state=state),
        _start_response(response, link),
    )
    link.answer(partial(_produce, chunks, view, response))


def _produce(chunks: Iterable[bytes], view: ScopeView, response: Response, link: Link) -> None:
    """Send what the app has returned, and close it."""
    try:
        path = None
        if isinstance(chunks, FileWrapper):
            path = chunks.sendable_path(cast(HTTPScope, view.scope), response)
        if path is None and isinstance(chunks, LoopIterable) and link.on_loop is not None:
            parts = chunks.begin_on_loop(link.on_loop)
            link.on_loop.await_for_app(_send_parts(parts, link.on_loop, response))
        elif path is None:
            _send_chunks(chunks, link, response)
        else:
            link.send(response.pathsend(path))
        if response.state is not State.COMPLETE:
            link.send(response.end())
    finally:
        # Once, whatever happened (PEP 3333, "Specification Details").
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def _start_response(response: Response, link: Link) -> StartResponse:
    """The callables of this call: `start_response`, and the `write` it returns."""

    def write(data: bytes) -> None:
        events = response.chunk(data)
        if events:
            link.send(events)
        elif data and response.state is State.COMPLETE and not response.is_bodiless:
            raise ApplicationError(
                "the app called write() with its response already complete "
                '(PEP 3333, "Handling the Content-Length Header")'
            )

    def start_response(
        status: str, headers: Iterable[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        try:
            response.start(status, headers, exc_info)
        finally:
            exc_info = None  # as in Response.start
        return write

    return start_response


def _send_chunks(chunks: Iterable[bytes], link: Link, response: Response) -> None:
    """Send the body, a chunk as soon as it is there, up to its end or its Content-Length."""
    if isinstance(chunks, (list, tuple)):
        response.declare(chunks)
    for chunk in _iterator(chunks):
        events = response.chunk(chunk)
        if events or not chunk:
            link.send(events)  # an app that yields nothing while it waits hears so that its client has left
        else:  # all has been sent: "should stop iterating over the response when enough data has been sent"
            return


async def _send_parts(parts: AsyncIterator[str | bytes], link: LoopLink, response: Response) -> None:
    """The same for parts that come from the loop, in one coroutine: that costs a third less than steps do."""
    async for part in parts:
        chunk = part.encode() if isinstance(part, str) else part
        events = response.chunk(chunk)
        if chunk and not events:
            return
        await link.send_from_loop(events)


def _iterator(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        return iter(chunks)
    except TypeError:
        if hasattr(type(chunks), "__iter__"):
            raise
        advice = "; an ASGI app is served with --interface asgi" if isawaitable(chunks) else ""
        raise ApplicationError(
            f"the app returned a value of type {type(chunks).__name__}, which is not an iterable of bytes "
            f'(PEP 3333, "The Application/Framework Side"){advice}'
        ) from None


def _answer_failure(error: BaseException, view: ScopeView, link: Link, response: Response) -> None:
    """Log the failure of an app and answer it: a 500, or an ApplicationError for a cut connection."""
    if comes_from_disconnect(error):
        logger.debug("%s: the client left (%s)", request_name(view), error)
        # Flask holds it in a frame that it holds in turn: the request would wait for the garbage collector.
        error.__traceback__ = None
        return
    if response.state is State.COMPLETE:
        outcome = "after its response was complete; the client has noticed nothing"
    elif response.state is State.BODY:
        outcome = "with its headers out; cutting the connection"
    else:
        outcome = "before its headers were out; answering 500"
    if isinstance(error, ApplicationError):
        logger.error("%s: %s. It failed %s", request_name(view), error, outcome)
    else:
        logger.error(
            "%s: the app raised %s %s", request_name(view), type(error).__name__, outcome, exc_info=error
        )
    if response.state is State.COMPLETE:
        return
    if response.state is State.BODY:
        raise ApplicationError(
            f"{request_name(view)}: response cut short, for the app failed (see above)"
        ) from None
    try:
        link.send(internal_server_error(view["method"]))
    except ClientDisconnected:
        logger.debug("%s: the client left before its 500", request_name(view))


def comes_from_disconnect(error: BaseException) -> bool:
    """Whether an app failed because its client had left, also by an error that it raised from ours.

    One raised while it was ending, in a `finally`, is a failure of its own.
    """
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None or isinstance(seen, ClientDisconnected):
            break
        seen = seen.__cause__
    return isinstance(seen, ClientDisconnected)


def request_name(scope: HTTPScope | ScopeView) -> str:
    """The request for a log line: without its query, which may hold secrets, and on one line."""
    return ascii(f"{scope['method']} {scope['path']}")[1:-1]

"""One WSGI call, as PEP 3333 wants it made. Plain synchronous code that knows neither threads nor asyncio.

    run(link) ──► start(link) ──► finish(chunks, link) ──► report()
                       │                  │                   ▲
                       └──────────────────┴─► fail(error, link), which may say that the connection must be cut

`run` makes all of it where the app may block. A runner that takes each step elsewhere calls them one by one.
The link decides what waiting means: it parks a thread, switches a greenlet, or, in a test, appends to a list.
"""

# Not for style: without it, the annotations of the inner functions are built anew for every request, 1.6 us.
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from inspect import isawaitable

from bridge.core.body import RequestBody
from bridge.core.files import FileWrapper
from bridge.core.link import Link, plain_answer
from bridge.core.response import Response, State
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import ExcInfo, WSGIApplication, WSGIEnvironment

__all__ = ["Call", "comes_from_disconnect", "request_name"]

logger = logging.getLogger("bridge")

# Looked up at every request, as in response.py.
_COMPLETE = State.COMPLETE

# The superfluous headers that have been logged: every event stream copied from a tutorial has one.
_LOGGED: set[str] = set()


class Call:
    """One call of an app, from its environ to the `close()` of what it returned.

    Args:
        app: the WSGI application.
        environ: the request; the call adds `wsgi.input`.

    The call logs an app that fails. If the head is not out yet, the client gets a 500 and nothing is raised.
    """

    __slots__ = ("_path", "app", "environ", "response")

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self.app = app
        self.environ = environ
        self._path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]  # apps change the environ
        self.response = Response(environ["REQUEST_METHOD"])

    @property
    def name(self) -> str:
        """The request for a log line; see `request_name`."""
        path = self._path.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
        return request_name(self.response.method, path)

    def run(self, link: Link) -> None:
        """Make the whole call.

        Raises:
            ApplicationError: the app failed with its head out. The host must cut the connection, or the
                client would take half a body for a whole one.
        """
        try:
            self.finish(self.start(link), link)
        except BaseException as error:  # noqa: BLE001  # a view's SystemExit is a failure like any other
            self.fail(error, link)
        finally:
            self.report()

    def drop(self) -> None:
        """Give up a call that has not been started: there is nothing to close."""

    def start(self, link: Link) -> Iterable[bytes]:
        """Call the app, and return what it returns.

        The app's `write` and its `wsgi.input` use this link to the end, even if `finish` gets another.

        Raises:
            BaseException: what the app raised.
        """
        response = self.response

        def write(data: bytes) -> None:
            part = response.chunk(data)
            if part is not None:
                link.send(*part)
            elif data and response.state is _COMPLETE and not response.is_bodiless:
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
                exc_info = None  # as in Response._restart
            return write

        self.environ["wsgi.input"] = RequestBody(link.read)
        return self.app(self.environ, start_response)

    def finish(self, chunks: Iterable[bytes], link: Link) -> None:
        """Send what the app has returned, and close it.

        Raises:
            BaseException: what the app raised.
        """
        response = self.response
        try:
            if not (isinstance(chunks, FileWrapper) and self._send_file(chunks, link)):
                self._send_chunks(chunks, link)
            if response.state is not _COMPLETE:
                self.end(link)
        finally:
            self.close(chunks)

    def end(self, link: Link) -> None:
        """Send the last part, if it is still due.

        Raises:
            ApplicationError: the app has not called `start_response`, or owes bytes.
        """
        part = self.response.end()
        if part is not None:
            link.send(*part)

    def close(self, chunks: object) -> None:
        """Close what the app has returned: once, whatever happened (PEP 3333, "Specification Details")."""
        close = getattr(chunks, "close", None)
        if close is not None:
            close()

    def fail(self, error: BaseException, link: Link) -> None:
        """Log the failure of the app and answer it: a 500, or an ApplicationError for a cut connection.

        Raises:
            ApplicationError: the head is out, so that the connection must be cut.
        """
        state = self.response.state
        if comes_from_disconnect(error):
            logger.debug("%s: the client left (%s)", self.name, error)
            # A frame of Flask's in it holds the error: the request would wait for the garbage collector.
            error.__traceback__ = None
            return
        name = self.name
        if state is _COMPLETE:
            outcome = "after its response was complete; the client has noticed nothing"
        elif state is State.BODY:
            outcome = "with its headers out; cutting the connection"
        else:
            outcome = "before its headers were out; answering 500"
        if isinstance(error, ApplicationError):
            logger.error("%s: %s. It failed %s", name, error, outcome)
        else:
            logger.error("%s: the app raised %s %s", name, type(error).__name__, outcome, exc_info=error)
        if state is _COMPLETE:
            return
        if state is State.BODY:
            raise ApplicationError(f"{name}: response cut short, for the app failed (see above)") from None
        self.response.state = _COMPLETE  # a write() after it, or a second failure, sends nothing
        try:
            link.send(*plain_answer(500, b"Internal Server Error", self.response.method))
        except ClientDisconnected:
            logger.debug("%s: the client left before its 500", name)

    def report(self) -> None:
        """Log the mistakes of the app that were mended; for when the call is over."""
        response = self.response
        for warning in response.warnings or ():
            logger.warning("%s: %s", self.name, warning)
        if response.superfluous is not None:
            self._log_superfluous(response.superfluous)

    def _send_file(self, file: FileWrapper, link: Link) -> bool:
        """Have the link send a whole file; return False if it has to be sent in blocks."""
        response = self.response
        if response.state is not State.READY or response.is_bodiless or response.head is None:
            return False
        sendable = file.sendable
        if sendable is None or response.bytes_left not in (None, sendable[1]):
            return False
        response.state = State.BODY  # whatever fails from here on, the head is out
        is_sent = link.send_file(response.head, *sendable)
        response.state = _COMPLETE if is_sent else State.READY
        return is_sent

    def _send_chunks(self, chunks: Iterable[bytes], link: Link) -> None:
        """Send the body, each chunk as soon as it is there, up to its end or its Content-Length."""
        response = self.response
        if isinstance(chunks, (list, tuple)):
            response.declare(chunks)
        for chunk in _iterator(chunks):
            part = response.chunk(chunk)
            if part is not None:
                link.send(*part)
            elif chunk:
                return  # "should stop iterating over the response when enough data has been sent"
            else:
                # An app that yields nothing while it waits learns in this way that its client has left.
                link.send(None, b"", True)

    def _log_superfluous(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in _LOGGED:
                _LOGGED.add(name)
                logger.debug(
                    "%s: removed the app's header %r, here and from now on: the server keeps connections "
                    'alive itself (PEP 3333, "Other HTTP Features")',
                    self.name,
                    name,
                )


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


def comes_from_disconnect(error: BaseException) -> bool:
    """Whether the app failed because its client had left: by our `ClientDisconnected`, or an error it caused.

    An error that the app raised while it cleaned up, in a `finally`, is a failure of its own.
    """
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None or isinstance(seen, ClientDisconnected):
            break
        seen = seen.__cause__
    return isinstance(seen, ClientDisconnected)


def request_name(method: str, path: str) -> str:
    """Name a request in a log line: without its query, which may hold secrets, and on one line.

    Args:
        method: its method.
        path: its path, decoded.
    """
    return ascii(f"{method} {path}")[1:-1]

"""`ASGIToWSGI`: the WSGI application made of an ASGI application.

The app runs on the process's background loop; the server's thread waits for what it sends:

- The loop leaves items in a queue: parts of the response, and requests for more of the body. The thread takes
  them, and yields the parts to the server. It also reads `wsgi.input`, which may block.
- The thread posts to the loop's mailbox when it has done what the app may wait for: a piece of the body was
  read, parts were written, the client has left.

A short request crosses between the two twice: the call, and the whole response.
"""

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from bridge.asgi.arguments import check_count, check_no_class, check_seconds
from bridge.asgi.background_loop import (
    BackgroundLoop,
    background_loop,
    join_background_loop,
    leave_background_loop,
    starting,
)
from bridge.asgi.lifespan import running
from bridge.asgi.scope import EARLY_HINTS, PATHSEND, build_scope
from bridge.core.response import HOP_BY_HOP
from bridge.errors import ApplicationError, BridgeError, ClientDisconnected
from bridge.interfaces import as_asgi3, detect_interface, why_not_callable_as
from bridge.loading import load_app
from bridge.runners.context import CallContext
from bridge.types import ASGI3Application, StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ASGIToWSGI", "wsgi"]

logger = logging.getLogger("bridge")

# Bytes of the body that are read at once. Most servers wait until all of them are there.
_PIECE = 65536

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

_UNBOUNDED = (
    "a chunked request was answered 411: the server does not say that its wsgi.input ends with the body "
    "(wsgi.input_terminated); mod_wsgi needs WSGIChunkedRequest On"
)

_Headers: TypeAlias = list[tuple[str, str]]


class ASGIToWSGI:
    """Serve an ASGI application, such as FastAPI's or Quart's, on a WSGI server.

    Args:
        app: the ASGI application (version 3).
        lifespan: whether to run the app's lifespan, once per process, from its first request to its end.
        buffer_size: how many bytes of a response the client may be behind before the app's `send` waits.
        graceful_timeout: how many seconds the end of the process waits for requests, and for what the app
            does after its responses.

    Raises:
        TypeError: `app` is not callable, is a WSGI application already, is a class such as FastAPI, or does
            not take three arguments; or another argument has the wrong type.
        ValueError: a number is too small.

    The constructor starts nothing. The first request of each process starts the event loop, in a thread, and
    the lifespan; so a server may load the app before it forks. If the lifespan fails to start, that request
    fails, and the next one tries again.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        lifespan: bool = True,
        buffer_size: int = 131072,
        graceful_timeout: float = 25.0,
    ) -> None:
        _check_app(app)
        if not isinstance(lifespan, bool):
            raise TypeError(f"lifespan must be True or False, got {lifespan!r}")
        check_count("buffer_size", buffer_size, 0)
        check_seconds("graceful_timeout", graceful_timeout)
        self.app = app
        self.lifespan = lifespan
        self.buffer_size = buffer_size
        self.graceful_timeout = graceful_timeout
        self._life: _Life | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333).

        Raises:
            BridgeError: the app does not start, or broke the ASGI spec.
            Exception: whatever the app has raised.
        """
        life = self._life
        if life is None or life.loop is not background_loop():
            life = self._start()
        body = _Body(environ)
        if body.is_unbounded:
            logger.warning(_UNBOUNDED)
            start_response("411 Length Required", [("content-length", "0")])
            return []
        return _Response(_Call(environ, life, has_body=not body.is_empty), body).start(start_response)

    def close(self) -> None:
        """End the app's lifespan in this process, after its requests; a later request starts anew."""
        with starting():
            life, self._life = self._life, None
            if life is not None and life.loop is background_loop():
                life.end()
                leave_background_loop(self.close)

    def _start(self) -> "_Life":
        with starting():
            life = self._life
            if life is None or life.loop is not background_loop():
                loop = join_background_loop(self.close)
                life = _Life(self.app, loop, self.buffer_size, self.graceful_timeout)
                try:
                    if self.lifespan:
                        life.start()
                except BaseException:
                    leave_background_loop(self.close)
                    raise
                self._life = life
            return life

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_life": None}


def wsgi(target: str, **options: Any) -> WSGIApplication:
    """Import an app for a WSGI server, as in `gunicorn 'bridge:wsgi("app:app")'`.

    Args:
        target: what `bridge serve` takes: `module:attribute`, `module:factory()`, `module`, or a file.
        options: what `ASGIToWSGI` takes.

    Returns:
        The app itself, if it is WSGI.

    Raises:
        AppError: there is no such app; the message is one line that says what is missing.
        TypeError: options for a WSGI app, which takes none.
    """
    loaded = load_app(target)
    if loaded.interface == "wsgi":
        if options:
            raise TypeError(f"{loaded.name} is a WSGI app already, and takes no {', '.join(options)}")
        wsgi_app: WSGIApplication = loaded.app
        return wsgi_app
    return ASGIToWSGI(as_asgi3(loaded.app, loaded.interface), **options)


class _Life:
    """One app's life in one process: its lifespan, and the requests that are running."""

    def __init__(
        self, app: ASGI3Application, loop: BackgroundLoop, buffer_size: int, graceful_timeout: float
    ) -> None:
        self.app = app
        self.loop = loop
        self.buffer_size = buffer_size
        self.state: dict[str, Any] = {}
        self.taking = threading.Lock()
        """Held by a thread of the server's that takes parts, and by a call that begins to wait for that."""
        self._graceful_timeout = graceful_timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Event | None = None
        self._lifespan: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Enter the lifespan.

        Raises:
            BridgeError: the app reported that it does not start.
        """
        self.loop.run(self._enter())

    def end(self) -> None:
        """Wait for the requests, then leave the lifespan; what it raises is logged."""
        try:
            self.loop.run(self._leave())
        except Exception:
            logger.exception("the lifespan failed to shut down")

    def begin(self, call: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        """Run a call of the app as a task; on the loop."""
        task = self.loop.create_task(call, context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enter(self) -> None:
        # One task enters and leaves: cancel scopes and context variables belong to a task.
        self._stopping = asyncio.Event()
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lifespan = self.loop.create_task(self._live(entered, self._stopping))
        await asyncio.wait((entered, self._lifespan), return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await self._lifespan

    async def _live(self, entered: "asyncio.Future[None]", stopping: asyncio.Event) -> None:
        async with running(self.app) as state:
            self.state = state
            entered.set_result(None)
            await stopping.wait()

    async def _leave(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._graceful_timeout)
            for task in late:
                task.cancel()
        if self._lifespan is not None and self._stopping is not None:
            self._stopping.set()
            await asyncio.wait_for(self._lifespan, self._graceful_timeout)


# Kinds of items in the queue from the loop to the thread, each with a value.
_PART = "part"  # bytes of the response, more follow
_LAST = "last"  # the last bytes of the response
_FILE = "file"  # the path of a file, which is the whole body
_READ = "read"  # the app waits for a piece of the body
_HINTS = "hints"  # header fields for a 103
_END = "end"  # the app has ended before its response; the value is why


class _Response:
    """The server's side of a request: starts the app, reads the body for it, and is the response's iterable.

    The server's thread runs all of it.
    """

    __slots__ = ("_body", "_call", "_data", "_later", "_more", "_size")

    def __init__(self, call: "_Call", body: "_Body") -> None:
        self._call = call
        self._body = body
        self._data: bytes | None = None
        self._more = True
        self._size = 0  # of what the server has taken last
        self._later: tuple[str, Any] | None = None  # an item that came behind parts

    def start(self, start_response: StartResponse) -> Iterable[bytes]:
        """Start the app; wait for the beginning of its response."""
        call = self._call
        call.post()
        try:
            kind, data = self._next()
            assert call.head is not None
            status, headers = call.head
            self._data, self._more = data, kind is _PART
            body: Iterable[bytes] = self
            if kind is _FILE:
                # The server knows its own wrapper, and sends the file by sendfile.
                body = call.environ["wsgi.file_wrapper"](open(data, "rb"), _PIECE)  # noqa: SIM115  # it closes it
                self.close()
            start_response(_STATUS_LINES.get(status) or f"{status} Unknown", headers)
        except BaseException:
            self.close()
            raise
        return body

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data, self._data = self._data, None
        if data is None:
            if not self._more:
                raise StopIteration
            self._call.take(self._size)
            kind, data = self._next()
            self._more = kind is _PART
        self._size = len(data)
        return data

    def close(self) -> None:
        """Let the app know that nobody wants more, and undo what it has set of context variables."""
        self._call.leave()
        self._call.context.undo()

    def _next(self) -> tuple[str, Any]:
        """Wait for more of the response, and do meanwhile what the app asks for.

        Returns:
            `_PART` or `_LAST` and all bytes that are there, or `_FILE` and a path.
        """
        items = self._call.items
        parts: list[bytes] = []
        while True:
            try:
                kind, value = self._later or (items.get_nowait() if parts else items.get())
            except Empty:
                break
            self._later = None
            if kind is _PART:
                parts.append(value)
            elif kind is _LAST:
                self._call.context.carry_back(noted=True)
                return _LAST, b"".join((*parts, value)) if parts else value
            elif parts:  # the server gets them first: what follows may take long, or raise
                self._later = (kind, value)
                break
            elif kind is _FILE:
                return kind, value
            elif kind is _READ:
                self._call.feed(self._body.read())
            elif kind is _HINTS:
                self._call.environ["wsgi.early_hints"](value)
            else:
                self._call.context.carry_back(noted=True)
                try:
                    raise value
                finally:
                    del value  # its traceback holds this frame
        self._call.context.carry_back(noted=True)
        return _PART, b"".join(parts)


class _Call:
    """The app's side of a request: its task on the loop, with `receive` and `send`.

    The server's thread runs the first group of methods, and writes `taken` and `has_left`; the loop's thread
    runs and writes all else.
    """

    __slots__ = (
        "_changed",
        "_has_sent",
        "_is_asked",
        "_is_over",
        "_life",
        "_pieces",
        "_sent",
        "_stalled",
        "context",
        "environ",
        "has_left",
        "head",
        "items",
        "taken",
    )

    def __init__(self, environ: WSGIEnvironment, life: _Life, *, has_body: bool) -> None:
        self.environ = environ
        self.context = CallContext()
        """The app's; while its response is iterated, the server's thread has the variables that it sets."""
        self.items: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        """What the server's thread has to do: a kind and a value each."""
        self.head: tuple[int, _Headers] | None = None
        """Status and headers; there when the first part of the body is among the items."""
        self.taken = 0
        """Bytes of the response that the server has taken."""
        self.has_left = False
        """Whether the client has left, or has all that it wanted."""
        self._life = life
        # Pieces of the body, and whether more follow; None: it broke off.
        self._pieces: deque[tuple[bytes, bool] | None] = deque([] if has_body else [(b"", False)])
        self._is_asked = not has_body  # whether the thread reads a piece, or has read the last
        self._is_over = False  # the response
        self._has_sent = False  # a part of the body
        self._sent = 0  # bytes of the response
        self._stalled = 0  # calls of `send` that wait until more is taken
        # Set when the thread has done something; made at the start.
        self._changed: asyncio.Event | None = None

    # The server's thread

    def post(self) -> None:
        """Have the loop start the app, or look at what has changed."""
        self._life.loop.mailbox.post(self)

    def feed(self, piece: tuple[bytes, bool] | None) -> None:
        """Hand the app a piece of the body."""
        self._pieces.append(piece)
        self.post()

    def take(self, size: int) -> None:
        """Note that the server has taken so many bytes, and asks for more."""
        with self._life.taking:
            self.taken += size
            is_awaited = self._stalled > 0
        if is_awaited:
            self.post()

    def leave(self) -> None:
        """Note that the server reads no further."""
        if not self.has_left:
            self.has_left = True
            if not self._is_over:
                self.post()

    # The loop's thread

    def wake(self) -> None:
        """Start the app, or let it look at what the thread has done."""
        if self._changed is None:
            self._changed = asyncio.Event()
            self._life.begin(self._run(), self.context.context)
        else:
            self._changed.set()

    async def _run(self) -> None:
        failure: BaseException | None = None
        try:
            await self._life.app(build_scope(self.environ, self._life.state), self._receive, self._send)
        except asyncio.CancelledError:
            self._end(BridgeError("the end of the process has cut the request short"))
            raise
        except BaseException as error:  # noqa: BLE001  # raised in the server's thread; SystemExit ends no loop
            failure = error
        self._end(failure)
        del failure  # it holds this frame

    async def _receive(self) -> Any:
        """Return the next event for the app (ASGI spec, "Request" and "Disconnect")."""
        while not self._pieces:
            if self.has_left or self._is_over:
                return {"type": "http.disconnect"}
            if not self._is_asked:
                self._is_asked = True
                self.items.put((_READ, None))
            await self._change()
        piece = self._pieces[0]
        if piece is None:
            return {"type": "http.disconnect"}
        self._pieces.popleft()
        data, more = piece
        self._is_asked = not more
        return {"type": "http.request", "body": data, "more_body": more}

    async def _send(self, event: Any) -> None:
        """Take an event from the app; wait while the client is too far behind.

        Raises:
            ClientDisconnected: the client has left.
            RuntimeError: the event is out of order.
            ApplicationError: it cannot be sent.
        """
        if self.has_left and not self._is_over:
            raise ClientDisconnected("the client has left")
        kind = event["type"]
        if kind == "http.response.body":
            status, headers = self._expect_body(kind)
            data = bytes(event.get("body", b""))
            if not event.get("more_body", False):
                has_body = status not in (204, 304) and self.environ["REQUEST_METHOD"] != "HEAD"
                has_length = any(name.lower() == "content-length" for name, _ in headers)
                if has_body and not has_length and not self._has_sent:
                    headers.append(("content-length", str(len(data))))
                self._finish(_LAST, data)
                return
            self._has_sent = True
            self._put(_PART, data)
            self._sent += len(data)
            if self._sent - self.taken > self._life.buffer_size:
                await self._until_taken()
        elif kind == "http.response.start":
            if self.head is not None:
                raise RuntimeError("the app sent http.response.start twice (ASGI spec, Response Start)")
            self.head = _check_head(event)
        elif kind == PATHSEND:
            self._expect_body(kind)
            self._finish(_FILE, event["path"])
        elif kind == EARLY_HINTS:
            if "wsgi.early_hints" in self.environ:
                self.items.put((_HINTS, [("Link", link.decode("latin-1")) for link in event["links"]]))
        elif kind != "http.response.trailers":  # which a WSGI server has no place for
            raise RuntimeError(f"the app sent {kind}; expected was http.response.start or http.response.body")

    def _expect_body(self, kind: str) -> tuple[int, _Headers]:
        if self.head is None:
            raise RuntimeError(f"the app sent {kind} before http.response.start (ASGI spec, HTTP)")
        if self._is_over:
            raise RuntimeError(f"the app sent {kind} after the end of its response (ASGI spec, HTTP)")
        return self.head

    def _finish(self, kind: str, value: Any) -> None:
        self._is_over = True
        self._put(kind, value)
        if self._changed is not None:
            self._changed.set()

    def _end(self, failure: BaseException | None) -> None:
        """Tell whoever is left that the app has ended."""
        if self._is_over or self.has_left:
            if failure is not None and (self._is_over or not _comes_of_leaving(failure)):
                when = "its response" if self._is_over else "its client had left"
                logger.error("the app failed after %s", when, exc_info=failure)
            return
        self._is_over = True
        if failure is None:
            missing = "the whole response" if self.head is None else "the end of its body"
            failure = ApplicationError(f"the app returned before it had sent {missing} (ASGI spec, HTTP)")
        self._put(_END, failure)

    def _put(self, kind: str, value: Any) -> None:
        """Leave a part or the end for the thread, which then sets the variables that the app has set."""
        self.context.note()
        self.items.put((kind, value))

    async def _until_taken(self) -> None:
        """Wait until the client is half as far behind as it may be, so that not every part wakes the app."""
        most = self._life.buffer_size // 2
        with self._life.taking:
            self._stalled += 1
        try:
            while self._sent - self.taken > most:
                if self.has_left:
                    raise ClientDisconnected("the client has left")
                await self._change()
        finally:
            self._stalled -= 1

    async def _change(self) -> None:
        """Wait until the thread has done something."""
        assert self._changed is not None
        self._changed.clear()
        await self._changed.wait()


class _Body:
    """The request's body, read in pieces by the server's thread.

    It ends after CONTENT_LENGTH bytes. A body without a length is a chunked one (RFC 9112, 6.3), or one of
    HTTP/2; it ends where `wsgi.input` does, if the server says that it does.
    """

    __slots__ = ("_left", "_read", "is_empty", "is_unbounded")

    def __init__(self, environ: WSGIEnvironment) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        has_coding = "HTTP_TRANSFER_ENCODING" in environ
        self._left: int | None = None
        self._read: Callable[[int], bytes] = environ["wsgi.input"].read
        self.is_unbounded = False
        """Whether there is a body, and nothing to tell its end by."""
        if length.isdecimal() and not has_coding:
            self._left = int(length)
        elif has_coding or not environ.get("SERVER_PROTOCOL", "HTTP/1.1").startswith("HTTP/1"):
            if "uwsgi.version" in environ:
                import uwsgi  # type: ignore[import-untyped]  # there only inside of uWSGI

                # Its `wsgi.input` has nothing of a chunked body.
                self._read = lambda size: bytes(uwsgi.chunked_read())
            elif not environ.get("wsgi.input_terminated"):
                self.is_unbounded = has_coding
                self._left = 0
        else:
            self._left = 0
        self.is_empty = self._left == 0

    def read(self) -> tuple[bytes, bool] | None:
        """Wait for a piece; return it, and whether more follow. None: the body broke off."""
        left = self._left
        try:
            data = self._read(_PIECE if left is None else min(_PIECE, left))
        except OSError as error:  # as servers tell that the client has left
            logger.debug("the body broke off: %r", error)
            return None
        if left is None:
            return data, bool(data)
        self._left = left - len(data)
        return (data, self._left > 0) if data else None


def _comes_of_leaving(failure: BaseException | None) -> bool:
    """Whether an app raised this because its client has left.

    Unlike `core.call.comes_from_disconnect`, it looks at the context, too: Starlette raises an error of its
    own in an `except`, without `from`.
    """
    while failure is not None and not isinstance(failure, ClientDisconnected):
        failure = failure.__cause__ or failure.__context__
    return failure is not None


def _check_app(app: object) -> None:
    if not callable(app):
        raise TypeError(f"ASGIToWSGI takes an ASGI application, a callable; {app!r} is not callable")
    found = detect_interface(app)
    if found == "wsgi":
        raise TypeError(
            f"ASGIToWSGI takes an ASGI application; {app!r} is a WSGI application: give it to the WSGI "
            "server as it is"
        )
    if found == "asgi2":
        raise TypeError(
            f"ASGIToWSGI takes an ASGI application of version 3; {app!r} is one of version 2: wrap it in "
            "asgiref.compatibility.double_to_single_callable"
        )
    check_no_class("ASGIToWSGI", app, "asgi")
    reason = why_not_callable_as(app, "asgi")
    if reason is not None:
        raise TypeError(f"ASGIToWSGI takes an ASGI application; {app!r} {reason}")


def _check_head(event: Any) -> tuple[int, _Headers]:
    """Return the status and the headers of the response, as WSGI has them.

    Raises:
        ApplicationError: they cannot be sent.
    """
    status = event["status"]
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ApplicationError(
            f"the app sent http.response.start with status={status!r}; expected was 200 to 999"
        )
    headers = []
    for name, value in event.get("headers") or ():
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise ApplicationError(
                f"the app sent the header {name!r} with a line break or a null in its value (RFC 9110, 5.5)"
            )
        if name.lower() in HOP_BY_HOP:
            logger.debug("the header %r is the server's own, and was dropped (PEP 3333)", name)
        else:
            headers.append((name.decode("latin-1"), value.decode("latin-1")))
    return status, headers

"""The link between a call in a worker thread and its ASGI host on the event loop.

The worker leaves events in the link and goes on; the host's own task, which is awaiting the call, picks them
up and sends them. What crosses the border between the two threads is kept small, for each crossing costs
more than the work it carries:

- Links that have something for the loop queue up in its `Mailbox`, and one `call_soon_threadsafe` wakes the
  loop for all of them. A link that waits there already is not queued again.
- Chunks that pile up while the loop is busy leave as one. Nothing is delayed by it.
- The worker waits only when the client is more than `buffer_size` behind.

A response that takes longer is watched: every ASGI host makes `send` do nothing after a disconnect, so that
only a pending `receive()` tells that the client has left. Short responses are spared the Task it takes.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from bridge.errors import ClientDisconnected
from bridge.types import (
    HTTPDisconnectEvent,
    HTTPReceive,
    HTTPRequestSideEvent,
    HTTPResponseBodyEvent,
    HTTPResponseEvent,
    HTTPScope,
    HTTPSend,
    WSGIApplication,
)
from bridge.wsgi_to_asgi.call import run_call
from bridge.wsgi_to_asgi.threads import Worker, WorkerPool

__all__ = ["Mailbox", "ThreadLink"]

# Seconds after which a stream no longer counts as a request being worked on.
_LONG_STREAM = 1.0

# Bytes of a chunk that the host gets at once. A host copies what the socket does not take; in slices, it says
# stop before it has copied much. 10 MiB at once cost 487 MB at four connections.
_SLICE = 262144

_DISCONNECT: HTTPDisconnectEvent = {"type": "http.disconnect"}

_LEFT = "the client has disconnected"
_CANCELLED = "the host has cancelled the request"
_HOST_FAILED = "the host has failed to receive or to send"
_STOPPING = "the server is stopping, and this stream has no end of its own"


class Mailbox:
    """The links that have something for one event loop.

    Args:
        loop: the loop that is woken.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._links: deque[ThreadLink] = deque()
        self._woken = False

    def post(self, link: "ThreadLink") -> None:
        """Have the loop look after a link. Called from worker threads.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._links.append(link)
        # Two threads may both find it False: the loop then wakes once more than it had to.
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that a link posted from here on wakes the loop again rather than wait for ever.
        self._woken = False
        links = self._links
        while links:
            links.popleft().wake()


class ThreadLink:
    """Both ends of one call: `run`, `send` and `receive` for the thread, the rest for the loop.

    Args:
        app: the WSGI application to call.
        scope: the request's ASGI scope.
        state: the lifespan state of the app.
        receive: the host's `receive`.
        send: the host's `send`.
        mailbox: that of the running loop.
        pool: whose worker runs the call.
        streams: where the link is to be found while it streams.
        buffer_size: how many bytes the client may be behind before the app has to wait.
    """

    __slots__ = (
        "_ahead",
        "_ahead_taken",
        "_app",
        "_buffer_size",
        "_buffered",
        "_carried",
        "_changed",
        "_context",
        "_delivered",
        "_ending",
        "_events",
        "_failure",
        "_finished",
        "_gone",
        "_headers",
        "_lock",
        "_mailbox",
        "_pool",
        "_posted",
        "_receive",
        "_scope",
        "_send",
        "_state",
        "_stream",
        "_streams",
        "_timer",
        "_waiter",
        "_wants_event",
        "_watcher",
        "_worker",
    )

    def __init__(
        self,
        app: WSGIApplication,
        scope: HTTPScope,
        state: Mapping[str, Any],
        receive: HTTPReceive,
        send: HTTPSend,
        *,
        mailbox: Mailbox,
        pool: WorkerPool,
        streams: "set[ThreadLink]",
        buffer_size: int,
    ) -> None:
        self._app = app
        self._scope = scope
        self._state = state
        self._receive = receive
        self._send = send
        self._mailbox = mailbox
        self._pool = pool
        self._streams = streams
        self._buffer_size = buffer_size
        self._context = contextvars.copy_context()

        # Shared by both threads, under the lock.
        self._lock = threading.Lock()
        self._changed: threading.Condition | None = None  # made when the worker first has to wait
        self._events: list[HTTPResponseEvent] = []  # from the app, not yet taken by the loop
        self._buffered = 0  # bytes from the app, not yet taken by the host
        self._posted = False
        self._wants_event = False
        self._delivered: HTTPRequestSideEvent | None = None
        self._finished = False
        self._gone: str | None = None  # why there is nobody left to talk to
        self._failure: BaseException | None = None
        self._worker: Worker | None = None

        # The loop's own.
        self._waiter: asyncio.Future[None] | None = None
        self._carried: dict[contextvars.ContextVar[Any], contextvars.Token[Any]] | None = None
        self._stream: Literal["no", "started", "watched"] = "no"
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead: HTTPRequestSideEvent | None = None  # received by the watcher before the app asked
        self._ahead_taken: asyncio.Future[None] | None = None
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._ending = False

    # The worker's side

    def run(self, worker: Worker) -> None:
        """Make the call, in a worker thread."""
        failure: BaseException | None = None
        self._worker = worker
        if self._gone is None:
            try:
                self._context.run(run_call, self._app, self._scope, self._state, self)
            except BaseException as error:  # noqa: BLE001  # kept for the host, which must hear of it
                failure = error
        with self._lock:
            self._failure = failure
            self._finished = True
            self._worker = None
            must_post = not self._posted
            self._posted = True
        if must_post:
            self._post(ignore_closed_loop=True)

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        """Leave events for the host; wait while more than `buffer_size` bytes are on their way.

        Raises:
            ClientDisconnected: the client has left, or the host has given the request up.
        """
        last = events[-1]
        size = len(last["body"]) if last["type"] == "http.response.body" else 0
        with self._lock:
            if self._gone is not None:
                raise ClientDisconnected(self._gone)
            self._events.extend(events)
            self._buffered += size
            must_wait = self._buffered > self._buffer_size and last.get("more_body", False)
            must_post = not self._posted
            self._posted = True
        if must_post:
            self._post()
        if must_wait:
            self._wait_for_room()

    def receive(self) -> HTTPRequestSideEvent:
        """Wait for the host's next event; `http.disconnect` if there is none to come."""
        with self._lock:
            if self._gone is not None:
                return _DISCONNECT
            self._wants_event = True
            must_post = not self._posted
            self._posted = True
        if must_post:
            self._post()
        with self._lock:
            self._wait_until(lambda: self._delivered is not None)
            event, self._delivered = self._delivered, None
            self._wants_event = False
        return _DISCONNECT if event is None else event

    def _wait_for_room(self) -> None:
        # Down to half, so that a slow client does not wake the thread for every chunk.
        low = self._buffer_size // 2
        with self._lock:
            self._wait_until(lambda: self._buffered <= low)
            if self._gone is not None:
                raise ClientDisconnected(self._gone)

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait, with the lock held, until it is so or there is nobody left to make it so."""
        if self._changed is None:
            self._changed = threading.Condition(self._lock)
        self._changed.wait_for(lambda: reached() or self._gone is not None)

    def _post(self, *, ignore_closed_loop: bool = False) -> None:
        try:
            self._mailbox.post(self)
        except RuntimeError:  # the loop is closed: its host has gone without waiting for us
            self._gone = "the host's event loop is closed"
            if not ignore_closed_loop:
                raise ClientDisconnected(self._gone) from None

    # The loop's side

    def wake(self) -> None:
        """Have `serve` look again at what there is to do."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def serve(self) -> None:
        """Do for the host what the worker asks for, until the call has ended.

        Raises:
            ApplicationError: the response was cut short.
            Exception: what the host's `send` or `receive` raised.
        """
        try:
            await self._serve()
        except BaseException as error:
            # The thread is told, but not waited for: it may be busy, and this is to end now.
            self._leave(_CANCELLED if isinstance(error, asyncio.CancelledError) else _HOST_FAILED)
            raise
        finally:
            self._stop_watching()
        self._carry_context()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def end_event_stream(self) -> None:
        """Bring the response to its end, if it is a stream of server-sent events, which has none."""
        if self._gone is None and _is_event_stream(self._headers):
            self._ending = True
            self._leave(_STOPPING)
            self.wake()

    async def _serve(self) -> None:
        while True:
            with self._lock:
                finished = self._finished
                wants_event = self._wants_event and self._delivered is None and self._gone is None
                # None, not the empty list: the worker may fill that one before it is looked at again.
                events = self._events or None
                if events is not None:
                    self._events = []
                elif not wants_event and not finished:
                    self._posted = False
            if events is not None:
                await self._send_events(events)
            elif finished:
                return
            elif not wants_event:
                await self._sleep()
            elif self._stream == "watched":
                await self._deliver_ahead()
            else:
                self._deliver(await self._receive_event())

    async def _sleep(self) -> None:
        """Wait until there is something to do."""
        if self._ending and self._stream != "no":
            self._stream = "no"
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        elif self._stream == "started":
            self._watch()
        self._waiter = self._mailbox.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _send_events(self, events: list[HTTPResponseEvent]) -> None:
        if self._stream == "started":
            self._watch()
        if len(self._context):
            self._carry_context()
        for event in _in_good_sizes(events):
            if self._gone is not None:
                return
            try:
                await self._send(event)
            except OSError:  # the ASGI spec lets `send` say so that the client has left
                self._leave(_LEFT)
                return
            if event["type"] == "http.response.body":
                self._count_sent(len(event["body"]))
            elif event["type"] == "http.response.start":
                self._headers = event["headers"]
        if self._stream == "no":
            if events[-1].get("more_body", False):
                self._stream = "started"
        elif not events[-1].get("more_body", False):
            self._stream = "no"

    def _count_sent(self, size: int) -> None:
        with self._lock:
            self._buffered -= size
            if self._changed is not None:
                self._changed.notify_all()

    async def _receive_event(self) -> HTTPRequestSideEvent:
        try:
            return await self._receive()
        except OSError:
            return _DISCONNECT

    def _deliver(self, event: HTTPRequestSideEvent) -> None:
        """Hand an event to the app."""
        if event["type"] == "http.disconnect":
            self._leave(_LEFT)
            return
        with self._lock:
            self._delivered = event
            if self._changed is not None:
                self._changed.notify_all()

    async def _deliver_ahead(self) -> None:
        """Hand over the event that the watcher has received, or wait for it."""
        if self._ahead is None:
            await self._sleep()
            return
        event, self._ahead = self._ahead, None
        self._deliver(event)
        if self._ahead_taken is not None:
            self._ahead_taken.set_result(None)
            self._ahead_taken = None

    def _leave(self, reason: str) -> None:
        """Tell the worker that there is nobody to talk to any more."""
        with self._lock:
            if self._gone is None:
                self._gone = reason
            self._events = []
            self._buffered = 0
            if self._changed is not None:
                self._changed.notify_all()

    # Streams

    def _watch(self) -> None:
        """Begin to listen for the disconnect, and to count the seconds."""
        self._stream = "watched"
        loop = self._mailbox.loop
        self._streams.add(self)
        self._watcher = loop.create_task(self._watch_for_disconnect())
        self._timer = loop.call_later(_LONG_STREAM, self._move_off)

    def _stop_watching(self) -> None:
        if self._watcher is None or self._timer is None:
            return
        self._streams.discard(self)
        self._timer.cancel()
        self._watcher.cancel()

    async def _watch_for_disconnect(self) -> None:
        """Receive ahead of the app, one event at most, until the client leaves."""
        while True:
            event = await self._receive_event()
            if event["type"] == "http.disconnect":
                self._leave(_LEFT)
                self.wake()
                return
            self._ahead = event
            if event.get("more_body", False):
                self._ahead_taken = taken = self._mailbox.loop.create_future()
            else:
                taken = None
            self.wake()
            if taken is not None:
                await taken

    def _move_off(self) -> None:
        worker = self._worker
        if worker is not None:
            self._pool.move_off(worker, self)

    # Context variables

    def _carry_context(self) -> None:
        """Make the context variables that the app has set visible to the host, and unset those it unset."""
        for variable, value in self._context.items():
            if variable.get(_UNSET) is not value:
                token = variable.set(value)
                if self._carried is None:
                    self._carried = {}
                self._carried.setdefault(variable, token)
        if self._carried is not None:
            for variable in [variable for variable in self._carried if variable not in self._context]:
                variable.reset(self._carried.pop(variable))


_UNSET: Any = object()


def _is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )


def _in_good_sizes(events: Iterable[HTTPResponseEvent]) -> Iterator[HTTPResponseEvent]:
    """The same events with their bodies joined where they are small, and sliced where they are large."""
    bodies: list[bytes] = []
    size = 0
    more = True
    for event in events:
        if event["type"] != "http.response.body":
            yield event
            continue
        bodies.append(event["body"])
        size += len(event["body"])
        more = event["more_body"]
        if size >= _SLICE:
            yield from _slices(b"".join(bodies), more)
            bodies, size = [], 0
    if bodies:
        yield {"type": "http.response.body", "body": b"".join(bodies), "more_body": more}


def _slices(body: bytes, more: bool) -> Iterator[HTTPResponseBodyEvent]:
    end = len(body)
    for start in range(0, end, _SLICE):
        stop = start + _SLICE
        yield {"type": "http.response.body", "body": body[start:stop], "more_body": more or stop < end}

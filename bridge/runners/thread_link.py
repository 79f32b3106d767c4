"""The link between a call in a worker thread and its ASGI host on the event loop.

The worker leaves events in the link and goes on; the host's own task, which is awaiting the call, picks them
up and sends them. What crosses the border between the two threads is kept small, for each crossing costs
more than the work it carries:

- Links that have something for the loop queue up in its `Mailbox`, and one `call_soon_threadsafe` wakes the
  loop for all of them. A link that waits there already is not queued again.
- Chunks that pile up while the loop is busy leave as one. Nothing is delayed by it.
- The worker waits only when the client is more than `buffer_size` behind, or when it has read more of the
  body than has come.

A request with a longer body, or a longer response, gets a reader: a task that receives ahead of the app, by
`buffer_size` or one event. For a body it means that app and network work at the same time. For a response it
is the only way to hear of a disconnect, after which every ASGI host makes `send` do nothing. Short requests
with short responses are spared it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from bridge.asgi.events import EVENT_COST, has_more, is_event_stream, size_of
from bridge.asgi.pieces import in_good_sizes
from bridge.errors import BridgeError, ClientDisconnected
from bridge.runners import reasons
from bridge.runners.context import CallContext
from bridge.runners.loop_access import CURRENT_LOOP, LoopAccess
from bridge.runners.mailbox import Mailbox
from bridge.runners.streams import Streams
from bridge.runners.threads import Worker, WorkerPool
from bridge.types import (
    HTTPDisconnectEvent,
    HTTPReceive,
    HTTPRequestSideEvent,
    HTTPResponseEvent,
    HTTPSend,
)

__all__ = ["ThreadLink"]

# Seconds after which a stream no longer counts as a request being worked on.
_LONG_STREAM = 1.0

_DISCONNECT: HTTPDisconnectEvent = {"type": "http.disconnect"}


class ThreadLink:
    """Both ends of one call: `run`, `send` and `receive` for the thread, the rest for the loop.

    Args:
        call: what the worker does, with this link; it may raise what the host has to hear.
        receive: the host's `receive`.
        send: the host's `send`.
        mailbox: that of the running loop.
        pool: whose worker runs the call.
        streams: where the link is to be found while it streams.
        buffer_size: how many bytes the client may be behind before the app has to wait.
    """

    on_loop = None  # the call is made in a thread
    __slots__ = (
        "_access",
        "_body_received",
        "_buffer_size",
        "_buffered",
        "_call",
        "_changed",
        "_context",
        "_ending",
        "_events",
        "_failure",
        "_finished",
        "_given_up",
        "_gone",
        "_headers",
        "_host_failure",
        "_is_read_elsewhere",
        "_lock",
        "_mailbox",
        "_open",
        "_pool",
        "_posted",
        "_reader",
        "_receive",
        "_received",
        "_received_size",
        "_room_to_read",
        "_send",
        "_sending",
        "_streams",
        "_timer",
        "_waiter",
        "_wants_event",
        "_worker",
        "is_complete",
    )

    def __init__(
        self,
        call: Callable[["ThreadLink"], None],
        receive: HTTPReceive,
        send: HTTPSend,
        *,
        mailbox: Mailbox,
        pool: WorkerPool,
        streams: Streams,
        buffer_size: int,
    ) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._mailbox = mailbox
        self._pool = pool
        self._streams = streams
        self._buffer_size = buffer_size
        self._access = LoopAccess(mailbox.loop)
        token = CURRENT_LOOP.set(self._access)
        self._context = CallContext()
        CURRENT_LOOP.reset(token)

        # Shared by both threads, under the lock.
        self._lock = threading.Lock()
        self._changed: threading.Condition | None = None  # made when the worker first has to wait
        self._events: list[HTTPResponseEvent] = []  # from the app, not yet taken by the loop
        self._buffered = 0  # bytes from the app, not yet taken by the host
        self._posted = False
        self._received: deque[HTTPRequestSideEvent] = deque()  # from the host, not yet taken by the app
        self._received_size = 0
        self._wants_event = False
        self._is_read_elsewhere = False  # by a thread that the app has started for it
        self.is_complete = False  # the response has been sent to its end
        self._finished = False
        self._gone: str | None = None  # why there is nobody left to talk to
        self._failure: BaseException | None = None
        self._worker: Worker | None = None

        self._waiter: asyncio.Future[None] | None = None
        self._sending = False
        self._open = False  # the response has begun, and has not ended
        self._body_received = False  # all of it, from the host
        self._reader: asyncio.Task[None] | None = None
        self._room_to_read: asyncio.Future[None] | None = None  # what the reader waits for, when it is ahead
        self._timer: asyncio.TimerHandle | None = None
        self._host_failure: Exception | None = None
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._ending = False
        self._given_up = False

    # The worker's side

    def run(self, worker: Worker) -> None:
        """Make the call, in a worker thread."""
        failure: BaseException | None = None
        self._worker = worker
        if self._gone is None:
            try:
                self._context.run(self._call, self)
            except BaseException as error:  # noqa: BLE001  # kept for the host, which must hear of it
                failure = error
        with self._lock:
            self._failure = failure
            self._finished = True
            self._worker = None
            if self._changed is not None:
                self._changed.notify_all()  # a thread of the app's own may still be waiting
            self._post_with_lock()
        del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    def send(self, events: Sequence[HTTPResponseEvent]) -> None:
        """Leave events for the host; wait while more than `buffer_size` bytes are on their way.

        Raises:
            ClientDisconnected: the client has left, or the host has given the request up, or the app keeps
                sending after its call has ended.
        """
        with self._lock:
            if self._gone is not None or self._finished:
                raise self._disconnected()
            if not events:
                return
            last = events[-1]
            size = size_of(last) + EVENT_COST
            self._events.extend(events)
            self._buffered += size
            self._post_with_lock()
            if last["type"] == "http.response.pathsend":
                # The app closes its file after this, and may delete it then.
                self._wait_until(lambda: self.is_complete)
            elif self._buffered > self._buffer_size and has_more(last):
                # Down to half, so that a slow client does not wake the thread for every chunk.
                low = self._buffer_size // 2
                self._wait_until(lambda: self._buffered <= low)
            else:
                return
            if self._gone is not None:
                raise self._disconnected()

    def answer(self, produce: Callable[["ThreadLink"], None]) -> None:
        """Have the response produced here: a worker thread may be kept waiting."""
        produce(self)

    def receive(self) -> HTTPRequestSideEvent:
        """Wait for the host's next event.

        Raises:
            ClientDisconnected: there is none to come.
        """
        with self._lock:
            if not self._received and not self._finished:
                self._wants_event = True
                worker = self._worker
                self._is_read_elsewhere = worker is None or worker.thread.ident != threading.get_ident()
                self._posted = False  # also a host that is busy sending has to hear of it
                self._post_with_lock()
                self._wait_until(lambda: bool(self._received))
                self._wants_event = False
            if not self._received:
                raise self._disconnected()
            event = self._received.popleft()
            self._received_size -= size_of(event) + EVENT_COST
            if self._room_to_read is not None:
                self._posted = False
                self._post_with_lock()
        return event

    def _disconnected(self) -> ClientDisconnected:
        self._access.is_told = True
        return ClientDisconnected(self._gone or reasons.OVER)

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait, with the lock held, until it is so or there is nobody left to make it so."""
        if self._access.is_here():
            raise BridgeError(
                "plain code on the event loop read the request's body, or wrote the response, which would "
                "stop all others; in an async view, use Flask's own request"
            )
        if self._changed is None:
            self._changed = threading.Condition(self._lock)
        self._changed.wait_for(lambda: reached() or self._gone is not None or self._finished)

    def _post_with_lock(self) -> None:
        """Have the loop look after this link; the lock is held."""
        if self._posted:
            return
        self._posted = True
        try:
            self._mailbox.post(self)
        except RuntimeError:  # the loop is closed: the host has ended without waiting for the call
            self._gone = reasons.LOOP_CLOSED

    # The loop's side

    def wake(self) -> None:
        """Look again at what there is to do; called by the mailbox, on the loop."""
        self._let_reader_go_on()
        if self._sending and self._wants_event:
            # The client may not take this before it has sent the rest: a client that echoes, say.
            self._read_ahead()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def refuse(self, failure: Exception) -> None:
        """End a call that no thread will make; `serve` raises the failure."""
        self._failure = failure
        self._finished = True
        self.wake()

    async def serve(self) -> None:
        """Do for the host what the worker asks for, until the call has ended.

        Raises:
            ApplicationError: the response was cut short.
            Exception: what the host's `send` or `receive` raised.
        """
        try:
            await self._serve()
        except GeneratorExit:  # the loop has been closed, and nothing can be awaited any more
            self._leave(reasons.LOOP_CLOSED)
            raise
        except BaseException as error:
            # The thread is told, but not waited for: it may be busy, and this is to end now.
            is_cancelled = isinstance(error, asyncio.CancelledError)
            self._leave(reasons.CANCELLED if is_cancelled else reasons.HOST_FAILED)
            await self._stop_watching()
            raise
        await self._stop_watching()
        self._context.carry_back()
        failure: BaseException | None = None if self.is_complete else self._host_failure
        if failure is None and self._gone is None:  # else nobody is left to mind a response cut short
            failure = self._failure
        self._host_failure = self._failure = None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # see run()

    def end(self) -> None:
        """Bring the response to its end, if it is an open stream of server-sent events, which has none.

        The client sees it end at once. The app is waited for a moment only: between two events, a generator
        may be waiting for hours.
        """
        if self._open and self._gone is None and is_event_stream(self._headers):
            self._ending = True
            self._leave(reasons.STOPPING)
            self._mailbox.loop.call_later(reasons.LAST_MOMENT, self._give_up)
            self.wake()

    def _give_up(self) -> None:
        self._given_up = True
        self.wake()

    async def _serve(self) -> None:
        while True:
            with self._lock:
                finished = self._finished
                # None, not the empty list: the worker may fill that one before it is looked at again.
                events = self._events or None
                is_asked = (
                    self._wants_event and not self._received and self._reader is None and self._gone is None
                )
                must_receive = is_asked and events is None and not self._open and not self._is_read_elsewhere
                if events is not None:
                    self._events = []
                    self._buffered -= EVENT_COST * sum(
                        event["type"] != "http.response.start" for event in events
                    )
                elif not must_receive and not finished:
                    self._posted = False
            if is_asked and not must_receive:
                self._read_ahead()  # neither it nor the sending is to wait for the other
            if events is not None:
                self._sending = True
                await self._send_events(events)
                self._sending = False
            elif self._ending and self._open:
                await self._send_end()
            elif finished or self._given_up:
                return
            elif must_receive:
                await self._receive_one()
            else:
                await self._sleep()

    async def _sleep(self) -> None:
        """Wait until there is something to do."""
        if self._open and self._gone is None:
            self._watch()
        self._let_reader_go_on()
        self._waiter = self._mailbox.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _send_events(self, events: list[HTTPResponseEvent]) -> None:
        if self._open:
            self._watch()
        self._context.carry_back()
        for event in in_good_sizes(events, copied=self._mailbox.transports_copy):
            if self._gone is not None:
                return
            try:
                await self._send(event)
            except OSError as error:
                if isinstance(error, TimeoutError) or event["type"] == "http.response.pathsend":
                    raise  # not the client's doing: a middleware's, or a file's that is not there
                # The ASGI spec lets `send` say so that the client has left.
                self._open = False
                self._leave(reasons.LEFT)
                return
            if event["type"] == "http.response.start":
                self._headers = event["headers"]
                self._open = True
            else:
                self._open = has_more(event)
                self._count_sent(size_of(event))
        if self._open and self._streams.are_ending:
            self.end()

    async def _send_end(self) -> None:
        self._open = False
        with suppress(OSError):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _count_sent(self, size: int) -> None:
        with self._lock:
            self._buffered -= size
            self.is_complete = not self._open
            if self._changed is not None:
                self._changed.notify_all()

    def _leave(self, reason: str) -> None:
        """Tell the worker that there is nobody to talk to any more."""
        with self._lock:
            if self._gone is None:
                self._gone = reason
            self._events = []
            self._buffered = 0
            if self._changed is not None:
                self._changed.notify_all()
        self._access.leave(reason)

    async def _receive_one(self) -> None:
        """Receive the one event that most bodies are; have the rest, if there is any, read ahead."""
        await self._receive_part()
        if not self._body_received and self._gone is None:
            self._read_ahead()

    async def _receive_part(self) -> None:
        """Receive a part of the body, and hand it to the app."""
        event = await self._receive_event()
        if event["type"] == "http.disconnect":
            return
        self._body_received = not has_more(event)
        size = size_of(event)
        if not size and not self._body_received:
            return  # says nothing; a client could have us keep millions of them
        with self._lock:
            self._received.append(event)
            self._received_size += size + EVENT_COST
            if self._changed is not None:
                self._changed.notify_all()

    async def _receive_event(self) -> HTTPRequestSideEvent:
        event: HTTPRequestSideEvent
        try:
            event = await self._receive()
        except ConnectionError:
            event = _DISCONNECT
        if event["type"] == "http.disconnect":
            self._leave(reasons.LEFT)
            self.wake()
        return event

    def _read_ahead(self) -> None:
        """Have a task receive from here on, ahead of the app."""
        if self._reader is None:
            self._reader = self._mailbox.loop.create_task(self._read())

    async def _read(self) -> None:
        try:
            while not self._body_received and self._gone is None:
                await self._wait_for_room_to_read()
                await self._receive_part()
            # What is left to come is the disconnect. Middleware that replays a body may give that instead,
            # again and again: it is not asked twice.
            if self._gone is None:
                await self._receive_event()
        except Exception as error:  # noqa: BLE001  # raised to the host, whose `receive` has failed
            self._host_failure = error
            self._leave(reasons.HOST_FAILED)
            self.wake()

    async def _wait_for_room_to_read(self) -> None:
        with self._lock:
            if self._received_size < self._buffer_size:
                return
            self._room_to_read = self._mailbox.loop.create_future()
        await self._room_to_read

    def _let_reader_go_on(self) -> None:
        room = self._room_to_read
        if room is None:
            return
        with self._lock:
            if self._received_size >= self._buffer_size:
                return
            self._room_to_read = None
        if not room.done():
            room.set_result(None)

    def _watch(self) -> None:
        """Begin to listen for the disconnect, and to count the seconds; events are known to take long."""
        if self._timer is None:
            self._streams.links.add(self)
            seconds = 0 if is_event_stream(self._headers) else _LONG_STREAM
            self._timer = self._mailbox.loop.call_later(seconds, self._move_off)
            self._read_ahead()

    async def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._streams.links.discard(self)
        if self._reader is not None:
            self._reader.cancel()
            # A host whose receive() does not hear of it shall not keep the response from its end.
            await asyncio.wait([self._reader], timeout=reasons.LAST_MOMENT)
            self._reader = None  # it holds its own cancellation, whose traceback holds this link

    def _move_off(self) -> None:
        worker = self._worker
        if worker is not None and not self._pool.move_off(worker, self):
            # There are as many such streams as there may be; perhaps there is room for it later.
            self._timer = self._mailbox.loop.call_later(_LONG_STREAM, self._move_off)

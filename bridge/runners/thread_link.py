"""The meeting place of two threads: one makes a call, the other, on the event loop, serves its client.

The rules:

- The worker calls `run`, `read`, `send` and `send_file`; threads that the app has started for itself may call
  the latter three, too. Any thread may ask for `name`. The loop's thread calls the rest. Only the worker's
  side waits.
- Whoever changes the parts, the body or their sizes holds the lock: for a few steps, which call nothing but
  `before_disconnect`. They may be looked at without it, as may `gone`, `failure`, `is_finished`, `worker` and
  `wants_body`: a post or a notification follows, so a thread that has seen an old value looks again.
- The worker's side posts when it leaves the loop something to do: a part, a wait for a body that nobody reads
  ahead, room for more of it, the end. It does so after it has let go of the lock. The loop first notes that
  it looks, then takes what there is, under the lock. So it either finds a thing, or is posted to again.

Crossings between the threads cost more than the work they carry. So the worker leaves its parts and goes on;
it waits only when the client is more than `limit` bytes behind, or when it wants more of the body than came.
"""

import threading
from collections.abc import Callable
from typing import BinaryIO, NamedTuple, Protocol

from bridge.core.link import Head, Link
from bridge.errors import ClientDisconnected
from bridge.runners import reasons
from bridge.runners.host import PART_COST
from bridge.runners.threads import Worker

__all__ = ["LoopSide", "PreparedFile", "ThreadLink", "Work"]


class Work(Protocol):
    """A call, or the rest of one."""

    @property
    def name(self) -> str:
        """The request, for a log line."""

    def run(self, link: Link) -> None:
        """Do it; what this raises is raised to the host."""

    def drop(self) -> None:
        """Let go of it: the host has given the call up before a thread could do it."""


class LoopSide(Protocol):
    """The event loop's side of a link. Its methods are called in other threads."""

    @property
    def reads_ahead(self) -> bool:
        """Whether the loop receives the body ahead of the app, and need not be asked for it."""

    def post(self) -> None:
        """Have the loop look after the link, soon.

        Raises:
            RuntimeError: the loop is closed.
        """

    def before_part(self) -> None:
        """Called before a part is left, with no lock held."""

    def before_wait(self) -> None:
        """Called before each wait; refuses the loop's own thread.

        Raises:
            BridgeError: this is the loop's own thread.
        """

    def before_disconnect(self) -> None:
        """Called before the app gets a `ClientDisconnected`; the link's lock may be held."""

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """See `Host.prepare_file`."""

    def send_file(self, file: object) -> None:
        """Do what is left to do for a prepared file, in the worker's thread: the loop has taken its part.

        Raises:
            ClientDisconnected: the client has left.
        """


class PreparedFile(NamedTuple):
    """Stands for a part's bytes: a file that the host sends itself, as the whole body."""

    file: object


class _Nobody:
    """The loop's side of a link that has finished."""

    reads_ahead = False

    def post(self) -> None:
        pass

    def before_part(self) -> None:
        pass

    def before_wait(self) -> None:
        pass

    def before_disconnect(self) -> None:
        pass

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        return None

    def send_file(self, file: object) -> None:
        pass


_NOBODY = _Nobody()


class ThreadLink:
    """The link of a call in a worker thread.

    Args:
        work: what the worker does.
        loop_side: told when there is something to do for the loop.
        limit: how many bytes the client may be behind before the app waits, and how many of the body may wait
            for the app.
    """

    __slots__ = (
        "_changed",
        "_in",
        "_in_size",
        "_limit",
        "_lock",
        "_loop_side",
        "_out",
        "_out_size",
        "_work",
        "failure",
        "gone",
        "is_finished",
        "wants_body",
        "worker",
    )

    def __init__(self, work: Work, loop_side: LoopSide, limit: int) -> None:
        self._work: Work | None = work
        self._loop_side: LoopSide = loop_side
        self._limit = limit
        self._lock = threading.Lock()
        self._changed: threading.Condition | None = None  # made when somebody first has to wait
        self._out: list[tuple[Head | None, bytes | PreparedFile, bool]] = []
        self._out_size = 0  # bytes from the app that the host has not taken
        self._in: list[bytes] = []  # few pieces: a deque would cost each call 0.6 KB
        self._in_size = 0  # bytes of the body that the app has not taken
        self.wants_body: int | None = None
        """The identifier of the thread that waits for the body; None if none does."""
        self.worker: Worker | None = None
        """The worker that makes the call, while it does."""
        self.is_finished = False
        self.gone: str | None = None
        """Why the client is gone, as a text; None while it is there."""
        self.failure: BaseException | None = None
        """What the work has raised."""

    # The worker's side

    def run(self, worker: Worker) -> None:
        """Do the work; once, in a worker thread."""
        failure: BaseException | None = None
        self.worker = worker
        work = self._work
        try:
            if work is not None and self.gone is None:
                work.run(self)
            elif work is not None:
                work.drop()
        except BaseException as error:  # noqa: BLE001  # kept for the host, if that is still there
            failure = error
        self._finish(failure if self.gone is None else None)
        del failure  # or it would hold this frame, which holds it, until the garbage collector comes

    @property
    def name(self) -> str:
        """The request, for a log line; empty once the work is done."""
        work = self._work
        return "" if work is None else work.name

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Leave a part for the host; wait while more than `limit` bytes are on their way.

        Raises:
            ClientDisconnected: the client has left, or the host has given the request up, or the app keeps
                sending after its call has ended.
        """
        size = len(data)
        self._loop_side.before_part()
        with self._lock:
            if self.gone is not None or self.is_finished:
                raise self._disconnected()
            if more and not size and head is None:
                return
            self._out.append((head, data, more))
            self._out_size += size + PART_COST
            is_behind = more and self._out_size > self._limit
        self._post()
        if is_behind:
            # Down to half, so that a slow client does not wake the thread for every chunk.
            self._wait_for_client(self._limit // 2)

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        """Have the host send a file, if it can; wait until it has: the app closes it next."""
        prepared = self._loop_side.prepare_file(file, size)
        if prepared is None:
            return False
        self._loop_side.before_part()
        with self._lock:
            if self.gone is not None or self.is_finished:
                raise self._disconnected()
            self._out.append((head, PreparedFile(prepared), False))
            self._out_size += PART_COST
        self._post()
        self._wait_for_client(0)
        self._loop_side.send_file(prepared)
        return True

    def read(self) -> bytes:
        """Wait for more of the body; b"" at its end.

        Raises:
            ClientDisconnected: the rest will not come.
        """
        while True:
            with self._lock:
                if self._in:
                    self.wants_body = None
                    data = self._in[0]
                    was_full = self._in_size >= self._limit
                    if data:  # b"" stays, so that every later read gives it
                        del self._in[0]
                        self._in_size -= len(data) + PART_COST
                    has_room_again = was_full and self._in_size < self._limit
                    break
                if self.gone is not None or self.is_finished:
                    raise self._disconnected()
                self.wants_body = threading.get_ident()
            if not self._loop_side.reads_ahead:
                self._post()
            # Another thread may take the piece that comes: then this one has to ask again.
            self._wait_until(lambda: bool(self._in) or self.wants_body is None)
        if has_room_again:
            self._post()
        return data

    def _wait_for_client(self, most: int) -> None:
        """Wait until the client is so many bytes behind at most.

        Raises:
            ClientDisconnected: it has left.
        """
        self._wait_until(lambda: self._out_size <= most)
        if self.gone is not None:
            raise self._disconnected()

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()`, or until the call is over or the client gone."""
        if reached() or self.gone is not None or self.is_finished:
            return
        self._loop_side.before_wait()
        with self._lock:
            if self._changed is None:
                self._changed = threading.Condition(self._lock)
            self._changed.wait_for(lambda: reached() or self.gone is not None or self.is_finished)

    def _finish(self, failure: BaseException | None) -> None:
        with self._lock:
            self.failure = failure
            self.is_finished = True
            self.worker = None
            self._work = None  # it holds the environ, whose wsgi.input holds this
            if self._changed is not None:
                self._changed.notify_all()  # a thread of the app's own may still be waiting
        self._post()
        self._loop_side = _NOBODY  # it holds this
        del failure  # as in `run`

    def _post(self) -> None:
        try:
            self._loop_side.post()
        except RuntimeError:  # the loop is closed: the host has ended without waiting for the call
            self.leave(reasons.LOOP_CLOSED)

    def _disconnected(self) -> ClientDisconnected:
        self._loop_side.before_disconnect()
        return ClientDisconnected(self.gone or reasons.OVER)

    # The loop's side

    def take(self) -> tuple[list[tuple[Head | None, bytes | PreparedFile, bool]], bool]:
        """Take all the parts that the worker has left.

        Returns:
            The parts, and whether the worker has finished: there are no more then.
        """
        with self._lock:
            parts, self._out = self._out, []
            return parts, self.is_finished

    def sent(self, size: int) -> None:
        """Note that the host has taken parts of so many bytes, `PART_COST` for each included."""
        with self._lock:
            self._out_size = max(self._out_size - size, 0)
            if self._changed is not None:
                self._changed.notify_all()

    def feed(self, data: bytes) -> None:
        """Hand the app a piece of the body; b"" is its end."""
        with self._lock:
            self._in.append(data)
            self._in_size += len(data) + PART_COST
            if self._changed is not None:
                self._changed.notify_all()

    @property
    def unread(self) -> int:
        """Bytes of the body that were fed, and that the app has not taken."""
        with self._lock:
            return sum(map(len, self._in))

    @property
    def is_fed(self) -> bool:
        """Whether there is a piece of the body, or its end, that the app has not taken yet."""
        return bool(self._in)

    @property
    def has_room(self) -> bool:
        """Whether the app has taken enough of the body to be fed more, or is about to.

        A piece that it waits for does not count: a network that is slower than the app is never held back.
        """
        return self._in_size < self._limit or (self.wants_body is not None and len(self._in) < 2)

    def leave(self, reason: str) -> None:
        """Tell the worker that the client is gone."""
        with self._lock:
            if self.gone is None:
                self.gone = reason
            self._out = []
            self._out_size = 0
            if self._changed is not None:
                self._changed.notify_all()

    def refuse(self, failure: Exception) -> None:
        """End a call that no thread will make."""
        self._finish(failure)

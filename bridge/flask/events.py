"""Server-sent events (WHATWG HTML, "Server-sent events")."""

import asyncio
import inspect
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flask import Response

from bridge.flask.streams import Steps, close_iterator, stream

__all__ = ["Event", "EventSource", "ServerSentEvent", "encode_event"]

logger = logging.getLogger("bridge")

_LINE_END = re.compile(r"\r\n|\r|\n")
_PING = ": ping\n\n"


@dataclass(frozen=True)
class ServerSentEvent:
    """One event.

    Args:
        data: what the client gets; anything but a str goes as JSON. None: no data; the client then only takes
            `id` and `retry` from the event, and does not dispatch it.
        event: its type, for `addEventListener`; None for "message".
        id: what the client sends as `Last-Event-ID` when it connects again; an int goes as its digits.
        retry: after how many milliseconds the client connects again.

    Raises:
        TypeError: a field is of another type.
        ValueError: a field cannot be sent.
    """

    data: object = None
    event: str | None = None
    id: str | int | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        _check_type("event", self.event, str)
        _check_type("id", self.id, str, int)
        _check_type("retry", self.retry, int)
        for name, value in (("event", self.event), ("id", self.id)):
            if isinstance(value, str) and _LINE_END.search(value):
                raise ValueError(f"the {name} of a server-sent event must be one line, got {value!r}")
        if isinstance(self.id, str) and "\0" in self.id:
            raise ValueError(
                f"the id of a server-sent event must not hold NUL, or clients ignore it: {self.id!r}"
            )
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"the retry of a server-sent event is in milliseconds, got {self.retry}")


def _check_type(name: str, value: object, *types: type) -> None:
    if value is not None and not isinstance(value, types):
        expected, given = " or ".join(each.__name__ for each in types), type(value).__name__
        raise TypeError(
            f"the {name} of a server-sent event is of type {expected}, not {given}: {value!r:.80}"
        )


Event: TypeAlias = str | Mapping[str, Any] | ServerSentEvent
"""An event as an iterable may yield it: the data, or the fields of a `ServerSentEvent`."""


class EventSource(Response):
    """A response of server-sent events, for the browser's `EventSource`.

    Args:
        events: an async iterable. It yields events: a str, which is the data; a mapping with any of data,
            event, id and retry; or a `ServerSentEvent`.
        ping: after how many seconds without an event to send a comment, so that proxies keep the connection
            and the app notices a client that is gone; None for never.

    When the client leaves, Bridge cancels what the iterable awaits. A client that comes back says by
    `request.headers.get("Last-Event-ID")` where it was.

    Raises:
        TypeError: `events` is not an async iterable.
    """

    default_mimetype = "text/event-stream"

    def __init__(self, events: AsyncIterable[Event], ping: float | None = 15.0) -> None:
        if not isinstance(events, AsyncIterable):
            raise TypeError(
                f"EventSource takes an async iterable of events, not {type(events).__name__}; "
                "write the generator with `async def`"
            )
        text = _encoded(events) if ping is None else _with_pings(_encoded(events), ping)
        super().__init__(stream(text))
        self.headers["Cache-Control"] = "no-cache"
        self.headers["X-Accel-Buffering"] = "no"  # nginx: pass each event on as it comes


def encode_event(event: Event) -> str:
    """Return the text of one event, with the empty line that ends it.

    Raises:
        TypeError: the value is no event, or has fields that events do not have.
        ValueError: a field cannot be sent.
    """
    if isinstance(event, str):
        event = ServerSentEvent(event)
    elif isinstance(event, Mapping):
        unknown = event.keys() - {"data", "event", "id", "retry"}
        if unknown:
            raise TypeError(
                f"an event has data, event, id and retry, not {', '.join(sorted(map(repr, unknown)))}; "
                'to send a mapping as JSON, yield {"data": {...}}'
            )
        event = ServerSentEvent(**event)
    elif not isinstance(event, ServerSentEvent):
        raise TypeError(
            f"an event is a str, a mapping or a ServerSentEvent, not {type(event).__name__}: {event!r:.80}"
        )
    lines = []
    if event.event is not None:
        lines.append(f"event: {event.event}")
    if event.id is not None:
        lines.append(f"id: {event.id}")
    if event.retry is not None:
        lines.append(f"retry: {event.retry}")
    if event.data is not None:
        data = event.data if isinstance(event.data, str) else json.dumps(event.data)
        lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return "\n".join([*lines, "", ""])


async def _encoded(events: AsyncIterable[Event]) -> AsyncGenerator[str, None]:
    iterator = aiter(events)
    try:
        async for event in iterator:
            try:
                text = encode_event(event)
            except (TypeError, ValueError) as error:
                frame = iterator.ag_frame if inspect.isasyncgen(iterator) else None
                if frame is not None:  # it stands at its `yield`
                    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                    error.add_note(f"the event was yielded by {frame.f_code.co_qualname}, {place}")
                raise
            yield text
    finally:
        await close_iterator(iterator)


async def _with_pings(events: AsyncGenerator[str, None], ping: float) -> AsyncGenerator[str, None]:
    """Yield the events, and a comment after each `ping` seconds without one.

    A task of its own iterates over the events, as a ping must not cancel the wait for the next one.
    """
    loop = asyncio.get_running_loop()
    steps = Steps(events)
    task = loop.create_task(steps.serve())
    answer: asyncio.Future[str] | None = None  # to the question for the next event
    try:
        while True:
            answer = loop.create_future()
            steps.ask(answer)
            while not (await asyncio.wait([answer], timeout=ping))[0]:
                yield _PING
            event, answer = answer, None
            try:
                text = event.result()
            except StopAsyncIteration:
                return
            finally:
                del event  # it holds its error, whose traceback holds this frame
            yield text
    finally:
        # Both may get an error that comes too late to be raised, even after this: the wait may be cancelled.
        task.add_done_callback(_log_late_error)
        if answer is not None:
            answer.add_done_callback(_log_late_error)
        steps.end()
        task.cancel()
        await asyncio.wait([task])


def _log_late_error(done: "asyncio.Future[Any]") -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None and not isinstance(error, asyncio.CancelledError):
        logger.error("a stream of events failed after its end", exc_info=error)

"""How long a request may take in all."""

import asyncio
import logging
from collections.abc import Callable

from bridge.core.call import request_name
from bridge.core.link import plain_answer
from bridge.http.exchange import Exchange, Hook

__all__ = ["RequestTimeout"]

logger = logging.getLogger("bridge")

_BODY = b"Gateway Timeout: the server took too long."


class RequestTimeout(Hook):
    """Gives the app so much time for each request, to the end of the response.

    With the time up, the client gets a 504, or the end of the connection if the response has begun. An async
    view is cancelled. A thread cannot be: it is left at work, and how many are is said in the log.

    Args:
        seconds: how long a request may take.
        busy_threads: says how many threads are at work.
    """

    def __init__(self, seconds: float, busy_threads: Callable[[], int]) -> None:
        self._seconds = seconds
        self._busy_threads = busy_threads
        self._timers: dict[Exchange, asyncio.TimerHandle] = {}

    def on_request(self, exchange: Exchange) -> None:
        """Have its time run."""
        loop = asyncio.get_running_loop()
        self._timers[exchange] = loop.call_later(self._seconds, self._end, exchange)

    def on_end(self, exchange: Exchange) -> None:
        """Forget it; one that was refused may not have begun."""
        timer = self._timers.pop(exchange, None)
        if timer is not None:
            timer.cancel()

    def _end(self, exchange: Exchange) -> None:
        """Its time is up."""
        del self._timers[exchange]
        serving = exchange.serving
        if exchange.ended or serving is None:
            return  # the response has had its end in time, and only the call goes on
        exchange.context.copy().run(  # a task may be in the context itself
            logger.error,
            "%s: it took more than %g s; %s. Busy threads: %d",
            request_name(exchange.request.method, exchange.request.decoded_path),
            self._seconds,
            "answering 504" if exchange.head is None else "cutting the connection",
            self._busy_threads(),
        )
        serving.cut(plain_answer(504, _BODY, exchange.request.method))

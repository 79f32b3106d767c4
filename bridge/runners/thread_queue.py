"""Which requests may wait for a thread, and for how long; the others are answered 503.

Where all threads are busy, waiting longer helps nobody: the client has given up by the time that its request
is served, and those behind it wait for that. A 503 at once lets a load balancer go elsewhere.
"""

import asyncio
import logging
import time

from bridge.core.response import plain_answer
from bridge.errors import Overloaded
from bridge.runners.thread_link import ThreadLink
from bridge.runners.threads import WorkerPool
from bridge.types import HTTPSend

__all__ = ["ThreadQueue"]

logger = logging.getLogger("bridge")

# Seconds between two lines in the log: there is one for many requests when it happens.
_LOG_INTERVAL = 10.0

_BODY = b"Service Unavailable: the server is busy, try again later."

_RETRY_AFTER = (b"retry-after", b"1")  # seconds (RFC 9110, 10.2.3)


class ThreadQueue:
    """The requests of one adapter that wait for a thread.

    Args:
        length: how many may wait; None for any number.
        seconds: how long each may wait; None for as long as it takes.
        advice: what could be done about it, for the log.
    """

    def __init__(
        self,
        length: int | None,
        seconds: float | None,
        advice: str = "More threads, more workers, or async views can serve them",
    ) -> None:
        self._length = length
        self._seconds = seconds
        self._advice = advice
        self._refused = 0
        self._next_log = 0.0

    async def serve(self, link: ThreadLink, pool: WorkerPool, send: HTTPSend, method: str) -> None:
        """Have a thread make the call, or answer 503.

        Raises:
            Exception: what `ThreadLink.serve` raises.
        """
        timer: asyncio.TimerHandle | None = None
        try:
            if pool.submit(link, self._length) and self._seconds is not None:
                loop = asyncio.get_running_loop()
                timer = loop.call_later(self._seconds, _give_up, link, pool)
            await link.serve()
        except Overloaded:
            await self.refuse(send, method)
        finally:
            if timer is not None:
                timer.cancel()

    async def refuse(self, send: HTTPSend, method: str) -> None:
        """Answer 503; say so in the log every now and then."""
        self._refused += 1
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_INTERVAL
            logger.warning(
                "all threads are busy: %d request(s) answered 503 since this was said last. %s",
                self._refused,
                self._advice,
            )
            self._refused = 0
        for event in plain_answer(503, _BODY, method, _RETRY_AFTER):
            await send(event)


def _give_up(link: ThreadLink, pool: WorkerPool) -> None:
    if pool.withdraw(link):
        link.refuse(Overloaded("no thread took the request in time"))

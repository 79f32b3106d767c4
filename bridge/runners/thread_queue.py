"""Which calls may wait for a thread, and for how long; the others are answered 503.

If all threads are busy, a longer wait helps nobody: the client gives up before its request is served, and
those behind it have waited for that. A 503 at once lets a load balancer go elsewhere.
"""

import logging
import time

from bridge.core.link import Part, plain_answer
from bridge.free_threading import has_gil
from bridge.runners.threads import WorkerPool

__all__ = ["ThreadQueue"]

logger = logging.getLogger("bridge")

# Seconds between two lines in the log, as many requests are refused at a time.
_LOG_INTERVAL = 10.0

_BODY = b"Service Unavailable: the server is busy, try again later."

_RETRY_AFTER = (b"retry-after", b"1")  # seconds (RFC 9110, 10.2.3)


class ThreadQueue:
    """The calls that wait for the threads of a pool.

    Args:
        pool: the threads.
        length: how many may wait; None for any number.
        seconds: how long each may wait; None for as long as it takes.
        advice: what could be done about refusals, for the log.
    """

    def __init__(
        self,
        pool: WorkerPool,
        length: int | None,
        seconds: float | None,
        advice: str = "More threads, more workers, or async views can serve them",
    ) -> None:
        self.pool = pool
        self.seconds = seconds
        self.length = length
        # Without the global interpreter lock, a thread that is woken sooner begins sooner.
        self.wakes_at_once = not has_gil()
        self._advice = advice
        self._refused = 0
        self._next_log = 0.0

    def refusal(self, method: str) -> Part:
        """Return the answer to a request that no thread takes; log the number of those every now and then."""
        self._refused += 1
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_INTERVAL
            logger.warning(
                "all threads are busy; requests answered with 503 since the last such line: %d. %s",
                self._refused,
                self._advice,
            )
            self._refused = 0
        return plain_answer(503, _BODY, method, _RETRY_AFTER)

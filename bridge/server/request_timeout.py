"""How long a request may take in all."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from bridge.asgi.host import events_of
from bridge.core.call import request_name
from bridge.core.link import plain_answer
from bridge.errors import ApplicationError
from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application, HTTPSend, Scope

__all__ = ["RequestTimeout"]

logger = logging.getLogger("bridge")

_BODY = b"Gateway Timeout: the server took too long."


class RequestTimeout:
    """An ASGI application that gives another so much time for each request, to the end of the response.

    An async view is cancelled. A thread cannot be: it is left at work, and how many are is said in the log.

    Args:
        app: the other.
        seconds: how long a request may take.
        busy_threads: says how many threads are at work.
    """

    def __init__(self, app: ASGI3Application, seconds: float, busy_threads: Callable[[], int]) -> None:
        self._app = cast(Any, app)  # hosts' types and asgiref's differ in name only
        self._seconds = seconds
        self._busy_threads = busy_threads

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve one scope; what is not http may take as long as it likes.

        Raises:
            ApplicationError: time was up with the response begun; the host must cut the connection.
        """
        known = cast(Scope, scope)
        if known["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def watch(event: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await cast(Any, send)(event)

        try:
            async with asyncio.timeout(self._seconds) as limit:
                await self._app(scope, receive, watch)
        except TimeoutError:
            if not limit.expired():
                raise  # somebody else's
            name = request_name(known["method"], known["path"])
            outcome = "cutting the connection" if has_begun else "answering 504"
            logger.error(
                "%s: it took more than %g s; %s. %d thread(s) are at work still",
                name,
                self._seconds,
                outcome,
                self._busy_threads(),
            )
            if has_begun:
                raise ApplicationError(f"{name}: response cut short, as it took too long") from None
            for event in events_of(plain_answer(504, _BODY, known["method"])):
                await cast(HTTPSend, send)(event)

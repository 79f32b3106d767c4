"""Is it alive, and should it get requests? Two paths that the server answers itself, on the event loop.

Neither takes a thread, so both answer while all threads are busy. A server that can answer is live. It is
ready from its start until it is about to stop, unless the app's own check says no.
"""

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from bridge.core.link import Head, Part
from bridge.http.exchange import Answer, Exchange, Hook
from bridge.http.request import Request
from bridge.interfaces import is_async_callable

__all__ = ["Health", "ReadinessCheck"]

logger = logging.getLogger("bridge")

ReadinessCheck: TypeAlias = Callable[[], object] | Callable[[], Awaitable[object]]
"""Tells whether the app can serve: not if it returns False, or raises; async or not."""

_State: TypeAlias = Literal["starting", "ready", "draining"]

# Seconds that the app's own check may take; a probe gives up sooner than that.
_PATIENCE = 5.0


class Health(Hook):
    """Answers for the server's health, instead of the app.

    It comes before all hooks that count or watch requests: the app never gets these.

    Args:
        live: the path of "is it alive?"; None for none.
        ready: the path of "should it get requests?"; None for none.
        check: the app's own, asked each time.
    """

    def __init__(self, *, live: str | None, ready: str | None, check: ReadinessCheck | None = None) -> None:
        self._live = live
        self._ready = ready
        self._check = check
        self._state: _State = "starting"

    def started(self) -> None:
        """Be ready from now on, unless the server is about to stop: the app has started."""
        if self._state == "starting":
            self._state = "ready"

    def drain(self) -> None:
        """Be unready from now on: the server is about to stop."""
        self._state = "draining"

    def on_request(self, exchange: Exchange) -> Answer | None:
        """Answer a request for one of the two paths."""
        request = exchange.request
        path = request.decoded_path.removeprefix(request.root_path)
        if path not in (self._live, self._ready):
            return None
        if request.method not in ("GET", "HEAD"):
            return _answer(request, "method not allowed", 405, (b"allow", b"GET, HEAD"))
        if path == self._live:
            return _answer(request, "live", 200)
        if self._state == "starting":
            self._state = "ready"  # a server that gets requests has started
        if self._state == "draining" or self._check is None:
            return _answer(request, self._state)
        return _checked_answer(request, self._check)


async def _checked_answer(request: Request, check: ReadinessCheck) -> Part:
    """Answer as the app's check says; the reason for a no is in the log, not for everybody to read."""
    try:
        async with asyncio.timeout(_PATIENCE):
            # A plain function runs in a thread of its own; it may return an awaitable, as decorated ones do.
            result = check() if is_async_callable(check) else await asyncio.to_thread(check)
            is_ready = await result if inspect.isawaitable(result) else result
    except Exception as error:  # noqa: BLE001  # whatever it is, the answer is no
        logger.warning("not ready: the app's check raised %s: %s", type(error).__name__, error)
        return _answer(request, "failing")
    return _answer(request, "failing" if is_ready is False else "ready")


def _answer(request: Request, status: str, code: int | None = None, *extra: tuple[bytes, bytes]) -> Part:
    """Answer with a status in a word; by default, ready or not is the code."""
    body = json.dumps({"status": status}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    if code is None:
        code = 200 if status == "ready" else 503
    return Head(code, b"", headers), b"" if request.method == "HEAD" else body, False

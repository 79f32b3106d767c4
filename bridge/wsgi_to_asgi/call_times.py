"""What a call has taken of a worker thread's time, for whoever has asked for it in the scope. Pure."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from bridge.types import HTTPScope

__all__ = ["CallTimes", "timed"]

_Link = TypeVar("_Link")


@dataclass(slots=True)
class CallTimes:
    """The times of one call, in seconds; a middleware puts one into the scope as `bridge.times`.

    Args:
        waited: how long the call was in the queue for a thread. Known before the app sends anything; from
            then on `ran` is to come, too.
        ran: how long the call was in the app, to the end of its `close()`. Known when the ASGI call returns.

    None is for what nobody has measured: the app is not a WSGI app, or the call never got as far.
    """

    waited: float | None = None
    ran: float | None = None


def timed(call: Callable[[_Link], None], scope: HTTPScope) -> Callable[[_Link], None]:
    """The same call, with its times written down if `scope["bridge.times"]` is there for them."""
    times: CallTimes | None = cast(Any, scope).get("bridge.times")
    if times is None:
        return call
    since = time.perf_counter()

    def run(link: _Link) -> None:
        begun = time.perf_counter()
        times.waited = begun - since
        try:
            call(link)
        finally:
            times.ran = time.perf_counter() - begun

    return run

"""`Server-Timing` (W3C): where a request's time went, for the developer tools of browsers."""

import time

from bridge.core.link import Head
from bridge.http.exchange import Exchange, Hook

__all__ = ["ServerTiming"]


class ServerTiming(Hook):
    """Adds `Server-Timing: queue;dur=1.2, app;dur=3.4` to responses, in milliseconds.

    `queue` is how long the request waited for a worker thread; there is none for views on the event loop, and
    for apps that are not WSGI. `app` is from there to the beginning of the response. What the app says in a
    header of its own stays.

    Args:
        has_threads: whether the app is a WSGI app that Bridge calls. What was answered without a call of it,
            as no thread was free in time, has no `app`.
    """

    def __init__(self, *, has_threads: bool) -> None:
        self._has_threads = has_threads

    def on_head(self, exchange: Exchange, head: Head) -> Head:
        """Add the header. The list of fields is the app's, and stays."""
        now = time.perf_counter()
        call = exchange.call
        if call is None or call.begun is None:
            spent = {"queue" if self._has_threads else "app": now - exchange.begun}
        else:
            spent = {} if call.waited is None else {"queue": call.waited}
            spent["app"] = now - call.begun
        value = ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in spent.items())
        return head._replace(headers=[*head.headers, (b"server-timing", value.encode())])

"""Wakes the event loop for worker threads: once for all of them, not one by one."""

import asyncio
from collections import deque
from typing import Any, Protocol

__all__ = ["Mailbox", "Wakeable"]


class Wakeable(Protocol):
    """What can be posted."""

    def wake(self) -> None:
        """Look for work. Called on the loop; must not raise, or others would not be woken."""


_END: Any = object()  # of what one wake-up delivers


class Mailbox:
    """Holds the links that have work for one event loop.

    There is no lock but the deque's own, under which it appends and pops. `post` appends, and then looks at
    `_woken`; `_deliver` resets `_woken`, and then appends `_END`. Whichever appends first, the other sees
    what came before that: a link is in front of an `_END`, or whoever posted it wakes the loop again.

    Args:
        loop: the loop that is woken.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._links: deque[Wakeable] = deque()
        self._woken = False

    def post(self, link: Wakeable) -> None:
        """Have the loop look after a link. Called from worker threads.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._links.append(link)
        # Two threads may both find it False: the loop then wakes once more than it had to. A closed loop
        # never delivers, so every thread has to call and get the RuntimeError.
        if not self._woken or self.loop.is_closed():
            self._woken = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        links = self._links
        links.append(_END)
        while (link := links.popleft()) is not _END:
            link.wake()

"""What an adapter has open for long, responses and websockets, and how they are ended when a server stops."""

import logging
from typing import Protocol

__all__ = ["Streams"]

logger = logging.getLogger("bridge")


class _Link(Protocol):
    def end(self) -> None: ...


class Streams:
    """The long responses that are open, and the websockets."""

    def __init__(self) -> None:
        self.links: set[_Link] = set()
        self.are_ending = False

    def end(self) -> None:
        """End those that have no end of their own; such as open from here on see `are_ending`.

        One that cannot be ended does not keep the others, and the server behind, from their end.
        """
        if not self.are_ending:
            self.are_ending = True
            for link in list(self.links):
                try:
                    link.end()
                except Exception:
                    logger.exception("a stream could not be ended")

"""What an adapter has open for long, responses and websockets, and how they are ended when a server stops."""

from typing import Protocol

__all__ = ["Streams"]


class _Link(Protocol):
    def end(self) -> None: ...


class Streams:
    """The long responses that are open, and the websockets."""

    def __init__(self) -> None:
        self.links: set[_Link] = set()
        self.are_ending = False

    def end(self) -> None:
        """End those that have no end of their own; such as open from here on see `are_ending`."""
        if not self.are_ending:
            self.are_ending = True
            for link in list(self.links):
                link.end()

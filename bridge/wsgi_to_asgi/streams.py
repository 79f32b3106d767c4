"""What an adapter has open for long: streamed responses, and websockets; and its end when a server stops."""

from typing import Protocol

__all__ = ["Streams"]


class _Link(Protocol):
    def end_event_stream(self) -> None: ...


class _WebSocket(Protocol):
    def go_away(self) -> None: ...


class Streams:
    """The long responses that are open, and the websockets."""

    def __init__(self) -> None:
        self.links: set[_Link] = set()
        self.websockets: set[_WebSocket] = set()
        self.are_ending = False

    def add(self, websocket: _WebSocket) -> None:
        """Take note of a websocket, which is to be discarded from `websockets` after its end."""
        self.websockets.add(websocket)
        if self.are_ending:
            websocket.go_away()

    def end(self) -> None:
        """End those that have no end of their own; such as open from here on see `are_ending`."""
        if not self.are_ending:
            self.are_ending = True
            for link in list(self.links):
                link.end_event_stream()
            for websocket in list(self.websockets):
                websocket.go_away()

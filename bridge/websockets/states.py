"""What may happen on a websocket, and in which order (ASGI spec, "WebSocket"). Pure.

Two state machines, as in Starlette: that of the client, moved by the host's events, and that of the
application, moved by its own. The application may begin when the client is here, and nothing that it
sends gets anywhere when the client is gone.

    client:        connecting ── connect ──► here ⟲ receive ── disconnect ──► gone
                       └──────────────── disconnect ───────────────────────────▲

    application:   silent ── accept ──► accepted ⟲ send ── close ──────────► closed
                     ├────── close ───────────────────────────────────────────▲▲
                     └────── response.start ──► answering ⟲ response.body ────┘│
                                                    └────── the last body ─────┘
"""

from typing import Final, Literal, TypeAlias

from bridge.errors import BridgeError

__all__ = ["ApplicationState", "ClientState", "WebSocketState", "WebSocketStates"]

ClientState: TypeAlias = Literal["connecting", "here", "gone"]
ApplicationState: TypeAlias = Literal["silent", "answering", "accepted", "closed"]

WebSocketState: TypeAlias = Literal["connecting", "handshake", "answered", "open", "closed"]
"""The states of both sides, in one word."""

_CLIENT: Final[dict[tuple[ClientState, str], ClientState]] = {
    ("connecting", "websocket.connect"): "here",
    ("connecting", "websocket.disconnect"): "gone",
    ("here", "websocket.receive"): "here",
    ("here", "websocket.disconnect"): "gone",
}

_APPLICATION: Final[dict[tuple[ApplicationState, str], ApplicationState]] = {
    ("silent", "websocket.accept"): "accepted",
    ("silent", "websocket.close"): "closed",
    ("silent", "websocket.http.response.start"): "answering",
    ("answering", "websocket.http.response.body"): "answering",
    ("accepted", "websocket.send"): "accepted",
    ("accepted", "websocket.close"): "closed",
}

_BOTH: Final[dict[ApplicationState, WebSocketState]] = {
    "silent": "handshake",
    "answering": "answered",
    "accepted": "open",
    "closed": "closed",
}

# The events as errors name them: by what the app has called.
_WORDS: Final = {
    "websocket.accept": "accept()",
    "websocket.send": "send()",
    "websocket.close": "close()",
    "websocket.http.response.start": "a response",
    "websocket.http.response.body": "the rest of the response",
}


class WebSocketStates:
    """The states of both sides of one websocket."""

    __slots__ = ("application", "client", "combined")

    def __init__(self) -> None:
        self.client: ClientState = "connecting"
        self.application: ApplicationState = "silent"
        self.combined: WebSocketState = "connecting"
        """Both in one word: `closed` if either side has ended it."""

    def received(self, event: str) -> None:
        """Take note of an event that the host has sent, by its type.

        Raises:
            BridgeError: the host may not send such an event now.
        """
        following = _CLIENT.get((self.client, event))
        if following is None:
            expected = " or ".join(name for state, name in _CLIENT if state == self.client) or "nothing more"
            raise BridgeError(
                f"the host sent {event} for a websocket whose client is {self.client}; expected: {expected}"
            )
        if following != self.client:
            self.client = following
            self._combine()

    def lost(self) -> None:
        """Take note that the client is gone, though the host has not said so."""
        self.client = "gone"
        self._combine()

    def sending(self, event: str, *, more: bool = True) -> None:
        """Take note of an event that the application is about to send, by its type.

        Args:
            event: its type.
            more: whether a part of a response is followed by another one.

        Raises:
            BridgeError: it may not be sent now; says what may.
        """
        following = _APPLICATION.get((self.application, event)) if self.client != "connecting" else None
        if following is None:
            raise BridgeError(self._out_of_order(event))
        if event == "websocket.http.response.body" and not more:
            following = "closed"
        if following != self.application:
            self.application = following
            self._combine()

    def _combine(self) -> None:
        if self.client == "here":
            self.combined = _BOTH[self.application]
        else:
            self.combined = "closed" if self.client == "gone" else "connecting"

    def _out_of_order(self, event: str) -> str:
        if self.client == "connecting":
            return f"{_WORDS[event]} comes before the websocket's handshake was received"
        expected = [_WORDS[name] for state, name in _APPLICATION if state == self.application]
        return (
            f"{_WORDS[event]} is out of order: the websocket is {_BOTH[self.application]}; "
            f"expected: {' or '.join(expected) or 'nothing more'}"
        )

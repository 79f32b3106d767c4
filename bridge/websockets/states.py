"""The states of a websocket, the events that lead from one to the next, and its close codes. Pure.

The order of events is that of the ASGI spec, "WebSocket":

    connecting ── connect ──► handshake ── accept ──► open ⟲ send, receive
                                  └── response.start ──► answered ⟲ response.body

A disconnect closes it from every state, the app's close from `handshake` and `open`, and the last part of
the response from `answered`.
"""

from typing import Final, Literal, TypeAlias

from bridge.errors import BridgeError

__all__ = [
    "ABNORMAL",
    "FROM_APP",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "NORMAL",
    "NO_STATUS",
    "WebSocketState",
    "state_after",
]

# RFC 6455, 7.4.1
NORMAL = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL = 1006
INTERNAL_ERROR = 1011

WebSocketState: TypeAlias = Literal["connecting", "handshake", "answered", "open", "closed"]

_FROM_HOST: Final[dict[tuple[WebSocketState, str], WebSocketState]] = {
    ("connecting", "websocket.connect"): "handshake",
    ("connecting", "websocket.disconnect"): "closed",
    ("handshake", "websocket.disconnect"): "closed",
    ("answered", "websocket.disconnect"): "closed",
    ("open", "websocket.receive"): "open",
    ("open", "websocket.disconnect"): "closed",
    ("closed", "websocket.disconnect"): "closed",  # the host acknowledges the app's close
}

FROM_APP: Final[dict[tuple[WebSocketState, str], WebSocketState]] = {
    ("handshake", "websocket.accept"): "open",
    ("handshake", "websocket.close"): "closed",
    ("handshake", "websocket.http.response.start"): "answered",
    ("answered", "websocket.http.response.body"): "answered",
    ("open", "websocket.send"): "open",
    ("open", "websocket.close"): "closed",
}
"""The states to which the app's events lead."""

_STATES: Final = _FROM_HOST | FROM_APP

# What the app calls for each of its events.
_CALLS: Final = {
    "websocket.accept": "accept()",
    "websocket.send": "send()",
    "websocket.close": "close()",
    "websocket.http.response.start": "a response",
    "websocket.http.response.body": "the rest of the response",
}


def state_after(state: WebSocketState, event: str) -> WebSocketState:
    """Return the state to which an event leads, by its type; the last part of a response counts as any part.

    Raises:
        BridgeError: the host, or the app, may not send the event in this state. The message says what may
            come.
    """
    following = _STATES.get((state, event))
    if following is not None:
        return following
    if event in _CALLS:
        what = f"{_CALLS[event]} is out of order"
        expected = [_CALLS[name] for before, name in FROM_APP if before == state]
    else:
        what = f"the host sent {event} out of order"
        expected = [name for before, name in _FROM_HOST if before == state]
    raise BridgeError(
        f"{what}: the websocket is {state}; expected: {' or '.join(expected) or 'nothing more'}"
    )

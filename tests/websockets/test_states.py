"""The order of events on a websocket, as the ASGI spec has it."""

from typing import get_args

import pytest

from bridge.errors import BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.websockets.states import WebSocketState, state_after

CONNECT, RECEIVE, DISCONNECT = "websocket.connect", "websocket.receive", "websocket.disconnect"
ACCEPT, SEND, CLOSE = "websocket.accept", "websocket.send", "websocket.close"
START, BODY = "websocket.http.response.start", "websocket.http.response.body"
EVENTS = [CONNECT, RECEIVE, DISCONNECT, ACCEPT, SEND, CLOSE, START, BODY]

ALLOWED: dict[WebSocketState, dict[str, WebSocketState]] = {
    "connecting": {CONNECT: "handshake", DISCONNECT: "closed"},
    "handshake": {ACCEPT: "open", CLOSE: "closed", START: "answered", DISCONNECT: "closed"},
    "answered": {BODY: "answered", DISCONNECT: "closed"},
    "open": {RECEIVE: "open", SEND: "open", CLOSE: "closed", DISCONNECT: "closed"},
    "closed": {DISCONNECT: "closed"},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", get_args(WebSocketState))
def test_table(state: WebSocketState, event: str) -> None:
    if event in ALLOWED[state]:
        assert state_after(state, event) == ALLOWED[state][event]
    else:
        with pytest.raises(BridgeError, match="out of order"):
            state_after(state, event)


@pytest.mark.parametrize(
    ("state", "event", "message"),
    [
        (
            "connecting",
            ACCEPT,
            "accept() is out of order: the websocket is connecting; expected: nothing more",
        ),
        (
            "handshake",
            SEND,
            "send() is out of order: the websocket is handshake; expected: accept() or close() or a response",
        ),
        ("open", ACCEPT, "accept() is out of order: the websocket is open; expected: send() or close()"),
        (
            "answered",
            ACCEPT,
            "accept() is out of order: the websocket is answered; expected: the rest of the response",
        ),
        ("closed", SEND, "send() is out of order: the websocket is closed; expected: nothing more"),
        (
            "connecting",
            RECEIVE,
            "the host sent websocket.receive out of order: the websocket is connecting; "
            "expected: websocket.connect or websocket.disconnect",
        ),
        (
            "closed",
            CONNECT,
            "the host sent websocket.connect out of order: the websocket is closed; "
            "expected: websocket.disconnect",
        ),
    ],
)
def test_messages(state: WebSocketState, event: str, message: str) -> None:
    with pytest.raises(BridgeError) as caught:
        state_after(state, event)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (1000, "", "the websocket is closed: 1000"),
        (4001, "go home", "the websocket is closed: 4001 go home"),
    ],
)
def test_what_a_disconnect_says(code: int, reason: str, said: str) -> None:
    error = WebSocketDisconnect(code, reason)
    assert (error.code, error.reason, str(error)) == (code, reason, said)
    assert isinstance(error, ClientDisconnected)  # code that catches the one catches the other

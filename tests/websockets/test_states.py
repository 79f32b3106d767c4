"""The order of events on a websocket, as the ASGI spec has it."""

from typing import get_args

import pytest

from bridge.errors import BridgeError, ClientDisconnected, WebSocketDisconnect
from bridge.websockets.states import (
    ApplicationState,
    ClientState,
    WebSocketState,
    WebSocketStates,
)

CONNECT, RECEIVE, DISCONNECT = "websocket.connect", "websocket.receive", "websocket.disconnect"
ACCEPT, SEND, CLOSE = "websocket.accept", "websocket.send", "websocket.close"
START, PART, LAST = "websocket.http.response.start", "part of a body", "last part of a body"

HOSTS = [CONNECT, RECEIVE, DISCONNECT]
APPS = [ACCEPT, SEND, CLOSE, START, PART, LAST]

# How a state is reached, and what may happen in it.
CASES: dict[str, tuple[list[str], WebSocketState, dict[str, WebSocketState]]] = {
    "connecting": ([], "connecting", {CONNECT: "handshake", DISCONNECT: "closed"}),
    "left early": ([DISCONNECT], "closed", {ACCEPT: "closed", CLOSE: "closed", START: "closed"}),
    "handshake": (
        [CONNECT],
        "handshake",
        {RECEIVE: "handshake", DISCONNECT: "closed", ACCEPT: "open", CLOSE: "closed", START: "answered"},
    ),
    "answered": (
        [CONNECT, START],
        "answered",
        {RECEIVE: "answered", DISCONNECT: "closed", PART: "answered", LAST: "closed"},
    ),
    "answered in parts": (
        [CONNECT, START, PART, PART],
        "answered",
        {RECEIVE: "answered", DISCONNECT: "closed", PART: "answered", LAST: "closed"},
    ),
    "answered whole": ([CONNECT, START, LAST], "closed", {RECEIVE: "closed", DISCONNECT: "closed"}),
    "open": (
        [CONNECT, ACCEPT],
        "open",
        {RECEIVE: "open", DISCONNECT: "closed", SEND: "open", CLOSE: "closed"},
    ),
    "talking": (
        [CONNECT, ACCEPT, SEND, RECEIVE, RECEIVE, SEND],
        "open",
        {RECEIVE: "open", DISCONNECT: "closed", SEND: "open", CLOSE: "closed"},
    ),
    "refused": ([CONNECT, CLOSE], "closed", {RECEIVE: "closed", DISCONNECT: "closed"}),
    "closed": ([CONNECT, ACCEPT, CLOSE], "closed", {RECEIVE: "closed", DISCONNECT: "closed"}),
    "left": ([CONNECT, ACCEPT, DISCONNECT], "closed", {SEND: "closed", CLOSE: "closed"}),
    "left in the handshake": (
        [CONNECT, DISCONNECT],
        "closed",
        {ACCEPT: "closed", CLOSE: "closed", START: "closed"},
    ),
}


def take(states: WebSocketStates, event: str) -> None:
    if event in HOSTS:
        states.received(event)
    elif event in (PART, LAST):
        states.sending("websocket.http.response.body", more=event == PART)
    else:
        states.sending(event)


def after(way: list[str]) -> WebSocketStates:
    states = WebSocketStates()
    for event in way:
        take(states, event)
    return states


@pytest.mark.parametrize("event", [*HOSTS, *APPS])
@pytest.mark.parametrize("case", CASES)
def test_table(case: str, event: str) -> None:
    way, state, allowed = CASES[case]
    states = after(way)
    assert states.combined == state
    if event in allowed:
        take(states, event)
        assert states.combined == allowed[event]
    else:
        with pytest.raises(BridgeError):
            take(states, event)
        assert states.combined == state


@pytest.mark.parametrize(
    ("way", "event", "message"),
    [
        ([], ACCEPT, "accept() comes before the websocket's handshake was received"),
        (
            [CONNECT],
            SEND,
            "send() is out of order: the websocket is handshake; expected: accept() or close() or a response",
        ),
        (
            [CONNECT, ACCEPT],
            ACCEPT,
            "accept() is out of order: the websocket is open; expected: send() or close()",
        ),
        (
            [CONNECT, START],
            ACCEPT,
            "accept() is out of order: the websocket is answered; expected: the rest of the response",
        ),
        (
            [CONNECT, CLOSE],
            SEND,
            "send() is out of order: the websocket is closed; expected: nothing more",
        ),
        (
            [],
            RECEIVE,
            "the host sent websocket.receive for a websocket whose client is connecting; "
            "expected: websocket.connect or websocket.disconnect",
        ),
        (
            [CONNECT, DISCONNECT],
            CONNECT,
            "the host sent websocket.connect for a websocket whose client is gone; expected: nothing more",
        ),
    ],
)
def test_messages(way: list[str], event: str, message: str) -> None:
    states = after(way)
    with pytest.raises(BridgeError) as caught:
        take(states, event)
    assert str(caught.value) == message


@pytest.mark.parametrize("way", [[], [CONNECT], [CONNECT, ACCEPT], [CONNECT, START]])
def test_lost(way: list[str]) -> None:
    states = after(way)
    states.lost()
    assert (states.client, states.combined) == ("gone", "closed")


def test_every_state_is_a_case() -> None:
    reached = [after(way) for way, _, _ in CASES.values()]
    assert {states.client for states in reached} == set(get_args(ClientState))
    assert {states.application for states in reached} == set(get_args(ApplicationState))
    assert {states.combined for states in reached} == set(get_args(WebSocketState))


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
    assert isinstance(error, ClientDisconnected)  # so that what is told of the one is told of the other

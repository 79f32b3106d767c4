"""What an app may send on a websocket, and when (ASGI spec, "WebSocket"); it is what hosts rely on.

| state | may be sent | leads to |
| --- | --- | --- |
| connecting: the handshake is not answered | `websocket.accept` | open |
| | `websocket.http.response.start` | refusing |
| | `websocket.close` | closed |
| refusing: the answer is a response | `websocket.http.response.body` | refusing; closed by the last |
| open | `websocket.send` | open |
| | `websocket.close` | closed |
| closed | nothing | |
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, TypeAlias

__all__ = ["AppState", "Field", "after", "check"]

AppState: TypeAlias = Literal["connecting", "refusing", "open", "closed"]

_NEXT: dict[AppState, dict[str, AppState]] = {
    "connecting": {
        "websocket.accept": "open",
        "websocket.http.response.start": "refusing",
        "websocket.close": "closed",
    },
    "refusing": {"websocket.http.response.body": "refusing"},
    "open": {"websocket.send": "open", "websocket.close": "closed"},
    "closed": {},
}


@dataclass(frozen=True)
class Field:
    """What is expected in a key of an event."""

    types: tuple[type, ...]
    is_required: bool = False


_OPTIONAL_TEXT = Field((str, NoneType))

_FIELDS: dict[str, dict[str, Field]] = {
    "websocket.accept": {"subprotocol": _OPTIONAL_TEXT},
    "websocket.send": {"bytes": Field((bytes, NoneType)), "text": _OPTIONAL_TEXT},
    "websocket.close": {"code": Field((int,)), "reason": _OPTIONAL_TEXT},
    "websocket.http.response.start": {"status": Field((int,), is_required=True)},
    "websocket.http.response.body": {"body": Field((bytes,)), "more_body": Field((bool,))},
}


def after(state: AppState, event: Mapping[str, Any]) -> AppState:
    """The state that an event leads to.

    Raises:
        RuntimeError: it may not be sent in this state.
    """
    following = _NEXT[state].get(event["type"])
    if following is None:
        expected = " or ".join(_NEXT[state]) or "nothing more"
        raise RuntimeError(
            f"the app sent {event['type']} when its websocket was {state}; expected was {expected} "
            "(ASGI spec, WebSocket)"
        )
    if event["type"] == "websocket.http.response.body" and not event.get("more_body", False):
        return "closed"
    return following


def check(event: Mapping[str, Any], offered: Collection[str]) -> None:
    """Look at what is in an event that came in order.

    Args:
        event: from the app.
        offered: the subprotocols that the client has offered.

    Raises:
        TypeError: a value has the wrong type, or is missing.
        ValueError: a value that no host can send.
    """
    kind = event["type"]
    for name, field in _FIELDS[kind].items():
        if name not in event and not field.is_required:
            continue
        if not isinstance(event.get(name), field.types):
            expected = " or ".join("None" if type_ is NoneType else type_.__name__ for type_ in field.types)
            raise TypeError(f"the app sent {kind} with {name}={event.get(name)!r}; expected was {expected}")
    _check_headers(event)
    match kind:
        case "websocket.accept":
            _check_subprotocol(event.get("subprotocol"), offered)
        case "websocket.send":
            _check_message(event)
        case "websocket.close":
            _check_close(event.get("code", 1000), event.get("reason") or "")


def _check_headers(event: Mapping[str, Any]) -> None:
    for header in event.get("headers") or ():
        name, value = header
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(
                f"the app sent {event['type']} with the header {header!r}; expected was two bytes"
            )
        if name != name.lower():
            raise ValueError(
                f"the app sent {event['type']} with the header {name!r}; ASGI's are in lower case"
            )


def _check_subprotocol(subprotocol: str | None, offered: Collection[str]) -> None:
    """A client fails a handshake that names what it has not asked for (RFC 6455, 4.1)."""
    if subprotocol is not None and subprotocol not in offered:
        raise ValueError(
            f"the app accepted with subprotocol={subprotocol!r}; the client offered "
            f"{', '.join(map(repr, offered)) or 'none'}"
        )


def _check_message(event: Mapping[str, Any]) -> None:
    if (event.get("text") is None) == (event.get("bytes") is None):
        raise ValueError("the app sent websocket.send; expected was a value in one of text and bytes")


def _check_close(code: int, reason: str) -> None:
    """RFC 6455, 7.4 says which codes a close frame can have, and 5.5 that it has 125 bytes at most."""
    if not (code in _SENDABLE_CODES or 3000 <= code <= 4999):
        raise ValueError(
            f"the app closed with code={code}; expected was 1000 to 1003, 1007 to 1014, or 3000 to 4999 "
            "(RFC 6455, 7.4)"
        )
    if len(reason.encode()) > 123:
        raise ValueError(
            f"the app closed with a reason of {len(reason.encode())} bytes; it can have 123 (RFC 6455, 5.5)"
        )


_SENDABLE_CODES = {*range(1000, 1004), *range(1007, 1015)}

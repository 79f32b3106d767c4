"""Whether an app's websocket events are those that hosts rely on: their order, and what is in them. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from bridge.websockets.states import FROM_APP, WebSocketState

__all__ = ["after", "check"]


@dataclass(frozen=True)
class _Field:
    """What is expected in a key of an event."""

    types: tuple[type, ...]
    is_required: bool = False


_OPTIONAL_TEXT = _Field((str, NoneType))

_FIELDS: dict[str, dict[str, _Field]] = {
    "websocket.accept": {"subprotocol": _OPTIONAL_TEXT},
    "websocket.send": {"bytes": _Field((bytes, NoneType)), "text": _OPTIONAL_TEXT},
    "websocket.close": {"code": _Field((int,)), "reason": _OPTIONAL_TEXT},
    "websocket.http.response.start": {"status": _Field((int,), is_required=True)},
    "websocket.http.response.body": {"body": _Field((bytes,)), "more_body": _Field((bool,))},
}


def after(state: WebSocketState, event: Mapping[str, Any]) -> WebSocketState:
    """The state that an event leads to.

    Raises:
        RuntimeError: it may not be sent in this state.
    """
    following = FROM_APP.get((state, event["type"]))
    if following is None:
        expected = " or ".join(name for before, name in FROM_APP if before == state) or "nothing more"
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
    for header in event.get("headers") or ():
        name, value = header
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"the app sent {kind} with the header {header!r}; expected was two bytes")
        if name != name.lower():
            raise ValueError(f"the app sent {kind} with the header {name!r}; ASGI's are in lower case")
    match kind:
        case "websocket.accept":
            # A client fails a handshake that names what it has not asked for (RFC 6455, 4.1).
            subprotocol = event.get("subprotocol")
            if subprotocol is not None and subprotocol not in offered:
                raise ValueError(
                    f"the app accepted with subprotocol={subprotocol!r}; the client offered "
                    f"{', '.join(map(repr, offered)) or 'none'}"
                )
        case "websocket.send":
            if (event.get("text") is None) == (event.get("bytes") is None):
                raise ValueError("the app sent websocket.send; expected was a value in one of text and bytes")
        case "websocket.close":
            _check_close(event.get("code", 1000), event.get("reason") or "")


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

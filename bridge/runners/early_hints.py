"""`environ["wsgi.early_hints"]`: what a client can fetch while the app makes its response (RFC 8297).

gunicorn has the same key. It is there if the host can send a `103 Early Hints`.
"""

from collections.abc import Iterable
from typing import Protocol

from bridge.core.response import HOP_BY_HOP, encode_header
from bridge.errors import ApplicationError
from bridge.runners.loop_access import CURRENT_LOOP, run_on_loop

__all__ = ["EARLY_HINTS", "EarlyHints", "Fields", "Hinted"]

EARLY_HINTS = "wsgi.early_hints"

Fields = list[tuple[bytes, bytes]]


class Hinted(Protocol):
    """Takes the hints of a call to its client."""

    def hint(self, fields: Fields) -> None:
        """Send a 103, before the response; drop it once that has begun. On the event loop."""


class EarlyHints:
    """Sends hints; an app calls it as often as it likes, before its response begins.

    Args:
        host: the client's side of the call.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Hinted) -> None:
        self._host = host

    def __call__(self, headers: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        """Send fields, such as `[("Link", "</style.css>; rel=preload; as=style")]`.

        They go out at once. Those that come when the response has begun are dropped, and those for a client
        of HTTP/1.0, which has no 1xx responses (RFC 9110, 15.2). ASGI hosts pass on Link alone.

        Raises:
            ApplicationError: a field is ill-formed, or the server's own.
            BridgeError: called outside of the request.
        """
        fields = [_checked(*pair) for pair in headers]
        access = CURRENT_LOOP.get(None)
        if access is not None and access.is_here():
            self._host.hint(fields)
        else:
            run_on_loop(self._hint(fields))

    async def _hint(self, fields: Fields) -> None:
        self._host.hint(fields)


def _checked(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    field = encode_header((_text(name), _text(value)))
    if field[0] in HOP_BY_HOP or field[0] == b"content-length":
        raise ApplicationError(
            f"the app's early hints hold the header {field[0].decode()!r}, which is for the server to set; "
            "send Link alone (RFC 8297)"
        )
    return field


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value

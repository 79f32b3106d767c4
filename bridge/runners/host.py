"""The other end of a call, as runners know it."""

from collections.abc import Callable
from typing import BinaryIO, Protocol

from bridge.core.link import Head

__all__ = ["PARTS_PER_TURN", "PART_COST", "Body", "Host"]

PART_COST = 128
"""Bytes that a part takes besides those it carries, roughly: a limit without them would let a million parts
of one byte pass."""

PARTS_PER_TURN = 16
"""Parts of a response that may leave before the loop gets a turn. An app that never waits, on a host that
never makes it wait, would stop all others, and nobody would notice that its client has left."""


class Body(Protocol):
    """Where the request's body comes from; for one task at a time."""

    @property
    def body_is_over(self) -> bool:
        """Whether all of it has been received."""

    async def next(self) -> bytes:
        """More of the body; b"" at its end.

        Raises:
            ClientDisconnected: the client left before the end.
            Exception: the host has failed.
        """

    async def left(self) -> bool:
        """Wait for the client to leave, once the body is over; False if the host will not tell.

        Raises:
            Exception: the host has failed.
        """


class Host(Body, Protocol):
    """How the event loop reaches the client of a call: one part after the other."""

    @property
    def head(self) -> Head | None:
        """The response's head, once it has been sent."""

    @property
    def is_open(self) -> bool:
        """Whether the head has been sent, and the last part has not."""

    @property
    def is_complete(self) -> bool:
        """Whether the last part has been sent."""

    def tell_of_end(self, tell: Callable[[], object]) -> bool:
        """Have a function called when the client leaves; False if that is known only to who waits for it.

        A host that tells keeps the body until it is asked for, too: nobody need receive ahead of the app.
        """

    async def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the response; waits while the client is behind.

        Raises:
            ClientDisconnected: the client has left.
            Exception: the host has failed.
        """

    def prepare_file(self, file: BinaryIO, size: int) -> object | None:
        """Return what `send_file` needs, if the host can send this file itself; else None.

        May be called in any thread.
        """

    async def send_file(self, head: Head, file: object) -> None:
        """Send the head, and a file that was prepared, as the whole response.

        Raises:
            ClientDisconnected: the client has left.
            Exception: the host has failed; an `OSError` may say that it cannot read the file.
        """

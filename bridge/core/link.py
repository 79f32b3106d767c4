"""The two ways that a WSGI call needs: to read the request's body, and to send the response."""

from typing import BinaryIO, NamedTuple, Protocol, TypeAlias

__all__ = ["Head", "Link", "Part", "plain_answer"]


class Head(NamedTuple):
    """The status line and the header fields of a response; checked, names in lower case."""

    status: int
    reason: bytes
    """The app's reason phrase; empty if it gave none, and a host puts the standard one there."""
    headers: list[tuple[bytes, bytes]]


Part: TypeAlias = tuple[Head | None, bytes, bool]
"""A part of a response: its head, if this is the first part; bytes of the body; whether more follow."""


class Link(Protocol):
    """How a call reads its request's body and sends its response. In a test it is a list."""

    def read(self) -> bytes:
        """Wait for more of the body, and return it; b"" at its end, however often it is called.

        Raises:
            ClientDisconnected: the client left before the end.
        """

    def send(self, head: Head | None, data: bytes, more: bool) -> None:
        """Send a part of the response; wait while the client is behind.

        A part without head or bytes, with more to follow, sends nothing: it only raises if the client left.

        Raises:
            ClientDisconnected: nobody is there to send to any more.
        """

    def send_file(self, head: Head, file: BinaryIO, size: int) -> bool:
        """Send the `size` bytes from the file's position to its end as the whole body, and wait for that.

        Returns:
            False if the file has to be sent in blocks; nothing was sent then.

        Raises:
            ClientDisconnected: nobody is there to send to any more.
        """


def plain_answer(status: int, body: bytes, method: str, *headers: tuple[bytes, bytes]) -> Part:
    """Make a whole answer in the app's place: a line of text, and the headers that go with it.

    Args:
        status: the status.
        body: the text, ASCII.
        method: the request's method; a HEAD gets no body.
        headers: fields besides the type and the length.
    """
    own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    return Head(status, b"", [*own, *headers]), b"" if method == "HEAD" else body, False

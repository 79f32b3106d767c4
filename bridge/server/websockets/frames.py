"""Follow the frames of a websocket (RFC 6455, 5.2), without their payload. Pure."""

__all__ = ["CLOSE", "FrameWatch", "close_frame"]

CLOSE = 0x8  # opcode

_CONTINUATION = 0x0
_FIN = 0x80
_MASKED = 0x80
_LENGTH_SIZES = {126: 2, 127: 8}
_LONGEST_HEAD = 10  # without the mask, which counts as payload


class FrameWatch:
    """One direction of a websocket.

    Args:
        max_message: the bytes that a message may have; None for any number.
    """

    __slots__ = ("_head", "_is_closing", "_left", "_max_message", "_message", "has_closed", "is_too_big")

    def __init__(self, max_message: int | None = None) -> None:
        self.has_closed = False
        """Whether there was a Close, after which nothing counts."""
        self.is_too_big = False
        """Whether a message has begun that is too large."""
        self._max_message = max_message
        self._is_closing = False  # this frame is a Close
        self._head = b""  # of a frame, as far as it has come
        self._left = 0  # bytes that the frame's payload still lacks
        self._message = 0  # bytes of the message, in all its frames so far

    @property
    def is_between_frames(self) -> bool:
        """Whether a frame may begin here."""
        return not self._left and not self._head

    def feed(self, data: bytes | memoryview) -> None:
        """Follow some more bytes, in whatever pieces."""
        size = len(data)
        if size > 1 and not self._left and not self._head and not self.has_closed:
            # Most pieces are one short frame: 0.5 µs, not 3.
            opcode, length = data[0] & 0x0F, data[1] & 0x7F
            if opcode < CLOSE and length < 126 and size == length + (6 if data[1] & _MASKED else 2):
                self._count(opcode, length)
                return
        position = 0
        while position < size and not self.has_closed:
            if self._left:
                taken = min(self._left, size - position)
                self._left -= taken
                position += taken
            else:
                position += self._begin(bytes(data[position : position + _LONGEST_HEAD - len(self._head)]))
            self.has_closed = self._is_closing and not self._left

    def _begin(self, data: bytes) -> int:
        """Read the head of a frame; return how many of the bytes belong to it."""
        head = self._head + data
        length = head[1] & 0x7F if len(head) > 1 else 0
        length_size = _LENGTH_SIZES.get(length, 0)
        if len(head) < 2 or len(head) < 2 + length_size:
            self._head = head
            return len(data)
        if length_size:
            length = int.from_bytes(head[2 : 2 + length_size], "big")
        used = 2 + length_size - len(self._head)
        self._head = b""
        self._left = length + (4 if head[1] & _MASKED else 0)
        self._count(head[0] & 0x0F, length)
        return used

    def _count(self, opcode: int, length: int) -> None:
        if opcode == CLOSE:
            self._is_closing = True
        elif opcode < CLOSE:
            self._message = length if opcode != _CONTINUATION else self._message + length
            self.is_too_big = self._max_message is not None and self._message > self._max_message


def close_frame(code: int, *, is_masked: bool = False) -> bytes:
    """Return a Close (RFC 6455, 5.5.1).

    Args:
        code: why.
        is_masked: whether it has the form of a client's; the mask is zero.
    """
    payload = code.to_bytes(2, "big")
    mask = bytes(4) if is_masked else b""
    return bytes([_FIN | CLOSE, len(payload) | (_MASKED if is_masked else 0)]) + mask + payload

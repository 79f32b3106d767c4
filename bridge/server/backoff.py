"""How long to wait before a worker process is started in the place of one that died. Pure."""

__all__ = ["Backoff"]

# Seconds of service after which an earlier death means nothing.
_SETTLED = 60.0

_FIRST = 1.0
_LONGEST = 30.0


class Backoff:
    """Counts deaths: the first is followed by a start at once, further ones by longer and longer waits."""

    def __init__(self) -> None:
        self._wait = 0.0

    def after(self, lifetime: float) -> float:
        """How many seconds to wait after the death of a worker that lived for `lifetime` seconds."""
        if lifetime >= _SETTLED:
            self._wait = 0.0
        wait = self._wait
        self._wait = min(max(2 * wait, _FIRST), _LONGEST)
        return wait

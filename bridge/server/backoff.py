"""How long to wait before a worker process is started in the place of one that died. Pure."""

__all__ = ["Backoff"]

# Seconds of service after which an earlier death means nothing.
_SETTLED = 60.0

_FIRST = 1.0
_LONGEST = 30.0

# For a worker that has served: it can, and a request that kills workers must not leave nobody there for long.
_LONGEST_AFTER_SERVICE = 2.0


class Backoff:
    """Counts deaths: the first is followed by a start at once, further ones by longer and longer waits.

    What counts is the death of a worker that was started since the last one. That several die together, for
    want of memory, for instance, is no reason to leave nobody to serve.
    """

    def __init__(self) -> None:
        self._wait = 0.0
        self._until = 0.0

    def is_over(self, now: float) -> bool:
        """Whether nothing is to be waited for any more."""
        return now >= self._until

    def after(self, started_at: float, died_at: float, *, has_served: bool = False) -> float:
        """How many seconds to wait after the death of a worker; both times are those of one clock."""
        if started_at < self._until:
            return max(self._until - died_at, 0.0)
        if died_at - started_at >= _SETTLED:
            self._wait = 0.0
        wait = min(self._wait, _LONGEST_AFTER_SERVICE) if has_served else self._wait
        self._wait = min(max(2 * self._wait, _FIRST), _LONGEST)
        self._until = died_at + wait
        return wait

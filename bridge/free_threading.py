"""What differs on a Python without the global interpreter lock (PEP 703), where threads run at once."""

import faulthandler
import re
import sys
from contextvars import Context
from traceback import FrameSummary
from typing import Any

__all__ = ["Place", "has_gil", "inherits_nothing", "stack_of"]

# Of faulthandler's text.
_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def has_gil() -> bool:
    """Whether the global interpreter lock lets one thread run at a time, as in all ordinary builds."""
    enabled = getattr(sys, "_is_gil_enabled", None)  # since 3.13
    return enabled is None or bool(enabled())


def inherits_nothing() -> dict[str, Any]:
    """Return arguments for a new `Thread`, so that it begins without context variables, as on all Pythons.

    A free-threaded Python gives it those of whoever starts it: a worker would keep its first request's.
    """
    return {"context": Context()} if sys.version_info >= (3, 14) else {}


class Place(FrameSummary):
    """A place in the code, as a stack has them."""

    __slots__ = ("qualname",)

    def __init__(self, file: str, line: int, name: str, qualname: str) -> None:
        super().__init__(file, line, name, lookup_line=False)
        self.qualname = qualname
        """The function's name with those that it is in; without them if they are not known."""


def stack_of(ident: int | None) -> list[Place]:
    """Return what the thread with this identifier executes now, outermost first; empty if that is not known.

    Without the lock, a frame must not be looked at while its thread runs. So faulthandler, which stops all
    threads, writes their stacks, at most 100 of them.
    """
    if not has_gil():
        return _dumped(ident)[::-1]
    places = []
    frame = sys._current_frames().get(ident or 0)
    while frame is not None:
        code = frame.f_code
        places.append(Place(code.co_filename, frame.f_lineno or 0, code.co_name, code.co_qualname))
        frame = frame.f_back
    return places[::-1]


def _dumped(ident: int | None) -> list[Place]:
    import tempfile  # only here: it takes long to load

    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        lines = file.read().decode("ascii", "replace").splitlines()
    places = []
    is_this = False
    for line in lines:
        if (thread := _THREAD.match(line)) is not None:
            is_this = int(thread[1], 16) == ident
        elif is_this and (frame := _FRAME.match(line)) is not None:
            places.append(Place(frame[1], int(frame[2]), frame[3], frame[3]))
    return places

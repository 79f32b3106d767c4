"""SIGHUP for a process that no supervisor replaces: by default, it would end it with all its requests."""

import os
import signal
from types import FrameType

from bridge.server.processes.ending import forget_after_fork

__all__ = ["Hangups"]


class Hangups:
    """Takes note of SIGHUP, which asks a server to reload, and ends it in good order if its terminal is gone.

    Begins with `listen`. A process that ignores the signal, as `nohup` has it, goes on to do so.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._had_terminal = False
        self._in_terminal: list[int] = []

    def listen(self) -> None:
        """Handle the signal from here on."""
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._had_terminal = _has_terminal()
            self._in_terminal = [stream for stream in range(3) if os.isatty(stream)]
            forget_after_fork(self._handle, {signal.SIGHUP: signal.SIG_DFL})
            signal.signal(signal.SIGHUP, self._handle)

    def has_come(self) -> bool:
        """Whether the signal has come since the last call."""
        has_come, self._has_come = self._has_come, False
        return has_come

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():
            # Or the server would hold its port unseen, once the window is closed.
            self._leave_terminal()
            signal.raise_signal(signal.SIGTERM)
        else:
            self._has_come = True

    def _leave_terminal(self) -> None:
        """Write nowhere: a write to the terminal would fail, and Python would end with exit code 120."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in self._in_terminal:
            os.dup2(nowhere, stream)
        os.close(nowhere)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal; it loses a terminal that is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True

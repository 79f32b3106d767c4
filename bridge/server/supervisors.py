"""uvicorn's supervisors, with children that Ctrl-C cannot hit before they are able to end cleanly.

A terminal sends Ctrl-C to all processes. Those that are still importing what they need would die of it with
tracebacks, and the supervisor would wait seconds for an answer of theirs. So they are started with the signal
blocked, which they inherit, and let it through when the time has come. It is late then, but not lost.
"""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

from uvicorn.supervisors import ChangeReload, Multiprocess

__all__ = ["Reloader", "Workers", "let_ctrl_c_through"]


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    # It is started with the first child, and lets the signal through when it has been.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_ctrl_c_through() -> None:
    """Undo in a child what its supervisor has done.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed meanwhile.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Workers(Multiprocess):
    """Keeps a number of processes serving. Of signals, it only takes note before it has time for them."""

    def init_processes(self) -> None:
        """Start them."""
        with _ctrl_c_held_back():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died."""
        with _ctrl_c_held_back():
            super().keep_subprocess_alive()

    def handle_signals(self) -> None:
        """Do what signals ask for: some have processes started."""
        with _ctrl_c_held_back():
            super().handle_signals()


class Reloader(ChangeReload):  # type: ignore[misc,valid-type]  # one of two classes, by what is installed
    """Keeps a process serving, and replaces it when a file changes. Signals wait until it has done so."""

    def startup(self) -> None:
        """Start it."""
        with _ctrl_c_held_back():
            super().startup()

    def restart(self) -> None:
        """Replace it."""
        with _ctrl_c_held_back():
            super().restart()

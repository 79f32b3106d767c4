"""What a service tells systemd of itself: sd_notify(3) and sd_watchdog_enabled(3), a datagram each."""

import logging
import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notifier"]

logger = logging.getLogger("bridge")


class Notifier:
    """Tells systemd, if it has started this process and wants to know.

    Args:
        environ: the variables of the process: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.

    Without them, nothing is told to anybody.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_interval = _watchdog_interval(environ) if self._address else None
        """Seconds between two times WATCHDOG=1, or None if nobody waits for it."""
        self._fed_at = 0.0

    def tell(self, **variables: str | int) -> None:
        """Send variables such as READY=1, of which sd_notify(3) has the list.

        A server does not end because nobody listens: that is only said in the log.
        """
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in variables.items())
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.connect(address)
                connection.sendall(text.encode())
        except OSError as error:
            logger.warning("cannot tell systemd %s: %s: %s", " ".join(variables), self._address, error)

    def feed_watchdog(self) -> None:
        """Send WATCHDOG=1, if somebody waits for it and it is time; call this more often than that."""
        now = time.monotonic()
        if self.watchdog_interval is not None and now - self._fed_at >= self.watchdog_interval:
            self._fed_at = now
            self.tell(WATCHDOG=1)


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Half of the time after which systemd takes the service for dead, as sd_watchdog_enabled(3) advises."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is meant for somebody else
    microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    return microseconds / 2_000_000 if microseconds else None

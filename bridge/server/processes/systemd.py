"""Notify systemd of a service's state: sd_notify(3) and sd_watchdog_enabled(3), a datagram each."""

import logging
import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notifier"]

logger = logging.getLogger("bridge")


class Notifier:
    """Notifies systemd, if it has started this process and asks for it; otherwise does nothing.

    Args:
        environ: the variables of the process: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_interval: float | None = None
        """Seconds between two messages WATCHDOG=1: half of the time after which systemd restarts the service,
        as sd_watchdog_enabled(3) advises; None if nobody waits for them."""
        if self._address and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.watchdog_interval = int(environ.get("WATCHDOG_USEC", "0")) / 2_000_000 or None
        self._fed_at = 0.0

    def tell(self, **variables: str | int) -> None:
        """Send variables such as READY=1; sd_notify(3) lists them.

        If nobody listens, the server logs that and goes on.
        """
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in variables.items())
        # "@" means the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.connect(address)
                connection.sendall(text.encode())
        except OSError as error:
            logger.warning("cannot tell systemd %s: %s: %s", " ".join(variables), self._address, error)

    def feed_watchdog(self) -> None:
        """Send WATCHDOG=1 if it is due; call this more often than that."""
        now = time.monotonic()
        if self.watchdog_interval is not None and now - self._fed_at >= self.watchdog_interval:
            self._fed_at = now
            self.tell(WATCHDOG=1)

"""What can go wrong, and whose fault it is.

Every error of this package is a `BridgeError`; its message says who broke what, what came, what was
expected, and what to do about it.
"""

__all__ = ["ApplicationError", "BridgeError", "ClientDisconnected"]


class BridgeError(Exception):
    """The base of every error this package raises."""


class ClientDisconnected(BridgeError, ConnectionError):
    """The client, or the host on its behalf, has gone away while the app was reading or sending.

    It is a `ConnectionError` (and so an `OSError`), as PEP 3333 lets `wsgi.input` and `write()` raise,
    and what code written for sockets already catches. It never looks like a clean end of the body.
    """


class ApplicationError(BridgeError):
    """The application broke PEP 3333; the message names the clause."""

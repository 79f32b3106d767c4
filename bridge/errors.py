"""What can go wrong, and whose fault it is.

Each message says who broke what, what came, what was expected, and what to do about it. Calling this package
with arguments that make no sense is a `TypeError` or a `ValueError`, as everywhere.
"""

__all__ = ["ApplicationError", "BridgeError", "ClientDisconnected", "Overloaded", "WebSocketDisconnect"]


class BridgeError(Exception):
    """The base of this package's own errors."""


class Overloaded(BridgeError):
    """No thread took the request in time, or too many were waiting already."""


class ClientDisconnected(BridgeError, ConnectionError):
    """The client, or the host on its behalf, has gone away while the app was reading or sending.

    It is a `ConnectionError` (and so an `OSError`), as PEP 3333 lets `wsgi.input` and `write()` raise,
    and what code written for sockets already catches. It never looks like a clean end of the body.
    """


class ApplicationError(BridgeError):
    """The application broke PEP 3333, or HTTP by way of it; the message names the clause."""


class WebSocketDisconnect(ClientDisconnected):
    """A websocket has been closed, by the client or from here, or the client is gone.

    Args:
        code: why, by RFC 6455, 7.4; 1005 if nothing was said, 1006 if the connection broke.
        reason: what was said about it.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the websocket is closed: {code}{f' {reason}' if reason else ''}")
        self.code = code
        self.reason = reason

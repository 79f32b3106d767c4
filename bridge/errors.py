"""The package's own errors, by whose fault they are.

Each message says who broke which rule, what came, what was expected, and what to do. Wrong arguments raise a
`TypeError` or a `ValueError`, as everywhere.
"""

__all__ = ["ApplicationError", "BridgeError", "ClientDisconnected", "Overloaded", "WebSocketDisconnect"]


class BridgeError(Exception):
    """The base of this package's own errors."""


class Overloaded(BridgeError):
    """No thread took the request in time, or too many requests queued already."""


class ClientDisconnected(BridgeError, ConnectionError):
    """The client, or the host on its behalf, has gone away while the app was reading or sending.

    It is a `ConnectionError` (and so an `OSError`), which PEP 3333 lets `wsgi.input` and `write()` raise, and
    which code for sockets already catches. It never looks like a clean end of the body.
    """


class ApplicationError(BridgeError):
    """The application broke PEP 3333, or HTTP; the message names the clause."""


class WebSocketDisconnect(ClientDisconnected):
    """The client or this side has closed a websocket, or the client is gone.

    Args:
        code: the status code of RFC 6455, 7.4; 1005 if the close had none, 1006 if the connection broke.
        reason: the text of the close.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the websocket is closed: {code}{f' {reason}' if reason else ''}")
        self.code = code
        self.reason = reason

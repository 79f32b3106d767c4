"""Reads from a plain connection until what is wanted has come: one `recv()` brings any part of it."""

import socket

__all__ = ["read_to_the_end", "read_until"]


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    """Return what comes until this is in it."""
    received = b""
    while wanted not in received:
        more = connection.recv(65536)
        assert more, f"the connection ended after {received!r}"
        received += more
    return received


def read_to_the_end(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))

"""Why nobody is left to talk to, in the words of `ClientDisconnected`; and how long code may take to end."""

__all__ = ["CANCELLED", "GRACE", "HOST_FAILED", "LEFT", "LOOP_CLOSED", "OVER", "STOPPING"]

LEFT = "the client has disconnected"
CANCELLED = "the host has cancelled the request"
HOST_FAILED = "the host has failed to receive or to send"
LOOP_CLOSED = "the host's event loop is closed"
STOPPING = "the server is stopping, and this stream has no end of its own"
OVER = "the call has ended"

GRACE = 2.0
"""Seconds to wait for code that was told to end and may not notice."""

"""Why there is nobody left to talk to, in the words of `ClientDisconnected`; and how long that is given."""

__all__ = ["CANCELLED", "HOST_FAILED", "LAST_MOMENT", "LEFT", "LOOP_CLOSED", "OVER", "STOPPING"]

LEFT = "the client has disconnected"
CANCELLED = "the host has cancelled the request"
HOST_FAILED = "the host has failed to receive or to send"
LOOP_CLOSED = "the host's event loop is closed"
STOPPING = "the server is stopping, and this stream has no end of its own"
OVER = "the call has ended"

LAST_MOMENT = 2.0
"""Seconds for those who have been told to end, and need not hear it."""

"""What uvicorn logs of a response that Bridge has cut short."""

import logging

from bridge.errors import ApplicationError

__all__ = ["CutShortFilter"]


class CutShortFilter(logging.Filter):
    """Makes one line of the traceback by which uvicorn tells of an `ApplicationError`; for its logger.

    Why the response was cut short is in the log by then, with the traceback that matters. This one leads
    through the server alone; error reporters, such as Sentry, show the variables of its frames, and those of
    ASGI code hold the scope, with cookies and credentials.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, if it is of that kind, and let it pass."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError):
            record.msg, record.args = str(error), ()
            record.exc_info = record.exc_text = None
        return True

"""Errors of an app that cannot be loaded."""

import importlib
import os
import traceback

from bridge.errors import BridgeError

__all__ = ["AppError", "BrokenAppError"]

_MACHINERY = (os.path.dirname(__file__) + os.sep, importlib.__file__, "<frozen importlib")


class AppError(BridgeError):
    """The app cannot be loaded; the message is one line that names what is missing."""


class BrokenAppError(AppError):
    """The app's own code failed while it was loaded; `report` has the traceback, with the app's frames alone.

    Args:
        what: the step that has failed.
        cause: the app's exception.
    """

    def __init__(self, what: str, cause: BaseException) -> None:
        lines = str(cause).strip().splitlines()  # the first says enough beside the traceback
        super().__init__(f"{what} failed: {': '.join([type(cause).__name__, *lines[:1]])}")
        self.report = _report(cause)


def _report(error: BaseException) -> str:
    """Return the traceback of an error and of its causes, without the frames that import and call the app."""
    report = traceback.TracebackException.from_exception(error)
    following: list[traceback.TracebackException | None] = [report]
    while following:
        one = following.pop()
        if one is not None:
            one.stack = traceback.StackSummary.from_list(
                [frame for frame in one.stack if not frame.filename.startswith(_MACHINERY)]
            )
            following += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return "".join(report.format())

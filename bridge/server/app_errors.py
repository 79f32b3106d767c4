"""What is said of an app that cannot be loaded."""

import importlib
import os
import traceback

from bridge.errors import BridgeError

__all__ = ["AppError", "BrokenAppError"]

_HERE = os.path.dirname(__file__) + os.sep


class AppError(BridgeError):
    """The app cannot be loaded; the message is one line that names what is missing."""


class BrokenAppError(AppError):
    """The app's own code failed while it was loaded; `report` has the traceback, of the app's frames only.

    Args:
        what: what was being done.
        cause: what the app raised.
    """

    def __init__(self, what: str, cause: BaseException) -> None:
        super().__init__(f"{what} failed: {_describe(cause)}")
        self.report = _report(cause)


def _describe(error: BaseException) -> str:
    """The type and the first line of the message; the rest is in the traceback."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _report(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, without the frames of what imports and calls."""
    report = traceback.TracebackException.from_exception(error)
    following: list[traceback.TracebackException | None] = [report]
    while following:
        one = following.pop()
        if one is not None:
            one.stack = traceback.StackSummary.from_list(
                [frame for frame in one.stack if not _is_machinery(frame.filename)]
            )
            following += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return "".join(report.format())


def _is_machinery(file: str) -> bool:
    return file == importlib.__file__ or file.startswith((_HERE, "<frozen importlib"))

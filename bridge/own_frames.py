"""Tracebacks that begin where the app's own code does."""

import asyncio.threads
import concurrent.futures
import contextlib
import importlib
import os
from collections.abc import Iterator
from types import TracebackType

__all__ = ["keep_own_frames"]

# What imports and calls the app's own code.
_MACHINERY = (
    os.path.dirname(__file__) + os.sep,
    importlib.__file__,
    "<frozen importlib",
    contextlib.__file__,
    asyncio.threads.__file__,
    os.path.dirname(concurrent.futures.__file__) + os.sep,
)


def keep_own_frames(error: BaseException) -> None:
    """Drop the frames that import and call the app from the traceback of its error, and of its causes.

    The error is changed.
    """
    done: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        one = following.pop()
        if one is None or id(one) in done:
            continue
        done.add(id(one))
        steps = [
            step
            for step in _steps(one.__traceback__)
            if not step.tb_frame.f_code.co_filename.startswith(_MACHINERY)
        ]
        trace: TracebackType | None = None
        for step in reversed(steps):
            trace = TracebackType(trace, step.tb_frame, step.tb_lasti, step.tb_lineno)
        one.__traceback__ = trace
        following += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            following += one.exceptions


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next

"""What a person sees in a terminal: colours, and a log without the usual steps of a server."""

import logging
import os
import sys
from typing import TextIO

import click

__all__ = ["Calm", "bold", "complain", "has_colors"]

# What uvicorn logs at each start and end, by how it begins. The banner says that the server serves.
_STEPS = (
    "Started server process",
    "Waiting for application",
    "Application startup complete",
    "Application shutdown complete",
    "Finished server process",
    "Started reloader process",
    "Stopping reloader process",
)


def has_colors(stream: TextIO) -> bool:
    """Whether somebody sees colours there: it is a terminal, and NO_COLOR is not set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    """The text as it stands out on a terminal that has colours."""
    return click.style(text, bold=True)


def complain(message: str) -> None:
    """Print what is wrong, to standard error."""
    name = click.style("bridge:", fg="red", bold=True) if has_colors(sys.stderr) else "bridge:"
    print(f"{name} {message}", file=sys.stderr, flush=True)


class Calm(logging.Filter):
    """Drops uvicorn's steps of a start and an end, unless its log level is debug or trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        if record.levelno > logging.INFO or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        return not str(record.msg).startswith(_STEPS)

"""The server's own loggers, which an app may silence without meaning to.

`logging.config.dictConfig` and `fileConfig` disable every logger that exists already and that they do not
name, unless they are told `disable_existing_loggers=False`. An app that configures its logging while it is
imported would so silence the server, the tracebacks of its own errors included.
"""

import logging

__all__ = ["enable_own_loggers"]

# The first parts of the names of what the server and its libraries log to.
_OWN = frozenset({"asyncio", "bridge", "concurrent", "uvicorn", "websockets"})

# Nobody names this one, so it is disabled only where all loggers are. An app that disables one logger on
# purpose, as with `getLogger("uvicorn.access").disabled = True`, leaves it alone.
_WITNESS = logging.getLogger("bridge-witness")


def enable_own_loggers() -> None:
    """Enable the server's loggers again, if a configuration has disabled all loggers that it does not name.

    Their levels and handlers are as they were. A logger that the configuration names is as that has it, and
    so are those below it.
    """
    if not _WITNESS.disabled:
        return
    _WITNESS.disabled = False
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OWN:
            logger.disabled = False

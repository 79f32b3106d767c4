"""The server's own loggers, which an app may silence without meaning to.

`logging.config.dictConfig` and `fileConfig` disable every existing logger that they do not name, unless they
get `disable_existing_loggers=False`. An app that configures its logging while it is imported would silence
the server, and the tracebacks of its own errors.
"""

import logging

__all__ = ["enable_own_loggers"]

# The first parts of the names of the server's loggers, and of its libraries'.
_OWN = frozenset({"asyncio", "bridge", "concurrent", "uvicorn", "websockets"})

# Nobody names this one, so it is disabled only where all loggers are. An app that disables one logger on
# purpose, as with `getLogger("uvicorn.access").disabled = True`, leaves it alone.
_WITNESS = logging.getLogger("bridge-witness")


def enable_own_loggers() -> None:
    """Enable the server's loggers again, if a configuration has disabled all loggers that it does not name.

    Their levels and handlers stay. A logger that the configuration names keeps its settings, and so do those
    below it.
    """
    if not _WITNESS.disabled:
        return
    _WITNESS.disabled = False
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OWN:
            logger.disabled = False

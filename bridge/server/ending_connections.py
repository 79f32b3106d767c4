"""How a server ends its connections: each by itself, so that none can keep the others from their end."""

import asyncio
import logging
from typing import Any, TypeVar

__all__ = ["ends_alone"]

logger = logging.getLogger("bridge")

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


def ends_alone(protocol: type[_Protocol]) -> type[_Protocol]:
    """A class of connections whose `shutdown` raises nothing.

    uvicorn calls one after the other when it stops. If one raises, the others are never told, what they are
    answering is cut, and the app's lifespan does not end.

    Args:
        protocol: a class of connections, with uvicorn's `shutdown` and `transport`.
    """
    base: Any = protocol

    def shutdown(self: Any) -> None:
        """Come to an end, as the server stops; at once, if it cannot be done in good order."""
        try:
            base.shutdown(self)
        except Exception:
            logger.exception("a connection could not be ended in good order, and was cut")
            self.transport.abort()

    # Slots, as a dict for each connection would make those larger that have none.
    return type(protocol.__name__, (protocol,), {"__slots__": (), "shutdown": shutdown})

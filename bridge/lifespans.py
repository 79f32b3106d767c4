"""Lifespans: context managers that live as long as a server serves an app. Pure."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from bridge.errors import BridgeError
from bridge.types import AsyncViews, LifespanFactory

__all__ = ["NO_EVENT", "AppLifespan", "entered"]

NO_EVENT = (
    "the host has sent no lifespan event, and sends none to an app that is mounted in another one. Enter the "
    "adapter's lifespan_context() in the outer app's lifespan: `async with adapter.lifespan_context(): yield`"
)
"""Why the lifespans of an app are not entered on an ASGI host, and what to do."""


class AppLifespan(ABC):
    """An extension of a Flask app with a lifespan; the adapter runs every one in `app.extensions`."""

    @property
    def has_lifespans(self) -> bool:
        """Whether anything is lost if `running` is never entered."""
        return True

    @abstractmethod
    def running(
        self, app: Any, graceful_timeout: float, async_views: AsyncViews
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Run the extension around the life of the server; yields a part of the lifespan state.

        Args:
            app: the Flask app.
            graceful_timeout: how many seconds its end may wait for unfinished work.
            async_views: where the app's async views run.
        """


@asynccontextmanager
async def entered(lifespan: LifespanFactory | None, app: object) -> AsyncIterator[dict[str, Any]]:
    """Enter `lifespan(app)` around a block; yields its state as a dict, empty without a lifespan.

    Raises:
        BridgeError: it returns no async context manager, or yields neither a mapping nor None.
    """
    if lifespan is None:
        yield {}
        return
    context = lifespan(app)
    if not isinstance(context, AbstractAsyncContextManager):
        raise BridgeError(
            f"lifespan(app) returned a {type(context).__name__}, not an async context manager; "
            "is the decorator @contextlib.asynccontextmanager missing?"
        )
    async with context as state:
        if state is not None and not isinstance(state, Mapping):
            raise BridgeError(
                f"the lifespan yielded a {type(state).__name__}; it may yield a mapping, or nothing"
            )
        yield dict(state or {})

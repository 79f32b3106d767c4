"""The demos and the gallery's own pages in one ASGI app."""

import asyncio
import importlib
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge import WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.interfaces import detect_interface
from demos.gallery.ladder import LADDER, Rung
from demos.gallery.limits import Limited

logger = logging.getLogger("bridge")


def create_app(ladder: Iterable[Rung] = LADDER) -> Starlette:
    """Make the gallery. It imports the demos, and enters their lifespans, when the server starts."""

    @asynccontextmanager
    async def lifespan(gallery: Starlette) -> AsyncIterator[None]:
        # Each Flask app reads it when it is made. Visitors must not see the insides of an error.
        os.environ["FLASK_DEBUG"] = "0"
        async with AsyncExitStack() as stack:  # a mounted app gets no lifespan events
            mounts, missing = [], set()
            for rung in ladder:
                app = await _start(rung, stack)
                if app is None:
                    missing.add(rung.name)
                mounts.append(Mount(f"/demos/{rung.name}", app=app or DID_NOT_START))
            pages = await stack.enter_async_context(_pages(ladder, missing))
            gallery.router.routes[:] = [*mounts, Mount("/", app=pages)]
            yield

    return Starlette(lifespan=lifespan)


DID_NOT_START = PlainTextResponse("This demo did not start. The server's log says why.\n", 503)


async def _start(rung: Rung, stack: AsyncExitStack) -> ASGIApp | None:
    """Import a demo and enter its lifespan, which the stack leaves; None if that fails."""
    try:
        app = await asyncio.to_thread(_load, rung)  # Django migrates then, which it does not do on a loop
        state = await stack.enter_async_context(running(cast(Any, app)))
    except Exception:  # go on with the others
        logger.exception("the demo %s did not start; its address answers 503", rung.app)
        return None
    return Limited(WithState(app, state), rung.largest_body)


def _load(rung: Rung) -> ASGIApp:
    attribute = rung.app.partition(":")[2]
    app = getattr(importlib.import_module(rung.module), attribute.removesuffix("()"))
    if attribute.endswith("()"):
        app = app()
    return app if detect_interface(app) == "asgi" else cast(ASGIApp, WSGIToASGI(app))


@asynccontextmanager
async def _pages(ladder: Iterable[Rung], missing: set[str]) -> AsyncIterator[ASGIApp]:
    from demos.gallery import pages  # not before FLASK_DEBUG is off

    app = WSGIToASGI(pages.create_app(ladder, missing))
    async with app.lifespan_context():
        yield Limited(cast(ASGIApp, app), 64 * 1024)


class WithState:
    """Gives a mounted app the state of its own lifespan, as `scope["state"]`, and of no other."""

    def __init__(self, app: ASGIApp, state: Mapping[str, Any]) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "state": dict(self._state)}, receive, send)

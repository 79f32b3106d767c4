"""A demo below a prefix, as in a gallery: `bridge serve "tests.demos.prefixed:below('demos.mounted')"`."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.applications import Starlette
from starlette.routing import Mount

from bridge import WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.interfaces import detect_interface

PREFIX = "/below/this"


def below(module: str) -> Starlette:
    app = importlib.import_module(module).app
    asgi: Any = app if detect_interface(app) == "asgi" else WSGIToASGI(app)

    @asynccontextmanager
    async def lifespan(outer: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with running(cast(Any, asgi)) as state:
            yield state

    return Starlette(routes=[Mount(PREFIX, app=asgi)], lifespan=lifespan)

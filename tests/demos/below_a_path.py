"""Demos, each mounted below a path of its own in one ASGI app, as in a gallery."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from bridge import WSGIToASGI
from demos import async_views, chat, site, streaming, wsgi_hello

_mounted = {
    "/async": WSGIToASGI(async_views.app),
    "/chat": WSGIToASGI(chat.app),
    "/site": WSGIToASGI(site.app),
    "/streaming": WSGIToASGI(streaming.app),
    "/wsgi": WSGIToASGI(wsgi_hello.app),
}


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:  # Starlette keeps lifespan events to itself
        for adapter in _mounted.values():
            await stack.enter_async_context(adapter.lifespan_context())
        yield


app = Starlette(routes=[Mount(path, app=adapter) for path, adapter in _mounted.items()], lifespan=_lifespan)

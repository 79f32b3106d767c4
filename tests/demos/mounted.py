"""The portal within another app, as a gallery of demos would have it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.routing import Mount

from bridge import WSGIToASGI
from demos.portal import create_app


def create_gallery(settings: Mapping[str, object]) -> Starlette:
    """The outer app's lifespan enters that of the portal: its database and its worker."""
    portal = WSGIToASGI(create_app("development", settings))

    def lifespan(app: Starlette) -> AbstractAsyncContextManager[Mapping[str, object]]:
        return portal.lifespan_context()

    return Starlette(routes=[Mount("/club/portal", app=portal)], lifespan=lifespan)

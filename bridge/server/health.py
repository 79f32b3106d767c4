"""Is it alive, and should it get requests? Two paths that the server answers itself, on the event loop.

Neither takes a thread, so both answer while all of them are busy. Live is whoever can answer at all. Ready is
who has started and is not about to stop, unless the app's own check says no.
"""

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, cast

from bridge.interfaces import is_async_callable
from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application, HTTPScope, HTTPSend, Scope

__all__ = ["Health", "ReadinessCheck"]

logger = logging.getLogger("bridge")

ReadinessCheck: TypeAlias = Callable[[], object] | Callable[[], Awaitable[object]]
"""Says whether the app can serve: by what it returns (only False is no), or by raising; async or not."""

_State: TypeAlias = Literal["starting", "ready", "draining"]

# Seconds that the app's own check may take; a probe gives up sooner than that.
_PATIENCE = 5.0


class Health:
    """An ASGI application that answers for its health, around another.

    Args:
        app: what everything else goes to.
        live: the path of "is it alive?"; None for none.
        ready: the path of "should it get requests?"; None for none.
        check: the app's own, asked each time.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        live: str | None,
        ready: str | None,
        check: ReadinessCheck | None = None,
    ) -> None:
        self._app = cast(Any, app)  # hosts' types and asgiref's differ in name only
        self._live = live
        self._ready = ready
        self._check = check
        self._state: _State = "starting"

    def drain(self) -> None:
        """Be not ready from here on: the server is about to stop."""
        self._state = "draining"

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Answer, if it is one of the two paths; else have the app do it."""
        known = cast(Scope, scope)
        if known["type"] == "http" and (path := _path(known)) in (self._live, self._ready):
            await self._answer(known, path, cast(HTTPSend, send))
        elif known["type"] == "lifespan":
            await self._app(scope, receive, self._watching(send))
        else:
            await self._app(scope, receive, send)

    def _watching(self, send: AnySend) -> AnySend:
        """Note that the app has started; a host without lifespan is ready with its first request."""

        async def watch(event: Any) -> None:
            if event["type"] == "lifespan.startup.complete":
                self._state = "ready"
            await send(event)

        return cast(AnySend, watch)

    async def _answer(self, scope: HTTPScope, path: str, send: HTTPSend) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, {"status": "method not allowed"}, extra=[(b"allow", b"GET, HEAD")])
        elif path == self._live:
            await _respond(send, 200, {"status": "live"}, is_head=scope["method"] == "HEAD")
        else:
            status = await self._readiness()
            await _respond(
                send, 200 if status == "ready" else 503, {"status": status}, is_head=scope["method"] == "HEAD"
            )

    async def _readiness(self) -> str:
        """One word; why a check has failed is in the log, not for everybody to read."""
        if self._state == "starting":
            # Requests come before the end of the start only where there is no lifespan to tell of it.
            self._state = "ready"
        if self._state == "draining" or self._check is None:
            return self._state
        try:
            async with asyncio.timeout(_PATIENCE):
                is_ready = await _call(self._check)
        except Exception as error:  # noqa: BLE001  # whatever it is, the answer is no
            logger.warning("not ready: the app's check raised %s: %s", type(error).__name__, error)
            return "failing"
        return "failing" if is_ready is False else "ready"


def _path(scope: HTTPScope) -> str:
    """The path without that of the app itself (`--root-path`), which hosts put before it."""
    root = scope.get("root_path", "")
    return scope["path"].removeprefix(root) if root else scope["path"]


async def _call(check: ReadinessCheck) -> object:
    """The check's result; a plain one is called in a thread, not one of the requests'."""
    result = check() if is_async_callable(check) else await asyncio.to_thread(check)
    # Also of a plain function: a decorator may hide an async one.
    return await result if inspect.isawaitable(result) else result


async def _respond(
    send: HTTPSend,
    status: int,
    content: dict[str, str],
    *,
    is_head: bool = False,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})

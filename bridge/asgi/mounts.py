"""Several apps, WSGI and ASGI in any mix, each below a prefix of its own; one lifespan for all.

This is routing by prefix and nothing more; Starlette's router does what goes beyond it.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.host import events_of
from bridge.asgi.lifespan import running, serve_lifespan
from bridge.core.link import plain_answer
from bridge.errors import BridgeError
from bridge.interfaces import as_asgi3, detect_interface
from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application

__all__ = ["Mounts", "check_prefixes"]

logger = logging.getLogger("bridge")

# Where the state of the host's lifespan has the states of the mounted apps, by their prefixes.
_STATES = "bridge.mounts"


class Mounts:
    """An ASGI application of several apps; the one with the longest matching prefix answers a request.

    The prefix moves from the path that the app sees into its SCRIPT_NAME or `root_path`. A prefix ends on a
    segment boundary: `/api` does not own `/apis`. Requests that belong to no app get a 404.

    Args:
        apps: the apps by their prefixes, such as `{"/api": api, "/": site}`. A WSGI app is wrapped in
            `WSGIToASGI`; wrap it yourself to set its threads.
        interface: "wsgi" or "asgi", if it cannot be told by looking at the apps.

    Raises:
        TypeError: an app is neither WSGI nor ASGI, or it cannot be told which.
        ValueError: a prefix does not begin with a slash, or stands there twice.

    Each app has its own lifespan, and its own state: they start in the order of `apps`, and stop in the
    reverse order. If one does not start, those before it are stopped, and the host is told which it was.
    """

    def __init__(
        self, apps: Mapping[str, Callable[..., Any]], *, interface: Literal["wsgi", "asgi"] | None = None
    ) -> None:
        self._apps: dict[str, ASGI3Application] = {}
        for prefix, app in zip(check_prefixes(list(apps)), apps.values(), strict=True):
            found = interface or detect_interface(app)
            if found is None:
                raise TypeError(
                    f"cannot tell whether the app at {prefix or '/'}, {app!r}, is WSGI or ASGI; wrap a WSGI "
                    "app in WSGIToASGI"
                )
            self._apps[prefix] = WSGIToASGI(app) if found == "wsgi" else as_asgi3(app, found)
        self._longest_first = sorted(self._apps, key=len, reverse=True)

    def end_streams(self) -> None:
        """End those of the WSGI apps; see `WSGIToASGI.end_streams`."""
        for app in self._apps.values():
            if isinstance(app, WSGIToASGI):
                app.end_streams()

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve an ASGI connection."""
        known: Any = scope
        host_receive: Any = receive
        host_send: Any = send
        if known["type"] == "lifespan":
            await serve_lifespan(known, receive, send, self._running(known.get("state") or {}))
            return
        found = self._find(known)
        if found is not None:
            prefix, below = found
            if (facts := known.get("bridge.call")) is not None:
                facts.prefix += prefix
            await self._apps[prefix](below, host_receive, host_send)
        elif known["type"] == "websocket":
            await host_send({"type": "websocket.close", "code": 1000})
        else:
            for event in events_of(plain_answer(404, b"not found\n", known["method"])):
                await host_send(event)

    def _find(self, scope: Any) -> tuple[str, Any] | None:
        """Return the prefix of the app that a request belongs to, and its scope for that app."""
        root = scope.get("root_path", "").rstrip("/")
        path = scope["path"]
        raw_path = scope.get("raw_path")
        below = path[len(root) :] if path == root or path.startswith(root + "/") else None
        if below is None:  # the host, or a proxy, has taken the root off
            below, path = path, root + path
            raw_path = None if raw_path is None else quote(root).encode() + raw_path
        prefix = self.prefix_of(below)
        if prefix is None:
            return None
        changes = {
            "path": path,
            "root_path": root + prefix,
            "state": self.state_of(prefix, scope.get("state") or {}),
        }
        if raw_path is not None:
            changes["raw_path"] = raw_path
        return prefix, {**scope, **changes}

    # For hosts, such as Bridge's own HTTP

    def prefix_of(self, path: str) -> str | None:
        """Return the prefix of the app that a path belongs to, without a slash at its end; None if none does.

        Args:
            path: below the root path, decoded.
        """
        for prefix in self._longest_first:
            if path == prefix or path.startswith(prefix + "/"):
                return prefix
        return None

    def state_of(self, prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the lifespan state for requests to an app: the host's, and the app's own.

        Args:
            prefix: of the app.
            state: of the lifespan that this has run.
        """
        host_state = dict(state)
        own: Mapping[str, Any] = host_state.pop(_STATES, {}).get(prefix, {})
        return {**host_state, **own}

    @asynccontextmanager
    async def _running(self, host_state: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        states: dict[str, dict[str, Any]] = {}
        async with AsyncExitStack() as stack:
            for prefix, app in self._apps.items():
                try:
                    states[prefix] = await stack.enter_async_context(running(app, host_state))
                except BridgeError as error:
                    raise BridgeError(f"the app at {prefix or '/'} did not start: {error}") from None
            yield {_STATES: states}


def check_prefixes(prefixes: list[str]) -> list[str]:
    """Return prefixes without the slashes at their ends; that of the root is empty.

    Raises:
        ValueError: one does not begin with a slash, or stands there twice.
    """
    found: list[str] = []
    for prefix in prefixes:
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"a mount's prefix begins with a slash, as /api does; got {prefix!r}")
        shortened = prefix.rstrip("/")
        if shortened in found:
            raise ValueError(f"two apps are mounted at {shortened or '/'}; give each a prefix of its own")
        found.append(shortened)
    return found

"""`--root-path`, for proxies that take the prefix off a path and for those that leave it there."""

from typing import Any, cast

from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application, Scope

__all__ = ["RootPath", "check_root_path"]


class RootPath:
    """An ASGI application around another that is served below a path.

    uvicorn puts the root path before every path, as ASGI has it for a proxy that takes it off. A path that
    begins with it already then has it twice; here it loses the first one.

    Args:
        app: the other.
        root_path: the path that uvicorn puts there, as `check_root_path` gives it.
    """

    def __init__(self, app: ASGI3Application, root_path: str) -> None:
        self._app = cast(Any, app)  # hosts' types and asgiref's differ in name only
        self._whole = root_path * 2
        self._beginning = f"{root_path * 2}/"
        self._length = len(root_path)  # of the raw path, too: it is ASCII

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve one scope."""
        known = cast(Scope, scope)
        if known["type"] != "lifespan":
            path = known["path"]
            if path == self._whole or path.startswith(self._beginning):
                # The server's own scope, from which it writes its access log.
                known["path"] = path[self._length :]
                raw_path = known["raw_path"]
                assert raw_path is not None  # uvicorn has it always
                known["raw_path"] = raw_path[self._length :]
        await self._app(scope, receive, send)


def check_root_path(root_path: str) -> str:
    """A root path as ASGI has it: it begins with a slash and does not end with one, or it is empty.

    Raises:
        ValueError: it cannot be the beginning of a path.
    """
    if not root_path.isascii() or not root_path.isprintable():
        raise ValueError(f"{root_path!r} is not printable ASCII")  # uvicorn would fail at every request
    if set(root_path) & set("?#%"):
        raise ValueError(f"{root_path!r} is not a decoded path: it has one of ? # %")
    inner = root_path.strip("/")
    return f"/{inner}" if inner else ""

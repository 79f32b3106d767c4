"""Headers that speak for a proxy, kept from the app where they come from a client that is not trusted."""

from collections.abc import Callable
from typing import Any, cast

from bridge.types import AnyReceive, AnyScope, AnySend, ASGI3Application, Scope

__all__ = ["ClearForwarded"]

# What proxies tell of a client, and apps and frameworks read as true: who it is, and the scheme, host, port
# or prefix it has asked for. Beside these, every header whose name begins with X-Forwarded-.
_NAMES = frozenset(
    {
        b"forwarded",  # RFC 7239
        b"x-forwarded",
        # nginx, Apache's mod_remoteip, Rackspace; the content delivery networks of Akamai, Cloudflare, Fastly
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"fastly-client-ip",
        # what mod_wsgi takes from trusted proxies besides, and Microsoft's
        b"x-scheme",
        b"x-https",
        b"x-host",
        b"x-script-name",
        b"front-end-https",
    }
)
_PREFIX = b"x-forwarded-"


class ClearForwarded:
    """An ASGI application that keeps from another what clients claim who are no trusted proxies.

    It belongs outside of what takes a proxy's word for who the client is: here that is still the proxy.

    Args:
        app: the other.
        is_trusted: whether the word of an address is taken; None is a client that has none.
    """

    def __init__(self, app: ASGI3Application, is_trusted: Callable[[str | None], bool]) -> None:
        self._app = cast(Any, app)  # hosts' types and asgiref's differ in name only
        self._is_trusted = is_trusted

    async def __call__(self, scope: AnyScope, receive: AnyReceive, send: AnySend) -> None:
        """Serve one scope."""
        known = cast(Scope, scope)
        if known["type"] != "lifespan":
            client = known.get("client")
            if not self._is_trusted(client[0] if client else None):
                headers = [each for each in known["headers"] if not _speaks_for_a_proxy(each[0])]
                scope = cast(AnyScope, {**known, "headers": headers})
        await self._app(scope, receive, send)


def _speaks_for_a_proxy(name: bytes) -> bool:
    # Other adapters than Bridge's make the same variable of a name with underscores.
    name = name.lower().replace(b"_", b"-")
    return name in _NAMES or name.startswith(_PREFIX)

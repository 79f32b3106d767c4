"""Headers that speak for a proxy: applied if it is trusted, otherwise kept from the app."""

from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bridge.http.exchange import Exchange, Hook
from bridge.http.request import Request
from bridge.types import override

__all__ = ["Forwarded"]

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

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Forwarded(Hook):
    """Takes the client's address and scheme from the headers of a trusted proxy.

    It comes before all other hooks, so that they see the client, not the proxy.

    Args:
        trusted_hosts: the trusted proxies, in uvicorn's form: addresses, networks, or `*` for all; None for
            none.
        clear: whether others' headers that speak for a proxy are kept from the app.
    """

    def __init__(self, trusted_hosts: str | list[str] | None, *, clear: bool) -> None:
        # uvicorn's rules for who is trusted, and which of the addresses is the client's.
        no_app: Any = None
        rules = trusted_hosts is not None and ProxyHeadersMiddleware(no_app, trusted_hosts=trusted_hosts)
        self._trusted = rules.trusted_hosts if rules else None
        self._clear = clear

    @override
    def on_request(self, exchange: Exchange) -> None:
        self.apply(exchange.request)

    def apply(self, request: Request) -> None:
        """Change a request, also one for a websocket, into what its client has asked for."""
        trusted = self._trusted
        if trusted is None or (request.client[0] if request.client else None) not in trusted:
            if self._clear:
                request.headers = [field for field in request.headers if not _speaks_for_a_proxy(field[0])]
            return
        addresses = []
        scheme = None
        for name, value in request.headers:
            if name == b"x-forwarded-for":
                addresses.append(value)
            elif name == b"x-forwarded-proto":
                scheme = value
        if scheme is not None:
            request.scheme = _SCHEMES.get(scheme.decode("latin-1").strip(), request.scheme)
        if addresses:
            host, port = trusted.get_trusted_client_address(b", ".join(addresses).decode("latin-1"))
            if host:  # an empty header says nothing
                request.client = host, port


def _speaks_for_a_proxy(name: bytes) -> bool:
    # Other adapters than Bridge's make the same variable of a name with underscores.
    name = name.lower().replace(b"_", b"-")
    return name in _NAMES or name.startswith(_PREFIX)

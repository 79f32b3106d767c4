"""The head of a request, in parts."""

from typing import Any, TypeAlias
from urllib.parse import unquote

__all__ = ["Address", "Request"]

Address: TypeAlias = tuple[str, int | None]
"""Host and port; the port of a unix socket is None."""


class Request:
    """The head of a request: what the client has sent, and what trusted proxies have said of it since.

    Args:
        method: any token.
        path: of the target, as it was sent, percent-encoded, behind the root path; or `*`.
        query: what follows the question mark.
        version: "1.0" or "1.1".
        headers: the fields, their names in lower case. A hook may change the list.
    """

    __slots__ = (
        "client",
        "client_closes",
        "expects_continue",
        "headers",
        "method",
        "path",
        "query",
        "root_path",
        "scheme",
        "server",
        "tls",
        "version",
    )

    def __init__(
        self, method: str, path: bytes, query: bytes, version: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.client_closes = False
        """Whether the client wants no answer after this one's (RFC 9112, 9.3)."""
        self.expects_continue = False
        """Whether it waits for a `100 Continue` before it sends the body."""
        self.root_path = ""
        """The prefix of `path` that the app as a whole is below, as it is decoded; empty for none."""
        self.scheme = "http"
        """`http` or `https`, also for a websocket's handshake."""
        self.client: Address | None = None
        self.server: Address | None = None
        self.tls: dict[str, Any] | None = None
        """ASGI's TLS extension; None for a connection without TLS."""

    @property
    def target(self) -> str:
        """Path and query, as they were sent, behind the root path."""
        path = self.path.decode("ascii")
        return f"{path}?{self.query.decode('ascii')}" if self.query else path

    @property
    def decoded_path(self) -> str:
        """The path, percent-decoded as UTF-8; what is none becomes U+FFFD."""
        return unquote(self.path.decode("ascii"))

    @property
    def takes_trailers(self) -> bool:
        """Whether the client says that it takes trailers (RFC 9110, 10.1.4)."""
        return any(
            coding.partition(b";")[0].strip().lower() == b"trailers"
            for value in self.values(b"te")
            for coding in value.split(b",")
        )

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of a name, which is in lower case."""
        return [value for known, value in self.headers if known == name]

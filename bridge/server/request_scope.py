"""`environ["asgi.scope"]` without an ASGI host: a scope that is made on demand."""

from typing import Any

from bridge.asgi.scope_view import ScopeView
from bridge.http.asgi_serving import make_scope
from bridge.http.request import Request

__all__ = ["RequestScope"]


class RequestScope(ScopeView):
    """The scope of a request, made when code first looks into it.

    Args:
        request: the request.
        state: the lifespan state.
    """

    __slots__ = ("_request", "_state")

    def __init__(self, request: Request, state: dict[str, Any]) -> None:
        self._request = request
        self._state = state

    def __getattr__(self, name: str) -> Any:
        if name != "scope":
            return super().__getattr__(name)
        self.scope = scope = make_scope(self._request, self._state)
        return scope

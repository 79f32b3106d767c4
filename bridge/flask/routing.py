"""A request → the rule of a Flask app that Werkzeug's routing will find, before Flask is called."""

from collections.abc import Iterator

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, MapAdapter, RequestRedirect, Rule

__all__ = ["Routing", "own_converters"]

# The module of Werkzeug's converters, none of which waits or needs a request.
_WERKZEUGS = BaseConverter.__module__


class Routing:
    """Matches requests with the rules of an app, on the event loop.

    It does not call converters of the app's own: they may ask a database, or need the request's context,
    which does not exist yet. So it also finds a rule whose converter would refuse the value.

    Args:
        app: the app, with all its rules.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.goes_by_host = app.url_map.host_matching or app.subdomain_matching
        """Whether the host decides which rule a request finds."""
        self._map = app.url_map
        self._originals: dict[int, Rule] = {}
        if any(True for rule in app.url_map.iter_rules() for _ in own_converters(rule)):
            self._map = self._without_conversions(app.url_map)
        self._adapter: MapAdapter | None = None

    def rule_of(self, path: str, method: str, host: str, *, is_websocket: bool) -> Rule | None:
        """Return the rule that Flask will find; None if there is none.

        Args:
            path: the environ's PATH_INFO.
            method: the request's, in upper case.
            host: the Host header; any, if `goes_by_host` is false.
            is_websocket: whether it is the handshake of a websocket.
        """
        try:
            rule, _ = self._adapter_for(host).match(path, method, return_rule=True, websocket=is_websocket)
        except (HTTPException, RequestRedirect):
            return None
        return self._originals.get(id(rule), rule)

    def _adapter_for(self, host: str) -> MapAdapter:
        """Return the adapter that Flask would use; the same for all requests, unless the host decides."""
        if not self.goes_by_host:
            if self._adapter is None:
                self._adapter = self._map.bind("localhost")
            return self._adapter
        environ = {
            "HTTP_HOST": host,
            "PATH_INFO": "/",
            "REQUEST_METHOD": "GET",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        adapter = self._app.create_url_adapter(self._app.request_class(environ))
        assert adapter is not None  # it is None where there is no request
        adapter.map = self._map
        return adapter

    def _without_conversions(self, url_map: Map) -> Map:
        """Return the same rules, with converters that match the same text and do not convert it."""
        copied = Map(
            default_subdomain=url_map.default_subdomain,
            strict_slashes=url_map.strict_slashes,
            merge_slashes=url_map.merge_slashes,
            redirect_defaults=False,  # it would build URLs of unconverted values
            converters={
                name: type(converter.__name__, (converter,), {"to_python": lambda converter, value: value})
                for name, converter in url_map.converters.items()
            },
            host_matching=url_map.host_matching,
        )
        for rule in url_map.iter_rules():
            copy = rule.empty()
            copy.websocket, copy.merge_slashes = rule.websocket, rule.merge_slashes
            if copy.redirect_to is not None:
                copy.redirect_to = ""  # or Werkzeug would call the app's function
            copied.add(copy)
            self._originals[id(copy)] = rule
        return copied


def own_converters(rule: Rule) -> Iterator[type[BaseConverter]]:
    """Yield the converters of a rule that call the app's own code for what they have matched."""
    for converter in rule._converters.values():
        if getattr(type(converter).to_python, "__module__", "") != _WERKZEUGS:
            yield type(converter)

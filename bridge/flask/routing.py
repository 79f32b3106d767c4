"""Which rule of a Flask app a request will find, by Werkzeug's own routing, before Flask is called."""

from collections.abc import Iterator
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, MapAdapter, RequestRedirect, Rule

__all__ = ["Routing", "own_converters"]

# Where Werkzeug keeps its converters, none of which waits for anything or needs a request.
_WERKZEUGS = BaseConverter.__module__


class Routing:
    """The rules of an app, to be matched on the event loop.

    Converters of the app's own are not called: they may ask a database, or need the context of a request,
    which there is none yet. What they would refuse is found, too.

    Args:
        app: the app; its rules are looked at now.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.goes_by_host = app.url_map.host_matching or app.subdomain_matching
        """Whether it matters which host a request is for."""
        self._map = app.url_map
        self._originals: dict[int, Rule] = {}
        if any(True for rule in app.url_map.iter_rules() for _ in own_converters(rule)):
            self._map = self._without_conversions(app.url_map)
        self._adapter: MapAdapter | None = None

    def rule_of(self, path: str, method: str, host: str, *, is_websocket: bool) -> Rule | None:
        """The rule that Flask will find; None if there is none.

        Args:
            path: the environ's PATH_INFO.
            method: of the request, in upper case.
            host: the Host header; any, if hosts do not matter to the app.
            is_websocket: whether it is the handshake of a websocket.
        """
        try:
            rule, _ = self._adapter_for(host).match(path, method, return_rule=True, websocket=is_websocket)
        except (HTTPException, RequestRedirect):
            return None
        return self._originals.get(id(rule), rule)

    def _adapter_for(self, host: str) -> MapAdapter:
        """The one that Flask would match a request with; one for all, if hosts do not matter to the app."""
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
        """The same rules, with converters that match the same and leave what they have matched as it is."""
        copied = Map(
            default_subdomain=url_map.default_subdomain,
            strict_slashes=url_map.strict_slashes,
            merge_slashes=url_map.merge_slashes,
            redirect_defaults=False,  # it would build URLs of what has not been converted
            converters={name: _unconverting(converter) for name, converter in url_map.converters.items()},
            host_matching=url_map.host_matching,
        )
        for rule in url_map.iter_rules():
            copy = rule.empty()
            copy.websocket, copy.merge_slashes = rule.websocket, rule.merge_slashes
            if copy.redirect_to is not None:
                copy.redirect_to = ""  # it redirects; a function of the app's would be called
            copied.add(copy)
            self._originals[id(copy)] = rule
        return copied


def own_converters(rule: Rule) -> Iterator[type[BaseConverter]]:
    """The converters of a rule that call code of the app's own for what they have matched."""
    for converter in rule._converters.values():
        if getattr(type(converter).to_python, "__module__", "") != _WERKZEUGS:
            yield type(converter)


def _unconverting(converter: type[BaseConverter]) -> type[BaseConverter]:
    return type(converter.__name__, (converter,), {"to_python": _unchanged})


def _unchanged(converter: BaseConverter, value: str) -> Any:
    return value

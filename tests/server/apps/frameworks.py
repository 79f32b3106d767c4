"""An app of each framework, and in each form that apps have, made as its documentation makes it.

Each is an attribute of this module, and made when it is asked for: no framework is imported for another's
sake. Each answers `GET /` with its own name.
"""

import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_makers: dict[str, Callable[[str], Any]] = {}


def __getattr__(name: str) -> Any:
    try:
        make = _makers[name]
    except KeyError:
        raise AttributeError(name) from None
    return make(name)


def made(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make the app with its name when it is asked for."""
    _makers[make.__name__.removeprefix("_")] = make
    return make


def wsgi_answering(text: str) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text.encode()]

    return app


def asgi_answering(text: str) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})

    return app


# Werkzeug


@made
def _werkzeug_application(name: str) -> Any:
    from werkzeug.wrappers import Request, Response

    @Request.application
    def app(request: Request) -> Response:
        return Response(name)

    return app


@made
def _werkzeug_application_method(name: str) -> Any:
    from werkzeug.wrappers import Request, Response

    application: Any = Request.application  # its type is for functions alone

    class Site:
        @application
        def app(self, request: Request) -> Response:
            return Response(name)

    return Site().app


@made
def _werkzeug_responder(name: str) -> Any:
    from werkzeug.wrappers import Response
    from werkzeug.wsgi import responder

    @responder
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> WSGIApplication:
        return Response(name)

    return app


@made
def _werkzeug_response(name: str) -> Any:
    from werkzeug.wrappers import Response

    return Response(name)


@made
def _werkzeug_dispatcher(name: str) -> Any:
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(wsgi_answering(name), {"/other": wsgi_answering("other")})


@made
def _werkzeug_proxy_fix(name: str) -> Any:
    from werkzeug.middleware.proxy_fix import ProxyFix

    return ProxyFix(wsgi_answering(name))


@made
def _werkzeug_local_proxy(name: str) -> Any:
    from werkzeug.local import LocalProxy

    app = wsgi_answering(name)
    return LocalProxy(lambda: app)


# Frameworks of WSGI


@made
def _flask(name: str) -> Any:
    from flask import Flask

    app = Flask(name)
    app.add_url_rule("/", view_func=lambda: name)
    return app


@made
def _flask_wsgi_app(name: str) -> Any:
    return _flask(name).wsgi_app


@made
def _webob_wsgify(name: str) -> Any:
    from webob.dec import wsgify

    @wsgify
    def app(request: Any) -> str:
        return name

    return app


@made
def _webob_wsgify_method(name: str) -> Any:
    from webob.dec import wsgify

    class Site:
        @wsgify
        def app(self, request: Any) -> str:
            return name

    return Site().app


@made
def _webob_middleware(name: str) -> Any:
    from webob.dec import wsgify

    @wsgify.middleware
    def middleware(request: Any, app: Any) -> Any:
        return request.get_response(app)

    return middleware(wsgi_answering(name))


@made
def _falcon(name: str) -> Any:
    import falcon

    class Hello:
        def on_get(self, request: Any, response: Any) -> None:
            response.text = name

    app = falcon.App()
    app.add_route("/", Hello())
    return app


@made
def _falcon_asgi(name: str) -> Any:
    import falcon.asgi

    class Hello:
        async def on_get(self, request: Any, response: Any) -> None:
            response.text = name

    app = falcon.asgi.App()
    app.add_route("/", Hello())
    return app


@made
def _bottle(name: str) -> Any:
    import bottle

    app = bottle.Bottle()
    app.route("/", callback=lambda: name)
    return app


@made
def _pyramid(name: str) -> Any:
    from pyramid.config import Configurator
    from pyramid.response import Response

    with Configurator() as config:
        config.add_route("hello", "/")
        config.add_view(lambda request: Response(name), route_name="hello")
        return config.make_wsgi_app()


@made
def _cherrypy(name: str) -> Any:
    import cherrypy

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return name

    tree = cherrypy._cptree.Tree()
    tree.mount(Root(), "/")
    return tree


@made
def _webpy(name: str) -> Any:
    import web

    class Hello:
        def GET(self) -> str:  # noqa: N802  # web.py looks for this name
            return name

    return web.application(("/", "Hello"), {"Hello": Hello}).wsgifunc()


@made
def _whitenoise(name: str) -> Any:
    from whitenoise import WhiteNoise

    return WhiteNoise(wsgi_answering(name))


@made
def _django_wsgi(name: str) -> Any:
    _set_django_up(name)
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


@made
def _django_asgi(name: str) -> Any:
    _set_django_up(name)
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def _set_django_up(name: str) -> None:
    """One configuration in a process is all that Django has."""
    import types

    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    urls: Any = types.ModuleType("urls")
    urls.urlpatterns = [path("", lambda request: HttpResponse(name))]
    settings.configure(ROOT_URLCONF=urls, SECRET_KEY="for tests", ALLOWED_HOSTS=["*"])


# Frameworks of ASGI


@made
def _starlette(name: str) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(name)

    return Starlette(routes=[Route("/", hello)])


@made
def _starlette_endpoint(name: str) -> Any:
    from starlette.endpoints import HTTPEndpoint
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

    class Hello(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse(name)

    return Hello


@made
def _fastapi(name: str) -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    app.add_api_route("/", lambda: name)
    return app


@made
def _quart(name: str) -> Any:
    from quart import Quart

    app = Quart(name)

    @app.get("/")
    async def hello() -> str:
        return name

    return app


# What is put around apps


@made
def _validator(name: str) -> Any:
    from wsgiref.validate import validator

    return validator(wsgi_answering(name))


@made
def _sentry_wsgi(name: str) -> Any:
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    return SentryWsgiMiddleware(wsgi_answering(name))


@made
def _sentry_asgi(name: str) -> Any:
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    return SentryAsgiMiddleware(asgi_answering(name))


@made
def _opentelemetry_wsgi(name: str) -> Any:
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(wsgi_answering(name))


@made
def _opentelemetry_asgi(name: str) -> Any:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(asgi_answering(name))


@made
def _a2wsgi(name: str) -> Any:
    from a2wsgi import ASGIMiddleware

    return ASGIMiddleware(asgi_answering(name))


@made
def _socketio(name: str) -> Any:
    import socketio

    server = socketio.Server(async_mode="threading")
    return socketio.WSGIApp(server, wsgi_answering(name))


@made
def _bridge(name: str) -> Any:
    from bridge import WSGIToASGI

    return WSGIToASGI(wsgi_answering(name))


@made
def _wrapt(name: str) -> Any:
    import wrapt

    @wrapt.decorator
    def decorated(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return decorated(wsgi_answering(name))


@made
def _dash(name: str) -> Any:
    """As Dash's app is: it takes any arguments, and passes them on to its server."""

    class Dash:
        def __init__(self) -> None:
            self.server = _flask(name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.server(*args, **kwargs)

    return Dash()


# Plain Python


def logged(app: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as most are."""

    @functools.wraps(app)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return app(*args, **kwargs)

    return wrapper


@made
def _function(name: str) -> Any:
    return wsgi_answering(name)


@made
def _decorated(name: str) -> Any:
    return logged(wsgi_answering(name))


@made
def _decorated_asgi(name: str) -> Any:
    return logged(asgi_answering(name))


@made
def _made_of_a_view(name: str) -> Any:
    def app_of(view: Callable[[WSGIEnvironment], str]) -> Any:
        @functools.wraps(view)
        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return wsgi_answering(view(environ))(environ, start_response)

        return app

    @app_of
    def hello(environ: WSGIEnvironment) -> str:
        return name

    return hello


@made
def _defaults(name: str) -> Any:
    def app(environ: Any = None, start_response: Any = None) -> Iterable[bytes]:
        return wsgi_answering(name)(environ, start_response)

    return app


@made
def _lambda_function(name: str) -> Any:
    answer = wsgi_answering(name)
    return lambda environ, start_response: answer(environ, start_response)


@made
def _generator(name: str) -> Any:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        yield from wsgi_answering(name)(environ, start_response)

    return app


@made
def _partial(name: str) -> Any:
    def app(text: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return wsgi_answering(text)(environ, start_response)

    return functools.partial(app, name)


@made
def _method(name: str) -> Any:
    class Site:
        def app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return wsgi_answering(name)(environ, start_response)

    return Site().app


@made
def _wsgi_class(name: str) -> Any:
    class App:
        """The class example of PEP 3333."""

        def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
            self._chunks = wsgi_answering(name)(environ, start_response)

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

    return App


@made
def _asgi2_class(name: str) -> Any:
    class App:
        def __init__(self, scope: Any) -> None:
            self._scope = scope

        async def __call__(self, receive: Receive, send: Send) -> None:
            await asgi_answering(name)(self._scope, receive, send)

    return App


@made
def _asgi2_function(name: str) -> Any:
    return lambda scope: functools.partial(asgi_answering(name), scope)

"""Every framework's app, as its documentation makes it, is told for what it is, and serves a request."""

import warnings

import pytest

from bridge.interfaces import Interface
from bridge.loading import load_app
from bridge.server.application import make_application
from bridge.server.settings import ServeSettings
from bridge.testing import Client
from tests.server.command import Serving

# The package that an app needs, where that is not among those of the tests on every machine.
FRAMEWORKS: dict[str, tuple[Interface, str | None]] = {
    "werkzeug_application": ("wsgi", None),
    "werkzeug_application_method": ("wsgi", None),
    "werkzeug_responder": ("wsgi", None),
    "werkzeug_response": ("wsgi", None),
    "werkzeug_dispatcher": ("wsgi", None),
    "werkzeug_proxy_fix": ("wsgi", None),
    "werkzeug_local_proxy": ("wsgi", None),
    "flask": ("wsgi", None),
    "flask_wsgi_app": ("wsgi", None),
    "webob_wsgify": ("wsgi", "webob"),
    "webob_wsgify_method": ("wsgi", "webob"),
    "webob_middleware": ("wsgi", "webob"),
    "falcon": ("wsgi", "falcon"),
    "falcon_asgi": ("asgi", "falcon"),
    "bottle": ("wsgi", "bottle"),
    "pyramid": ("wsgi", "pyramid"),
    "cherrypy": ("wsgi", "cherrypy"),
    "webpy": ("wsgi", "web"),
    "whitenoise": ("wsgi", "whitenoise"),
    "starlette": ("asgi", None),
    "starlette_endpoint": ("asgi", None),
    "fastapi": ("asgi", None),
    "quart": ("asgi", None),
    "validator": ("wsgi", None),
    "sentry_wsgi": ("wsgi", "sentry_sdk"),
    "sentry_asgi": ("asgi", "sentry_sdk"),
    "opentelemetry_wsgi": ("wsgi", None),
    "opentelemetry_asgi": ("asgi", None),
    "socketio": ("wsgi", None),
    "bridge": ("asgi", None),
    "wrapt": ("wsgi", "wrapt"),
    "dash": ("wsgi", None),
    "function": ("wsgi", None),
    "decorated": ("wsgi", None),
    "decorated_asgi": ("asgi", None),
    "made_of_a_view": ("wsgi", None),
    "defaults": ("wsgi", None),
    "lambda_function": ("wsgi", None),
    "generator": ("wsgi", None),
    "partial": ("wsgi", None),
    "method": ("wsgi", None),
    "wsgi_class": ("wsgi", None),
    "asgi2_class": ("asgi2", None),
    "asgi2_function": ("asgi2", None),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_an_app_is_told_and_serves(name: str) -> None:
    interface, package = FRAMEWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks do that will be wrong some day
        if package is not None:
            pytest.importorskip(package, reason=f"the package {package!r} is not installed")
        loaded = load_app(f"tests.server.apps.frameworks:{name}")
        assert loaded.interface == interface
        served = make_application(ServeSettings(f"tests.server.apps.frameworks:{name}"))
        async with Client(served.asgi) as client:
            response = await client.get("/")
    assert (response.status_code, response.text.strip('"')) == (200, name)


# Django has one configuration in a process; and what others than Bridge once could not tell, from the shell.
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("django_wsgi", "WSGI app 'frameworks:django_wsgi' · adapter bridge, 40 threads"),
        ("django_asgi", "ASGI app 'frameworks:django_asgi' · served as it is, no adapter"),
        ("werkzeug_application", "WSGI app 'frameworks:werkzeug_application' · adapter bridge, 40 threads"),
        ("validator", "WSGI app 'frameworks:validator' · adapter bridge, 40 threads"),
        ("a2wsgi", "WSGI app 'frameworks:a2wsgi' · adapter bridge, 40 threads"),  # has a loop of its own
    ],
)
def test_an_app_is_served_from_the_shell(name: str, said: str) -> None:
    with Serving(f"frameworks:{name}", "--port", "0") as serving:
        assert said in serving.stderr
        answer = serving.get("/")
    assert (answer.status, answer.text) == (200, name)

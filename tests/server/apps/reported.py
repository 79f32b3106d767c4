"""Apps that fail, and what reports it: Django's debug page and its mails, Werkzeug's debugger, Sentry.

Only the reporter of the app that is asked for is imported. `REPORTS` is the folder for what it writes.
"""

import json
import os
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment


def __getattr__(name: str) -> Any:
    try:
        return _APPS[name](name)
    except KeyError:
        raise AttributeError(name) from None


def _django(name: str) -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    def fail(request: Any) -> None:
        scope = request.environ.get("asgi.scope")  # the report shows the variables of this frame
        raise LookupError(f"failed on purpose, {len(scope or ())}")

    urls: Any = types.ModuleType("urls")
    urls.urlpatterns = [path("", fail)]
    mails = os.environ["REPORTS"]
    settings.configure(
        ADMINS=[("Ada", "ada@example.org")],
        ALLOWED_HOSTS=["*"],
        DEBUG=name == "django_page",
        EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
        EMAIL_FILE_PATH=mails,
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "mails": {"class": "django.utils.log.AdminEmailHandler", "include_html": True},
            },
            "loggers": {"django.request": {"handlers": ["mails"], "level": "ERROR", "propagate": False}},
        },
        ROOT_URLCONF=urls,
        SECRET_KEY="for tests",
    )
    return get_wsgi_application()


def _flask(name: str) -> Any:
    from flask import Flask

    app = Flask(name)

    @app.get("/")
    def fail() -> str:
        raise LookupError("failed on purpose")

    return app


def _sentry(name: str) -> Any:
    import sentry_sdk
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.transport import Transport

    events = Path(os.environ["REPORTS"], "events")

    class ToFile(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            with events.open("a") as file:
                for item in envelope.items:
                    print(json.dumps(item.get_event()), file=file)

    sentry_sdk.init("https://key@example.org/1", transport=ToFile)

    return _plain(name)


def _plain(name: str) -> Any:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        scope = environ["asgi.scope"]
        del environ  # it has the headers under their own keys
        if path == "/before":
            raise LookupError(f"before, {len(scope)}")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _cut_short()

    return app


def _cut_short() -> Iterator[bytes]:
    yield b"begun"
    raise LookupError("within")


_APPS = {
    "django_page": _django,
    "django_mail": _django,
    "flask": _flask,
    "sentry": _sentry,
    "plain": _plain,
}

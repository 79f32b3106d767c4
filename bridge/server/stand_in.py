"""`--reload` with an app that cannot be loaded: what answers until a save mends it."""

import html
import ipaddress
import re
from collections.abc import Iterable

from bridge.asgi.adapter import WSGIToASGI
from bridge.loading import AppError, BrokenAppError
from bridge.server.application import Application
from bridge.server.hooks.access_log import PlainLog
from bridge.server.hooks.health import Health
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["is_name_of_this_machine", "stand_in"]

# Another site's name can be made to lead here, and would let its pages read what this machine alone may.
_THIS_MACHINE = re.compile(r"((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.ASCII | re.IGNORECASE)

# The fields of proxies begin with these.
_OF_PROXIES = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP")

_TITLE = "The app could not be loaded"
_ADVICE = "Bridge waits for the next save, and then loads the app again. See the terminal, too."
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto; padding: 1rem; border: 1px solid; border-radius: .5rem }}
</style>
<h1>{title}</h1>
<p><strong>{message}</strong></p>
{report}
<p>{advice}</p>
</html>
"""


def stand_in(error: AppError) -> Application:
    """Return an application that answers every request with a 500 that shows an error.

    Only this machine sees the error: a traceback holds lines of source.
    """
    adapter = WSGIToASGI(_answering(error))
    return Application(
        adapter,
        description="no app to serve; this error answers every request · waiting for the next save",
        health=Health(live=None, ready=None),
        hooks=(PlainLog(),),
        adapter=adapter,
    )


def is_name_of_this_machine(host: str) -> bool:
    """Whether a Host field can only mean this machine."""
    return _THIS_MACHINE.fullmatch(host) is not None


def _answering(error: AppError) -> WSGIApplication:
    message, report = str(error), error.report if isinstance(error, BrokenAppError) else ""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kind = "plain"
        if not _is_from_this_machine(environ):
            text = f"{_TITLE}; the server's terminal shows why.\n"
        elif "text/html" in environ.get("HTTP_ACCEPT", ""):
            kind = "html"
            text = _PAGE.format(
                title=_TITLE,
                message=html.escape(message),
                report=f"<pre>{html.escape(report)}</pre>" if report else "",
                advice=_ADVICE,
            )
        else:
            text = "\n".join([f"{_TITLE}: {message}\n", *filter(None, [report]), f"{_ADVICE}\n"])
        headers = [("Content-Type", f"text/{kind}; charset=utf-8"), ("Cache-Control", "no-store")]
        start_response("500 Internal Server Error", headers)
        return [text.encode(errors="backslashreplace")]

    return answer


def _is_from_this_machine(environ: WSGIEnvironment) -> bool:
    """Whether nobody else can have sent a request, also not through a proxy here."""
    try:
        is_loopback = ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a unix socket, which usually has a proxy before it
        return False
    is_passed_on = any(
        name.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED", "HTTP_VIA")) for name in environ
    )
    return is_loopback and not is_passed_on and is_name_of_this_machine(environ.get("HTTP_HOST", ""))

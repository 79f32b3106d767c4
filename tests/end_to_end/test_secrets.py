"""What error reporters show of a request: its secrets only where they are shown on other servers, too."""

import email.policy
import logging
import re
import subprocess
import sys
import traceback
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge import WSGIToASGI
from bridge.core.call_facts import CallFacts
from bridge.testing import Client
from bridge.types import StartResponse, WSGIEnvironment
from tests.server.command import APPS, Serving

# Django and Sentry hide the first three by the names of their keys.
SECRETS = {
    "Authorization": "Bearer canary-authorization",
    "Cookie": "sessionid=canary-session",
    "X-Api-Key": "canary-key",
}

PORT = ("--port", "0")


def canaries(text: str) -> set[str]:
    return set(re.findall(r"canary-\w+", unescape(text)))


# The same request, made by the reference implementation of a WSGI server.
BY_WSGIREF = """
import io, sys
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
import reported
environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in SECRETS.items()}
setup_testing_defaults(environ)
SimpleHandler(io.BytesIO(), sys.stdout.buffer, sys.stderr, environ).run(reported.APP)
"""


def by_wsgiref(app: str, folder: Path) -> str:
    code = f"SECRETS = {SECRETS!r}\n" + BY_WSGIREF.replace("APP", app)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=APPS, env={"REPORTS": str(folder)}, capture_output=True, text=True
    )
    assert "500 Internal Server Error" in result.stdout, result.stderr
    return result.stdout


def test_django_s_debug_page_shows_no_more_than_elsewhere(tmp_path: Path) -> None:
    with Serving("reported:django_page", *PORT, env={"REPORTS": str(tmp_path)}) as serving:
        answer = serving.get("/", {**SECRETS, "Accept": "text/html"})
    assert answer.status == 500
    assert "LookupError" in answer.text
    assert "asgi.scope" in answer.text
    assert canaries(answer.text) == canaries(by_wsgiref("django_page", tmp_path)) == set()


def mailed(folder: Path, kind: str) -> str:
    """The part of that type in the one mail in a folder."""
    [file] = folder.iterdir()
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    [part] = [part for part in mail.walk() if part.get_content_type() == kind]
    return str(part.get_content())


def test_django_s_mails_show_no_more_than_elsewhere(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    with Serving("reported:django_mail", *PORT, env={"REPORTS": str(here)}) as serving:
        assert serving.get("/", SECRETS).status == 500
    by_wsgiref("django_mail", elsewhere)
    for kind in ("text/plain", "text/html"):
        mail = mailed(here, kind)
        assert "asgi.scope" in mail
        assert canaries(mail) == canaries(mailed(elsewhere, kind)) == set()


def test_werkzeug_s_debugger_shows_none(tmp_path: Path) -> None:
    with Serving("reported:flask", *PORT, "--debug") as serving:
        answer = serving.get("/", {**SECRETS, "Accept": "text/html"})
    assert answer.status == 500
    assert "Werkzeug Debugger" in answer.text
    assert canaries(answer.text) == set()


# With the latter, other frames are between the host and the app.
@pytest.mark.parametrize("options", [(), ("--server-timing",)], ids=["plain", "with facts"])
def test_sentry_gets_none(tmp_path: Path, options: tuple[str, ...]) -> None:
    pytest.importorskip("sentry_sdk", reason="the package 'sentry_sdk' is not installed")
    with Serving("reported:sentry", *PORT, *options, env={"REPORTS": str(tmp_path)}) as serving:
        assert serving.get("/before", SECRETS).status == 500
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{serving.address}/within", headers=SECRETS)
        serving.wait_for("cutting the connection")
        events = (tmp_path / "events").read_text()
    assert "LookupError" in events
    assert '"function": "start"' in events
    assert "RequestScope" in events
    assert canaries(events) == set()


def test_a_response_cut_short_is_one_traceback() -> None:
    """The server's own would say nothing more, and its frames have the request."""
    with Serving("reported:plain", *PORT) as serving:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{serving.address}/cut")
        serving.wait_for(r"^ERROR: +GET /cut: the app raised LookupError with its headers out; cutting")
    assert serving.stderr.count("Traceback") == 1
    assert "Exception in ASGI application" not in serving.stderr


@pytest.mark.parametrize("has_facts", [False, True], ids=["plain", "with facts"])
async def test_the_variables_of_our_frames_show_none(
    has_facts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Sentry shows the first ten of a mapping; others show all. So does `traceback`, which asks `repr`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.clear()  # it has the headers under their own keys
        raise LookupError("failed on purpose")

    adapter = WSGIToASGI(app)

    async def host(scope: Any, receive: Any, send: Any) -> None:
        if has_facts and scope["type"] == "http":
            scope["bridge.call"] = CallFacts()
        await adapter(scope, receive, send)

    with caplog.at_level(logging.ERROR, "bridge"):
        async with Client(host) as client:
            await client.get("/", headers=SECRETS)
    [error] = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert error is not None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "in start" in shown
    assert "self = <bridge." in shown
    assert canaries(shown) == set()

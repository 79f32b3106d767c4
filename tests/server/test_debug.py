"""`bridge serve --debug`: errors in Werkzeug's debugger, as a browser uses it; and for whom it is not."""

import html
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import httpx
import pytest

from tests.server.command import APPS, Serving, run, wait_until

PORT = ("--port", "0")
LOOPBACK = "127.0.0.1"

PIN = r"^WARNING: +the debugger is on, a Python shell for whoever knows its PIN: ([\d-]+)$"


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    # One thread: what holds it keeps all others waiting.
    with Serving("failing:app", *PORT, "--debug", "--threads", "1") as serving:
        yield serving


@pytest.fixture
def browser(serving: Serving) -> Iterator["Browser"]:
    with Browser(serving) as browser:
        yield browser


class Browser(httpx.Client):
    """Does what the script of the debugger's page does."""

    def __init__(self, serving: Serving) -> None:
        super().__init__(base_url=serving.address, timeout=15)
        self.pin = serving.wait_for(PIN)[1]

    def ask(self, page: httpx.Response, host: str | None = None, **arguments: str) -> httpx.Response:
        """Ask the debugger something about a page."""
        secret = re.search(r'SECRET = "(\w+)"', page.text)
        assert secret is not None
        return self.get(
            page.url.path,
            params={"__debugger__": "yes", "s": secret[1], **arguments},
            headers={} if host is None else {"Host": host},
        )

    def give_pin(self, page: httpx.Response) -> None:
        assert self.ask(page, cmd="pinauth", pin=self.pin).json() == {"auth": True, "exhausted": False}

    def evaluate(self, page: httpx.Response, function: str, code: str, host: str | None = None) -> str:
        """What the console of a function's frame says, without the HTML around it."""
        answer = self.ask(page, host, cmd=code, frm=frame_of(page, function)).text
        return html.unescape(re.sub("<[^>]*>", "", str(answer)))


def frame_of(page: httpx.Response, function: str) -> str:
    frames = re.findall(r'id="frame-(\d+)".*?<code class="function">(.*?)</code>', page.text, re.DOTALL)
    return str(next(number for number, name in frames if name == function))


# The page and its consoles

FAILING = [
    # (the path, the function that fails, its `number`)
    ("/hook", "hook", 1),
    ("/plain", "plain", 2),
    ("/async", "fail", 3),
    ("/on-loop", "fail", 4),
    ("/group", "fail", 5),
    ("/async-stream", "no_parts", 6),
    ("/events", "no_parts", 7),
    ("/generator", "parts", 8),
]


@pytest.mark.parametrize(("path", "function", "number"), FAILING, ids=[case[0] for case in FAILING])
def test_an_error_is_shown_with_a_console_in_each_frame(
    serving: Serving, browser: Browser, path: str, function: str, number: int
) -> None:
    page = browser.get(path)
    assert (page.status_code, page.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert f"ValueError: failed with {number}" in page.text
    serving.wait_for(
        f"^ERROR: +GET {path}: the app raised (ValueError|ExceptionGroup); the debugger answers$"
    )
    browser.give_pin(page)
    assert browser.evaluate(page, function, "number * 11") == f">>> number * 11\n{number * 11}"
    # Flask's contexts are there, too.
    assert browser.evaluate(page, function, "__import__('flask').request.path").endswith(f"\n'{path}'")


def test_other_wsgi_apps_are_debugged_as_well() -> None:
    with Serving("failing:wsgi", *PORT, "--debug") as serving, Browser(serving) as browser:
        serving.wait_for("WSGI app 'failing:wsgi' · adapter bridge")
        page = browser.get("/")
        browser.give_pin(page)
        assert browser.evaluate(page, "wsgi", "number * 11").endswith("\n99")


def test_a_response_that_has_begun_is_cut(browser: Browser) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        browser.get("/late")


def test_async_views_hold_no_thread(browser: Browser) -> None:
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(browser.get, ["/together", "/together"]))
    assert [answer.text for answer in answers] == ["together", "together"]


def test_a_view_that_blocks_the_loop_is_named(serving: Serving, browser: Browser) -> None:
    assert browser.get("/blocking").text == "done"
    serving.wait_for(
        r"^WARNING: +the view 'blocking' \(\w+\) has blocked the event loop for over 0\.1 s, "
        r"at blocking, .*failing\.py:"
    )


def test_flask_is_in_debug_mode_from_the_beginning(browser: Browser) -> None:
    assert browser.get("/imported").json() == [True, "1", True, True]


# Who may use it


def test_nothing_is_evaluated_without_the_pin(browser: Browser, tmp_path: Path) -> None:
    page = browser.get("/plain")
    assert browser.ask(page, cmd="pinauth", pin="1").json() == {"auth": False, "exhausted": False}
    browser.evaluate(page, "plain", f"open({str(tmp_path / 'proof')!r}, 'w').close()")
    assert not (tmp_path / "proof").exists()
    browser.give_pin(page)
    browser.evaluate(page, "plain", f"open({str(tmp_path / 'proof')!r}, 'w').close()")
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "192.0.2.1", "[::2]"]
)
def test_other_hosts_get_no_console(browser: Browser, tmp_path: Path, host: str) -> None:
    page = browser.get("/plain", headers={"Host": host})
    assert "EVALEX = false" in page.text
    assert browser.ask(page, host, cmd="pinauth", pin=browser.pin).status_code == 400
    assert browser.get("/console", headers={"Host": host}).status_code == 400
    browser.give_pin(page)
    code = f"open({str(tmp_path / 'proof')!r}, 'w').close()"
    assert browser.ask(page, host, cmd=code, frm=frame_of(page, "plain")).status_code == 400
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "127.0.0.2", "[::1]", "[::1]:8000", "my.localhost:80"]
)
def test_hosts_of_this_machine_get_one(browser: Browser, host: str) -> None:
    assert "EVALEX = true" in browser.get("/plain", headers={"Host": host}).text
    assert "EVALEX = true" in browser.get("/console", headers={"Host": host}).text


ELSEWHERE = {
    "all interfaces": (["--host", "0.0.0.0", *PORT], "0.0.0.0"),
    "all of IPv6": (["--bind", "[::]:0"], "::"),
    "one of several": (["--bind", f"{LOOPBACK}:0", "--bind", "0.0.0.0:0"], "0.0.0.0"),
    "a unix socket": (["--uds", "s"], "a unix socket (s)"),
}


@pytest.mark.parametrize(("typed", "named"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_it_is_for_this_machine_alone(tmp_path: Path, typed: list[str], named: str) -> None:
    code, _, err = run("serve", "app:app", "--debug", *typed, cwd=tmp_path)
    assert code == 3
    assert err.strip() == (
        f"bridge: --debug does not listen on {named}: the debugger is a Python shell for whoever knows its "
        "PIN, so only this machine may reach it; use --host 127.0.0.1, or leave --debug out"
    )
    assert not (tmp_path / "s").exists()


def test_a_socket_of_loopback_may_be_handed_over() -> None:
    with socket.create_server((LOOPBACK, 0)) as listening:
        number = listening.fileno()
        with Serving("failing:app", "--fd", str(number), "--debug", pass_fds=[number]) as serving:
            assert "debugger" in serving.get("/plain").text


@pytest.mark.parametrize("typed", [["--workers", "2"], []])
def test_it_is_for_one_process(typed: list[str]) -> None:
    env = {} if typed else {"WEB_CONCURRENCY": "2"}
    code, out, err = run("serve", "failing:app", "--debug", *PORT, *typed, cwd=APPS, env=env)
    assert (code, out) == (3, "")
    assert err == (
        "bridge: --debug and 2 workers exclude each other: what an error has left is in one of the "
        "processes, and the debugger's next request may reach another; leave --workers out\n"
    )


# What it says


def test_it_says_that_it_debugs(serving: Serving) -> None:
    serving.wait_for("· debug mode · reloads on save · .* · Ctrl-C to stop$")
    serving.wait_for(r"^INFO: +Flask app 'failing:app' \(.* on the loop\)")


def test_an_asgi_app_is_reloaded_and_no_more() -> None:
    with Serving("kinds:asgi", *PORT, "--debug") as serving:
        serving.wait_for(
            "^WARNING: +for an ASGI app, --debug only reloads: Werkzeug's debugger is for WSGI apps$"
        )
        assert serving.get("/").text == "asgi"


def test_without_a_pin_it_says_so() -> None:
    with Serving("failing:app", *PORT, "--debug", env={"WERKZEUG_DEBUG_PIN": "off"}) as serving:
        serving.wait_for("^WARNING: +the debugger is on, without a PIN, as WERKZEUG_DEBUG_PIN says$")


def test_without_werkzeug_it_says_what_to_do_and_ends(tmp_path: Path) -> None:
    (tmp_path / "werkzeug.py").write_text("raise ModuleNotFoundError('nothing here', name='werkzeug')")
    (tmp_path / "app.py").write_text("def app(environ, start_response): ...")
    code, _, err = run("serve", *PORT, "--debug", cwd=tmp_path)
    assert code == 3
    assert "Ctrl-C to stop" not in err
    assert (
        "\nbridge: --debug needs Werkzeug, whose debugger it is: pip install werkzeug; "
        "or use --reload alone\n"
    ) in err


# Reloading


def test_a_change_is_served_and_the_pin_stays(tmp_path: Path) -> None:
    file = tmp_path / "app.py"

    def write(text: str) -> None:
        file.write_text(f"def app(environ, start_response):\n    raise ValueError({text!r})")

    def shows(text: str) -> bool:
        if time.time() - file.stat().st_mtime > 2:
            write(text)  # again, for it was missed if nobody had begun to watch
        try:
            # The page of the old process shows the new file's lines, too, but not as its error.
            return f"ValueError: {text}" in reloading.get("/").text
        except (OSError, HTTPException):  # from a process that is being replaced
            return False

    write("one")
    with Serving(*PORT, "--debug", cwd=tmp_path) as reloading, Browser(reloading) as browser:
        browser.give_pin(browser.get("/"))
        write("another")
        wait_until(lambda: shows("another"), "the change is served")
        file.write_text("app = broken")
        reloading.wait_for(r"^bridge: importing 'app' failed: NameError: name 'broken' is not defined$")
        write("mended")
        wait_until(lambda: shows("mended"), "the mended app is served")
        assert reloading.wait_for(PIN, times=2)[1] == browser.pin
        assert "EVALEX_TRUSTED = true" in browser.get("/").text
        reloading.signal(signal.SIGTERM)
        assert reloading.finish() == 0
        assert "UserWarning" not in reloading.stderr

"""`demos/chat.py` in a real browser: two people in one room, each in a version of it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
VERSIONS = ["threads", "loop"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    typed = ("demos.chat:app", "--port", "0", "--no-access-log")
    with Serving(*typed, cwd=ROOT, env={"CHAT_DATABASE": str(tmp_path / "chat.sqlite")}) as serving:
        yield serving


class Visitor:
    """A person with a page of the room."""

    def __init__(self, browser: Browser, serving: Serving, version: str, name: str) -> None:
        self.errors: list[str] = []
        self._page = browser.new_page()
        self._page.on("pageerror", lambda error: self.errors.append(str(error)))
        self._page.goto(f"{serving.address}/{version}")
        self._page.get_by_label("Your name").fill(name)
        expect(self._page.get_by_role("status")).to_have_text("connected")

    def say(self, text: str) -> None:
        self._page.get_by_label("Message", exact=True).fill(text)
        self._page.get_by_role("button", name="Send").click()

    def sees(self, *lines: str) -> None:
        """Wait until these are the last lines of the room."""
        items = self._page.get_by_role("log").get_by_role("listitem")
        expect(items).to_have_text([re.compile(rf"^\d\d:\d\d {re.escape(line)}$") for line in lines])

    def close(self) -> None:
        self._page.close()


@pytest.mark.parametrize("second", VERSIONS)
@pytest.mark.parametrize("first", VERSIONS)
def test_two_people_talk(browser: Browser, serving: Serving, first: str, second: str) -> None:
    ada = Visitor(browser, serving, first, "Ada")
    ada.say("Is anybody here?")
    ada.sees("Ada: Is anybody here?")
    grace = Visitor(browser, serving, second, "Grace")
    grace.sees("Ada: Is anybody here?")  # what was said before
    grace.say("<b>I am</b>")
    for visitor in (ada, grace):
        visitor.sees("Ada: Is anybody here?", "Grace: <b>I am</b>")
    grace.close()
    ada.say("Bye")
    ada.sees("Ada: Is anybody here?", "Grace: <b>I am</b>", "Ada: Bye")
    assert ada.errors == grace.errors == []
    ada.close()

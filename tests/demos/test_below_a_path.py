"""Demos below a path: their pages find what belongs to them there."""

import html
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")

in_a_browser = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("data")
    variables = {"CHAT_DATABASE": str(data / "chat.sqlite"), "SITE_DATA": str(data / "site")}
    with Serving("tests.demos.below_a_path:app", "--port", "0", cwd=ROOT, env=variables) as serving:
        yield serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that has had no error in the end."""
    with browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "response",
            lambda got: errors.append(got.url) if got.status >= 400 and not _icon(got.url) else None,
        )
        yield page
    assert errors == []


def _icon(url: str) -> bool:
    return url.endswith("/favicon.ico")  # browsers ask for it, and these demos have none


def test_streaming(serving: Serving) -> None:
    with httpx.stream("GET", f"{serving.address}/streaming/") as response:
        assert next(response.iter_text()).startswith("<!doctype html>")
    assert httpx.get(f"{serving.address}/streaming/export?rows=2").text == "0,0,row 0\r\n1,1,row 1\r\n"
    assert httpx.put(f"{serving.address}/streaming/hash", content=b"x").json()["bytes"] == 1


@pytest.mark.parametrize("step", ["bare", "werkzeug", "flask"])
def test_wsgi_hello(serving: Serving, step: str) -> None:
    assert f'href="/wsgi/{step}/"' in httpx.get(f"{serving.address}/wsgi/").text
    page = httpx.get(f"{serving.address}/wsgi/{step}/").text
    assert f'action="/wsgi/{step}/"' in page
    assert f'href="/wsgi/{step}/hello/Zo%C3%AB"' in page


def test_all_that_the_site_leads_to(serving: Serving) -> None:
    with httpx.Client(base_url=serving.address) as client:
        seen, ahead = set(), {"/site/"}
        while ahead:
            path = ahead.pop()
            response = client.get(path)
            assert (path, response.status_code) == (path, 200)
            seen.add(path)
            if response.headers["Content-Type"].startswith("text/html"):
                found = re.findall(r'(?:href|src|action)="([^"#]+)"', response.text)
                ahead |= {str(httpx.URL(path).join(html.unescape(each))) for each in found} - seen
        assert {path.split("?")[0] for path in seen} >= {
            *("/site/", "/site/announce", "/site/static/style.css", "/site/static/favicon.svg"),
            *(f"/site/events/{number}" for number in range(1, 5)),
        }


def test_the_form_of_the_site(serving: Serving) -> None:
    with httpx.Client(base_url=serving.address) as client:
        token = re.findall(r'value="([^"]+)"', client.get("/site/announce").text)[0]
        starts = (datetime.now() + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M")
        event = {"title": "Chess", "place": "Attic", "starts": starts, "text": "Bring a board."}
        response = client.post("/site/announce", data=event | {"csrf_token": token})
        assert response.status_code == 303
        assert "<h1>Chess</h1>" in client.get(response.headers["Location"]).text


@pytest.mark.parametrize("path", ["/async", "/async/"])
class TestAsyncViews:
    pytestmark = in_a_browser

    def test_the_clock_goes(self, serving: Serving, page: Page, path: str) -> None:
        page.goto(serving.address + path)
        expect(page.locator("#time")).not_to_have_text("…")

    def test_its_links(self, serving: Serving, page: Page, path: str) -> None:
        for link, shown in (("Ten slow answers", "answer to /9"), ("A plain view", "answer to /legacy")):
            page.goto(serving.address + path)
            page.get_by_role("link", name=link).click()
            expect(page.locator("body")).to_contain_text(shown)


class TestChat:
    pytestmark = in_a_browser

    @pytest.mark.parametrize("version", ["threads", "loop"])
    def test_both_rooms(self, serving: Serving, page: Page, version: str) -> None:
        page.goto(f"{serving.address}/chat/")
        expect(page).to_have_url(f"{serving.address}/chat/loop")
        page.get_by_role("link", name="In a thread").click()
        if version == "loop":
            page.get_by_role("link", name="On the event loop").click()
        expect(page).to_have_url(f"{serving.address}/chat/{version}")
        expect(page.get_by_role("status")).to_have_text("connected")
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Message", exact=True).fill(f"Hello, {version}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("listitem").last).to_contain_text(f"Ada: Hello, {version}")

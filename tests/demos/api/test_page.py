"""The page of the document in a real browser: one signs up, logs in, and keeps a sighting."""

import json
import shutil
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(f"{address}/docs")
        yield page
        browser.close()


def send(page: Page, operation: str, status: str) -> None:
    section = page.locator(f"#{operation}")
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_role("status")).to_contain_text(status, ignore_case=True)


def test_the_page_calls_the_api(page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    send(page, "put_sighting", "401 Unauthorized")
    credentials = json.dumps({"name": f"reader-{uuid.uuid4().hex[:12]}", "password": "correct horse"})
    for operation in ("create_user", "create_token"):
        page.locator(f"#{operation}").get_by_label("Body").fill(credentials)
    send(page, "create_user", "201 Created")
    send(page, "create_token", "201 Created")
    expect(page.get_by_role("textbox", name="Token", exact=True)).not_to_have_value("")
    send(page, "put_sighting", "Song thrush")
    send(page, "get_sighting", "ETag")
    page.locator("#list_sightings").get_by_label("limit").fill("0")
    send(page, "list_sightings", "greater than or equal to 1")
    send(page, "delete_token", "204 No Content")
    send(page, "list_sightings", "401 Unauthorized")
    assert errors == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # nothing juts out of a phone

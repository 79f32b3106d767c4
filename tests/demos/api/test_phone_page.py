"""The page that plays a phone app, in a real browser, on each database."""

import shutil
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.demos.api.phone import PASSWORD, Phone

CHROMIUM = shutil.which("chromium")

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
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page on a narrow screen; its script has had no error in the end."""
    with browser.new_context(base_url=address, viewport={"width": 320, "height": 900}) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/phone")
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert errors == []


@pytest.fixture
def name(page: Page) -> str:
    """Someone who has just signed up."""
    name = f"reader-{uuid.uuid4().hex[:12]}"
    fill_in(page, name, PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_label("What did you see?")).to_be_focused()
    return name


def fill_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)


def keep(page: Page, species: str, count: int = 1) -> None:
    page.get_by_label("What did you see?").fill(species)
    page.get_by_label("How many?").fill(str(count))
    page.keyboard.press("Enter")


def sent(page: Page) -> Locator:
    return page.locator("#wire > li")


def mine(page: Page, name: str) -> Locator:
    return page.get_by_role("list", name="Sightings").get_by_role("listitem").filter(has_text=name)


def test_a_day_of_a_bird_watcher(page: Page, name: str) -> None:
    keep(page, "  Song   thrush ", 2)
    expect(mine(page, name)).to_contain_text(["2 × Song thrush"])
    expect(sent(page).first).to_contain_text("GET /sightings?limit=10 → 200")
    expect(sent(page).nth(1)).to_contain_text("authorization: Bearer")
    page.get_by_role("button", name="One more: Song thrush").click()
    expect(mine(page, name)).to_contain_text(["3 × Song thrush"])
    expect(sent(page).nth(1)).to_contain_text("if-match: ")
    page.reload()  # the phone is switched off and on: it is still logged in
    page.get_by_role("button", name="Delete: Song thrush").click()
    expect(mine(page, name)).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(sent(page).first).to_contain_text("→ 204")
    assert PASSWORD not in page.locator("#wire").inner_text()


def test_what_is_kept_in_flight_mode_is_sent_later(page: Page, name: str, anyone: Phone) -> None:
    flight = page.get_by_label("Flight mode")
    flight.check()
    keep(page, "Wren")
    keep(page, "Robin")
    expect(page.get_by_role("status")).to_have_text("There is no network. 2 waiting.")
    expect(page.get_by_role("listitem").filter(has_text="waiting")).to_have_count(2)
    assert anyone.call("GET", f"/sightings?by={name}").json()["items"] == []
    flight.uncheck()
    expect(mine(page, name)).to_contain_text(["1 × Robin", "1 × Wren"])
    expect(page.get_by_role("status")).to_be_empty()
    kept = anyone.call("GET", f"/sightings?by={name}").json()["items"]
    assert [each["species"] for each in kept] == ["Robin", "Wren"]


def test_what_was_kept_by_one_is_not_sent_by_another(page: Page, name: str, anyone: Phone) -> None:
    page.get_by_label("Flight mode").check()
    keep(page, "Wren")
    expect(page.get_by_role("status")).to_contain_text("1 waiting")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Flight mode").uncheck()
    other = f"{name}-2"
    fill_in(page, other, PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_label("What did you see?")).to_be_focused()
    assert anyone.call("GET", f"/sightings?by={other}").json()["items"] == []
    page.get_by_role("button", name="Log out").click()
    fill_in(page, name, PASSWORD)
    page.keyboard.press("Enter")
    expect(mine(page, name)).to_contain_text(["1 × Wren"])


def test_an_answer_that_was_lost_makes_no_second_one(page: Page, name: str, anyone: Phone) -> None:
    page.route("**/sightings/*", lambda route: (route.fetch(), route.abort()), times=1)
    keep(page, "Wren")
    expect(page.get_by_role("status")).to_have_text("There is no network. 1 waiting.")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(mine(page, name)).to_contain_text(["1 × Wren"])
    assert len(anyone.call("GET", f"/sightings?by={name}").json()["items"]) == 1


def test_older_ones_come_on_demand(page: Page, name: str) -> None:
    for number in range(12):
        keep(page, f"Bird {number}")
        expect(mine(page, name).first).to_contain_text(f"Bird {number}")
    expect(mine(page, name)).to_have_count(10)
    page.get_by_role("button", name="Older ones").click()
    expect(mine(page, name)).to_have_count(12)


def test_what_the_api_refuses_is_said(page: Page, name: str, address: str) -> None:
    page.get_by_role("button", name="Log out").click()
    fill_in(page, name, "wrong horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("status")).to_have_text("There is no user with that name and that password.")
    fill_in(page, name, PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("status")).to_have_text("That name is taken.")


def test_a_token_that_has_ended_asks_for_a_new_one(page: Page, name: str, address: str) -> None:
    token = page.evaluate("JSON.parse(sessionStorage.getItem('phone session'))")
    with Phone(address, token["token"]) as elsewhere:
        assert elsewhere.call("DELETE", f"/tokens/{token['id']}").status_code == 204
    keep(page, "Wren")
    expect(page.get_by_role("status")).to_contain_text("Log in again.")
    fill_in(page, name, PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(mine(page, name)).to_contain_text(["1 × Wren"])  # it has waited

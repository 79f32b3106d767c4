"""The gallery as its visitors have it: in a browser, with keys alone, on a phone, on paper."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from demos.gallery.ladder import LADDER, Rung
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    variables = {"TMPDIR": str(tmp_path_factory.mktemp("data"))}
    with Serving("demos.gallery:app", "--port", "0", "--no-access-log", cwd=ROOT, env=variables) as serving:
        yield serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, serving: Serving) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=serving.address) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console has had no error in the end."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def hear(said: ConsoleMessage) -> None:
        if said.type == "error":
            errors.append(f"{said.text} {said.location}")

    page.on("console", hear)
    yield page
    assert errors == []


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_a_demo_opens_in_its_frame_and_by_itself(page: Page, rung: Rung) -> None:
    page.goto(f"/ladder/{rung.name}/")
    expect(page.frame_locator("iframe").locator("body")).not_to_be_empty()
    page.goto(f"/demos/{rung.name}/{rung.begins}")
    expect(page.locator("body")).not_to_be_empty()


def test_the_frame_follows_the_links(page: Page) -> None:
    page.goto("/ladder/wsgi_hello/")
    page.get_by_role("link", name="With Werkzeug").click()
    expect(page.frame_locator("iframe").get_by_role("heading")).to_have_text("Hello, World!")
    expect(page).to_have_url(re.compile("/ladder/wsgi_hello/$"))


def test_another_file(page: Page) -> None:
    page.goto("/ladder/site/")
    page.get_by_role("navigation", name="Files").get_by_role("link", name="forms.py").click()
    expect(page.get_by_role("heading", name="forms.py")).to_be_in_viewport()
    expect(page.get_by_role("region", name="forms.py")).to_contain_text("class")


def test_all_of_a_card_is_its_link(page: Page) -> None:
    page.goto("/")
    page.locator(".card").first.click(position={"x": 6, "y": 6})
    expect(page).to_have_title(re.compile("Hello, World"))


def test_a_command_can_be_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    page.get_by_role("button", name="Copy bridge serve demos.hello:app").click()
    assert page.evaluate("navigator.clipboard.readText()") == "bridge serve demos.hello:app"
    expect(page).to_have_title(re.compile("The ladder"))


def test_from_a_demo_in_its_own_window_back_to_its_rung(page: Page) -> None:
    page.goto("/ladder/wsgi_hello/")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open it in its own window").click()
    opened.value.frame_locator("iframe").get_by_role("link", name="With Werkzeug").click()
    expect(opened.value.frame_locator("iframe").get_by_role("heading")).to_have_text("Hello, World!")
    opened.value.get_by_role("link", name="and its source").click()
    expect(opened.value).to_have_url(re.compile("/ladder/wsgi_hello/$"))


def test_the_documentation_is_at_hand(page: Page) -> None:
    page.goto("/ladder/hello/")
    page.get_by_role("link", name="README and docs").click()
    expect(page.get_by_role("region", name="README.md")).to_contain_text("# Bridge")
    page.get_by_role("link", name="design.md").click()
    expect(page.get_by_role("region", name="docs/design.md")).to_contain_text("## Context variables")


@pytest.mark.parametrize(
    ("name", "link"), [("async_views", "A clock, by server-sent events"), ("streaming", "An upload with its")]
)
def test_events_move(page: Page, name: str, link: str) -> None:
    page.goto(f"/ladder/{name}/")
    page.get_by_role("link", name=link).click()
    clock = page.frame_locator("iframe").locator("#time")
    expect(clock).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    expect(clock).not_to_have_text(clock.inner_text())


def test_an_upload_shows_how_far_it_is(page: Page) -> None:
    page.goto("/demos/streaming/upload")
    page.evaluate("""() => {
        window.seen = new Set();
        new MutationObserver(() => window.seen.add(document.querySelector("progress").value))
            .observe(document.querySelector("progress"), {attributes: true});
    }""")
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 << 20}
    network.send("Network.emulateNetworkConditions", slow)  # bytes a second
    page.get_by_label("A file").set_input_files(
        {"name": "zeros", "mimeType": "application/octet-stream", "buffer": bytes(4 << 20)}
    )
    status = page.get_by_role("status")
    expect(status).to_contain_text("of 4,194,304 bytes")
    expect(status).to_contain_text("The server has read 4,194,304 bytes")
    assert len([share for share in page.evaluate("[...window.seen]") if 0 < share < 1]) >= 2
    assert page.evaluate("document.querySelector('progress').value") == 1


def test_an_upload_that_is_too_large_is_not_taken(context: BrowserContext, tmp_path: Path) -> None:
    page = context.new_page()  # its console tells of the refusal
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((64 << 20) + 1)
    page.goto("/demos/streaming/upload")
    page.get_by_label("A file").set_input_files(large)
    expect(page.get_by_role("status")).to_contain_text("The server did not take")


def test_with_keys_alone(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    while (page.evaluate("document.activeElement.textContent") or "").split() != ["0", "Hello,", "World"]:
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile("Hello, World"))


@pytest.mark.parametrize(
    "path", ["/", "/docs/", *(f"/ladder/{rung.name}/" for rung in LADDER), "/nowhere-at-all"]
)
def test_on_a_phone_nothing_is_wider_than_it(context: BrowserContext, path: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_on_paper_the_source_is_whole_and_light(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.goto("/ladder/chat/")
    expect(page.locator("iframe")).to_be_hidden()
    source = page.get_by_role("region", name="chat.py")
    assert source.evaluate("each => each.scrollHeight - each.clientHeight") <= 2
    assert source.evaluate("each => each.scrollWidth - each.clientWidth") <= 2
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

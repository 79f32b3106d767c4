"""`demos/guestbook`: one app in five steps; what a step can do, the later ones can, too."""

import html
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demos.guestbook import template
from demos.guestbook.package import create_app
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
CLOSE_AT_ONCE = httpx.Limits(max_keepalive_connections=0)  # or tests would leave sockets open

FORM = "demos.guestbook.form:app"
EXTENSION = "demos.guestbook.extension:app"
DATABASE = "demos.guestbook.database:app"
PACKAGE = "demos.guestbook.package:create_app()"

ENTRY = {"name": " Zoë ", "text": "Fish & <b>chips</b>\r\nand 'tea'  "}


@pytest.fixture(scope="module", params=[FORM, EXTENSION, DATABASE, PACKAGE])
def step(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def serving(step: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(step, tmp_path_factory.mktemp("data")) as serving:
        yield serving


def serve(step: str, data: Path, *options: str, **variables: str) -> Serving:
    typed = (step, "--port", "0", "--no-access-log", *options)
    return Serving(*typed, cwd=ROOT, env={"TMPDIR": str(data), **variables})


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE, timeout=15) as client:
        yield client


def token_in(page: str) -> dict[str, str]:
    """The hidden token of a page's form, where the step has one."""
    return dict(re.findall(r'name="(csrf_token)" type="hidden" value="([^"]+)"', page))


def sign(client: httpx.Client, **changes: str) -> httpx.Response:
    """Fill the form in as a visitor does, and send it."""
    return client.post("/", data=token_in(client.get("/").text) | ENTRY | changes)


def test_values_are_escaped_in_the_template() -> None:
    page = template.app.test_client().get("/").text
    assert "What a view from up here!" in page
    assert "I typed &lt;b&gt;bold&lt;/b&gt; &amp; it stayed text." in page


def test_an_entry_is_kept_and_shown_as_text(client: httpx.Client) -> None:
    answer = sign(client)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    page = client.get("/").text
    newest = page.index("<li>")
    assert "<p>Fish &amp; &lt;b&gt;chips&lt;/b&gt;\nand &#39;tea&#39;</p>" in page[newest : newest + 120]
    assert "<strong>Zoë</strong>" in page[newest : newest + 120]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": " \t "},
        {"name": "x" * 41},
        {"text": ""},
        {"text": " \r\n\r\n "},
        {"text": "x" * 501},
    ],
    ids=str,
)
def test_a_mistake_shows_the_form_again(client: httpx.Client, changes: dict[str, str]) -> None:
    before = client.get("/").text.count("<li>")
    answer = sign(client, **changes)
    assert (answer.status_code, answer.text.count("<li>")) == (422, before)
    assert re.search(r'class="error"[^>]*>[^<]+<', answer.text)
    for kept in (each for name, each in ENTRY.items() if name not in changes):
        assert html.escape(kept.strip()).replace("\r", "").replace("&#x27;", "&#39;") in answer.text


def test_the_longest_entry_is_kept(client: httpx.Client) -> None:
    text = "\r\n".join(["x" * 124] * 3 + ["x" * 125])  # 500, as the browser counts the ends of lines
    assert sign(client, name="x" * 40, text=text).status_code == 303


@pytest.mark.parametrize("body", [b"", b"name=Ada", b"text=Words", b"\xff\x00=%ff&name"], ids=repr)
def test_what_is_not_the_form_is_refused(client: httpx.Client, body: bytes) -> None:
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/", content=body, headers=sent).status_code == 422


def test_many_sign_at_once(serving: Serving) -> None:
    def sign_as(number: int) -> int:
        with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE, timeout=15) as client:
            return sign(client, name=f"visitor {number}").status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(sign_as, range(16))) == {303}
    page = httpx.get(serving.address, timeout=15).text
    assert all(f"<strong>visitor {number}</strong>" in page for number in range(16))


@pytest.mark.parametrize("step", [EXTENSION, DATABASE, PACKAGE], indirect=True)
def test_only_this_sites_form_is_taken(step: str, serving: Serving, client: httpx.Client) -> None:
    page = client.get("/")
    assert "SameSite=Lax" in page.headers["Set-Cookie"]
    with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE, timeout=15) as stranger:
        stranger.get("/")
        for sender, token in ((stranger, token_in(page.text)), (client, {"csrf_token": "x"}), (client, {})):
            answer = sender.post("/", data=ENTRY | token)
            assert answer.status_code == 422
            assert "This form has expired." in answer.text


def test_two_steps_on_one_host_take_their_own_forms(tmp_path: Path) -> None:
    """As in the gallery: cookies know neither ports nor the keys that signed them."""
    with (
        serve(EXTENSION, tmp_path) as one,
        serve(DATABASE, tmp_path) as other,
        httpx.Client(limits=CLOSE_AT_ONCE, timeout=15) as browser,
    ):
        page = browser.get(one.address)
        browser.get(other.address)
        assert browser.post(one.address, data=ENTRY | token_in(page.text)).status_code == 303


@pytest.mark.parametrize("step", [DATABASE, PACKAGE], indirect=True)
def test_entries_outlive_the_server(step: str, tmp_path: Path) -> None:
    for signed in (0, 1):
        with (
            serve(step, tmp_path, "--workers", "2", GUESTBOOK_SECRET_KEY="of both") as serving,
            httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE, timeout=15) as client,
        ):
            assert client.get("/").text.count("<strong>Zoë</strong>") == signed
            assert sign(client).status_code == 303
    assert Path(tmp_path, "bridge-guestbook.sqlite").exists()


def test_no_entry_becomes_a_part_of_the_command(tmp_path: Path) -> None:
    app = create_app(tmp_path / "one.sqlite")
    app.config["WTF_CSRF_ENABLED"] = False
    with app.test_client() as client:
        injected = "x'); DROP TABLE entries; --"
        assert client.post("/", data={"name": injected, "text": injected}).status_code == 303
        assert names(client) == [injected]


def test_each_app_of_the_factory_has_its_own_database(tmp_path: Path) -> None:
    one, other = (create_app(tmp_path / name) for name in ("one.sqlite", "other.sqlite"))
    one.config["WTF_CSRF_ENABLED"] = False
    with one.test_client() as client, other.test_client() as stranger:
        client.post("/", data=ENTRY)
        assert (names(client), names(stranger)) == (["Zoë"], [])


def names(client: FlaskClient) -> list[str]:
    return [html.unescape(name) for name in re.findall("<strong>(.*?)</strong>", client.get("/").text)]


def test_a_connection_is_closed_after_an_error(tmp_path: Path) -> None:
    """ResourceWarning, of a connection left open, would be an error here."""
    app = create_app(tmp_path / "guestbook.sqlite")
    with closing(sqlite3.connect(tmp_path / "guestbook.sqlite")) as database:
        database.execute("DROP TABLE entries")
    assert app.test_client().get("/").status_code == 500


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(60)
class TestInABrowser:
    @pytest.fixture
    def page(self, browser: Browser, serving: Serving) -> Iterator[Page]:
        """A page on a narrow phone, on which nothing goes wrong that the test does not expect."""
        with browser.new_context(base_url=serving.address) as context:
            page = context.new_page()
            page.set_viewport_size({"width": 320, "height": 640})
            self.errors: list[str] = []
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
            page.goto("/")
            assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"
            yield page
        assert self.errors == []

    def test_it_is_signed_by_keyboard(self, page: Page) -> None:
        name = f"Grace {uuid.uuid4().hex[:8]}"
        page.keyboard.press("Tab")
        expect(page.get_by_label("Your name")).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        page.keyboard.type("w" * 400)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("listitem").first).to_contain_text(name)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.reload()  # which does not send the form again
        expect(page.get_by_text(name, exact=True)).to_have_count(1)

    def test_a_mistake_is_said(self, page: Page, step: str) -> None:
        page.get_by_label("Your name").fill("   ")
        page.get_by_label("Your entry").fill("Words.")
        page.get_by_role("button", name="Sign").click()
        expect(page.locator(".error")).to_be_visible()
        expect(page.get_by_label("Your entry")).to_have_value("Words.")
        if step != FORM:
            described = expect(page.get_by_label("Your name"))
            described.to_have_accessible_description("This field is required.")
        assert "status of 422" in self.errors.pop()

"""`demos/site`: a website as its visitors have it, in three languages, with what they get wrong."""

import html
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from gettext import GNUTranslations
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / "demos" / "site"
CHROMIUM = shutil.which("chromium")
CLOSE_AT_ONCE = httpx.Limits(max_keepalive_connections=0)  # or tests would leave sockets open
HERE = ZoneInfo("Europe/Berlin")
YEAR = datetime.now(HERE).year + 1
EVENT = {
    "title": "Chess & <tea>",
    "place": "Attic",
    "starts": f"{YEAR}-03-04T18:05",
    "text": "First line\r\n\r\nlast line",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def serving(data: Path) -> Iterator[Serving]:
    typed = ("demos.site:app", "--port", "0", "--no-access-log")
    with Serving(*typed, cwd=ROOT, env={"SITE_DATA": str(data)}) as serving:
        yield serving


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE) as client:
        yield client


def send(client: httpx.Client, **changes: str) -> httpx.Response:
    """Fill the form in as a visitor does, and send it."""
    token = re.search(r'name="csrf_token" type="hidden" value="([^"]+)"', client.get("/announce").text)
    assert token
    return client.post("/announce", data={"csrf_token": token[1]} | EVENT | changes)


@pytest.mark.parametrize(
    ("method", "path", "status", "heading"),
    [
        ("GET", "/", 200, "What's on"),
        ("GET", "/?page=1", 200, "What's on"),
        ("GET", "/?page=nonsense", 200, "What's on"),
        ("GET", "/events/1", 200, "Story time: The Moomins"),
        ("GET", "/announce", 200, "Announce an event"),
        ("GET", "/?page=1000", 404, "Page not found"),
        ("GET", "/?page=0", 404, "Page not found"),
        ("GET", f"/?page={'9' * 30}", 404, "Page not found"),
        ("GET", "/events/0", 404, "Page not found"),
        ("GET", "/events/12345", 404, "Page not found"),
        ("GET", f"/events/{'9' * 30}", 404, "Page not found"),
        ("GET", f"/events/{'9' * 5000}", 404, "Page not found"),
        ("GET", "/nowhere", 404, "Page not found"),
        ("GET", "/static/nothing.css", 404, "Page not found"),
        ("POST", "/nowhere", 404, "Page not found"),
        ("POST", "/", 405, "This page cannot do that"),
        ("DELETE", "/announce", 405, "This page cannot do that"),
        ("POST", "/announce", 400, "This form has expired"),
    ],
)
def test_pages(client: httpx.Client, method: str, path: str, status: int, heading: str) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert f"<h1>{heading}</h1>" in html.unescape(response.text)
    assert "Lindenhof Library" in response.text
    assert ("Allow" in response.headers) == (status == 405)


def test_static_files_are_asked_for_once(client: httpx.Client) -> None:
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text)
    assert {address.split("?")[0] for address in addresses} == {"/static/style.css", "/static/favicon.svg"}
    for address in addresses:
        assert "?v=" in address
        response = client.get(address)
        assert (response.status_code, "max-age=31536000" in response.headers["Cache-Control"]) == (200, True)
        assert client.get(address, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


# The form


def test_an_event_is_announced(client: httpx.Client) -> None:
    response = send(client)
    assert response.status_code == 303
    address = response.headers["Location"]
    page = client.get(address).text
    assert "<h1>Chess &amp; &lt;tea&gt;</h1>" in page
    assert "First line\n\nlast line" in page
    assert "Thank you!" in page
    assert "Thank you!" not in client.get(address).text
    assert f'href="{address}"' in client.get("/").text


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("title", "", "This field is required."),
        ("title", "  \t ", "Field must be between 3 and 80 characters long."),
        ("title", "\0\0\0\0", "Field must be between 3 and 80 characters long."),
        ("title", "x" * 81, "Field must be between 3 and 80 characters long."),
        ("place", "x", "Field must be between 2 and 60 characters long."),
        ("text", "short", "Field must be between 10 and 2000 characters long."),
        ("starts", "", "This field is required."),
        ("starts", "tomorrow", "Not a valid datetime value."),
        ("starts", "0001-01-01T00:00", "Choose a time in the next two years."),
        ("starts", "9999-12-31T23:59", "Choose a time in the next two years."),
        ("starts", f"{YEAR - 2}-03-04T18:05", "Choose a time in the next two years."),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    client: httpx.Client, field: str, value: str, error: str
) -> None:
    response = send(client, **{field: value})
    assert response.status_code == 422
    assert errors(response) == [(field, error)]
    for kept in (EVENT[name] for name in EVENT if name != field):  # what was right needs no second typing
        assert html.escape(kept).replace("\r", "") in response.text


def errors(response: httpx.Response) -> list[tuple[str, str]]:
    """The fields that are marked, and what stands there."""
    found = re.findall(r'aria-describedby="(\w+)-error"|id="(\w+)-error">([^<]+)<', response.text)
    marked = {before for before, _, _ in found if before}
    said = [(field, what) for _, field, what in found if field]
    assert marked == {field for field, _ in said}
    return said


def test_errors_are_in_the_visitors_language(client: httpx.Client) -> None:
    client.get("/?language=de")
    response = send(client, starts="2020-01-01T10:00", title="")
    assert dict(errors(response)) == {
        "title": "Dieses Feld wird benötigt.",
        "starts": "Wählen Sie einen Zeitpunkt in den nächsten zwei Jahren.",
    }


def test_only_this_sites_form_is_taken(client: httpx.Client, serving: Serving) -> None:
    page = client.get("/announce")
    assert "SameSite=Lax" in page.headers["Set-Cookie"]
    token = re.findall(r'name="csrf_token" type="hidden" value="([^"]+)"', page.text)
    with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE) as stranger:
        stranger.get("/announce")
        for sender, sent in ((stranger, token), (client, ["nonsense"]), (client, [])):
            response = sender.post("/announce", data=EVENT | dict(zip(["csrf_token"], sent, strict=False)))
            assert response.status_code == 400
            assert "This form has expired" in response.text


def test_what_is_not_a_form_is_refused(client: httpx.Client) -> None:
    token = re.findall(r'value="([^"]+)"', client.get("/announce").text)[0]
    response = client.post("/announce", json=[1], headers={"X-CSRFToken": token})
    assert response.status_code == 422
    assert len(errors(response)) == len(EVENT)


def test_too_much_is_refused(client: httpx.Client) -> None:
    response = send(client, text="x" * 100_000)
    assert response.status_code == 413
    assert "<h1>Your text is too long</h1>" in response.text


def test_many_events_have_pages(client: httpx.Client) -> None:
    walks = [f"Walk {number}" for number in range(11)]
    for day, walk in enumerate(walks, start=10):
        assert send(client, title=walk, starts=f"{YEAR}-05-{day}T10:00").status_code == 303
    addresses, found = ["/"], []
    while addresses:
        page = client.get(addresses.pop()).text
        found += re.findall(r"<h2><a [^>]*>(Walk \d+)<", page)
        addresses += re.findall(r'rel="next" href="([^"]+)"', page)
    assert found == walks
    assert 'rel="prev" href="/?page=1"' in client.get("/?page=2").text
    assert 'href="?page=2&amp;language=de"' in client.get("/?page=2").text  # another language, the same page


# Languages


@pytest.mark.parametrize(
    ("accepted", "language", "name", "date"),
    [
        ("", "en", "Lindenhof Library", f"March 4, {YEAR}, 6:05\u202fPM"),
        ("en-GB", "en", "Lindenhof Library", f"March 4, {YEAR}, 6:05\u202fPM"),
        ("de", "de", "Bücherei Lindenhof", f"4. März {YEAR}, 18:05"),
        ("de-AT,en;q=0.8,fr;q=0", "de", "Bücherei Lindenhof", f"4. März {YEAR}, 18:05"),
        ("fr;q=0.9,de;q=0.8", "fr", "Bibliothèque du Lindenhof", f"4 mars {YEAR}, 18:05"),
        ("ja,*;q=0.1", "en", "Lindenhof Library", f"March 4, {YEAR}, 6:05\u202fPM"),
        ("; nonsense,,=", "en", "Lindenhof Library", f"March 4, {YEAR}, 6:05\u202fPM"),
    ],
)
def test_the_language_is_the_browsers(
    client: httpx.Client, accepted: str, language: str, name: str, date: str
) -> None:
    address = send(client).headers["Location"]
    response = client.get(address, headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in response.text
    assert name in response.text
    assert date in response.text
    assert response.headers["Content-Language"] == language
    assert {"Accept-Language", "Cookie"} <= set(response.headers["Vary"].split(", "))


def test_what_the_visitor_chooses_is_kept(client: httpx.Client) -> None:
    client.headers["Accept-Language"] = "de"
    for path, language in (
        ("/", "de"),
        ("/?language=fr", "fr"),
        ("/nowhere", "fr"),
        ("/announce?language=xx", "fr"),
        ("/nowhere?language=en", "en"),
        ("/", "en"),
    ):
        assert f'<html lang="{language}">' in client.get(path).text


@pytest.mark.parametrize(
    ("apart", "english", "german"),
    [
        (timedelta(days=3), "in 3 days", "in 3 Tagen"),
        (timedelta(weeks=3), "in 3 weeks", "in 3 Wochen"),
    ],
)
def test_times_from_now(client: httpx.Client, apart: timedelta, english: str, german: str) -> None:
    starts = (datetime.now(HERE) + apart).strftime("%Y-%m-%dT%H:%M")
    address = send(client, starts=starts).headers["Location"]
    assert f"({english})" in client.get(address).text
    assert f"({german})" in client.get(address, headers={"Accept-Language": "de"}).text


@pytest.mark.parametrize("language", ["de", "fr"])
def test_catalogues_have_every_text_and_are_compiled(language: str) -> None:
    methods = [("*.py", "python"), ("templates/**.html", "jinja2")]
    texts = {
        text
        for _, _, text, _, _ in extract_from_dir(
            SITE, methods, keywords={"_": None, "gettext": None, "lazy_gettext": None}
        )
    }
    folder = SITE / "translations" / language / "LC_MESSAGES"
    with (folder / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    assert {
        message.id for message in catalogue if message.id and message.string and not message.fuzzy
    } == texts
    with (folder / "messages.mo").open("rb") as file:
        compiled = GNUTranslations(file)
    for message in catalogue:
        if message.id:
            assert compiled.gettext(str(message.id)) == message.string


# The server's side


def test_a_bug_is_a_page_and_a_line_in_the_log(client: httpx.Client, serving: Serving, data: Path) -> None:
    with closing(sqlite3.connect(data / "events.sqlite")) as database:
        database.execute("ALTER TABLE events RENAME TO lost")
        try:
            response = client.get("/", headers={"Accept-Language": "de"})
        finally:
            database.execute("ALTER TABLE lost RENAME TO events")
    assert response.status_code == 500
    assert "<h1>Etwas ist kaputt, und es liegt an uns</h1>" in response.text
    serving.wait_for("no such table: events")
    assert client.get("/").status_code == 200


def test_another_process_takes_the_forms_of_the_first(client: httpx.Client, data: Path) -> None:
    page = client.get("/announce")
    token = re.findall(r'value="([^"]+)"', page.text)[0]
    with Serving("demos.site:app", "--port", "0", cwd=ROOT, env={"SITE_DATA": str(data)}) as other:
        response = client.post(f"{other.address}/announce", data=EVENT | {"csrf_token": token})
    assert response.status_code == 303


# In a browser

in_a_browser = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class TestInABrowser:
    pytestmark = in_a_browser

    @pytest.fixture
    def page(self, browser: Browser, serving: Serving) -> Iterator[Page]:
        """A page on a phone, on which nothing goes wrong that the test does not expect."""
        viewport = ViewportSize(width=390, height=800)
        with browser.new_context(base_url=serving.address, locale="en-US", viewport=viewport) as context:
            page = context.new_page()
            self.errors: list[str] = []
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
            yield page
        assert self.errors == []

    def test_the_form_by_keyboard(self, page: Page) -> None:
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        for _ in range(3):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Announce an event")
        page.get_by_label("What is it?").focus()
        page.keyboard.type("Night of the owls")
        page.keyboard.press("Tab")
        page.keyboard.type("Tower")
        page.keyboard.press("Tab")
        type_moment(page, YEAR - 2)
        page.keyboard.type("Bring warm clothes.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Not sent yet")
        expect(page.get_by_label("When does it start?")).to_have_accessible_description(
            "Choose a time in the next two years."
        )
        assert "status of 422" in self.errors.pop()  # Python 3.13 has another phrase for it
        page.get_by_label("When does it start?").focus()
        type_moment(page, YEAR)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("Thank you! Your event is announced.")
        expect(page.get_by_role("heading", level=1)).to_have_text("Night of the owls")
        expect(page.get_by_role("article")).to_contain_text(f"March 4, {YEAR}, 9:30\u202fPM")

    def test_the_language_switch_changes_the_dates(self, page: Page, client: httpx.Client) -> None:
        page.goto(send(client).headers["Location"])
        expect(page.get_by_role("article")).to_contain_text(f"March 4, {YEAR}, 6:05\u202fPM")
        for language, date in (("Deutsch", f"4. März {YEAR}, 18:05"), ("Français", f"4 mars {YEAR}, 18:05")):
            page.get_by_role("link", name=language).press("Enter")
            expect(page.get_by_role("article")).to_contain_text(date)
        page.goto("/announce")
        expect(page.get_by_role("heading", level=1)).to_have_text("Annoncer un événement")

    def test_every_page_fits_a_phone(self, page: Page, client: httpx.Client) -> None:
        long = send(client, title="x" * 80, place="y" * 60, text="z" * 2000).headers["Location"]
        for path in ("/", long, "/announce?language=de"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") == 390


def type_moment(page: Page, year: int) -> None:
    """Type 4 March, 21:30, into the field that has the focus, as Americans do; go on to the next."""
    page.keyboard.type(f"0304{year}")
    page.keyboard.press("Tab")
    page.keyboard.type("0930PM")
    while page.evaluate("document.activeElement.type") == "datetime-local":
        page.keyboard.press("Tab")

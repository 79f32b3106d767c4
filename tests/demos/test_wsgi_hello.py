"""`demos/wsgi_hello.py`: three steps that answer alike, alone and below a path."""

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
CLOSE_AT_ONCE = httpx.Limits(max_keepalive_connections=0)  # or tests would leave sockets open
STEPS = ["bare", "werkzeug", "flask"]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving("demos.wsgi_hello:app", "--port", "0", "--no-access-log", cwd=ROOT) as serving:
        yield serving


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.address, limits=CLOSE_AT_ONCE) as client:
        yield client


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("method", "path", "status", "heading"),
    [
        ("GET", "/", 200, "Hello, World!"),
        ("GET", "/?name=", 200, "Hello, World!"),
        ("GET", "/?other=1", 200, "Hello, World!"),
        ("GET", "/?name=Ada&name=Grace", 200, "Hello, Ada!"),
        ("GET", "/?name=Ada+Lovelace", 200, "Hello, Ada Lovelace!"),
        ("GET", "/?name=%F0%9F%90%8D", 200, "Hello, 🐍!"),
        ("GET", "/?name=%3Cscript%3Ealert(1)%3C/script%3E", 200, "Hello, <script>alert(1)</script>!"),
        ("GET", "/?name=%22%27%26amp%3B", 200, "Hello, \"'&amp;!"),
        ("GET", "/hello/Zo%C3%AB", 200, "Hello, Zoë!"),
        ("GET", "/hello/Zo%C3%AB?name=Ada", 200, "Hello, Zoë!"),
        ("GET", "/hello/%3Cb%3E", 200, "Hello, <b>!"),
        ("GET", "/hello/%7B%7B7*7%7D%7D", 200, "Hello, {{7*7}}!"),
        ("GET", "/hello/%ff", 200, "Hello, \ufffd!"),
        ("GET", "/hello/", 404, "404 Not Found"),
        ("GET", "/hello/a/b", 404, "404 Not Found"),
        ("GET", "/hello/a%2Fb", 404, "404 Not Found"),
        ("GET", "/goodbye/Ada", 404, "404 Not Found"),
        ("POST", "/", 405, "405 Method Not Allowed"),
        ("DELETE", "/hello/Ada", 405, "405 Method Not Allowed"),
        ("POST", "/nowhere", 404, "404 Not Found"),
    ],
)
def test_the_steps_answer_alike(
    client: httpx.Client, method: str, path: str, status: int, heading: str
) -> None:
    bodies = set()
    for step in STEPS:
        response = client.request(method, f"/{step}{path}")
        assert response.status_code == status
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert allowed(response) == ({"GET", "HEAD"} if status == 405 else set())
        assert "<script>" not in response.text
        assert "<b>" not in response.text
        assert links(response.text) == {f"/{step}/", f"/{step}/hello/Zo%C3%AB"}
        bodies.add(html.unescape(response.text.replace(f"/{step}/", "/")))
    (body,) = bodies
    assert f"<h1>{heading}</h1>" in body


def allowed(response: httpx.Response) -> set[str]:
    """The methods of a 405, less the one that Flask answers by itself."""
    return set(response.headers.get("Allow", "").split(", ")) - {"", "OPTIONS"}


@pytest.mark.parametrize("path", ["/", "/hello/Ada", "/nowhere"])
def test_head_is_get_without_the_page(client: httpx.Client, step: str, path: str) -> None:
    head, get = client.head(f"/{step}{path}"), client.get(f"/{step}{path}")
    assert head.content == b""
    assert (head.status_code, head.headers["Content-Length"]) == (get.status_code, str(len(get.content)))


def test_options_is_what_flask_alone_answers(client: httpx.Client) -> None:
    assert [client.options(f"/{step}/").status_code for step in STEPS] == [405, 405, 200]


def test_a_step_asked_for_without_its_slash(client: httpx.Client, step: str) -> None:
    response = client.get(f"/{step}")
    assert response.status_code == 308
    assert urlsplit(response.headers["Location"]).path == f"/{step}/"


def test_the_front_page_leads_to_all(client: httpx.Client) -> None:
    assert links(client.get("/").text) == {f"/{step}/" for step in STEPS}
    assert client.get("/nowhere").status_code == 404
    assert client.post("/").status_code == 405


def test_the_first_step_by_itself_and_below_a_path() -> None:
    typed = ("demos.wsgi_hello:bare", "--port", "0", "--no-access-log", "--root-path", "/a shop")
    with Serving(*typed, cwd=ROOT) as serving:
        answer = serving.get("/?name=Ada")
    assert answer.status == 200
    assert links(answer.text) == {"/a%20shop/", "/a%20shop/hello/Zo%C3%AB"}


def links(text: str) -> set[str]:
    return set(re.findall(r'(?:href|action)="([^"]*)"', text))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(60)
def test_in_a_browser_by_keyboard(serving: Serving) -> None:
    with (
        sync_playwright() as started,
        started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for title in ("A bare WSGI callable", "With Werkzeug", "In Flask"):
            page.goto(serving.address)
            page.get_by_role("link", name=title).press("Enter")
            expect(page.get_by_role("heading")).to_have_text("Hello, World!")
            page.keyboard.press("Tab")
            page.keyboard.type("<Zoë & Ada>")
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading")).to_have_text("Hello, <Zoë & Ada>!")
        assert errors == []

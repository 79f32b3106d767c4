"""The gallery's X-ray page: what it answers, what it refuses, what it does not show; and in a browser."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bridge.free_threading import has_gil
from tests.server.command import Serving, wait_until

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")

CANARY = "canary-4711-of-the-environment"
SECRET = "f00d" * 12

# Without the global interpreter lock, the worker may write a last step while the loop already sends.
TWO_HOPS = "2 hops" if has_gil() else re.compile("[23] hops")

pytestmark = pytest.mark.timeout(60)  # the first one starts the gallery, with all demos
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files, in which all demos keep their data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def serving(data: Path) -> Iterator[Serving]:
    variables = {
        "TMPDIR": str(data),
        "SITE_SECRET_KEY": SECRET,
        "SUBJECT_SECRET_KEY": SECRET,
        "XRAY_CANARY": CANARY,
    }
    with Serving("demos.gallery:app", "--port", "0", "--no-access-log", cwd=ROOT, env=variables) as serving:
        yield serving


def wanted(
    path: str = "/page/", subject: str = "subject", way: str = "bridge", **more: Any
) -> dict[str, Any]:
    return {"subject": subject, "way": way, "path": path, **more}


def post(serving: Serving, content: Any, **headers: str) -> httpx.Response:
    typed = {"Content-Type": "application/json", **headers}
    content = content if isinstance(content, (str, bytes)) else json.dumps(content)
    return httpx.post(f"{serving.address}/x-ray/traces", content=content, headers=typed, timeout=20)


def trace(serving: Serving, request: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The steps in their last form, what the end says, and the text of it all."""
    response = post(serving, request)
    assert response.status_code == 200, response.text
    steps: dict[int, dict[str, Any]] = {}
    end: dict[str, Any] = {}
    for kind, data in re.findall(r"^event: (\w+)\ndata: (.*)\n$", response.text, re.MULTILINE):
        if kind == "steps":
            steps |= {step["id"]: step for step in json.loads(data)}
        else:
            end = json.loads(data)
    return list(steps.values()), end, response.text


@pytest.mark.parametrize(
    ("way", "runner"),
    [
        ("bridge", "on the loop"),
        ("bridge-threads", "in a thread"),
        ("a2wsgi", "in a thread"),
        ("asgiref", "in a thread"),
    ],
)
def test_an_async_view_in_each_way(serving: Serving, way: str, runner: str) -> None:
    steps, end, _ = trace(serving, wanted("/async", way=way))
    assert (end["outcome"], end["response"]["status"], end["steps"]) == ("answered", 200, len(steps))
    assert [step["name"] for step in steps if step["layer"] == "runner"] == [runner]
    assert all(step["ended"] is not None for step in steps)


def test_a_stream_without_end_is_left_when_it_is_large(serving: Serving) -> None:
    _, end, _ = trace(serving, wanted("/export", "streaming"))
    assert end["outcome"] == "left"
    assert 65_536 < end["response"]["size"] < 3 * 65_536  # with the chunk that was too much


def test_states_of_the_apps_are_there(serving: Serving) -> None:
    _, end, _ = trace(serving, wanted("/legacy", "async_views"))
    assert end["response"]["body"] == "answer to /legacy"


# What it refuses

OVER = {"path": "/" + "x" * 2000, "body": "x" * 16_385, "headers": [["A", "1"]] * 21}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "http://example.org/"),
        ("subject", "demos.gallery"),
        ("way", "gunicorn"),
        ("method", "TRACE"),
        ("path", "page"),
        ("path", "http://example.org/"),
        ("path", "/a\r\nb"),
        ("path", OVER["path"]),
        ("body", OVER["body"]),
        ("body", "ü" * 8193),
        ("headers", OVER["headers"]),
        ("headers", [["A", "x" * 4096]]),
        ("headers", [["A", "1\r\nB: 2"]]),
        ("headers", [["A b", "1"]]),
        ("headers", [["", "1"]]),
        ("headers", [["A", "€"]]),
        ("headers", [["Content-Length", "5"]]),
        ("headers", "A: 1"),
        ("deadline", 1000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_requests_are_refused(serving: Serving, field: str, value: Any) -> None:
    response = post(serving, wanted() | {field: value})
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], [each["field"] for each in problem["errors"]]) == (422, [field])
    assert problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (json.dumps(wanted()), "text/plain", 415),  # what a form of another site may send
        (json.dumps(wanted()), "application/x-www-form-urlencoded", 415),
        ("{", "application/json", 422),
        ("[]", "application/json", 422),
        (b'"\xff', "application/json", 422),
        ('{"path": "/\\ud800"}', "application/json", 422),
    ],
)
def test_bad_content_is_refused(serving: Serving, content: str | bytes, kind: str, status: int) -> None:
    response = post(serving, content, **{"Content-Type": kind})
    assert (response.status_code, response.json()["status"]) == (status, status)


def test_what_is_too_large_to_be_read_is_refused(serving: Serving) -> None:
    assert post(serving, wanted(body="x" * 200_000)).status_code == 413


def test_limits_are_inclusive(serving: Serving) -> None:
    most = {"path": OVER["path"][:-1], "body": OVER["body"][:-1], "headers": OVER["headers"][:-1]}
    _, end, _ = trace(serving, wanted(method="POST") | most)
    assert end["response"]["status"] == 404


@pytest.mark.parametrize("way", ["bridge", "bridge-threads", "a2wsgi"])
def test_too_many_at_once(serving: Serving, way: str) -> None:
    """And whoever leaves makes room, long before the request would have ended."""
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=20))

        def begin() -> bool:
            request = client.stream(
                "POST", f"{serving.address}/x-ray/traces", json=wanted("/endless", way=way)
            )
            response = stack.enter_context(request)
            if response.status_code == 503:  # the traces of the way before have not ended yet
                return False
            texts = response.iter_text()
            assert next(texts).startswith("event: steps")
            stack.callback(texts.close)  # type: ignore[attr-defined]  # it is a generator
            return True

        for _ in range(4):
            wait_until(begin, "a place")
        refused = post(serving, wanted())
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert "Try again" in refused.json()["detail"]
    left = time.monotonic()
    wait_until(lambda: post(serving, wanted()).status_code == 200, "a place")
    assert time.monotonic() - left < 5


# What it does not show

PATHS = {
    "subject": [
        "/page/",
        "/visits",
        "/broken",
        "/sold-out",
        "/forbidden",
        "/moved",
        "/nowhere",
        "/page",
        "/async",
    ],
    "bare": ["/"],
    "werkzeug": ["/"],
    "flask": ["/", "/nowhere"],
    "hello": ["/", "/static/../hello.py", "/static/%2e%2e/hello.py", "/static//etc/passwd"],
    "streaming": ["/export?rows=2", "/static/..%2fhello.py"],
    "async_views": ["/", "/fan-out", "/legacy"],
    "site": ["/", "/announce", "/events/1", "/static/style.css", "/static/%00", "/static/../__init__.py"],
    "api": ["/sightings", "/openapi.json", "/docs", "/nowhere"],
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("way", ["bridge", "bridge-threads", "a2wsgi", "asgiref"])
@pytest.mark.parametrize("subject", PATHS)
def test_nothing_of_the_machine_is_shown(serving: Serving, data: Path, subject: str, way: str) -> None:
    secrets = {
        str(ROOT),
        str(Path.home()),
        str(data),
        CANARY,
        SECRET,
        "Traceback",
        "/site-packages",
    }
    headers = [["Cookie", "site_session=mine-alone"], ["Authorization", "Bearer mine-alone"]]
    for path in PATHS[subject]:
        _, _, text = trace(serving, wanted(path, subject, way, headers=headers))
        assert [each for each in (*secrets, "mine-alone") if each in text] == [], path
        assert not re.search(r"session=[^\"]{20}", text), path


def test_the_body_of_a_post_is_shown_without_its_secrets(serving: Serving) -> None:
    body = json.dumps({"name": "ada", "password": "correct horse battery"})
    headers = [["Content-Type", "application/json"]]
    _, _, text = trace(serving, wanted("/people", "api", method="POST", headers=headers, body=body))
    assert "correct horse" not in text


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class XRay:
    """A visitor's page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = f"{address}/x-ray/"

    def open(self, query: str = "") -> None:
        self.page.goto(self._address + query)

    def has_ended(self, *statuses: str | re.Pattern[str]) -> None:
        expect(self.page.locator(".panel .status")).to_have_text(
            [re.compile(each) for each in statuses], timeout=20_000
        )

    def touched(self) -> list[str]:
        """The layers that have steps, as they are drawn, from the top."""
        return (
            self.page.locator(".panel").first.locator(".lane:not(.untouched) .lane-name").all_text_contents()
        )

    def names(self, layer: str) -> list[str]:
        return self.page.locator(f".trace [data-layer={layer}] .name").all_text_contents()


@pytest.fixture
def xray(browser: Browser, serving: Serving) -> Iterator[XRay]:
    """A page that has had no error in the end."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if _is_unexpected(message) else None)
        yield XRay(page, serving.address)
    assert errors == []


def _is_unexpected(message: Any) -> bool:
    return message.type == "error" and "status of 422" not in message.text  # Chromium says of each answer


OUTSIDE = ["ASGI", "runner", "environ", "WSGI"]
ALL = [*OUTSIDE, "Werkzeug", "Flask", "view", "Jinja2"]


class TestBrowser:
    pytestmark = in_a_browser

    @pytest.mark.parametrize(
        ("link", "status", "layers"),
        [
            ("Bare WSGI", "200", OUTSIDE),
            ("Werkzeug", "200", OUTSIDE),
            ("Flask", "200", ALL),
            ("A page", "200", ALL),
            ("No such page", "404", [*OUTSIDE, "Werkzeug", "Flask"]),
            ("Wrong method", "405", [*OUTSIDE, "Werkzeug", "Flask"]),
            ("Missing slash", "308", [*OUTSIDE, "Werkzeug", "Flask"]),
            ("A redirect", "302", ALL[:-1]),
            ("Forbidden", "403", ALL[:-1]),
            ("A handled error", "409", ALL[:-1]),
            ("A bug", "500", ALL[:-1]),
            ("An upload", "200", ALL[:-1]),
            ("A session", "200", ALL[:-1]),
        ],
    )
    def test_each_kind_of_request(self, xray: XRay, link: str, status: str, layers: list[str]) -> None:
        xray.open()
        xray.page.get_by_role("link", name=link, exact=True).click()
        xray.has_ended(rf"^answered {status}$")
        expect(xray.page.locator("#result-title")).to_have_text(link)
        assert xray.touched() == layers

    def test_steps_come_while_it_runs(self, xray: XRay) -> None:
        xray.open()
        xray.page.get_by_role("link", name="A stream", exact=True).press("Enter")
        chunks = xray.page.locator(".trace .detail").filter(has_text=re.compile(r"^\d+ bytes$"))
        for number in range(1, 4):
            expect(chunks.nth(number - 1)).to_be_visible()
            expect(xray.page.locator(".panel .status")).to_have_text("running …")
        xray.has_ended("answered 200")

    def test_a_click_on_a_bar_shows_what_was_held(self, xray: XRay) -> None:
        xray.open("?path=/page/&headers=X_Tag:%203")
        xray.has_ended("answered 200")
        xray.page.locator("g[data-layer=environ] .step").click()
        facts = xray.page.locator(".facts dl").first
        expect(facts).to_contain_text("PATH_INFO/page/")
        dropped = xray.page.locator(".facts tr.dropped")
        expect(dropped).to_contain_text("x_tag")
        expect(dropped).to_contain_text("underscore")
        expect(xray.page.locator("[aria-expanded=true]")).to_be_focused()

    def test_by_keyboard(self, xray: XRay) -> None:
        xray.open("?path=/page/?name=Ada")
        xray.has_ended("answered 200")
        steps = xray.page.get_by_role("list", name="Steps").get_by_role("button")
        steps.first.focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
            xray.page.keyboard.press(key)
        expect(steps.nth(1)).to_be_focused()
        expect(steps.nth(1)).to_have_attribute("aria-expanded", "true")
        expect(xray.page.locator(".trace .facts")).to_contain_text("waited")
        xray.page.keyboard.press("End")
        expect(steps.last).to_be_focused()
        xray.page.keyboard.press("Home")
        xray.page.keyboard.press("Enter")
        expect(xray.page.locator(".trace .facts")).to_contain_text("query string")

    def test_what_a_layer_is(self, xray: XRay) -> None:
        xray.open("?path=/page/")
        xray.has_ended("answered 200")
        xray.page.get_by_role("button", name="environ", exact=True).press("Enter")
        expect(xray.page.locator("#about-layer")).to_contain_text("PEP 3333")

    def test_adapters_side_by_side(self, xray: XRay) -> None:
        xray.open()
        xray.page.get_by_role("link", name="Three adapters").click()
        xray.has_ended(*["answered 200"] * 3)
        titles = xray.page.locator(".panel h3").all_text_contents()
        assert titles == [f"{way}GET /sync" for way in ("Bridge", "a2wsgi", "asgiref")]
        expect(xray.page.locator("svg.chart")).to_have_count(3)

    def test_in_a_thread_and_on_the_loop(self, xray: XRay) -> None:
        xray.open()
        xray.page.get_by_role("link", name="Sync and async", exact=True).click()
        xray.has_ended(*["answered 200"] * 2)
        assert xray.names("runner") == ["runner in a thread", "runner on the loop"]
        views = xray.page.locator("g[data-layer=view] .hatch")
        assert [each.get_attribute("visibility") for each in views.all()] == ["visible", "hidden"]
        axes = [
            axis.all_text_contents()
            for axis in (
                xray.page.locator("svg.chart").nth(n).locator("> g:first-child text") for n in (0, 1)
            )
        ]
        assert axes[0] == axes[1]  # on one scale

    def test_a_page_is_drawn_on_arrival(self, xray: XRay) -> None:
        xray.open()
        xray.has_ended("answered 200")
        expect(xray.page.get_by_role("link", name="A page", exact=True)).to_have_attribute(
            "aria-current", "true"
        )
        expect(xray.page.locator("svg.chart")).to_be_in_viewport()
        expect(xray.page.get_by_role("button", name="Trace it")).to_be_hidden()

    @pytest.mark.parametrize(
        ("query", "counts"),
        [
            ("?path=/sync", [TWO_HOPS, "1 thread", "2 sends"]),
            ("?path=/&subject=bare", [TWO_HOPS, "1 thread", "2 sends"]),
            ("?path=/fan-out&subject=async_views", ["0 hops", "0 threads", "2 sends"]),
        ],
    )
    def test_what_is_counted(self, xray: XRay, query: str, counts: list[str | re.Pattern[str]]) -> None:
        xray.open(query)
        xray.has_ended("answered 200")
        expect(
            xray.page.get_by_role("listitem").filter(has_text=re.compile("^\\d+ (hop|thread|send)"))
        ).to_have_text(counts)

    def test_times_are_to_scale(self, xray: XRay) -> None:
        xray.open("?path=/sync")
        xray.has_ended("answered 200")
        shares = """() => ["ASGI", "view"].map(layer => {
            const lane = `[data-layer=${layer.toLowerCase()}]`;
            const took = document.querySelector(`.trace ${lane} .took`).textContent;
            return document.querySelector(`.chart ${lane} .bar-of`).width.baseVal.value / parseFloat(took);
        })"""
        whole, view = xray.page.evaluate(shares)
        assert whole == pytest.approx(view, rel=0.05)

    def test_on_a_phone_examples_are_a_select(self, xray: XRay) -> None:
        xray.page.set_viewport_size({"width": 390, "height": 844})
        xray.open()
        expect(xray.page.get_by_role("link", name="A bug", exact=True)).to_be_hidden()
        xray.page.get_by_label("Example", exact=True).select_option("A bug")
        xray.has_ended("answered 500")

    def test_the_address_is_the_request(self, xray: XRay) -> None:
        xray.open()
        xray.page.locator("#own > summary").click()
        xray.page.get_by_label("Path", exact=True).fill("/moved")
        xray.page.get_by_role("checkbox", name="a2wsgi").check()
        xray.page.get_by_role("button", name="Trace it").click()
        xray.has_ended("answered 302", "answered 302")
        xray.page.reload()
        xray.has_ended("answered 302", "answered 302")
        xray.page.locator("#own > summary").click()
        expect(xray.page.get_by_role("checkbox", name="a2wsgi")).to_be_checked()

    def test_a_link_makes_no_post_by_itself(self, xray: XRay) -> None:
        posts: list[str] = []
        xray.page.on(
            "request", lambda request: posts.append(request.url) if request.method == "POST" else None
        )
        xray.open("?path=/upload&method=POST&body=x")
        expect(xray.page.get_by_label("Body")).to_have_value("x")
        expect(xray.page.locator("#result")).to_be_hidden()
        assert posts == []
        xray.page.get_by_role("button", name="Trace it").click()
        xray.has_ended("answered 200")
        assert len(posts) == 1

    @pytest.mark.parametrize(
        ("label", "typed", "field", "message"),
        [
            ("Path", "page", "path", "a path begins with a slash"),
            ("A second path", "page", "beside", "a path begins with a slash"),
            ("Headers", "no colon", "headers", "does not have the form"),
            ("Headers", "A b: 1", "headers", "not the name of a header"),
            ("Body", "x" * 17_000, "body", "more than 16,384 bytes"),
        ],
    )
    def test_what_is_wrong_is_said_beside_it(
        self, xray: XRay, label: str, typed: str, field: str, message: str
    ) -> None:
        xray.open()
        xray.page.locator("#own > summary").click()
        xray.page.get_by_text("Headers and body").click()
        xray.page.get_by_role("textbox", name=label, exact=label == "Path").fill(typed)
        xray.page.get_by_role("button", name="Trace it").click()
        expect(xray.page.locator(f"#error-{field}")).to_contain_text(message)
        expect(xray.page.locator(f"#{field}")).to_have_attribute("aria-invalid", "true")
        expect(xray.page.locator(f"#{field}")).to_be_focused()

    def test_html_is_text(self, xray: XRay) -> None:
        xray.open("?path=/page/?name=<img src=x onerror=alert(1)>%26beside=<b>")
        xray.has_ended("answered 200")
        assert xray.page.locator("#result img, #result b").count() == 0

    @pytest.mark.parametrize("query", ["", "?path=/sync&beside=/async&headers=X-Long:" + "x" * 900])
    def test_on_a_phone(self, xray: XRay, query: str) -> None:
        xray.page.set_viewport_size({"width": 390, "height": 844})
        xray.open(query)
        if query:
            xray.has_ended(*["answered 200"] * 2)
            for layer in ("asgi", "environ", "flask"):
                xray.page.locator(f".trace [data-layer={layer}] button").first.click()
        assert xray.page.evaluate("document.documentElement.scrollWidth") == 390

    def test_in_print(self, xray: XRay) -> None:
        xray.open("?path=/page/")
        xray.has_ended("answered 200")
        xray.page.emulate_media(media="print")
        expect(xray.page.locator("form")).to_be_hidden()
        expect(xray.page.locator("svg.chart")).to_be_visible()
        expect(xray.page.locator(".trace > li").first).to_be_visible()

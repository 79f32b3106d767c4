"""`demos/portal/` as it is run: by the command, over the network, in several processes, and in a browser."""

import csv
import io
import json
import re
import shutil
import signal
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from demos.portal.demo_data import PASSWORD
from tests.server.command import Serving, run

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
MONTHS = 12

pytestmark = pytest.mark.timeout(60)


def serve(data: Path, *options: str, **settings: float) -> Serving:
    return _serve(data, f"demos.portal:create_app('development', {settings!r})", *options)


def _serve(data: Path, *typed: str) -> Serving:
    return Serving(*typed, "--port", "0", "--no-access-log", cwd=ROOT, env={"PORTAL_DATA": str(data)})


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two processes, with a worker in each."""
    data = tmp_path_factory.mktemp("portal")
    with serve(data, "--workers", "2", JOB_STEP_PAUSE=0.02, JOB_POLL_SECONDS=0.05) as serving:
        yield serving


class Visitor:
    """Somebody with an account, by HTTP."""

    def __init__(self, address: str, name: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=15)
        answer = self.post("account/login", email=f"{name}@millreach.example", password=PASSWORD)
        assert answer.status_code == 302

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, path: str, **form: Any) -> httpx.Response:
        token = re.search('name="csrf_token" value="([^"]+)"', self.get("account/login").text)
        assert token is not None
        return self.client.post(path, data=form | {"csrf_token": token[1]})

    def order_report(self) -> str:
        """Order this year's report; the path of its page."""
        return self.post("reports/", year=date.today().year).headers["Location"]

    def progress(self, report: str) -> Iterator[dict[str, Any]]:
        """What its event stream tells."""
        with self.client.stream("GET", f"{self.client.base_url.join(report)}/events") as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def rows(self, report: str) -> list[list[str]]:
        text = self.client.get(f"{self.client.base_url.join(report)}.csv").text
        return list(csv.reader(io.StringIO(text)))


def test_book_and_approve(serving: Serving) -> None:
    with Visitor(serving.address, "mia") as mia, Visitor(serving.address, "sam") as sam:
        day = date.today() + timedelta(days=30)
        form = {"boat": 1, "day": day.isoformat(), "time_of_day": "morning", "note": "hello, stewards"}
        assert mia.post("bookings/new", **form).status_code == 302
        assert mia.get("bookings/requests").status_code == 403
        found = re.search(
            '“hello, stewards”.*?action="/(bookings/\\d+/approve)', sam.get("bookings/requests").text, re.S
        )
        assert found is not None
        assert sam.post(found[1]).status_code == 302
        assert "hello, stewards" not in sam.get("bookings/requests").text
        assert sam.get("admin/jobs").status_code == 403
    serving.wait_for("mail to mia@millreach.example: Your booking is approved")


def test_each_step_of_a_job_is_done_once(serving: Serving) -> None:
    """Whoever takes which job: both processes look for them."""
    with Visitor(serving.address, "sam") as sam:
        reports = [sam.order_report() for _ in range(5)]
        told = [list(sam.progress(report)) for report in reports]
        rows = [sam.rows(report) for report in reports]
    assert [events[-1] for events in told] == [{"status": "done", "done": MONTHS, "total": MONTHS}] * 5
    assert rows[0][0][:3] == ["day", "time of day", "boat"]
    assert len(rows[0]) > 100
    assert all(each == rows[0] for each in rows)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_goes_on_with_a_job(tmp_path: Path, ending: signal.Signals) -> None:
    settings = {"JOB_POLL_SECONDS": 0.05, "JOB_LEASE_SECONDS": 2.0}
    with serve(tmp_path, JOB_STEP_PAUSE=0.5, **settings) as first, Visitor(first.address, "sam") as sam:
        report = sam.order_report()
        before = next(state["done"] for state in sam.progress(report) if state["done"] >= 2)
        first.signal(ending)
        first.finish()
    assert before < MONTHS  # it is told while it is made
    with serve(tmp_path, JOB_STEP_PAUSE=0.02, **settings) as second, Visitor(second.address, "sam") as sam:
        states = list(sam.progress(report))
        again = sam.order_report()
        assert list(sam.progress(again))[-1]["status"] == "done"
        assert sam.rows(report) == sam.rows(again)
    assert states[0]["done"] >= before
    assert states[-1] == {"status": "done", "done": MONTHS, "total": MONTHS}


def test_under_a_prefix(tmp_path: Path) -> None:
    with _serve(tmp_path, "tests.demos.mounted:create_gallery({'JOB_STEP_PAUSE': 0.02})") as serving:
        address = f"{serving.address}/club/portal/"
        anonymous = httpx.get(f"{address}bookings/")
        assert anonymous.headers["Location"] == "/club/portal/account/login?next=/club/portal/bookings/"
        with Visitor(address, "ada") as ada:
            report = ada.order_report()
            assert report.startswith("/club/portal/reports/")
            assert list(ada.progress(report))[-1]["status"] == "done"
            for path in ("", "bookings/", "bookings/new", "admin/members", "admin/jobs", report):
                addresses = re.findall('(?:href|src|action|data-events)="([^"#]+)"', ada.get(path).text)
                assert len(addresses) > 5
                assert all(each.startswith("/club/portal/") for each in addresses), path


def test_production_says_what_it_needs() -> None:
    code, _, said = run(
        "serve", "demos.portal:create_app('production')", "--port", "0", cwd=ROOT, env={"SECRET_KEY": ""}
    )
    assert code != 0
    assert "production needs the variable SECRET_KEY: export SECRET_KEY=" in said


@pytest.fixture
def page() -> Iterator[Page]:
    """A phone, in the dark."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type != "log" else None)
        yield page
        browser.close()
    assert errors == []


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_an_evening_at_the_club(serving: Serving, page: Page) -> None:
    page.goto(serving.address)
    page.get_by_role("link", name="mia@millreach.example").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Book a boat").click()
    page.get_by_label("Boat").select_option("Heron (2)")
    page.get_by_label("Day").fill((date.today() + timedelta(days=40)).isoformat())
    page.get_by_label("Evening").check()
    page.get_by_role("button", name="Request the boat").click()
    expect(page.get_by_role("status")).to_have_text("Your request is with the stewards.")
    page.get_by_role("button", name=re.compile("^Cancel: Heron, .* evening$")).first.click()
    expect(page.get_by_role("status")).to_have_text(re.compile("^Cancelled: Heron"))

    page.get_by_role("link", name="Reports").click()
    page.get_by_role("button", name="Make the report").click()
    expect(page.get_by_role("link", name="Download the CSV")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("status")).to_have_text("done 12 of 12 months")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_have_text("You are logged out on all devices.")

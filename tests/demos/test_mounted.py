"""`demos/mounted.py`: whoever answers, the answers stay the same."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from bridge.testing import Client
from demos import mounted
from tests.demos.prefixed import PREFIX
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
ALL = len(mounted.moves.routes)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The demo below a prefix."""
    variables = {"MOUNTED_DATABASE": str(tmp_path_factory.mktemp("mounted") / "notes.sqlite")}
    typed = ("tests.demos.prefixed:below('demos.mounted')", "--port", "0", "--no-access-log")
    with Serving(*typed, cwd=ROOT, env=variables) as serving:
        yield serving


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.address + PREFIX) as client:
        yield client


def submit(client: httpx.Client, form: str, base: str = "/", **fields: str) -> httpx.Response:
    """Fill in a form of the front page, and send it."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(base).text)
    assert token is not None
    answer = client.post(base + form, data={"csrf_token": token[1], **fields})
    assert answer.headers["X-Answered-By"] == "Flask"
    return answer


@pytest.mark.parametrize(
    ("method", "path", "framework"),
    [
        ("GET", "/", "Flask"),
        ("GET", "/api/notes", "FastAPI"),
        ("POST", "/api/notes", "FastAPI"),
        ("GET", "/api/me", "FastAPI"),
        ("GET", "/moved", "FastAPI"),
        ("HEAD", "/api/notes", "Flask"),
        ("DELETE", "/api/notes", "Flask"),
        ("GET", "/nowhere", "Flask"),
        ("GET", "/old/", "Flask"),
        ("GET", "/old/api/notes", "Flask"),
        ("GET", "/old/api/me", "Flask"),
    ],
)
def test_each_response_names_who_has_answered(
    client: httpx.Client, method: str, path: str, framework: str
) -> None:
    assert client.request(method, path).headers["X-Answered-By"] == framework


def test_the_session_of_flask_is_read_by_fastapi(client: httpx.Client) -> None:
    assert client.get("/api/me").json() == {"name": None}
    answer = submit(client, "name", name="Ada")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{PREFIX}/")
    assert client.get("/api/me").json() == client.get("/old/api/me").json() == {"name": "Ada"}
    forged = httpx.get(
        client.base_url.join("api/me"), headers={"Cookie": "mounted_session=forged.by.somebody"}
    )
    assert forged.json() == {"name": None}


def test_what_one_adds_the_other_has(client: httpx.Client) -> None:
    submit(client, "notes", base="/old/", text="from the form")
    added = client.post("/api/notes", json={"text": "from a program"})
    page = client.get("/").text
    assert "from the form" in page
    assert "from a program" in page
    assert [note["text"] for note in client.get("/api/notes").json()[:2]] == [
        "from a program",
        "from the form",
    ]
    assert added.headers["Location"] == f"{PREFIX}/notes/{added.json()['id']}"
    assert "from a program" in client.get(added.headers["Location"].removeprefix(PREFIX)).text


def test_addresses_have_the_prefix_of_the_mount(client: httpx.Client) -> None:
    assert client.get("/old").headers["Location"] == f"{PREFIX}/old/"
    assert submit(client, "name", base="/old/", name="Ada").headers["Location"] == f"{PREFIX}/old/"
    for page, within in (("/", f"{PREFIX}/"), ("/old/", f"{PREFIX}/old/")):
        addresses = re.findall(r'(?:href|action)="(/[^"]*)"', client.get(page).text)
        assert f"{PREFIX}/moved" in addresses
        assert all(each.startswith(within) for each in addresses if each != f"{PREFIX}/moved")


def test_a_form_of_another_site_is_refused(client: httpx.Client) -> None:
    for form in ("name", "notes"):
        assert client.post(f"/{form}", data={"name": "Mallory", "text": "x"}).status_code == 400


def test_what_a_visitor_writes_is_text(client: httpx.Client) -> None:
    submit(client, "notes", text="<script>alert(1)</script>")
    assert "<script>" not in client.get("/").text
    submit(client, "notes", text=" ")
    assert "A note has 1 to 200 characters." in client.get("/").text


@pytest.mark.parametrize("moved", range(ALL + 1))
def test_the_page_shows_how_far_it_has_come(moved: int) -> None:
    rows = mounted.rows(mounted.create_app(moved))
    assert [framework for _, _, framework in rows].count("FastAPI") == moved


# Method, path, body and headers; after each move the answers are to be those of before

REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    ("GET", "/api/notes", None, {}),
    ("POST", "/api/notes", b'{"text": " one "}', JSON),
    ("POST", "/api/notes", json.dumps({"text": "x" * 200}).encode(), JSON),
    ("POST", "/api/notes", json.dumps({"text": "x" * 201}).encode(), JSON),
    ("POST", "/api/notes", b'{"text": " "}', JSON),
    ("POST", "/api/notes", b'{"text": 1}', JSON),
    ("POST", "/api/notes", b'{"text": "\\ud800"}', JSON),
    ("POST", "/api/notes", b"{}", JSON),
    ("POST", "/api/notes", b"[]", JSON),
    ("POST", "/api/notes", b"{", JSON),
    ("POST", "/api/notes", b"\xff", JSON),
    ("POST", "/api/notes", b"[" * 5000, JSON),
    ("POST", "/api/notes", b"", {}),
    ("POST", "/api/notes", b'{"text": "a form"}', {"Content-Type": "text/plain"}),
    ("DELETE", "/api/notes", None, {}),
    ("GET", "/api/notes", None, {}),
    ("GET", "/api/me", None, {}),
    ("GET", "/api/me", None, {"Cookie": "mounted_session=nonsense"}),
    ("GET", "/notes/1", None, {}),
    ("GET", "/notes/99999999999999999999", None, {}),
]


@pytest.fixture
async def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Flask answers, before anything has moved."""
    return await answers(0, tmp_path / "before.sqlite", monkeypatch)


@pytest.mark.parametrize("moved", range(1, ALL + 1))
async def test_a_move_changes_no_answer(
    moved: int, before: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await answers(moved, tmp_path / "after.sqlite", monkeypatch) == before


async def answers(moved: int, database: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(mounted, "DATABASE", database)
    async with Client(mounted.create_app(moved), root_path=PREFIX) as client:
        found = []
        for method, path, body, headers in REQUESTS:
            answer = await client.request(method, path, content=body, headers=headers)
            is_json = answer.headers["Content-Type"] == "application/json"
            kept = [answer.headers.get(name) for name in ("Content-Type", "Location", "Vary", "Allow")]
            found.append((method, path, body, answer.status_code, kept, is_json and answer.json()))
        return found


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(60)
def test_in_a_browser(serving: Serving) -> None:
    failures: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda said: failures.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(f"{serving.address}{PREFIX}/")
        page.get_by_label("Your name").fill("Grace")
        page.get_by_role("button", name="Save").click()
        page.get_by_label("A note, by Grace").fill("seen in a browser")
        page.get_by_role("button", name="Add").click()
        page.get_by_role("link", name="seen in a browser").click()
        expect(page.get_by_role("main")).to_contain_text("by Grace")
        page.get_by_role("link", name="All notes").click()
        page.get_by_role("link", name="Who answers what").click()
        expect(page.get_by_role("row", name="POST /api/notes")).to_contain_text("FastAPI")
        expect(page.get_by_role("contentinfo")).to_have_text("This page comes from FastAPI.")
        page.get_by_role("link", name="Notes, all in Flask").click()
        expect(page.get_by_role("contentinfo")).to_have_text("This page comes from Flask.")
        browser.close()
    assert failures == []

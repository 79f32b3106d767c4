"""`demos/django_side`: the same answers as `demos/api`, and the page that compares them."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect, sync_playwright

from demos.django_side.lines import count_lines
from tests.demos.prefixed import PREFIX
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")


@dataclass(frozen=True)
class Reply:
    """What a client has got."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Api:
    """A server with one of the two APIs, as a client sees it who may have logged in."""

    serving: Serving
    prefix: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        by: str | None = "ada",
    ) -> Reply:
        """Make a request with a token of that user; a body that is no bytes is sent as JSON."""
        fields = {"Content-Type": "application/json"} if body is not None else {}
        if by is not None:
            fields["Authorization"] = f"Bearer {self.tokens[by]}"
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with self.serving.connection() as connection:
            connection.request(method, self.prefix + path, sent, fields | (headers or {}))
            with connection.getresponse() as response:
                found = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, found, response.read().decode())

    def log_in(self, name: str) -> None:
        credentials = {"name": name, "password": "correct horse"}
        assert self.ask("POST", "/users", credentials, by=None).status == 201
        self.tokens[name] = self.ask("POST", "/tokens", credentials, by=None).json["token"]


def serve(target: str, folder: Path) -> Serving:
    variables = {
        "DJANGO_SIDE_DATABASE": str(folder / "django.sqlite"),
        "API_DATABASE_URL": f"sqlite:///{folder / 'flask.sqlite'}",
        "SECRET_KEY": "",
    }
    return Serving(target, "--port", "0", "--no-access-log", cwd=ROOT, env=variables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("django_side")


@pytest.fixture(scope="module")
def django(folder: Path) -> Iterator[Api]:
    """The demo below a prefix, with a user who has logged in."""
    with serve("tests.demos.prefixed:below('demos.django_side')", folder) as serving:
        api = Api(serving, prefix=PREFIX)
        api.log_in("ada")
        yield api


WREN = {"species": "Wren", "seen_on": "2026-04-01"}
ID = "7f9df5b1-90b0-4a2f-9d0a-9b6a6f0e4a01"
AT = f"/sightings/{ID}"
NEW = "/sightings/00000000-0000-4000-8000-000000000000"  # kept by nobody, as each request to it is ill


def wren(**changes: Any) -> dict[str, Any]:
    return WREN | changes


# One after the other, to both: method, path, body, and how it differs from a client that is logged in
REQUESTS: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("PUT", AT, wren(count=3, notes="a pair", place={"latitude": 51.5, "longitude": 0}), {}),
    ("PUT", AT, wren(count=3, notes="a pair", place={"latitude": 51.5, "longitude": 0}), {}),  # once more
    ("PUT", AT, WREN, {}),  # another under the same id
    ("PUT", AT, WREN, {"by": "grace"}),
    ("GET", AT, None, {}),
    ("GET", f"/sightings/{ID.upper()}", None, {}),
    ("HEAD", AT, None, {}),
    ("PUT", f"/sightings/{uuid.UUID(int=1)}", WREN, {}),
    ("PUT", f"/sightings/{uuid.UUID(int=2)}", WREN, {"by": "grace"}),
    ("PUT", f"/sightings/{uuid.UUID(int=3)}", wren(species="Žluna šedá", notes="\u2028 😀"), {}),
    # Pages
    ("GET", "/sightings", None, {}),
    ("GET", "/sightings?limit=2", None, {}),
    ("GET", "/sightings?limit=2&before=3", None, {}),
    ("GET", "/sightings?before=1", None, {}),
    ("GET", "/sightings?species=Wren&limit=1", None, {}),
    ("GET", "/sightings?by=grace", None, {}),
    # Not found, not allowed, not logged in, not acceptable
    ("GET", NEW, None, {}),
    ("GET", "/sightings/1", None, {}),
    ("GET", "/sightings/", None, {}),
    ("GET", "/nowhere", None, {}),
    ("POST", "/sightings", WREN, {}),
    ("GET", "/users", None, {}),
    ("PATCH", AT, WREN, {}),
    ("GET", "/sightings", None, {"by": None}),
    ("PUT", AT, WREN, {"by": None}),
    ("GET", "/sightings", None, {"headers": {"Authorization": "Bearer nonsense"}}),
    ("GET", "/sightings", None, {"headers": {"Authorization": "Basic YWRhOng="}}),
    ("GET", AT, None, {"headers": {"Accept": "text/html"}}),
    ("GET", AT, None, {"headers": {"Accept": "text/html, application/*;q=0.1"}}),
    ("PUT", NEW, WREN, {"headers": {"If-Match": '"1-1"'}}),
    # Bodies that are none
    ("PUT", NEW, b"", {}),
    ("PUT", NEW, b"{", {}),
    ("PUT", NEW, b"\xff", {}),
    ("PUT", NEW, b'{"species": "\\ud800", "seen_on": "2026-04-01"}', {}),
    ("PUT", NEW, b"[" * 20_000, {}),
    ("PUT", NEW, b" " * 70_000, {}),
    ("PUT", NEW, b"a=1", {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
    # Bodies with mistakes
    ("PUT", NEW, {}, {}),
    ("PUT", NEW, [], {}),
    ("PUT", NEW, "text", {}),
    ("PUT", NEW, wren(species=""), {}),
    ("PUT", NEW, wren(species=" Wren"), {}),
    ("PUT", NEW, wren(species="Wren\n"), {}),
    ("PUT", NEW, wren(species="W" * 81), {}),
    ("PUT", NEW, wren(species=1), {}),
    ("PUT", NEW, wren(seen_on="yesterday"), {}),
    ("PUT", NEW, wren(seen_on="2026-4-1"), {}),
    ("PUT", NEW, wren(seen_on="2026-02-30"), {}),
    ("PUT", NEW, wren(count=0), {}),
    ("PUT", NEW, wren(count="3"), {}),
    ("PUT", NEW, wren(count=True), {}),
    ("PUT", NEW, wren(count=None), {}),
    ("PUT", NEW, wren(count=10**30), {}),
    ("PUT", NEW, wren(notes="n" * 2001), {}),
    ("PUT", NEW, wren(notes="a\0b"), {}),
    ("PUT", NEW, wren(place={}), {}),
    ("PUT", NEW, wren(place=[]), {}),
    ("PUT", NEW, wren(place={"latitude": 91, "longitude": "0"}), {}),
    ("PUT", NEW, wren(place={"latitude": 1, "longitude": 2, "height": 3}), {}),
    ("PUT", NEW, wren(speces="Wren", **{"a/b~c d": 1}), {}),
    # Queries with mistakes
    ("GET", "/sightings?limit=0", None, {}),
    ("GET", "/sightings?limit=101", None, {}),
    ("GET", "/sightings?limit=some", None, {}),
    ("GET", "/sightings?limit=", None, {}),
    ("GET", "/sightings?limit=1&limit=2", None, {}),
    ("GET", "/sightings?before=0", None, {}),
    ("GET", "/sightings?before=9223372036854775808", None, {}),
    ("GET", "/sightings?species=", None, {}),
    ("GET", "/sightings?by=A", None, {}),
    ("GET", "/sightings?page=2&size=3", None, {}),
    # People
    ("POST", "/users", {"name": "ada", "password": "correct horse"}, {"by": None}),
    ("POST", "/users", {"name": "Ada", "password": "correct horse"}, {"by": None}),
    ("POST", "/users", {"name": "a" * 41, "password": "short"}, {"by": None}),
    ("POST", "/users", {"name": "eve"}, {"by": None}),
    ("POST", "/tokens", {"name": "ada", "password": "wrong horse"}, {"by": None}),
    ("POST", "/tokens", {"name": "nobody", "password": "wrong horse"}, {"by": None}),
]


@pytest.mark.timeout(120)
def test_both_answer_the_same(tmp_path: Path) -> None:
    with serve("demos.api:app", tmp_path) as one, serve("demos.django_side:app", tmp_path) as other:
        flask, django = Api(one), Api(other)
        for name in ("ada", "grace"):
            flask.log_in(name)
            django.log_in(name)
        unlike = [
            f"{method} {path} {body} {options}, {name}: {in_flask.get(name)}, {in_django.get(name)}"
            for method, path, body, options in REQUESTS
            for in_flask in [_comparable(flask.ask(method, path, body, **options))]
            for in_django in [_comparable(django.ask(method, path, body, **options))]
            for name in in_flask.keys() | in_django.keys()
            if in_flask.get(name) != in_django.get(name)
        ]
    assert not unlike, "Flask and Django differ\n" + "\n".join(unlike)


def _comparable(reply: Reply) -> dict[str, Any]:
    """All but the wording of errors, and the order in which mistakes are told; DELETE is not in the slice."""
    found: dict[str, Any] = {
        "status": reply.status,
        "type": reply.headers["content-type"],
        "location": reply.headers.get("location"),
        "authenticate": reply.headers.get("www-authenticate", "").replace('"', ""),
        "allow": set(reply.headers.get("allow", "").split(", ")) - {"DELETE"}
        if reply.status == 405
        else None,
        "json": reply.json if reply.text else None,
    }
    if isinstance(found["json"], dict) and found["json"].get("next"):
        path, _, query = found["json"]["next"].partition("?")
        found["json"]["next"] = (path, parse_qs(query))  # in whatever order
    if reply.status >= 400:
        problem = found["json"]
        assert problem.pop("detail")
        mistakes = [
            (sorted(each), each.get("pointer"), each.get("parameter")) for each in problem.pop("errors", [])
        ]
        found["mistakes"] = sorted(mistakes, key=str)
    return found


def test_pages_follow_one_another_below_a_prefix(django: Api) -> None:
    for number in range(10, 15):
        assert django.ask("PUT", f"/sightings/{uuid.UUID(int=number)}", WREN).status == 201
    found: list[int] = []
    following: str | None = f"{PREFIX}/sightings?limit=2&by=ada"
    while following is not None:
        assert following.startswith(f"{PREFIX}/")
        page = django.ask("GET", following.removeprefix(PREFIX)).json
        found += [item["number"] for item in page["items"]]
        following = page["next"]
    assert len(found) >= 5
    assert found == sorted(set(found), reverse=True)


def test_an_answer_that_is_still_right_is_not_sent_again(django: Api) -> None:
    address = f"/sightings/{uuid.UUID(int=20)}"
    django.ask("PUT", address, WREN)
    etag = django.ask("GET", address).headers["etag"]
    assert django.ask("GET", address, headers={"If-None-Match": etag}).status == 304


def test_no_other_host_name_is_served(django: Api) -> None:
    reply = django.ask("GET", "/", headers={"Host": "elsewhere.example"}, by=None)
    assert (reply.status, reply.json["status"]) == (400, 400)


def test_the_page_counts_the_files_that_are_there(django: Api) -> None:
    page = django.ask("GET", "/", by=None).text
    for name in ("models.py", "forms.py", "migrations/0001_initial.py", "side_by_side.py"):
        assert f"Django: {name}</h3>" in page
    total = sum(count_lines(path.read_text()) for path in (ROOT / "demos/django_side").rglob("*.py"))
    assert f"{total} lines in" in page
    for path in (ROOT / "demos/api").rglob("*.py"):
        assert f"Flask: {path.relative_to(ROOT / 'demos/api')}</h3>" in page


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", 0),
        ('"""A docstring,\n\nof three lines."""\n', 0),
        ("# a comment\n\nx = 1  # and another\n", 1),
        ("def f():\n    '''What it does.'''\n    return (\n        1\n    )\n", 4),
        ('text = """\n# no comment\n"""\n', 3),
    ],
)
def test_lines_are_those_with_code(text: str, lines: int) -> None:
    assert count_lines(text) == lines


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(60)
def test_the_page_and_the_admin_in_a_browser(django: Api, folder: Path) -> None:
    """Below a prefix: every address is right, styles come along, forms can be sent, and nothing fails."""
    make_administrator(folder)
    failures: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda said: failures.append(str(said.location)) if said.type == "error" else None)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("requestfailed", lambda request: failures.append(request.url))
        page.goto(f"{django.serving.address}{PREFIX}/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Flask and Django, side by side")
        wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wider
        page.get_by_role("link", name="admin").click()
        page.get_by_label("Username").fill("root")
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("link", name="Sightings", exact=True).click()
        expect(page).to_have_url(f"{django.serving.address}{PREFIX}/admin/django_side/sighting/")
        browser.close()
    # The browser looks for an icon at the root of the host, which is not the demo's.
    assert [each for each in failures if "/favicon.ico" not in each] == []


def make_administrator(folder: Path) -> None:
    """As the docstring of the demo says."""
    variables = {
        "DJANGO_SIDE_DATABASE": str(folder / "django.sqlite"),
        "DJANGO_SUPERUSER_USERNAME": "root",
        "DJANGO_SUPERUSER_EMAIL": "root@localhost",
        "DJANGO_SUPERUSER_PASSWORD": "correct horse",
    }
    typed = [sys.executable, "-m", "demos.django_side", "createsuperuser", "--noinput"]
    subprocess.run(typed, cwd=ROOT, env=os.environ | variables, check=True, capture_output=True)

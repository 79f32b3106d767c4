"""The gallery through a real server: what it shows, what it does not, and what it takes."""

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from demos.gallery.ladder import EXTENSIONS, LADDER, Rung
from demos.gallery.sources import sources_of
from tests.server.command import Command, Serving, run
from tests.sockets import read_until

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(60)  # sixteen demos start, and a crawl goes over all of their pages

CANARY = "canary-of-the-environment"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files, in which all demos keep their data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def serving(data: Path) -> Iterator[Serving]:
    variables = {"TMPDIR": str(data), "CANARY": CANARY}
    with Serving("demos.gallery:app", "--port", "0", "--no-access-log", cwd=ROOT, env=variables) as serving:
        yield serving


@pytest.fixture
def client(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.address, timeout=15, follow_redirects=True) as client:
        yield client


def begin(client: httpx.Client, address: str) -> tuple[httpx.Response, str]:
    """A response, and its text, of which there may be no end, up to a megabyte or one event."""
    with client.stream("GET", address) as response:
        text = ""
        for piece in response.iter_text():
            text += piece
            if len(text) > 1 << 20 or response.headers["Content-Type"].startswith("text/event-stream"):
                break
    return response, text


def links(address: str, text: str) -> set[str]:
    found = re.findall(r'(?:href|src)="([^"#]+)', text)
    return {urljoin(address, html.unescape(each)) for each in found if not each.startswith("data:")}


# What it shows


def test_the_front_page_leads_to_every_rung(client: httpx.Client) -> None:
    page = client.get("/").text
    places = [page.index(f'href="/ladder/{rung.name}/"') for rung in LADDER]
    assert places == sorted(places)
    assert "did not start" not in page


def test_the_front_page_says_which_extension_is_where(client: httpx.Client) -> None:
    page = client.get("/").text
    for extension in EXTENSIONS:
        address = re.search(rf'href="([^"]+)"><code>{re.escape(extension.file)}</code>', page)
        assert address
        shown = re.search(r'<h3 id="file">([^<]+)<', client.get(address[1]).text)
        assert shown
        assert extension.file.endswith(f"/{shown[1]}")


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_a_demo_beside_its_source(client: httpx.Client, rung: Rung) -> None:
    page = client.get(f"/ladder/{rung.name}/")
    assert page.status_code == 200
    assert f'src="/demos/{rung.name}/{rung.begins}"' in page.text
    live, _ = begin(client, f"/demos/{rung.name}")  # without the slash, as one types it
    assert (live.status_code, live.url.path.startswith(f"/demos/{rung.name}/")) == (200, True)
    assert "X-Frame-Options" not in live.headers or live.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'none'" not in live.headers.get("Content-Security-Policy", "")


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_a_page_of_a_demo_fits_a_phone_and_says_its_language(client: httpx.Client, rung: Rung) -> None:
    for path in ("", rung.begins):
        _, text = begin(client, f"/demos/{rung.name}/{path}")
        if text.lower().startswith("<!doctype"):  # the smallest app sends a word of plain text
            assert re.search("<html [^>]*lang=", text), path
            assert '<meta name="viewport"' in text, path


@pytest.mark.parametrize("path", ["/", "/ladder/site/", "/ladder/site/pages.py", "/nowhere"])
def test_its_own_pages_are_protected(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*src=)|\son\w+=\"", response.text.split("<pre")[0])


def test_a_source_is_shown_as_it_is(client: httpx.Client) -> None:
    page = client.get("/ladder/chat/chat.py").text
    shown = re.search(r'<pre class="source".*?</pre>', page, re.DOTALL)
    assert shown
    text = html.unescape(re.sub(r"<[^>]+>", "", shown[0])).strip()
    assert text == (ROOT / "demos/chat.py").read_text().strip()


# What it does not show


def test_nothing_else_is_to_be_seen(client: httpx.Client, serving: Serving, data: Path) -> None:
    secret = {
        *(CANARY, str(ROOT), str(Path.home()) + "/", str(data), os.environ["PATH"]),
        *(path.read_text().strip() for path in data.rglob("*secret*") if path.is_file()),
    }
    assert len(secret) >= 7  # two demos, at least, keep a key of their own
    seen: set[str] = set()
    ahead = {serving.address + "/", *(f"{serving.address}/demos/{rung.name}/" for rung in LADDER)}
    while ahead:
        address = ahead.pop()
        response, text = begin(client, address)
        seen.add(address)
        leaked = [each for each in secret if each in text or each in str(response.headers)]
        assert (address, leaked) == (address, [])
        if response.headers.get("Content-Type", "").startswith("text/html"):
            there = links(str(response.url), text.split("<pre")[0])
            ahead |= {each for each in there if each.startswith(serving.address)} - seen
    assert len([each for each in seen if "/ladder/" in each]) > 100
    assert {urlsplit(each).path for each in seen} >= {"/demos/streaming/upload", "/demos/site/announce"}


ILL_PATHS = [
    *("/ladder/nowhere/", "/ladder/../../etc/passwd", "/ladder/site/../../../etc/passwd"),
    *("/ladder/site//etc/passwd", "/ladder/site/%2fetc%2fpasswd", "/ladder/site/..%2f..%2fpyproject.toml"),
    *("/ladder/site/%2e%2e/%2e%2e/pyproject.toml", "/ladder/site/..%5c..%5cpyproject.toml"),
    *("/ladder/site/pages.py%00", "/ladder/site/%00", "/ladder/site/pages.py/", "/ladder/site/%ff.py"),
    *("/ladder/site/../chat.py", "/ladder/chat/hello.py", "/ladder/site/./pages.py", "/ladder/site/PAGES.PY"),
    *(
        "/ladder/site/__pycache__/pages.cpython-311.pyc",
        "/ladder/site/translations/de/LC_MESSAGES/messages.mo",
    ),
    *("/ladder/site/templates", "/ladder/site/templates/", "/ladder/site/static/../../../pyproject.toml"),
    *("/static/../pages.py", "/static/..%2fpages.py", "/static/%2e%2e/pages.py", "/static//etc/passwd"),
    *("/demos/", "/demos/nowhere", "/demos/gallery/../..", "/demos/../../etc/passwd", "/etc/passwd"),
    *("/demos/site/static/../../etc/passwd", "/demos/django_side/static/../../../etc/passwd"),
    *("/demos/api/static/..%2f..%2fapi%2fmodels.py", "/demos/portal/static/..%2fconfig.py"),
]


@pytest.mark.parametrize("path", ILL_PATHS)
def test_an_ill_path_is_not_found(serving: Serving, path: str) -> None:
    answer = serving.get(path)  # as it is: httpx would resolve the dots
    if answer.status in (301, 308):  # Werkzeug takes two slashes for one
        answer = serving.get(urlsplit(answer.headers["Location"]).path)
    assert answer.status == (400 if path.startswith("/demos/django_side/") else 404)  # Django is suspicious
    assert "root:" not in answer.text


def test_a_link_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "linking_demo"
    (package / "sub").mkdir(parents=True)
    for name in ("__init__.py", "sub/page.html", "birds.sqlite", ".env", "secret.key", "__init__.pyc"):
        (package / name).write_text("x = 1\n")
    (tmp_path / "outside.py").write_text("y = 2\n")
    (package / "link.py").symlink_to(tmp_path / "outside.py")
    (package / "folder").symlink_to(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert set(sources_of("linking_demo")) == {"__init__.py", "sub/page.html"}


# What it takes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/demos/hello/", MIB),
        ("/demos/api/tokens", MIB),
        ("/demos/mounted/api/notes", MIB),
        ("/demos/portal/login", MIB),
        ("/demos/streaming/hash", 64 * MIB),
        ("/", MIB // 16),
        ("/x-ray/", MIB // 16),
    ],
)
def test_a_body_that_says_it_is_too_large_is_refused_unseen(serving: Serving, path: str, limit: int) -> None:
    with serving.connect() as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {limit + 1}\r\n\r\n"
        connection.sendall(head.encode())
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_say_its_length_is_counted(serving: Serving) -> None:
    head = b"PUT /demos/streaming/hash HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving.connect() as connection:
        connection.sendall(head)
        for _ in range(64):
            connection.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
        connection.sendall(b"1\r\nx\r\n")  # one too many, and no end
        answer = read_until(connection, b"The body is too large: 67,108,864 bytes are the limit.\n")
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_within_its_limit_is_read(client: httpx.Client) -> None:
    response = client.put("/demos/streaming/hash", content=(bytes(MIB) for _ in range(3)))
    assert response.json()["bytes"] == 3 * MIB


def test_other_methods_are_refused(client: httpx.Client) -> None:
    response = client.request("TRACE", "/demos/hello/")
    assert (response.status_code, "GET" in response.headers["Allow"]) == (405, True)


@pytest.mark.parametrize("version", ["threads", "loop"])
def test_messages_of_a_websocket_are_limited(serving: Serving, version: str) -> None:
    address = serving.address.replace("http", "ws")
    with connect(f"{address}/demos/chat/{version}/ws") as websocket:
        websocket.send("x" * 60_000)
        assert "a message is" in str(websocket.recv(10))
        websocket.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


# How it is run


def test_the_debugger_is_for_this_machine_alone() -> None:
    code, _, said = run("serve", "demos.gallery:app", "--port", "0", "--debug", "--host", "0.0.0.0", cwd=ROOT)
    assert code != 0
    assert "--debug does not listen on 0.0.0.0" in said


@pytest.mark.parametrize("how", [(), ("--debug",)], ids=["FLASK_DEBUG", "--debug"])
def test_the_insides_of_an_error_stay_inside(how: tuple[str, ...]) -> None:
    debugging = {"FLASK_DEBUG": "1"}
    with (
        Serving("tests.demos.faulty:app", "--port", "0", *how, cwd=ROOT, env=debugging) as serving,
        httpx.Client(base_url=serving.address, timeout=15) as client,
    ):
        raised = client.get("/demos/raising/")
        assert raised.status_code == 500
        wrong = client.post("/demos/raising/", data={"other": "1"})
        assert wrong.status_code == 400
        for response in (
            raised,
            wrong,
            client.get("/demos/raising/?__debugger__=yes&cmd=resource&f=debugger.js"),
        ):
            for inside in ("Traceback", "s3cret", "RuntimeError", "raising.py", "KeyError", "debugger"):
                assert inside not in response.text
        serving.wait_for("s3cret of the insides")  # it is in the log


def test_a_demo_that_does_not_start_is_left_out_and_said_to_be() -> None:
    with (
        Serving("tests.demos.faulty:app", "--port", "0", cwd=ROOT) as serving,
        httpx.Client(base_url=serving.address, timeout=15) as client,
    ):
        gone = client.get("/demos/nowhere/")
        assert (gone.status_code, "did not start" in gone.text) == (503, True)
        assert client.get("/").text.count("did not start") == 1
        assert client.get("/demos/hello/").text == "Hello, World!"
        serving.wait_for("the demo tests.demos.nowhere:app did not start")


def test_another_server_does_as_well(tmp_path: Path) -> None:
    typed = ("demos.gallery:app", "--port", "0")
    with Command(*typed, cwd=ROOT, env={"TMPDIR": str(tmp_path)}, python=("-m", "uvicorn")) as command:
        address = command.wait_for(r"running on (\S+)")[1]
        assert httpx.get(f"{address}/demos/hello/").text == "Hello, World!"
        assert "did not start" not in httpx.get(address).text


# How it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_can_be_told_from_what_they_are_on(scheme: str) -> None:
    style = (ROOT / "demos/gallery/static/gallery.css").read_text()
    light, dark = re.split(r"@media screen and \(prefers-color-scheme: dark\)", style, maxsplit=1)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", dark.split("/* `data-layer")[0]))
    layers = [name for name in colours if name.startswith("layer-")]
    assert len(layers) == 8
    pairs = [(text, on) for text in (*layers, "ink", "quiet", "accent") for on in ("paper", "card")]
    pairs += [("on-layer", layer) for layer in layers]
    weak = [(a, b) for a, b in pairs if contrast(colours[a], colours[b]) < 4.5]  # WCAG 2.2, 1.4.3
    assert weak == []


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

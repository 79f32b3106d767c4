"""Make the pictures of the gallery, the X-ray, a terminal and the demos.

`python -m tests.browser.pictures [NAME …]`; with names, only those that begin with one of them: `x-ray`,
`gallery`, `terminal`, `demos/chat`. Pictures for the documentation go to `docs/images`, and those of the
demos, in light and dark, to the gallery's own files.
"""

import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlencode

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from demos.gallery.ladder import LADDER
from demos.gallery.xray_requests import PREPARED
from tests.server.command import Serving
from tests.server.test_terminal import Terminal

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"
SCHEMES: dict[Literal["light", "dark"], str] = {"light": "", "dark": "-dark"}
CARDS = ROOT / "demos" / "gallery" / "static" / "pictures"


class Picture(NamedTuple):
    """A page of the gallery, and the size of the window.

    Of an X-ray: the layer whose first step is opened, and the ms that it takes on a machine with nothing else
    to do.
    """

    name: str
    file: Path
    path: str
    width: int
    height: int
    layer: str = ""
    takes: float = 0
    scheme: Literal["light", "dark"] = "light"


def pictures() -> Iterator[Picture]:
    # The cards come first, as the front page shows them.
    for rung in LADDER:
        for scheme, suffix in SCHEMES.items():
            file = CARDS / f"{rung.name}{suffix}.png"
            path = f"/demos/{rung.name}/{rung.begins}"
            yield Picture(f"demos/{rung.name}", file, path, 560, 300, scheme=scheme)
    yield Picture("gallery", IMAGES / "gallery.png", "/", 1280, 1240)
    yield Picture("gallery-demo", IMAGES / "gallery-demo.png", "/ladder/site/pages.py", 1440, 1080)
    yield Picture("x-ray", IMAGES / "x-ray.png", example("Headers"), 1280, 1500, layer="environ", takes=10)
    yield Picture(
        "x-ray-compare", IMAGES / "x-ray-compare.png", example("Sync and async"), 1280, 1250, takes=40
    )


def example(title: str) -> str:
    """The address of one of the X-ray's examples."""
    query = next(each.query for group in PREPARED for each in group.requests if each.title == title)
    return f"/x-ray/?{urlencode(query, doseq=True)}"


def main(names: tuple[str, ...]) -> None:
    CARDS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Serving("demos.gallery:app", "--port", "0", cwd=ROOT, env={"TMPDIR": data}) as serving,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in pictures():
            if picture.name.startswith(names or ("",)):
                take(browser, serving.address, picture)
                print(picture.file.relative_to(ROOT), picture.file.stat().st_size, "bytes")
        if "terminal".startswith(names or ("",)):
            take_terminal(browser, IMAGES / "terminal.png")
        browser.close()


def take_terminal(browser: Browser, file: Path) -> None:
    """What `bridge serve` prints in a terminal, with two requests and Ctrl-C."""
    with Terminal("serve", "demos.streaming:app", cwd=ROOT) as terminal:
        address = terminal.wait_for(r"http://[\d.:]+")[0]
        terminal.wait_for("Ctrl-C to stop")
        for path in ("/upload", "/nosuch"):
            httpx.get(address + path)
        terminal.wait_for("/nosuch.*404")
        terminal.type(b"\x03")
        terminal.finish()
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(
        Text("$ bridge serve demos.streaming:app"), Text.from_ansi(terminal.seen.replace("\r", "")), sep="\n"
    )
    page = browser.new_page(viewport={"width": 960, "height": 100}, device_scale_factor=2)
    page.set_content(console.export_html(theme=MONOKAI, inline_styles=True))
    page.add_style_tag(content="pre { margin: 1rem; font-size: 0.95rem }")
    page.screenshot(path=file, full_page=True)
    print(file.relative_to(ROOT), file.stat().st_size, "bytes")


def take(browser: Browser, address: str, picture: Picture) -> None:
    with browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme=picture.scheme,
        reduced_motion="reduce",
    ) as context:
        page = context.new_page()
        # A stream of events never ends, so this does not wait for the network to fall silent.
        page.goto(address + picture.path, wait_until="load")
        if picture.takes:
            trace(page, picture.takes)
        else:
            page.wait_for_timeout(1500)  # for the clocks and frames
        if picture.layer:
            page.locator(f".trace [data-layer={picture.layer}] button").first.click()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=picture.file)


def trace(page: Page, takes: float) -> None:
    """Trace again until it is fast: the first runs compile templates and start threads."""
    for _ in range(20):
        expect(page.locator(".panel .status").last).to_have_text("answered 200", timeout=20_000)
        times = re.findall(
            r"([\d.]+) ms in this", " ".join(page.locator(".panel > .took").all_text_contents())
        )
        if max(map(float, times)) < takes:
            return
        page.reload()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))

"""Make the pictures of the X-ray page for the documentation: `python -m tests.demos.xray_screenshots`."""

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"

HEADERS = "headers=X-Tag:%20one%0AX-Tag:%20two%0AX_Tag:%20three%0AProxy:%20evil.example"


class Picture(NamedTuple):
    """A request, the layer whose first step is opened, how long it takes in ms on a machine that has nothing
    else to do, and how it is looked at."""

    query: str
    layer: str
    takes: float
    width: int = 1280
    height: int = 1150
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"


PICTURES = {
    "x-ray.png": Picture(f"path=/page/?name=Ada&{HEADERS}", "environ", 10, height=1400),
    "x-ray-compare.png": Picture("path=/sync&beside=/async", "runner", 30),
}

# To be looked at before a change is kept: `… xray_screenshots FOLDER` makes these as well, there.
LOOKS: dict[str, Picture] = {}
for name, (query, layer, takes, *_) in PICTURES.items():
    stem = name.removesuffix(".png")
    LOOKS[f"{stem}-dark.png"] = Picture(query, layer, takes, scheme="dark")
    LOOKS[f"{stem}-phone.png"] = Picture(query, layer, takes, 390, 1600)
    LOOKS[f"{stem}-print.png"] = Picture(query, layer, takes, 800, media="print")


def main(folder: str | None = None) -> None:
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Serving("demos.gallery:app", "--port", "0", cwd=ROOT, env={"TMPDIR": data}) as serving,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, picture in PICTURES.items():
            take(browser, serving.address, picture, IMAGES / name)
        for name, picture in LOOKS.items() if folder else ():
            take(browser, serving.address, picture, Path(folder or "") / name)
        browser.close()


def take(browser: Browser, address: str, picture: Picture, file: Path) -> None:
    with browser.new_context(viewport={"width": picture.width, "height": picture.height}) as context:
        page = context.new_page()
        page.emulate_media(reduced_motion="reduce", color_scheme=picture.scheme, media=picture.media)
        for _ in range(12):  # the first ones compile templates and start threads
            page.goto(f"{address}/x-ray/?{picture.query}")
            expect(page.locator(".panel .status").last).to_have_text(re.compile("^answered"))
            times = re.findall(
                r"after ([\d.]+) ms", " ".join(page.locator(".panel .status").all_text_contents())
            )
            if max(map(float, times)) < picture.takes:
                break
        for panel in page.locator(".panel").all():
            panel.locator(f".trace [data-layer={picture.layer}] button").first.click()
        page.evaluate("document.getElementById('result').scrollIntoView()")
        page.screenshot(path=file)
        print(file, file.stat().st_size, "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])

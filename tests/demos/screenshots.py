"""Make the pictures of the gallery for the documentation: `python -m tests.demos.screenshots`."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"
PICTURES = {"gallery.png": ("/", 1280, 1240), "gallery-demo.png": ("/ladder/site/pages.py", 1440, 1080)}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        Serving("demos.gallery:app", "--port", "0", cwd=ROOT, env={"TMPDIR": data}) as serving,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (path, width, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(serving.address + path, wait_until="networkidle")
            page.screenshot(path=IMAGES / name)
            print(IMAGES / name, (IMAGES / name).stat().st_size, "bytes")
        browser.close()


if __name__ == "__main__":
    main()

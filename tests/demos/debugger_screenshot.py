"""Make the picture that `demos/debugging` shows: `python -m tests.demos.debugger_screenshot`."""

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, expect, sync_playwright

from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "demos" / "debugging" / "static" / "debugger.png"
SIZE: ViewportSize = {"width": 860, "height": 740}

# Whose machine it is shall not be seen in the picture.
SHORTEN = """prefixes => {
    for (const file of document.querySelectorAll("cite.filename")) {
        for (const [prefix, short] of prefixes) file.textContent = file.textContent.replace(prefix, short);
    }
}"""
PREFIXES = [
    [f"{ROOT}/", ""],
    [f"{sys.prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/", ".venv/…/"],
]


def main() -> None:
    with (
        Serving("demos.debugging:app", "--port", "0", "--debug", cwd=ROOT) as serving,
        sync_playwright() as started,
    ):
        pin = serving.wait_for(r"whoever knows its PIN: ([\d-]+)$")[1]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{serving.address}/bill")
        page.evaluate(SHORTEN, PREFIXES)
        frame = page.locator(".frame", has=page.get_by_text("bill", exact=True)).last
        frame.locator("pre.current").hover()
        frame.locator("pre.current img").click()
        page.locator("input[name=pin]").fill(pin)
        page.get_by_role("button", name=re.compile("confirm", re.IGNORECASE)).click()
        for asked, answer in (("item", "'coffe'"), ("PRICES", "'coffee': 2.8")):
            page.locator(".console input").fill(asked)
            page.locator(".console input").press("Enter")
            expect(page.locator(".console .output").first).to_contain_text(answer)
        frame.locator("pre.current").hover()  # for the icon to be seen
        page.screenshot(path=PICTURE)
        print(PICTURE, PICTURE.stat().st_size, "bytes")
        browser.close()


if __name__ == "__main__":
    main()

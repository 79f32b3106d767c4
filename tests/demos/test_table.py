"""The table of `demos/README.md`: each row's command serves, and its address answers."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demos.gallery.ladder import LADDER
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
ROWS = re.findall(
    r"^\| `bridge serve ([^`]+)` \| <http://127\.0\.0\.1:8000(/\S*)> \| [^|]+ \| [^|]+ \|$",
    (ROOT / "demos/README.md").read_text(),
    re.MULTILINE,
)


def test_it_has_a_row_for_each_rung_and_the_gallery() -> None:
    commands = [shlex.split(command)[0] for command, _ in ROWS]
    assert commands == [*(rung.app for rung in LADDER), "demos.gallery:app"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("command", "path"), ROWS, ids=[command for command, _ in ROWS])
def test_a_row_is_true(tmp_path: Path, command: str, path: str) -> None:
    typed = (*shlex.split(command), "--port", "0")
    with Serving(*typed, cwd=ROOT, env={"TMPDIR": str(tmp_path)}) as serving:
        response = httpx.get(serving.address + path, timeout=30)
        assert (response.status_code, urlsplit(str(response.url)).path) == (200, path)
        assert "<h1" in response.text or response.text == "Hello, World!"

"""`demos/README.md`: each command of the ladder serves, its address answers, and each file is there."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demos.gallery.ladder import EXTENSIONS, LADDER, Extension
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "demos/README.md").read_text()
ROWS = re.findall(
    r"^\| `bridge serve ([^`]+)` \| <http://127\.0\.0\.1:8000(/\S*)> \| [^|]+ \| ([^|]+) \| ([^|]+) \|$",
    README,
    re.MULTILINE,
)


def test_it_has_a_row_for_each_rung_and_the_gallery() -> None:
    rows = [(shlex.split(command), level, minutes) for command, _, level, minutes in ROWS]
    rungs = [([rung.app, *rung.options.split()], rung.level, str(rung.minutes)) for rung in LADDER]
    assert rows[:-1] == rungs
    assert rows[-1][0] == ["demos.gallery:app"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("command", "path"), [row[:2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row_is_true(tmp_path: Path, command: str, path: str) -> None:
    typed = (*shlex.split(command), "--port", "0")
    with Serving(*typed, cwd=ROOT, env={"TMPDIR": str(tmp_path)}) as serving:
        response = httpx.get(serving.address + path, timeout=30)
        assert (response.status_code, urlsplit(str(response.url)).path) == (200, path)
        assert "<h1" in response.text or response.text == "Hello, World!"


def test_it_lists_the_extensions_as_the_gallery_does() -> None:
    listed = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \[([^|]+)\]\(\3\) \|$", README, re.MULTILINE)
    assert listed == [(each.name, each.does, each.file.removeprefix("demos/")) for each in EXTENSIONS]


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.name)
def test_an_extension_is_used_where_the_list_says(extension: Extension) -> None:
    module = extension.name.lower().replace("-", "_")
    text = (ROOT / extension.file).read_text()
    assert re.search(rf"^from {module}[. ]", text, re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#]+)\)", README))
def test_a_link_leads_to_a_file(path: str) -> None:
    assert (ROOT / "demos" / path).is_file()


def test_the_compared_folders_are_there() -> None:
    folders = re.findall(r"^\$ diff -r -x __pycache__ (\S+) (\S+)$", README, re.MULTILINE)
    assert [pair for pair in folders if all((ROOT / each).is_dir() for each in pair)] == folders != []
